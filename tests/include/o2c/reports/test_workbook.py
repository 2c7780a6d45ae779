from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from io import BytesIO
from typing import NamedTuple
from xml.etree import ElementTree
from zipfile import ZipFile

import pytest

from o2c.reports.evidence import gather
from o2c.reports.facts import Facts
from o2c.reports.workbook import workbook

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
SHEETS = ["Summary", "DSO", "Ageing", "Control account", "Leaks", "Load ledger", "Quarantine"]


class Cell(NamedTuple):
    text: str
    kind: str
    formula: str | None
    number_format: str


class Book:
    """A workbook read back from its XML."""

    def __init__(self, content: bytes) -> None:
        self.archive = ZipFile(BytesIO(content))
        self.strings = ["".join(item.itertext()) for item in self.xml("xl/sharedStrings.xml")]
        styles = self.xml("xl/styles.xml")
        codes = {item.get("numFmtId"): item.get("formatCode", "") for item in styles.iter(f"{MAIN}numFmt")}
        cell_formats = styles.find(f"{MAIN}cellXfs")
        assert cell_formats is not None
        self.formats = [codes.get(item.get("numFmtId"), str(item.get("numFmtId"))) for item in cell_formats]
        self.names = [str(sheet.get("name")) for sheet in self.xml("xl/workbook.xml").iter(f"{MAIN}sheet")]

    def xml(self, name: str) -> ElementTree.Element:
        return ElementTree.fromstring(self.archive.read(name))

    def sheet(self, name: str) -> ElementTree.Element:
        return self.xml(f"xl/worksheets/sheet{self.names.index(name) + 1}.xml")

    def cells(self, name: str) -> dict[str, Cell]:
        found = {}
        for cell in self.sheet(name).iter(f"{MAIN}c"):
            kind, value = cell.get("t", "n"), cell.findtext(f"{MAIN}v")
            if value is not None:
                text = self.strings[int(value)] if kind == "s" else value
                style = self.formats[int(cell.get("s", "0"))]
                found[str(cell.get("r"))] = Cell(text, kind, cell.findtext(f"{MAIN}f"), style)
        return found

    def column(self, name: str, heading: str) -> dict[int, Cell]:
        """Cells below a heading of the first table, by row number; totals included."""
        cells = self.cells(name)
        letters = next(
            re.sub(r"\d", "", place) for place, cell in cells.items() if cell.text == heading and place[-1] == "5"
        )
        return {
            int(place[len(letters) :]): cell
            for place, cell in cells.items()
            if re.fullmatch(rf"{letters}(?!5$)\d+", place)
        }


@pytest.fixture
def book(facts: Facts) -> Book:
    return Book(workbook(facts, gather(facts)))


def test_the_sheets_stand_in_order(book: Book) -> None:
    assert book.names == SHEETS


def test_formulas_in_text_stay_text(book: Book) -> None:
    customers = list(book.column("Leaks", "Customer").values())
    assert customers and all(cell.kind == "s" and cell.formula is None for cell in customers)
    assert customers[0].text.startswith("=HYPERLINK(")


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "http://x", "1e9", "{=1}"])
def test_no_beginning_of_a_text_makes_it_anything_else(broken: Callable[..., Facts], start: str) -> None:
    facts = broken("leaks", 0, customer_name=start, business_key=start, owner=start)
    book = Book(workbook(facts, gather(facts)))
    for heading in ("Customer", "Key", "Owner"):
        cell = book.column("Leaks", heading)[6]
        assert (cell.text, cell.kind, cell.formula) == (start, "s", None)
    assert not any("hyperlink" in name for name in book.archive.namelist())


def test_money_has_the_decimals_of_its_currency(book: Book) -> None:
    currencies, amounts = book.column("Ageing", "Currency"), book.column("Ageing", "Not due")
    shown = {currencies[row].text: (amounts[row].text, amounts[row].number_format) for row in range(6, 11)}
    assert shown == {
        "EUR": ("1840200.50", "#,##0.00"),
        "USD": ("905000.00", "#,##0.00"),
        "JPY": ("88500000", "#,##0"),
        "KWD": ("61250.125", "#,##0.000"),
    }


def test_ageing_adds_up_by_formula_and_to_the_marts(book: Book, facts: Facts) -> None:
    assert book.column("Ageing", "Open invoices")[6].formula == "SUM(C6:G6)"
    assert book.column("Ageing", "Net receivables")[6].formula == "SUM(H6:J6)"
    net = book.column("Ageing", "Net receivables, EUR")
    assert net[6].formula == "K6*M6"
    assert net[11].formula == "SUBTOTAL(109,N6:N10)"
    parts = sum((Decimal(net[row].text) for row in range(6, 11)), Decimal(0))
    assert parts == Decimal(net[11].text) == Decimal("4634023.835")
    assert parts == sum((row["net_receivables_amount_reporting"] for row in facts.ageing_now), Decimal(0))


