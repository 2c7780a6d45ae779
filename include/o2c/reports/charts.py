"""Small charts as SVG, without scripts: lines over months, stacked bars and stacked columns.

Colours come from the page's style by class (``s0``, ``s1`` ... for series), so that a chart follows light, dark and
print. Nothing is told by colour alone: lines are dashed and labelled at their end, parts stand in the order of the
legend, and each mark carries its exact figure as a tooltip. Every text is escaped.

Charts come in two widths, because text in a drawing that is shrunk to a phone cannot be read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from markupsafe import Markup, escape

Label = Callable[[Decimal], str]
WIDE, NARROW = 1000, 360


@dataclass(frozen=True)
class Series:
    """One line or one part of every bar. ``style`` is the class that gives the colour."""

    name: str
    values: Sequence[Decimal | None]
    style: str


@dataclass(frozen=True)
class Chart:
    """What is drawn: what it shows (read to people who cannot see it), its categories, its series.

    ``label`` writes a figure in full, ``axis`` for the scale. ``ends`` stand at the ends of bars, which else show
    their sums, and behind the names of lines.
    """

    title: str
    categories: Sequence[str]
    series: Sequence[Series]
    label: Label
    axis: Label
    ends: Sequence[str] = ()


@dataclass(frozen=True)
class Frame:
    """The plotting area inside a drawing, in pixels, and the values at its ends."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    low: Decimal
    high: Decimal

    def across(self, value: Decimal) -> str:
        """Horizontal place of a value."""
        return _pixels(self.left + (self.width - self.left - self.right) * (value - self.low) / (self.high - self.low))

    def down(self, value: Decimal) -> str:
        """Vertical place of a value."""
        span = self.height - self.top - self.bottom
        return _pixels(self.height - self.bottom - span * (value - self.low) / (self.high - self.low))


def tag(name: str, content: str | Markup = "", **attributes: object) -> Markup:
    """An element; underscores in attribute names become hyphens, ``class_`` becomes ``class``."""
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items()
    )
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), written, content)


def ticks(low: Decimal, high: Decimal, wanted: int = 5) -> list[Decimal]:
    """Round values that cover ``low`` to ``high``: steps of 1, 2, 2.5 or 5 times a power of ten."""
    span = high - low if high > low else Decimal(1)
    rough = span / wanted
    power = Decimal(1).scaleb(rough.adjusted())
    step = next(power * factor for factor in (1, 2, Decimal("2.5"), 5, 10) if power * factor >= rough)
    first = (low / step).to_integral_value(rounding="ROUND_FLOOR") * step
    marks = [first]
    while marks[-1] < high or len(marks) < 2:
        marks.append(marks[-1] + step)
    return marks


def line_chart(chart: Chart, width: int = WIDE, height: int = 300) -> Markup:
    """Lines over the categories, each labelled at its end; a missing value leaves a gap."""
    known = [value for series in chart.series for value in series.values if value is not None]
    if not known:
        return Markup("")
    # Lines that stay far above zero would lie flat on a scale from zero; bars always start there.
    low = min(known) if min(known) * 2 > max(known) else min(Decimal(0), *known)
    marks = ticks(low, max(known), 4)
    margin = 190 if width >= WIDE else 104
    frame = Frame(width, height, 40, margin, 14, 30, marks[0], marks[-1])
    parts = [*_grid_lines(chart, frame, marks), *_month_names(chart, frame)]
    ends = _spread([_end_height(series, frame) for series in chart.series], 16)
    for index, (series, end) in enumerate(zip(chart.series, ends, strict=True)):
        parts += _line(chart, series, frame)
        if end is not None:
            parts.append(_line_name(series, chart.ends[index] if chart.ends else "", frame, end))
    return _drawing(chart, width, height, parts)


