from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from xml.etree import ElementTree

import pytest

from o2c.reports.charts import NARROW, Chart, Series, legend, line_chart, stacked_bars, stacked_columns, tag, ticks

HOSTILE = '"><script>alert(1)</script>'


def chart(*series: list[int | None], names: list[str] | None = None, ends: list[str] | None = None) -> Chart:
    lines = [
        Series(f"line {index}", [None if value is None else Decimal(value) for value in values], f"s{index}")
        for index, values in enumerate(series)
    ]
    categories = names or [f"c{index}" for index in range(len(series[0]))]
    return Chart("a title", categories, lines, lambda value: f"EUR {value}", str, ends or ())


def found(svg: str, name: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(svg).iter(name))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        ("0", "100", "0 20 40 60 80 100"),
        ("0", "7", "0 2 4 6 8"),
        ("-3", "10", "-5 0 5 10"),
        ("0", "0", "0 0.2"),
        ("0", "0.004", "0 0.001 0.002 0.003 0.004"),
    ],
)
def test_ticks_are_round_and_cover_the_values(low: str, high: str, expected: str) -> None:
    marks = ticks(Decimal(low), Decimal(high))
    assert marks == [Decimal(text) for text in expected.split()]
    assert marks[0] <= Decimal(low) and marks[-1] >= Decimal(high)


def test_a_line_stands_at_the_pixels_of_its_values() -> None:
    # Scale 0 to 100; area 40..810 across (1000 less margins 40 and 190) and 14..270 down (300 less 14 and 30).
    svg = line_chart(chart([0, 100]))
    (line,) = found(svg, "polyline")
    assert line.get("points") == "232.5,270.0 617.5,14.0"


def test_a_gap_breaks_the_line_and_draws_no_point() -> None:
    svg = line_chart(chart([10, 20, None, 30, 40]))
    assert len(found(svg, "polyline")) == 2
    assert len(found(svg, "circle")) == 4


def test_the_scale_of_lines_leaves_zero_only_when_they_stay_far_from_it() -> None:
    near = [text.text for text in found(line_chart(chart([20, 100])), "text") if text.get("class") == "axis end"]
    far = [text.text for text in found(line_chart(chart([80, 100])), "text") if text.get("class") == "axis end"]
    assert near[0] == "0" and far[0] == "80"


def test_labels_of_lines_that_end_together_do_not_cover_each_other() -> None:
    svg = line_chart(chart([0, 100], [0, 100], [0, 99], ends=["a", "b", "c"]))
    heights = [float(str(text.get("y"))) for text in found(svg, "text") if str(text.get("class")).startswith("name")]
    ordered = sorted(heights)
    assert all(second - first >= 15.9 for first, second in zip(ordered, ordered[1:], strict=False))


def test_parts_of_a_bar_lie_end_to_end_and_negative_ones_left_of_zero() -> None:
    # Scale -20 to 100 over 215..880: 5.5417 pixels each.
    svg = stacked_bars(chart([60], [40], [-20]))
    boxes = [(rect.get("x"), rect.get("width")) for rect in found(svg, "rect")]
    assert boxes == [("325.8", "332.5"), ("658.3", "221.7"), ("215.0", "110.8")]
    assert [text.text for text in found(svg, "text") if text.get("class") == "value"] == ["EUR 80"]


def test_columns_stack_upwards_from_zero() -> None:
    # Scale 0 to 100 over 10..270.
    svg = stacked_columns(chart([50], [50]))
    boxes = [(rect.get("y"), rect.get("height")) for rect in found(svg, "rect")]
    assert boxes == [("140.0", "130.0"), ("10.0", "130.0")]


@pytest.mark.parametrize("draw", [line_chart, stacked_bars, stacked_columns])
def test_every_mark_carries_its_exact_figure_and_the_drawing_its_title(draw: Callable[[Chart], str]) -> None:
    root = ElementTree.fromstring(draw(chart([60], [40])))
    assert root.get("role") == "img" and root.get("aria-label") == "a title"
    assert {"c0, line 0: EUR 60", "c0, line 1: EUR 40"} <= {title.text for title in root.iter("title")}


@pytest.mark.parametrize("width", [1000, NARROW])
def test_names_are_escaped(width: int) -> None:
    drawn = stacked_bars(chart([1], names=[HOSTILE]), width) + line_chart(chart([1, 2], names=[HOSTILE, "b"]), width)
    named = Chart(HOSTILE, ["a"], [Series(HOSTILE, [Decimal(1)], "s0")], str, str)
    drawn += line_chart(named, width) + stacked_columns(named, width) + legend(named)
    assert "<script" not in drawn
    assert "&lt;script&gt;" in drawn


def test_attributes_are_escaped() -> None:
    assert tag("g", "a < b", aria_label='"x"', class_="c") == '<g aria-label="&#34;x&#34;" class="c">a &lt; b</g>'


def test_nothing_to_draw_gives_nothing() -> None:
    empty = Chart("t", [], [], str, str)
    assert [line_chart(empty), stacked_bars(empty), stacked_columns(empty)] == ["", "", ""]
    assert line_chart(chart([None, None])) == ""


def test_zeros_can_be_drawn() -> None:
    zeros = chart([0, 0])
    for draw in (line_chart, stacked_bars, stacked_columns):
        assert draw(zeros).startswith("<svg")
