"""``o2c status``: a first line that says whether all is well, then flows, quarantine, and what to do next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from o2c.loads.checks import next_step_of, span, what_of
from o2c.reports import numbers
from o2c.warehouse import alerts, sync_info
from o2c.warehouse.sync_info import Row, Silence

# Worst first; a flow has one of these.
_STATES = {"held back": "bold red", "overdue": "yellow", "new": "cyan", "fresh": "green"}
_COLUMNS = (
    *("Flow", "State", "Success", "Rows in", "Published", "Quarant.", "Open"),
    *("Duplicate", "Promise", "OK 30 d", "Retries"),
)
_WIDE = 116
_NARROW_COLUMNS = 7


def show(connection: psycopg.Connection, moment: datetime, name: str | None, out: Console) -> bool:
    """Print where the flows stand at ``moment`` (UTC); True when none is overdue or held back and loads are started."""
    flows = sync_info.flows(connection, moment, name)
    quiet = sync_info.silence(connection, moment)
    money = sync_info.quarantine(connection, name)
    if quiet:
        out.print(f"[bold red]{escape(silent(quiet))}[/]\n  next: {escape(quiet.next_step)}", highlight=False)
    out.print(f"[bold]{escape(headline(flows, money))}[/]", highlight=False)
    _say_alerts(connection, name, out)
    if flows:
        out.print()
        out.print(_flow_table(flows, out.width))
    if money:
        out.print()
        out.print(_quarantine_table(money, moment, out.width))
    for state in ("held back", "overdue"):
        _print_problems([row for row in flows if row["status"] == state], moment, out)
    _print_schema_changes(sync_info.schema_changes(connection, moment, name), out)
    return is_well(flows, quiet)


def is_well(flows: Sequence[Row], quiet: Silence | None) -> bool:
    """Nothing is overdue or held back, and somebody starts loads."""
    return quiet is None and not any(row["status"] in ("held back", "overdue") for row in flows)


def headline(flows: Sequence[Row], money: Sequence[Row]) -> str:
    """``33 flows: 31 fresh, 1 overdue, 1 held back; quarantine 12 records, EUR 8,412.50``."""
    if not flows:
        return "No flow is known yet: 'o2c init' or a first load makes it known."
    counts = Counter(row["status"] for row in flows)
    states = ", ".join(f"{counts[state]} {state}" for state in reversed(_STATES) if counts[state])
    return f"{len(flows)} flow{'s' * (len(flows) != 1)}: {states}; {_quarantine_total(money)}"


def silent(quiet: Silence) -> str:
    """``The scheduler seems to be down: nothing has started since 2026-03-01 06:00 UTC.``."""
    since = f"since {quiet.since:%Y-%m-%d %H:%M} UTC" if quiet.since else "yet"
    return f"{quiet.what}: nothing has started {since}."


def show_record(rows: Sequence[Row], out: Console) -> None:
    """Print what became of the records with one key, a block each."""
    for row in rows:
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for label, text in _record_lines(row):
            table.add_row(label, escape(text))
        out.print(table)
        out.print()


def _record_lines(row: Row) -> list[tuple[str, str]]:
    lines = [
        ("record", f"{row['entity']} {row['source_key']} of {row['source_system']}"),
        ("target", f"{row['target']}, _key_hash {row['target_key']}"),
        ("status", row["status"]),
        ("flow", f"{row['flow']}, owner {row['owner']}"),
        ("attempts", f"{row['attempts']}: {row['versions']} published, {row['quarantined']} quarantined"),
        ("seen", f"first {_at(row['first_seen_at'])}, last {_at(row['last_seen_at'])}"),
        ("loads", ", ".join(row["load_ids"])),
    ]
    if row["reason"]:
        was = "" if row["status"] == "quarantined" else "last time in quarantine: "
        amount = f" ({numbers.money(row['amount'], row['currency_code'])})" if row["amount"] is not None else ""
        lines.insert(3, ("reason", f"{was}{row['reason']} [{'; '.join(row['rules'])}]{amount}"))
    return lines


def _quarantine_total(money: Sequence[Row]) -> str:
    records = sum(row["records"] for row in money)
    if not records:
        return "quarantine empty"
    totals: dict[str, Decimal] = {}
    for row in money:
        if row["amount"] is not None:
            totals[row["currency_code"]] = totals.get(row["currency_code"], Decimal(0)) + row["amount"]
    amounts = [numbers.money(amount, code) for code, amount in sorted(totals.items())]
    return ", ".join([f"quarantine {records:,} record{'s' * (records != 1)}", *amounts])


def _say_alerts(connection: psycopg.Connection, name: str | None, out: Console) -> None:
    found = [row for row in alerts.listed(connection) if name is None or _belongs(row, name)]
    if found:
        escalated = sum(row["level"] > 0 for row in found)
        taken = sum(row["acknowledged_by"] is not None for row in found)
        count = f"{len(found)} open alert{'s' * (len(found) != 1)}"
        out.print(f"{count}, {escalated} escalated, {taken} acknowledged: 'o2c alerts list'", highlight=False)


def _belongs(row: Row, name: str) -> bool:
    return row["flow"] is not None and (row["flow"] == name or row["flow"].startswith(f"{name}/"))


def _flow_table(flows: Sequence[Row], width: int) -> Table:
    shown = len(_COLUMNS) if width >= _WIDE else _NARROW_COLUMNS
    table = _table("Flows, with the rows of the newest load", _COLUMNS[:shown], words=2)
    for row in sorted(flows, key=lambda row: (list(_STATES).index(row["status"]), row["flow"])):
        state = f"[{_STATES[row['status']]}]{row['status']}[/]"
        table.add_row(escape(row["flow"]), state, *_cells(row)[: shown - 2])
    return table


def _cells(row: Row) -> list[str]:
    counts = [row[f"last_rows_{kind}"] for kind in ("in", "published", "quarantined")]
    return [
        f"{span(row['lag'], 1)} ago" if row["last_success_at"] else "never",
        *(numbers.number(count) for count in counts),
        numbers.number(row["open_records"]) if row["open_records"] else "",
        numbers.number(row["last_rows_duplicate"]),
        span(row["freshness"]),
        numbers.share(row["success_rate_30d"], Decimal(1)),
        numbers.number(row["retries_30d"]),
    ]


def _quarantine_table(money: Sequence[Row], moment: datetime, width: int) -> Table:
    names = ["Flow", "Entity", "Records", "Amount", "Oldest"]
    is_wide = width >= _WIDE
    table = _table("Open quarantine", names, words=2)
    if is_wide:
        table.add_column("Rules", overflow="fold")
    for row in money:
        amount = numbers.money(row["amount"], row["currency_code"])
        cells = [row["flow"], row["entity"], numbers.number(row["records"]), amount, span(moment - row["oldest_at"], 1)]
        table.add_row(*map(escape, [*cells, row["rules"] or ""] if is_wide else cells))
    return table


def _table(title: str, columns: Sequence[str], words: int) -> Table:
    """A table whose first ``words`` columns are words, which may break; figures never do."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None)
    table.pad_edge, table.padding = False, (0, 1, 0, 0)
    for index, column in enumerate(columns):
        if index < words:
            table.add_column(column, overflow="fold")
        else:
            table.add_column(column, justify="right", no_wrap=True)
    return table


