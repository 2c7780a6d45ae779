"""The receivables workbook: the figures of the page, to filter and to compute with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

from xlsxwriter import Workbook
from xlsxwriter.utility import xl_rowcol_to_cell
from xlsxwriter.worksheet import Worksheet

from o2c.reports import figures, numbers, wording
from o2c.reports.evidence import Evidence
from o2c.reports.facts import BUCKETS, Facts, Row
from o2c.reports.sheets import Column, Formats, write_table
from o2c.reports.workbook_summary import write_summary

HEADINGS_ROW = 4
BUCKET_COLOURS = ("#2166AC", "#8FC1E0", "#F6C9A5", "#E5804F", "#A91D2D")
LINE_COLOURS = ("#0B4F8A", "#C4510A", "#00785A", "#A2417F", "#6B5B00", "#3B3F46")


class Pack:
    """A workbook in the making, with what every sheet needs."""

    def __init__(self, book: Workbook, facts: Facts, evidence: Evidence) -> None:
        self.book = book
        self.facts = facts
        self.evidence = evidence
        self.formats = Formats(book)

    def sheet(
        self, name: str, title: str, part: str, columns: Sequence[Column], rows: Sequence[Row]
    ) -> tuple[Worksheet, int]:
        """A sheet with title, evidence line, filter and frozen headings; returns it with its last row."""
        sheet = self.book.add_worksheet(name)
        sheet.hide_gridlines(2)
        sheet.write_string(0, 0, title, self.formats.look("title"))
        sheet.write_string(1, 0, self._evidence_line(part), self.formats.look("note"))
        if not rows:
            sheet.write_string(2, 0, "Nothing to show: there are no rows at this date.", self.formats.look("note"))
        last = write_table(sheet, self.formats, (HEADINGS_ROW, 0), columns, rows)
        sheet.set_row(HEADINGS_ROW, 32)
        sheet.freeze_panes(HEADINGS_ROW + 1, 1)
        # The total below stays outside the filter, so that it is never filtered away.
        sheet.autofilter(HEADINGS_ROW, 0, max(HEADINGS_ROW + len(rows), HEADINGS_ROW + 1), len(columns) - 1)
        sheet.set_landscape()
        sheet.fit_to_pages(1, 0)
        sheet.repeat_rows(HEADINGS_ROW)
        if name == "DSO":
            # The trend beside the table would shrink the print beyond reading.
            sheet.print_area(0, 0, last, len(columns) - 1)
        return sheet, last

    def _evidence_line(self, name: str) -> str:
        part = next(part for part in self.evidence.parts if part.name == name)
        as_of, known_at = numbers.day(self.facts.as_of), numbers.moment(self.facts.known_at)
        return f"As of {as_of}, as known at {known_at}. Source {part.source}: {part.rows:,} rows, SHA-256 {part.sha256}"


def workbook(facts: Facts, evidence: Evidence) -> bytes:
    """The workbook as bytes; the same facts give the same bytes."""
    buffer = BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    book = Workbook(buffer, options)
    # The writer would put the clock here; it writes the fields and knows no time zone.
    created = facts.known_at or datetime(2000, 1, 1, tzinfo=UTC)
    title = {"title": "Receivables and revenue leaks", "subject": f"As of {facts.as_of}"}
    book.set_properties(title | {"created": created.astimezone(UTC).replace(tzinfo=None)})
    summary = book.add_worksheet("Summary")
    pack = Pack(book, facts, evidence)
    _dso(pack)
    net_cell = _ageing(pack)
    _control_account(pack)
    _leaks(pack)
    _load_ledger(pack)
    _quarantine(pack)
    write_summary(summary, pack.formats, facts, evidence, net_cell)
    book.close()
    return buffer.getvalue()


def _dso(pack: Pack) -> None:
    columns = [
        Column("As of", "as_of_date", "date", 12),
        Column("Scope", "scope", width=15),
        Column("Entity", "entity_code", width=10),
        Column("Currency", "currency_code", width=10),
        Column("Method", "metric_name", width=15),
        Column("Receivables basis", "ar_basis", width=18),
        Column("Receivables", "numerator_amount", "money", 18),
        Column("Credit sales", "denominator_amount", "money", 18),
        Column("Days in window", "days_in_window", "count", 10),
        Column(
            "DSO, days",
            "dso_days",
            "days",
            10,
            formula="ROUND({numerator_amount}/{denominator_amount}*{days_in_window},4)",
        ),
        Column("Why not computed", "null_reason", width=24),
    ]
    sheet, _ = pack.sheet("DSO", "Days sales outstanding", "DSO", columns, pack.facts.dso)
    _dso_trend(pack, sheet, len(columns) + 1)


def _dso_trend(pack: Pack, sheet: Worksheet, left: int) -> None:
    facts = pack.facts
    group = {name: figures.dso_series(facts, metric) for metric, name in figures.METRICS.items()}
    lines = {f"Group, {name.lower()}": rows for name, rows in group.items()}
    for code in figures.dso_entities(facts):
        lines[f"{code}, rolling 3 months"] = figures.dso_series(facts, "dso_rolling_3", code)
    dates = sorted({row["as_of_date"] for rows in lines.values() for row in rows})
    if not dates:
        return
    by_date = {name: {row["as_of_date"]: row["dso_days"] for row in rows} for name, rows in lines.items()}
    columns = [Column("As of", "as_of_date", "date", 12), *(Column(name, name, "days", 12) for name in lines)]
    rows = [{"as_of_date": day} | {name: values.get(day) for name, values in by_date.items()} for day in dates]
    last = write_table(sheet, pack.formats, (HEADINGS_ROW, left), columns, rows)
    chart = pack.book.add_chart({"type": "line"})
    _add_series(chart, "DSO", (HEADINGS_ROW, last, left), (1, len(lines)), LINE_COLOURS, lines=True)
    _finish(chart, "DSO by month: group, and entities over three months", "days", "0", dates=True)
    sheet.insert_chart(last + 2, left, chart, {"x_scale": 1.7, "y_scale": 1.35})


def _ageing(pack: Pack) -> str:
    facts, currency = pack.facts, pack.facts.reporting_currency
    converted = "{net_receivables_amount}*{closing_rate}"
    columns = [
        *_ageing_columns(Column("Entity", "entity_code", width=30)),
        Column("Intercompany, not included", "intercompany_amount", "money", 16),
        Column(f"Closing rate to {currency}", "closing_rate", "rate", 13),
        Column(
            f"Net receivables, {currency}", "net_receivables_amount_reporting", "money", 18, currency, converted, True
        ),
    ]
    title = f"Ageing by days past due, as of {numbers.day(facts.as_of)}"
    sheet, last = pack.sheet("Ageing", title, "Ageing", columns, facts.ageing_now)
    entities = {facts.entity_name(code): ageing for code, ageing in figures.ageing_by_entity(facts).items()}
    below = _ageing_converted(pack, sheet, last + 3, Column("Entity", "name", width=30), entities)
    _ageing_converted(pack, sheet, below, Column("As of", "name", "date", 30), figures.ageing_by_date(facts))
    return f"Ageing!{xl_rowcol_to_cell(last, len(columns) - 1)}"


def _ageing_columns(first: Column, *, summed: bool = False) -> list[Column]:
    """Columns that every ageing table shares, so that tables below each other line up."""
    gross = "SUM({current_amount}:{days_over_90_amount})"
    net = "SUM({gross_receivables_amount}:{unapplied_credits_amount})"
    return [
        first,
        Column("Currency", "currency_code", width=10),
        *(Column(figures.BUCKET_NAMES[name], f"{name}_amount", "money", 16, summed=summed) for name in BUCKETS),
        Column("Open invoices", "gross_receivables_amount", "money", 17, formula=gross, summed=summed),
        Column("Unapplied cash", "unapplied_cash_amount", "money", 16, summed=summed),
        Column("Unapplied credits", "unapplied_credits_amount", "money", 16, summed=summed),
        Column("Net receivables", "net_receivables_amount", "money", 17, formula=net, summed=summed),
    ]


def _ageing_converted(
    pack: Pack, sheet: Worksheet, top: int, first: Column, ageings: Mapping[Any, figures.Ageing]
) -> int:
    """A table in the reporting currency with its chart below; returns the row where the next one may start."""
    if not ageings:
        return top
    by_date = first.kind == "date"
    rows = [_converted_row(name, ageing, pack.facts.reporting_currency) for name, ageing in ageings.items()]
    last = write_table(sheet, pack.formats, (top, 0), _ageing_columns(first, summed=not by_date), rows)
    chart = pack.book.add_chart({"type": "column" if by_date else "bar", "subtype": "stacked"})
    _add_series(chart, "Ageing", (top, top + len(rows), 0), (2, len(BUCKETS)), BUCKET_COLOURS)
    title = f"Open invoices by {'month' if by_date else 'entity'} and days past due"
    _finish(chart, title, pack.facts.reporting_currency, "#,##0", dates=by_date, sideways=not by_date)
    sheet.insert_chart(last + 2, 0, chart, {"x_scale": 1.9, "y_scale": 1.2, "object_position": 3})
    return last + 22


def _converted_row(name: Any, ageing: figures.Ageing, currency: str) -> Row:
    return {
        "name": name,
        "currency_code": currency,
        **{f"{bucket}_amount": amount for bucket, amount in ageing.buckets.items()},
        "gross_receivables_amount": ageing.gross,
        "unapplied_cash_amount": ageing.unapplied_cash,
        "unapplied_credits_amount": ageing.unapplied_credits,
        "net_receivables_amount": ageing.net,
    }


def _add_series(
    chart: Any,
    sheet: str,
    area: tuple[int, int, int],
    series: tuple[int, int],
    colours: Sequence[str],
    *,
    lines: bool = False,
) -> None:
    """Add columns of a table: ``area`` is its headings row, last row and first column; ``series`` first and count."""
    top, last, left = area
    for index in range(series[1]):
        colour, column = colours[index % len(colours)], left + series[0] + index
        line: dict[str, Any] = {"line": {"color": colour, "width": 2}, "marker": {"type": "circle", "size": 4}}
        filled: dict[str, Any] = {"fill": {"color": colour}, "gap": 60}
        places = {
            "name": [sheet, top, column],
            "categories": [sheet, top + 1, left, last, left],
            "values": [sheet, top + 1, column, last, column],
        }
        chart.add_series(places | (line if lines else filled))


def _finish(
    chart: Any, title: str, unit: str, number_format: str, *, dates: bool = False, sideways: bool = False
) -> None:
    chart.set_title({"name": title, "name_font": {"size": 12}, "overlay": False})
    values = {
        "name": unit,
        "num_format": number_format,
        "major_gridlines": {"visible": True, "line": {"color": "#DFE3EA"}},
    }
    categories: dict[str, Any] = {"num_format": "mmm yy", "text_axis": True} if dates else {}
    if sideways:
        # The first row of the table is the uppermost bar, and the amounts stay below.
        categories |= {"reverse": True, "crossing": "max"}
    # Bars lie on their side: their categories stand on the axis that is written as y.
    chart.set_x_axis(values if sideways else categories)
    chart.set_y_axis(categories if sideways else values)
    chart.set_legend({"position": "bottom"})
    chart.show_blanks_as("gap")


def _control_account(pack: Pack) -> None:
    columns = [
        Column("As of", "as_of_date", "date", 12),
        Column("Entity", "entity_code", width=10),
        Column("Currency", "currency_code", width=10),
        Column("Sub-ledger", "subledger_amount", "money", 19),
        Column("Control account", "control_account_amount", "money", 19),
        Column("Difference", "difference_amount", "money", 16, formula="{subledger_amount}-{control_account_amount}"),
        Column("Verdict", "verdict", width=22),
    ]
    rows = [row | {"verdict": _verdict(row)} for row in pack.facts.tie_outs]
    pack.sheet("Control account", "Sub-ledger against control account, every date", "Control account", columns, rows)


def _verdict(row: Row) -> str:
    if row["control_account_amount"] is None:
        return "ledger did not report"
    return "differs" if figures.untied([row]) else "agrees"


def _leaks(pack: Pack) -> None:
    currency = pack.facts.reporting_currency
    columns = [
        Column("Rule", "rule_id", width=24),
        Column("What it finds", "rule_name", width=26),
        Column("State", "state", width=13),
        Column("Confidence", "confidence", width=11),
        Column("Entity", "entity_code", width=10),
        Column("Customer", "customer_name", width=30),
        Column("Key", "business_key", width=18),
        Column("Documents", "documents", width=38),
        Column("Currency", "currency_code", width=10),
        Column("Amount", "amount_txn", "money", 16),
        Column(f"Amount, {currency}", "amount_reporting", "money", 16, currency, summed=True),
        Column("Since", "event_date", "date", 12),
        Column("Detected on", "detected_on", "date", 12),
        Column("Owner", "owner", width=18),
        Column("Evidence", "told", width=90),
    ]
    rows = [
        leak
        | {
            "rule_name": figures.RULE_NAMES.get(leak["rule_id"], leak["rule_id"]),
            "documents": wording.documents(leak),
            "told": wording.evidence(leak),
        }
        for leak in pack.facts.leaks
    ]
    pack.sheet("Leaks", "Revenue earned and not received", "Leaks", columns, rows)


def _load_ledger(pack: Pack) -> None:
    kinds = ("source", "published", "quarantined", "duplicate")
    columns = [
        Column("Load", "load_id", width=24),
        Column("Flow", "flow", width=30),
        Column("Source", "source_system", width=15),
        Column("Entity", "entity", width=24),
        Column("Published at", "published_at", "moment", 21),
        *(Column(f"{kind.capitalize()} rows", f"{kind}_rows", "count", 12, summed=True) for kind in kinds),
        Column("Currency", "currency_code", width=10),
        *(Column(f"{kind.capitalize()} amount", f"{kind}_amount", "money", 20) for kind in kinds),
        Column("Code", "code_version", width=44),
    ]
    title = "Load ledger: source = published + quarantined + duplicates"
    pack.sheet("Load ledger", title, "Load ledger", columns, pack.facts.ledger)


def _quarantine(pack: Pack) -> None:
    columns = [
        Column("Record", "record_id", "count", 10),
        Column("Flow", "flow", width=28),
        Column("Entity", "entity", width=20),
        Column("Rules broken", "rules", width=34),
        Column("Reason", "reason", width=50),
        Column("Owner", "owner", width=18),
        Column("Key in the source", "source_key", width=26),
        Column("Currency", "currency_code", width=10),
        Column("Amount", "amount", "money", 18),
        Column("Load", "load_id", width=13),
        Column("Quarantined at", "quarantined_at", "moment", 21),
    ]
    facts = pack.facts
    shown, held = len(facts.quarantine_records), figures.quarantined_rows(facts)
    title = "Quarantine: rows that wait for correction"
    if shown < held:
        title += f" (the oldest {shown:,} of {held:,})"
    pack.sheet("Quarantine", title, "Quarantine", columns, facts.quarantine_records)
