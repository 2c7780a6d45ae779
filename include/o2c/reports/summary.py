"""What a run prints at its end: loads, gates, DSO, ageing, leaks, and whether all of it held. Reads only."""

from __future__ import annotations

from decimal import Decimal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from o2c.reports import figures, numbers
from o2c.reports.facts import Facts, Row, Rows, read_facts, read_rows, totals_by
from o2c.settings import Settings

WIDTH = 100


def print_summary(settings: Settings, console: Console | None = None) -> bool:
    """Print the summary, at most 100 columns wide; True when everything held.

    Everything: every load closes in rows and money, the newest load of every flow was published, every tie-out is
    zero, and there are receivables to report.

    Raises:
        UsageError: the warehouse has not been prepared or built.
        WarehouseError: it cannot be reached.
    """
    facts = read_facts(settings)
    out = console or Console()
    width = min(WIDTH, out.width)
    gate_rows = read_rows(settings, "gate_totals")
    for table in (_loads(facts), _gates(gate_rows), _dso(facts), _ageing(facts), _leaks(facts)):
        out.print(table, width=width)
        out.print()
    faults = problems(facts)
    for fault in faults:
        out.print(f"[bold red]![/] {escape(fault)}", highlight=False, width=width)
    if not faults:
        out.print("[bold green]✓[/] Every load closes, every flow published, every tie-out is zero.", highlight=False)
    _places(out, settings)
    return not faults


def problems(facts: Facts) -> list[str]:
    """What did not hold, a sentence each; empty when everything did."""
    faults = [f"Load {row['load_id']} of {row['flow']} does not close." for row in facts.ledger if not _closes(row)]
    for row in figures.held_back(facts):
        reason = f": {row['error'].splitlines()[0]}" if row["error"] else "."
        faults.append(f"The newest load of {row['flow']} ended '{row['state']}'{reason}")
    for row in figures.untied(facts.tie_outs):
        difference = numbers.money(row["difference_amount"], row["currency_code"])
        where = f"{row['entity_code']}, {row['currency_code']}, {numbers.day(row['as_of_date'])}"
        faults.append(f"Sub-ledger and control account differ by {difference}: {where}.")
    empty = {"loads": facts.loads, "receivables": facts.ageing_now, "DSO": facts.dso, "tie-outs": facts.tie_outs}
    return faults + [f"There are no {name} to report." for name, rows in empty.items() if not rows]


def _closes(row: Row) -> bool:
    # Rows stand on one line per load, money on every line.
    counts = [row[f"{kind}_rows"] for kind in ("source", "published", "quarantined", "duplicate")]
    amounts = [row[f"{kind}_amount"] for kind in ("source", "published", "quarantined", "duplicate")]
    return all(values[0] is None or values[0] == sum(values[1:]) for values in (counts, amounts))


def _table(title: str, *columns: str, left: int = 1) -> Table:
    """A table whose first ``left`` columns are words and whose others are figures."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right", overflow="fold", no_wrap=index >= left)
    return table


def _loads(facts: Facts) -> Table:
    table = _table("Loads", "Source", "Flows", "Loads", "Rows in", "Published", "Quarantined", "Duplicate", "Money in")
    for source in sorted({row["source_system"] for row in facts.loads}):
        flows = [row for row in facts.loads if row["source_system"] == source]
        ledger = [row for row in facts.ledger if row["source_system"] == source]
        counts = [_sum(ledger, f"{kind}_rows") for kind in ("source", "published", "quarantined", "duplicate")]
        money = totals_by([row for row in ledger if row["currency_code"]], "source_amount")
        loads = len({row["load_id"] for row in ledger})
        amounts = "\n".join(numbers.money(amount, code) for code, amount in money.items())
        figures_ = [numbers.number(count) for count in (len(flows), loads, *counts)]
        table.add_row(escape(source), *figures_, amounts or numbers.MISSING)
    return table


def _sum(rows: Rows, column: str) -> int:
    return sum(row[column] or 0 for row in rows)


def _gates(rows: Rows) -> Table:
    table = _table("Gates", "Source", "Gates run", "Rules run", "Rules broken", "Rows held back", "Loads stopped")
    for row in rows:
        counts = ("gates", "rules", "broken_rules", "unexpected_rows", "stopped_loads")
        table.add_row(escape(row["source_system"]), *(numbers.number(row[name]) for name in counts))
    return table


def _dso(facts: Facts) -> Table:
    title = f"DSO as of {numbers.day(facts.as_of)}, days, net of unapplied items"
    prior = figures.dso_now(facts, "dso_simple").prior
    before = f"on {numbers.day(prior['as_of_date'])}" if prior else "before"
    table = _table(title, "Entity", "Simple", before, "Rolling 3 months", before, "Net receivables")
    for code in ("ALL", *figures.dso_entities(facts)):
        found = [figures.dso_now(facts, metric, code) for metric in figures.METRICS]
        cells = [_days(value) for dso in found for value in (dso.value, dso.prior["dso_days"] if dso.prior else None)]
        row = found[0].row
        receivables = numbers.money(row["numerator_amount"], row["currency_code"]) if row else numbers.MISSING
        table.add_row("Group" if code == "ALL" else escape(code), *cells, receivables)
    return table


def _days(value: Decimal | None) -> str:
    return numbers.number(value, 1)


def _ageing(facts: Facts) -> Table:
    currency = facts.reporting_currency
    names = ["Not due", "1–30", "31–60", "61–90", "Over 90", "Unapplied", "Net"]
    table = _table(f"Ageing by days past due, {currency}", "Entity", *names, "Tie-out")
    rows = {**figures.ageing_by_entity(facts), "Group": figures.ageing_of(facts.ageing_now)}
    for code, ageing in rows.items():
        amounts = [*ageing.buckets.values(), ageing.unapplied_cash + ageing.unapplied_credits, ageing.net]
        # Whole units keep the table narrow; the page and the workbook have the minor units.
        table.add_row(escape(code), *(numbers.number(amount) for amount in amounts), _tie_out(facts, code))
    return table


def _tie_out(facts: Facts, code: str) -> str:
    rows = [row for row in facts.tie_outs_now if code in ("Group", row["entity_code"])]
    if not rows:
        return numbers.MISSING
    untied = figures.untied(rows)
    return f"{len(untied)} differ" if untied else "0"


def _leaks(facts: Facts) -> Table:
    currency = facts.reporting_currency
    table = _table("Leaks", "Rule", "What it finds", "State", "Findings", f"Amount, {currency}", left=3)
    for entry in figures.leak_totals(facts):
        amount = numbers.amount(entry.amount, currency)
        table.add_row(*map(escape, (entry.rule_id, entry.name, entry.state)), numbers.number(entry.findings), amount)
    if not facts.leaks:
        table.add_row(numbers.MISSING, "none found", "", "0", numbers.amount(Decimal(0), currency))
    return table


def _places(out: Console, settings: Settings) -> None:
    out.print("\n[bold]Reports[/]")
    for name in ("receivables.html", "receivables.xlsx", "data_docs", "model_docs.html"):
        if (path := settings.reports_dir / name).exists():
            out.print(f"  {escape(str(path))}", highlight=False, soft_wrap=True)