def test_differences_and_dso_are_formulas_with_their_result(book: Book, facts: Facts) -> None:
    difference = book.column("Control account", "Difference")[6]
    assert (difference.formula, difference.text) == ("D6-E6", "0")
    dso = book.column("DSO", "DSO, days")
    row = next(index for index, row in enumerate(facts.dso) if row["dso_days"] is not None)
    assert dso[row + 6].formula == f"ROUND(G{row + 6}/H{row + 6}*I{row + 6},4)"
    assert Decimal(dso[row + 6].text) == facts.dso[row]["dso_days"]


def test_a_dso_that_is_not_computed_is_empty_and_says_why(book: Book) -> None:
    assert 6 not in book.column("DSO", "DSO, days")
    assert book.column("DSO", "Why not computed")[6].text == "insufficient_history"


def test_leaks_by_rule_are_summed_from_their_sheet(book: Book) -> None:
    cells = book.cells("Summary")
    place = next(place for place, cell in cells.items() if cell.text.startswith("L01 "))
    total = cells[f"B{place[1:]}"]
    assert total.formula == 'SUMIFS(Leaks!$K$6:$K$10,Leaks!$A$6:$A$10,"L01",Leaks!$C$6:$C$10,"recoverable")'
    amounts, rules = book.column("Leaks", "Amount, EUR"), book.column("Leaks", "Rule")
    by_hand = sum((Decimal(amounts[row].text) for row in range(6, 11) if rules[row].text == "L01"), Decimal(0))
    assert Decimal(total.text) == by_hand == Decimal("8104.50")


def test_the_ledger_closes_in_rows_and_money(book: Book) -> None:
    for unit in ("rows", "amount"):
        kinds = [
            book.column("Load ledger", f"{kind} {unit}") for kind in ("Source", "Published", "Quarantined", "Duplicate")
        ]
        for row, source in kinds[0].items():
            assert Decimal(source.text) == sum((Decimal(kind[row].text) for kind in kinds[1:]), Decimal(0))
    rows = book.column("Load ledger", "Source rows")
    assert rows[max(rows)].text == str(1830 + 640 + 2410 + 4)


def test_summary_takes_net_receivables_from_the_ageing_total(book: Book) -> None:
    cells = book.cells("Summary")
    place = next(place for place, cell in cells.items() if cell.text == "Net receivables")
    assert cells[f"B{place[1:]}"].formula == "Ageing!N11"
    assert any(cell.text == gather_hash(book) for cell in cells.values())


def gather_hash(book: Book) -> str:
    return next(cell.text for cell in book.cells("Summary").values() if re.fullmatch(r"[0-9a-f]{64}", cell.text))


def test_headings_are_frozen_and_filtered(book: Book) -> None:
    for name in SHEETS[1:]:
        sheet = book.sheet(name)
        pane, area = sheet.find(f".//{MAIN}pane"), sheet.find(f"{MAIN}autoFilter")
        assert pane is not None and pane.get("state") == "frozen" and pane.get("ySplit") == "5"
        assert area is not None and str(area.get("ref")).startswith("A5:")


def test_trends_and_ageing_have_native_charts_with_titles(book: Book) -> None:
    charts = sorted(name for name in book.archive.namelist() if re.fullmatch(r"xl/charts/chart\d+\.xml", name))
    texts = [" ".join("".join(book.xml(name).itertext()).split()) for name in charts]
    assert len(charts) == 3
    assert ["DSO by month" in texts[0], "by entity" in texts[1], "by month" in texts[2]] == [True] * 3


def test_dates_are_dates(book: Book) -> None:
    since = book.column("Leaks", "Since")[6]
    assert date(1899, 12, 30) + timedelta(days=int(since.text)) == date(2026, 2, 4)
    assert since.number_format == "yyyy-mm-dd"


def test_the_same_facts_give_the_same_bytes_and_carry_no_clock(facts: Facts) -> None:
    first = workbook(facts, gather(facts))
    assert first == workbook(facts, gather(facts))
    core = ZipFile(BytesIO(first)).read("docProps/core.xml").decode()
    assert set(re.findall(r"\d{4}-\d\d-\d\dT[\d:]+Z", core)) == {"2026-04-01T06:07:30Z"}


def test_an_empty_warehouse_gives_a_workbook_that_says_so() -> None:
    book = Book(workbook(Facts("EUR"), gather(Facts("EUR"))))
    assert book.names == SHEETS
    assert book.cells("Ageing")["A3"].text == "Nothing to show: there are no rows at this date."


def test_quarantine_says_when_it_shows_a_part(broken: Callable[..., Facts]) -> None:
    facts = broken("quarantine", 0, records=9000)
    book = Book(workbook(facts, gather(facts)))
    assert book.cells("Quarantine")["A1"].text.endswith("(the oldest 3 of 9,002)")