def stacked_bars(chart: Chart, width: int = WIDE, row: int = 34) -> Markup:
    """Horizontal bars, one per category; parts below zero go to the left of it. The sum stands at the end."""
    if not chart.categories:
        return Markup("")
    stacks = [_stack(chart, index) for index in range(len(chart.categories))]
    low = min(low for low, _ in stacks)
    marks = ticks(Decimal(0), max(high for _, high in stacks), 5 if width >= WIDE else 3)
    height = len(chart.categories) * row + 30
    # On a phone names and sums stand above their bars.
    left, right = (215, 120) if width >= WIDE else (8, 12)
    frame = Frame(width, height, left, right, 4, 26, low, marks[-1])
    parts = _upright_grid(chart, frame, marks)
    for index, name in enumerate(chart.categories):
        parts += _bar(chart, frame, index, row)
        parts.append(_bar_name(name, frame, index, row))
    return _drawing(chart, width, height, parts)


def stacked_columns(chart: Chart, width: int = WIDE, height: int = 300) -> Markup:
    """Upright stacked columns over the categories; parts below zero hang from the zero line."""
    if not chart.categories:
        return Markup("")
    stacks = [_stack(chart, index) for index in range(len(chart.categories))]
    marks = ticks(Decimal(0), max(high for _, high in stacks), 4)
    frame = Frame(width, height, 62, 8, 10, 30, min(low for low, _ in stacks), marks[-1])
    parts = [*_grid_lines(chart, frame, marks), *_month_names(chart, frame)]
    for index in range(len(chart.categories)):
        parts += _column(chart, frame, index)
    return _drawing(chart, width, height, parts)


def _drawing(chart: Chart, width: int, height: int, parts: Sequence[Markup]) -> Markup:
    content = tag("title", chart.title) + Markup("").join(parts)
    return tag("svg", content, viewBox=f"0 0 {width} {height}", role="img", aria_label=chart.title, class_="chart")


def _grid_lines(chart: Chart, frame: Frame, marks: Sequence[Decimal]) -> list[Markup]:
    parts = []
    for mark in marks:
        y = frame.down(mark)
        style = "zero" if mark == 0 else "grid"
        parts.append(tag("line", x1=frame.left, x2=frame.width - frame.right, y1=y, y2=y, class_=style))
        parts.append(tag("text", chart.axis(mark), x=frame.left - 6, y=y, dy="0.35em", class_="axis end"))
    return parts


def _upright_grid(chart: Chart, frame: Frame, marks: Sequence[Decimal]) -> list[Markup]:
    parts = []
    for mark in marks:
        x = frame.across(mark)
        style = "zero" if mark == 0 else "grid"
        parts.append(tag("line", x1=x, x2=x, y1=frame.top, y2=frame.height - frame.bottom, class_=style))
        parts.append(tag("text", chart.axis(mark), x=x, y=frame.height - 8, class_="axis middle"))
    return parts


