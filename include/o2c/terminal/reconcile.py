"""``o2c reconcile``: compare a source's keys with the warehouse, at a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from o2c.connections import from_environment
from o2c.contracts.catalogue import load_catalogue
from o2c.contracts.flow import Flow
from o2c.errors import UsageError
from o2c.settings import Settings
from o2c.terminal.output import console, plain_errors, show_table
from o2c.warehouse.decisions import Decision

if TYPE_CHECKING:
    from o2c.loads.reconcile import Reconciled

# A person waits shorter for a load that is under way than a DAG does.
_PATIENCE = 60.0
_COLUMNS = ["flow", "load", "in source", "alive here", "deleted", "missed", "read again", "not due yet"]


def reconcile(
    names: Annotated[
        list[str] | None, typer.Argument(help="Flows or sources; all that list their keys when left out.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change; write nothing.")] = False,
    accept_deletes: Annotated[
        bool, typer.Option("--accept-deletes", help="Delete more than the flow allows at once; needs --by, --reason.")
    ] = False,
    by: Annotated[str | None, typer.Option("--by", help="Who agrees to the deletes.")] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why they are right.")] = None,
) -> None:
    """List all keys of a source: mark as deleted what is gone there, read again what was missed here."""
    from o2c.loads.reconcile import Scan, preview
    from o2c.loads.reconcile import reconcile as run

    with plain_errors():
        settings = Settings.load()
        flows = _chosen(settings, names or [])
        agreed = _agreement(flows, accept=accept_deletes, by=by, reason=reason)
        with console.status(f"Comparing the keys of {len(flows)} flows ..."):
            if dry_run:
                results = preview(settings, flows, from_environment)
            else:
                results = run(settings, flows, from_environment, Scan(agreed=agreed, patience=_PATIENCE))
        show_table(_COLUMNS, [_row(result, dry_run=dry_run) for result in results])
        errors = [result.error for result in results if result.error]
        for error in errors:
            console.print(f"[bold red]held back[/]: {escape(str(error))}", highlight=False)
        if errors:
            raise typer.Exit(max(error.exit_code for error in errors))


def _chosen(settings: Settings, names: list[str]) -> list[Flow]:
    catalogue = load_catalogue(settings)
    if not names:
        return [flow for flow in catalogue.flows.values() if flow.scans_deletes]
    flows = []
    for name in names:
        if "/" not in name:
            flows += [flow for flow in catalogue.group(name) if flow.scans_deletes]
            continue
        flow = catalogue.flow(name)
        if not flow.scans_deletes:
            raise UsageError(
                f"The flow '{name}' does not list its keys.",
                where=flow.where("source"),
                next_step="Add 'deletes: {scan: daily}' to source, if its connector is postgres or salesforce.",
            )
        flows.append(flow)
    return flows


def _agreement(flows: list[Flow], *, accept: bool, by: str | None, reason: str | None) -> Decision | None:
    if not accept:
        if by or reason:
            raise UsageError("A name and a reason go with --accept-deletes.", next_step="Add it, or leave them out.")
        return None
    if len(flows) != 1:
        raise UsageError("Deletes are agreed to flow by flow.", next_step="Name one flow, such as erp/invoices.")
    return Decision("accept_deletes", by or "", reason or "")


def _row(result: Reconciled, *, dry_run: bool) -> tuple[object, ...]:
    if result.error:
        return (result.flow, "held back", *[None] * 6)
    if result.found is None:
        return (result.flow, "not loaded yet", *[None] * 6)
    found = result.found
    load = result.published.load_id if result.published else "dry run" if dry_run else ""
    read_again = result.read_again.rows["published"] if result.read_again else 0
    return (result.flow, load, found.source, found.known, found.deleted, found.missed, read_again, found.pending)
