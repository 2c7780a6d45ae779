"""``o2c quarantine``: what was held back, and what a named person decides about it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.markup import escape

from o2c.contracts.catalogue import load_catalogue
from o2c.settings import Settings
from o2c.terminal.output import Format, console, plain_errors, show_rows
from o2c.warehouse.decisions import Decision, read_records
from o2c.warehouse.session import connect

app = typer.Typer(no_args_is_help=True, help="List and show records held back; release, reject or resync them.")

_LIST = """
select record_id as record, flow, source_key as key, currency_code as currency, amount,
    array_to_string(rules, ', ') as rules, owner, state, quarantined_at as since
from quarantine.record
where (%(state)s = 'all' or state = %(state)s) and (%(rule)s::text is null or %(rule)s = any(rules))
    and (%(flow)s::text is null or flow = %(flow)s or flow like %(flow)s || '/%%')
order by record_id
"""
_SHOW = """
select record_id as record, state, flow, entity, source_key as key, currency_code as currency, amount,
    array_to_string(rules, ', ') as rules, reason, owner, load_id as load, origin_load_id as landing_load,
    landing_file, landing_row, quarantined_at, closed_at, closed_by_load_id as closed_by_load, payload::text as payload
from quarantine.record where record_id = any(%s) order by record_id
"""
_DECISIONS = """
select decision, decided_by as by, reason, decided_at as at, load_id as load
from quarantine.decision where record_id = any(%s) order by decision_id
"""


class State(StrEnum):
    """States of a record, and all of them."""

    open = "open"
    superseded = "superseded"
    released = "released"
    rejected = "rejected"
    all = "all"


Records = Annotated[list[int], typer.Argument(help="Numbers of records, as 'o2c quarantine list' shows them.")]
By = Annotated[str, typer.Option("--by", help="Who decides: a person's name. Kept.")]
Reason = Annotated[str, typer.Option("--reason", help="Why. Kept.")]
FormatOption = Annotated[Format, typer.Option("--format", help="How to print rows.")]


@app.command("list")
def list_records(
    flow: Annotated[str | None, typer.Argument(help="A flow or a source; all when left out.")] = None,
    state: Annotated[State, typer.Option("--state", help="Which records.")] = State.open,
    rule: Annotated[str | None, typer.Option("--rule", help="Only records that broke this rule.")] = None,
    form: FormatOption = Format.table,
) -> None:
    """List records with their money and the rules they broke."""
    with plain_errors():
        settings = Settings.load()
        if flow:
            catalogue = load_catalogue(settings)
            catalogue.flow(flow) if "/" in flow else catalogue.group(flow)
        show_rows(*_ask(settings, _LIST, {"flow": flow, "state": state.value, "rule": rule}), form, "Quarantine")


@app.command()
def show(record: Annotated[int, typer.Argument(help="Number of a record.")], form: FormatOption = Format.table) -> None:
    """Show one record: the row as it came, where its bytes lie, and what was decided about it."""
    with plain_errors():
        settings = Settings.load()
        with connect(settings) as connection:
            read_records(connection, [record])
        columns, rows = _ask(settings, _SHOW, [[record]])
        if form is not Format.table:
            show_rows(columns, rows, form)
            return
        show_rows(["field", "value"], [(c, v) for c, v in zip(columns, rows[0], strict=True) if v is not None], form)
        columns, rows = _ask(settings, _DECISIONS, [[record]])
        if rows:
            show_rows(columns, rows, form, "Decisions")


@app.command()
def release(records: Records, by: By, reason: Reason) -> None:
    """Publish rows as they stand, although a rule held them back: a named person says they are right."""
    _decide(records, "release", by, reason)


@app.command()
def reject(records: Records, by: By, reason: Reason) -> None:
    """Close records for good: their rows will never be loaded."""
    _decide(records, "reject", by, reason)


@app.command()
def resync(records: Records, by: By, reason: Reason) -> None:
    """Load rows again from their landing files, under the mapping and the rules of today."""
    _decide(records, "resync", by, reason)


def _decide(records: list[int], kind: str, by: str, reason: str) -> None:
    with plain_errors():
        settings, decision = Settings.load(), Decision(kind, by, reason)
        from o2c.loads.quarantine import decide

        for done in decide(settings, load_catalogue(settings).flows, records, decision):
            numbers = ", ".join(str(record.record_id) for record in done.records)
            console.print(escape(f"{kind} by {by}: record {numbers}."), highlight=False)
            if done.published:
                rows = ", ".join(f"{count} {what}" for what, count in done.published.rows.items())
                console.print(f"  load {done.published.load_id}: {done.published.source_rows} rows, {rows}.")


def _ask(settings: Settings, query: str, parameters: Any) -> tuple[list[str], Sequence[tuple[Any, ...]]]:
    with connect(settings) as connection:
        cursor = connection.execute(query.encode(), parameters)
        return [column.name for column in cursor.description or ()], cursor.fetchall()