def _print_problems(rows: Sequence[Row], moment: datetime, out: Console) -> None:
    if not rows:
        return
    out.print(f"\n[bold]{escape(rows[0]['status'].capitalize())}[/]")
    for row in rows:
        text, step = _problem(row, moment)
        out.print(f"{escape(row['flow'])}, owner {escape(row['owner'])}: {escape(text)}", highlight=False)
        out.print(Padding(f"next: {escape(step)}", (0, 0, 0, 2)), highlight=False)


def _print_schema_changes(rows: Sequence[Row], out: Console) -> None:
    if rows:
        out.print("\n[bold]Columns of sources that changed within 30 days[/]")
    for row in rows:
        detail = f": {row['detail']}" if row["detail"] else ""
        text = f"{row['flow']}: {row['column_name']} {row['change']}{detail}, first in load {row['first_load_id']}"
        out.print(escape(text), highlight=False)


def _problem(row: Row, moment: datetime) -> tuple[str, str]:
    again = f"Run the DAG {row['dag_id']} or './o2c sync {row['flow']}'."
    if row["status"] == "held back":
        since = f"since {_at(row['held_since'])}, load {row['last_attempt_load_id']} {row['last_attempt_state']}. "
        return since + _told(row["last_error"]), next_step_of(row["last_error"]) or again
    late = f"due {_at(row['due_at'])}, {span(moment - row['due_at'])} ago."
    if row["last_attempt_state"] in ("extracting", "staged", "gated"):
        late += (
            f" Load {row['last_attempt_load_id']} is {row['last_attempt_state']} since {_at(row['last_attempt_at'])}."
        )
    return late, again


def _told(error: str | None) -> str:
    where = [line.strip().removeprefix("where:").strip() for line in (error or "").splitlines() if "where:" in line]
    return what_of(error) + (f" ({where[0]})" if where else "")


def _at(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else numbers.MISSING


def plain(rows: Sequence[Row]) -> tuple[list[str], list[list[Any]]]:
    """Rows as columns and values for CSV and JSON: intervals in seconds."""
    columns = list(rows[0]) if rows else []
    return columns, [[_seconds(row[name]) for name in columns] for row in rows]


def _seconds(value: Any) -> Any:
    return int(value.total_seconds()) if hasattr(value, "total_seconds") else value