def _month_names(chart: Chart, frame: Frame) -> list[Markup]:
    step = -(-len(chart.categories) // (13 if frame.width >= WIDE else 4))
    last = len(chart.categories) - 1
    return [
        tag("text", name, x=_middle(frame, index, len(chart.categories)), y=frame.height - 10, class_="axis middle")
        for index, name in enumerate(chart.categories)
        if (last - index) % step == 0
    ]


def _middle(frame: Frame, index: int, count: int) -> str:
    return _pixels(frame.left + Decimal(frame.width - frame.left - frame.right) * (2 * index + 1) / (2 * count))


def _line(chart: Chart, series: Series, frame: Frame) -> list[Markup]:
    runs: list[list[str]] = [[]]
    dots = []
    for index, value in enumerate(series.values):
        if value is None:
            runs.append([])
            continue
        x, y = _middle(frame, index, len(series.values)), frame.down(value)
        runs[-1].append(f"{x},{y}")
        hint = tag("title", f"{chart.categories[index]}, {series.name}: {chart.label(value)}")
        dots.append(tag("circle", hint, cx=x, cy=y, r=3, class_=f"dot {series.style}"))
    lines = [tag("polyline", points=" ".join(run), class_=f"line {series.style}") for run in runs if len(run) > 1]
    return lines + dots


def _line_name(series: Series, end: str, frame: Frame, height: Decimal) -> Markup:
    content = escape(series.name) + tag("tspan", f" {end}", class_="at-end")
    x = frame.width - frame.right + 10
    return tag("text", content, x=x, y=_pixels(height + 4), class_=f"name {series.style}")


def _end_height(series: Series, frame: Frame) -> Decimal | None:
    last = next((value for value in reversed(series.values) if value is not None), None)
    return None if last is None else Decimal(frame.down(last))


def _spread(heights: Sequence[Decimal | None], gap: int) -> list[Decimal | None]:
    """Push labels apart until none covers another, keeping their order."""
    placed = list(heights)
    order = sorted((height, index) for index, height in enumerate(heights) if height is not None)
    floor: Decimal | None = None
    for height, index in order:
        floor = height if floor is None else max(height, floor + gap)
        placed[index] = floor
    return placed


def _stack(chart: Chart, index: int) -> tuple[Decimal, Decimal]:
    values = [series.values[index] or Decimal(0) for series in chart.series]
    below = sum((value for value in values if value < 0), Decimal(0))
    return below, sum((value for value in values if value > 0), Decimal(0))


def _pieces(chart: Chart, index: int) -> list[tuple[Series, Decimal, Decimal, Decimal]]:
    """Series, value, and the two ends of each part of one stack."""
    above = below = Decimal(0)
    pieces = []
    for series in chart.series:
        value = series.values[index] or Decimal(0)
        if value > 0:
            pieces.append((series, value, above, above + value))
            above += value
        elif value < 0:
            pieces.append((series, value, below + value, below))
            below += value
    return pieces


def _bar(chart: Chart, frame: Frame, index: int, row: int) -> list[Markup]:
    above_name = 14 if frame.width < WIDE else 0
    y, thickness = frame.top + index * row + 5 + above_name, row - 10 - above_name
    parts = []
    for series, value, start, end in _pieces(chart, index):
        hint = tag("title", f"{chart.categories[index]}, {series.name}: {chart.label(value)}")
        x = Decimal(frame.across(start))
        width = Decimal(frame.across(end)) - x
        parts.append(
            tag("rect", hint, x=_pixels(x), y=y, width=_pixels(width), height=thickness, class_=f"part {series.style}")
        )
    return [*parts, _bar_end(chart, frame, index, y + Decimal(thickness) / 2, row)]


def _bar_end(chart: Chart, frame: Frame, index: int, middle: Decimal, row: int) -> Markup:
    low, high = _stack(chart, index)
    text = chart.ends[index] if chart.ends else chart.label(low + high)
    if frame.width < WIDE:
        return tag("text", text, x=frame.width - frame.right, y=frame.top + index * row + 14, class_="value end")
    return tag("text", text, x=_pixels(Decimal(frame.across(high)) + 6), y=_pixels(middle), dy="0.35em", class_="value")


def _bar_name(name: str, frame: Frame, index: int, row: int) -> Markup:
    y = frame.top + index * row
    if frame.width < WIDE:
        return tag("text", _shortened(name, 32), x=frame.left + 4, y=y + 14, class_="category")
    text = _shortened(name, 32)
    return tag("text", text, x=frame.left - 10, y=_pixels(y + Decimal(row) / 2), dy="0.35em", class_="category end")


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


def _column(chart: Chart, frame: Frame, index: int) -> list[Markup]:
    count = len(chart.categories)
    step = Decimal(frame.width - frame.left - frame.right) / count
    width = min(step * Decimal("0.68"), Decimal(56))
    x = Decimal(_middle(frame, index, count)) - width / 2
    parts = []
    for series, value, start, end in _pieces(chart, index):
        hint = tag("title", f"{chart.categories[index]}, {series.name}: {chart.label(value)}")
        top, foot = Decimal(frame.down(end)), Decimal(frame.down(start))
        box = {"x": _pixels(x), "y": _pixels(top), "width": _pixels(width), "height": _pixels(foot - top)}
        parts.append(tag("rect", hint, class_=f"part {series.style}", **box))
    return parts


def _pixels(value: Decimal | int) -> str:
    return f"{Decimal(value):.1f}"


def legend(chart: Chart) -> Markup:
    """Names of the parts in the order they are stacked."""
    items = [tag("li", tag("span", class_=f"key {series.style}") + escape(series.name)) for series in chart.series]
    return tag("ul", Markup("").join(items), class_="legend")
