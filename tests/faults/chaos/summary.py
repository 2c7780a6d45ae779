"""The summary of a chaos run: one line per kind, and what did not hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from chaos.registry import KINDS
from chaos.runner import Line

NUMBERS = range(1, 27)
BEGIN, END = "<!-- summary: written by make chaos -->", "<!-- end of summary -->"
COLUMNS = ("kind", "what", "cases", "faults", "lost", "doubled", "unbalanced", "checksum", "other", "seconds")


def rows(lines: list[Line]) -> list[list[str]]:
    """One row per kind, and one of totals."""
    found = []
    for number in NUMBERS:
        of_kind = [line for line in lines if line.number == number]
        names = "; ".join(dict.fromkeys(kind.name for kind in KINDS.get(number, [])))
        found.append([str(number), names or "not run", *_figures(of_kind)])
    return [*found, ["", "all", *_figures(lines)]]


def _figures(lines: list[Line]) -> list[str]:
    def broken(kind: str) -> str:
        return str(sum(any(each == kind for each, _ in line.violations) for line in lines))

    done = [line for line in lines if not line.not_run]
    counts = [str(len(done)), str(sum(line.injected for line in done))]
    kinds = [broken(kind) for kind in ("lost", "doubled", "unbalanced", "checksum", "other")]
    return [*counts, *kinds, f"{sum(line.seconds for line in lines):.0f}"]


def table(lines: list[Line]) -> str:
    """The summary for a terminal."""
    all_rows = [list(COLUMNS), *rows(lines)]
    all_rows = [[row[0], row[1][:58], *row[2:]] for row in all_rows]
    widths = [max(len(row[column]) for row in all_rows) for column in range(len(COLUMNS))]
    text = "\n".join(_line(row, widths) for row in all_rows)
    missing = sorted({(line.number, line.not_run) for line in lines if line.not_run})
    return "\n".join([text, *(f"not run: kind {number}, {reason}" for number, reason in missing)])


def _line(row: list[str], widths: list[int]) -> str:
    """One line of the table; the second column is text, the others are figures."""
    cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
    return "  ".join([cells[0], row[1].ljust(widths[1]), *cells[2:]])


def markdown(lines: list[Line]) -> str:
    """The summary for a page."""
    head = "| " + " | ".join(COLUMNS) + " |"
    rule = "|" + "|".join(" --- " if name == "what" else " ---: " for name in COLUMNS) + "|"
    return "\n".join([head, rule, *("| " + " | ".join(row) + " |" for row in rows(lines))])


def write(path: Path, lines: list[Line]) -> None:
    """Put the summary between the markers of a page."""
    text = path.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    path.write_text(f"{before}{BEGIN}\n\n{markdown(lines)}\n\n{END}{after}", encoding="utf-8")


def is_broken(lines: list[Line], *, whole: bool) -> bool:
    """Whether anything does not hold, or (of a ``whole`` run) a kind was not run or nothing was injected."""
    if any(line.violations or line.not_run for line in lines):
        return True
    injected: Callable[[int], int] = lambda number: sum(line.injected for line in lines if line.number == number)  # noqa: E731
    return whole and any(injected(number) == 0 for number in NUMBERS)


def describe(line: Line) -> str:
    """One case with what does not hold."""
    head = (
        f"[{line.index}] kind {line.number}: {line.name} ({line.fault}), {line.injected} faults, {line.seconds:.1f} s"
    )
    return "\n".join([f"\n{head}", *(f"    {kind}: {_short(what)}" for kind, what in line.violations)])


def _short(text: str, lines: int = 14) -> str:
    """The end of a long text: a traceback tells what happened there."""
    kept = text.strip().splitlines()
    return "\n        ".join(kept if len(kept) <= lines else ["...", *kept[-lines:]])
