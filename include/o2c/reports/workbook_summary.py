"""First sheet of the workbook: headlines, trust, leaks by rule, evidence."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from xlsxwriter.worksheet import Worksheet

from o2c.reports import figures, headlines, numbers
from o2c.reports.evidence import Evidence
from o2c.reports.facts import Facts
from o2c.reports.sheets import Formats, write_cell


class _Page:
    """Writes down a sheet, line after line: label, value, unit, note."""

    def __init__(self, sheet: Worksheet, formats: Formats) -> None:
        self.sheet = sheet
        self.formats = formats
        self.row = 0

    def section(self, title: str) -> None:
        """A heading with a rule below."""
        self.row += 1
        for column in range(5):
            self.sheet.write_string(self.row, column, title if column == 0 else "", self.formats.look("section"))
        self.row += 1

    def line(self, label: str, kind: str, value: Any, unit: str = "", *notes: str, formula: str = "") -> None:
        """One line; a ``formula`` has ``value`` as its last result."""
        self.sheet.write_string(self.row, 0, label, self.formats.look("label"))
        if formula:
            self.sheet.write_formula(self.row, 1, formula, self.formats.of(kind, unit), value)
        else:
            write_cell(self.sheet, self.formats, (self.row, 1), kind, value, unit)
        for column, text in enumerate((unit, *notes), 2):
            self.sheet.write_string(self.row, column, text, self.formats.of("text"))
        self.row += 1


def write_summary(sheet: Worksheet, formats: Formats, facts: Facts, evidence: Evidence, net_cell: str) -> None:
    """Write the sheet. ``net_cell`` is where the ageing sheet totals net receivables in the reporting currency."""
    sheet.hide_gridlines(2)
    for column, width in enumerate((46, 30, 10, 62, 76)):
        sheet.set_column(column, column, width)
    sheet.write_string(0, 0, "Receivables and revenue leaks", formats.look("title"))
    when = f"As of {numbers.day(facts.as_of)}, in {facts.reporting_currency}"
    sheet.write_string(1, 0, f"{when}, as known at {numbers.moment(facts.known_at)}", formats.look("note"))
    page = _Page(sheet, formats)
    page.row = 2
    _figures(page, facts, net_cell)
    _leaks(page, facts)
    page.section("Can these figures be trusted?")
    for item in headlines.trust(facts):
        page.line(item.label, "text", item.value, "", item.note)
    _evidence(page, evidence)
    sheet.freeze_panes(2, 1)
    sheet.set_landscape()
    sheet.fit_to_pages(1, 0)


def _figures(page: _Page, facts: Facts, net_cell: str) -> None:
    currency, ageing = facts.reporting_currency, figures.ageing_of(facts.ageing_now)
    page.section("Headlines")
    if facts.ageing_now:
        page.line("Net receivables", "money", ageing.net, currency, "Total of the sheet Ageing", formula=f"={net_cell}")
    notes = {item.label: item.note for item in headlines.tiles(facts)}
    page.line("Past due", "money", ageing.past_due, currency, notes["Past due"])
    if ageing.gross:
        page.line("Past due, share of open invoices", "share", ageing.past_due / ageing.gross)
    for metric, label in (("dso_simple", "DSO, simple"), ("dso_rolling_3", "DSO, rolling 3 months")):
        page.line(label, "days", figures.dso_now(facts, metric).value, "days", notes[label])
    page.line("Unapplied cash", "money", ageing.unapplied_cash, currency, notes["Unapplied cash"])


def _leaks(page: _Page, facts: Facts) -> None:
    page.section("Leaks by rule and state; states are not added up")
    for entry in figures.leak_totals(facts):
        rows = len(facts.leaks)
        area = "Leaks!${0}$6:${0}$" + str(5 + rows)
        criteria = f'{area.format("A")},"{entry.rule_id}",{area.format("C")},"{entry.state}"'
        formula = f"=SUMIFS({area.format('K')},{criteria})"
        label, note = f"{entry.rule_id} {entry.name}, {entry.state}", f"{entry.findings} findings; see the sheet Leaks"
        page.line(label, "money", entry.amount, facts.reporting_currency, note, formula=formula)
    if not facts.leaks:
        page.line("None found", "money", Decimal(0), facts.reporting_currency)


def _evidence(page: _Page, evidence: Evidence) -> None:
    page.section("Evidence")
    page.line("Report", "text", "Receivables and revenue leaks")
    page.line("Parameters", "text", f"as of {evidence.as_of}, reporting {evidence.reporting_currency}")
    page.line("Newest load published at", "moment", evidence.known_at)
    page.line("Code", "text", evidence.code_version)
    page.line("Rows behind this report", "count", evidence.rows)
    page.line("SHA-256 of the data", "text", evidence.sha256)
    page.section("Sources: rows, sums, hash")
    for part in evidence.parts:
        sums = headlines.amounts_in_words(dict(part.sums))
        page.line(part.name, "count", part.rows, "rows", part.source, f"SHA-256 {part.sha256}", f"sum {sums}")
    page.section("What the figures leave out")
    for item in evidence.exclusions:
        note = f"{headlines.amounts_in_words(dict(item.amounts))}: {item.why}"
        page.line(item.name, "count", item.rows, "rows", note)
    page.section("Control totals: the same money from two tables")
    for check in evidence.checks:
        note = f"{numbers.money(check.left, check.currency)} against {numbers.money(check.right, check.currency)}"
        page.line(check.name, "money", check.difference, check.currency, note)
