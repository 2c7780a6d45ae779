"""Tables on worksheets: typed columns, formats by currency, formulas for what a reader would recompute.

Text is always written as text: a customer named ``=cmd|...`` stays a name. Amounts go to the writer as ``Decimal``;
the file format holds 16 significant digits, and only there an amount may lose more than that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from xlsxwriter import Workbook
from xlsxwriter.format import Format
from xlsxwriter.utility import xl_col_to_name, xl_rowcol_to_cell
from xlsxwriter.worksheet import Worksheet

from o2c.reports.numbers import decimals

_LONGEST_TEXT = 32_000  # a cell holds 32,767 characters


@dataclass(frozen=True)
class Column:
    """One column: ``kind`` is text, count, days, rate, date, moment or money.

    Money takes the decimals of the row's ``currency_code``, or of ``currency`` when that is given. A ``formula`` names
    other columns in braces; it stands where the row has a value, and that value is kept as its last result. ``summed``
    puts a total of the rows a filter leaves below the column.
    """

    heading: str
    key: str
    kind: str = "text"
    width: int = 14
    currency: str | None = None
    formula: str = ""
    summed: bool = False


class Formats:
    """Cell formats of one workbook, made once each."""

    def __init__(self, book: Workbook) -> None:
        self._book = book
        self._made: dict[str, Format] = {}

    def of(self, kind: str, currency: str | None = None, *, bold: bool = False) -> Format:
        """The format of a kind of cell; money has its currency's decimals."""
        code = _number_format(kind, currency)
        key = f"{kind} {code} {bold}"
        if key not in self._made:
            self._made[key] = self._book.add_format(_LOOKS.get(kind, {}) | {"num_format": code, "bold": bold})
            if bold:
                self._made[key].set_top(1)
        return self._made[key]

    def look(self, name: str) -> Format:
        """A format for words: title, note, heading, figure heading, section, label."""
        if name not in self._made:
            self._made[name] = self._book.add_format(_LOOKS[name])
        return self._made[name]


_HEADING = {"bold": True, "bg_color": "#0B4F8A", "font_color": "#FFFFFF", "text_wrap": True, "valign": "vcenter"}
_LOOKS: Mapping[str, dict[str, Any]] = {
    "title": {"bold": True, "font_size": 15},
    "note": {"font_color": "#566173", "italic": True},
    "heading": _HEADING | {"align": "left", "indent": 1},
    "figure heading": _HEADING | {"align": "right"},
    "section": {"bold": True, "font_size": 12, "font_color": "#0B4F8A", "bottom": 1},
    "label": {"bold": True},
    "text": {"align": "left", "indent": 1},
    "date": {"align": "left", "indent": 1},
    "moment": {"align": "left", "indent": 1},
}


def _number_format(kind: str, currency: str | None) -> str:
    if kind == "money":
        places = decimals(currency)
        return "#,##0" + ("." + "0" * places if places else "")
    return {
        "count": "#,##0",
        "days": "0.0",
        "rate": "0.000000",
        "date": "yyyy-mm-dd",
        "moment": 'yyyy-mm-dd hh:mm" UTC"',
        "share": "0.0%",
    }.get(kind, "General")


def write_cell(
    sheet: Worksheet, formats: Formats, place: tuple[int, int], kind: str, value: Any, currency: str | None
) -> None:
    """Write one value as its kind; nothing for None."""
    if value is None:
        return
    row, column = place
    look = formats.of(kind, currency)
    if isinstance(value, datetime):
        # Cells know no time zone; the format says UTC.
        sheet.write_datetime(row, column, value.astimezone(UTC).replace(tzinfo=None), look)
    elif isinstance(value, date):
        sheet.write_datetime(row, column, value, look)
    elif isinstance(value, int | Decimal) and not isinstance(value, bool):
        sheet.write_number(row, column, value, look)
    else:
        sheet.write_string(row, column, str(value)[:_LONGEST_TEXT], look)


def write_table(
    sheet: Worksheet,
    formats: Formats,
    top: tuple[int, int],
    columns: Sequence[Column],
    rows: Sequence[Mapping[str, Any]],
) -> int:
    """Write headings at ``top``, the rows below, and totals below those; returns the number of the last row written."""
    first, left = top
    for index, column in enumerate(columns):
        look = "heading" if column.kind in ("text", "date", "moment") else "figure heading"
        sheet.write_string(first, left + index, column.heading, formats.look(look))
        sheet.set_column(left + index, left + index, column.width)
    for place, row in enumerate(rows, first + 1):
        references = _references(columns, place, left)
        for index, column in enumerate(columns):
            _write_value(sheet, formats, (place, left + index), column, row, references)
    last = first + len(rows)
    if rows and any(column.summed for column in columns):
        last += 1
        _write_totals(sheet, formats, (first, last, left), columns, rows)
    return last


def _references(columns: Sequence[Column], row: int, left: int) -> dict[str, str]:
    return {column.key: xl_rowcol_to_cell(row, left + index) for index, column in enumerate(columns)}


def _write_value(
    sheet: Worksheet,
    formats: Formats,
    place: tuple[int, int],
    column: Column,
    row: Mapping[str, Any],
    references: Mapping[str, str],
) -> None:
    value = row[column.key]
    currency = column.currency or row.get("currency_code")
    if column.formula and isinstance(value, Decimal):
        formula = re.sub(r"{(\w+)}", lambda name: references[name[1]], column.formula)
        sheet.write_formula(*place, f"={formula}", formats.of(column.kind, currency), value)
    else:
        write_cell(sheet, formats, place, column.kind, value, currency)


def _write_totals(
    sheet: Worksheet,
    formats: Formats,
    area: tuple[int, int, int],
    columns: Sequence[Column],
    rows: Sequence[Mapping[str, Any]],
) -> None:
    first, last, left = area
    sheet.write_string(last, left, "Total of the rows shown", formats.of("text", bold=True))
    for index, column in enumerate(columns):
        if column.summed:
            name = xl_col_to_name(left + index)
            total = sum((row[column.key] for row in rows if row[column.key] is not None), Decimal(0))
            # 109 leaves out rows that a filter hides.
            formula = f"=SUBTOTAL(109,{name}{first + 2}:{name}{last})"
            sheet.write_formula(last, left + index, formula, formats.of(column.kind, column.currency, bold=True), total)
