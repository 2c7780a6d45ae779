"""The ``o2c`` command: the same functions the DAGs call, for a person at a terminal."""

from __future__ import annotations

import importlib
import importlib.util
from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from o2c.connections import from_environment
from o2c.contracts.catalogue import load_catalogue
from o2c.contracts.flow import Flow
from o2c.errors import UsageError
from o2c.settings import Settings
from o2c.terminal import reconcile as reconcile_commands
from o2c.terminal import resync as resync_commands
from o2c.terminal import trace, verify
from o2c.terminal.alert_commands import app as alerts_app
from o2c.terminal.output import Format, console, plain_errors, show_rows, show_table
from o2c.terminal.quarantine import app as quarantine_app

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Order-to-cash warehouse: loads you can prove, receivables as of any date, leaks counted once.",
)
flow_app = typer.Typer(no_args_is_help=True, help="Check and list flow files.")
app.add_typer(flow_app, name="flow")
app.add_typer(alerts_app, name="alerts")
app.add_typer(verify.app, name="verify")
app.command("sign-off")(verify.sign_off)
app.command("trace")(trace.trace)
app.add_typer(quarantine_app, name="quarantine")
app.command("resync")(resync_commands.resync)
app.command("reconcile")(reconcile_commands.reconcile)

FormatOption = Annotated[Format, typer.Option("--format", help="How to print rows.")]
AsOf = Annotated[datetime | None, typer.Option("--as-of", formats=["%Y-%m-%d"], help="Business date, YYYY-MM-DD.")]


@app.command()
def init() -> None:
    """Prepare an empty warehouse: schemas, operations tables, one raw table per entity."""
    from o2c.warehouse.migrate import migrate

    with plain_errors():
        settings = Settings.load()
        from o2c.contracts.entity import load_entities

        entities = load_entities(settings.entities_dir)
        applied = migrate(settings, entities)
        _register_flows(settings)
        settings.landing_dir.mkdir(parents=True, exist_ok=True)
        settings.reports_dir.mkdir(parents=True, exist_ok=True)
        done = ", ".join(applied) or "none, it was up to date"
        console.print(f"Warehouse ready: {len(entities)} raw tables; migrations applied: {done}.")
        _say_missing_roles(settings)


@flow_app.command("check")
def flow_check(
    name: Annotated[str | None, typer.Argument(help="A flow or a source; all when left out.")] = None,
) -> None:
    """Check flow files: the eight keys, columns, rules; says file, line, key and what is expected."""
    with plain_errors():
        flows = _chosen([name] if name else [])
        show_table(
            ["flow", "entity", "connector", "columns", "rules", "owner"],
            [
                (f.name, f.entity.name, f.source["connector"], len(f.mapping), len(f.all_rules), f.monitoring.owner)
                for f in flows
            ],
        )
        console.print(f"{len(flows)} flows hold.")


@flow_app.command("guide")
def flow_guide(page: Annotated[Path, typer.Argument(help="Where to write the page.")]) -> None:
    """Write the mapping guide: every flow's columns, code lists and rules, as Markdown."""
    from o2c.contracts.guide import mapping_guide

    with plain_errors():
        page.write_text(mapping_guide(load_catalogue(Settings.load())), encoding="utf-8")
        console.print(str(page))


@app.command()
def sync(
    names: Annotated[list[str] | None, typer.Argument(help="Flows or sources; all when left out.")] = None,
    since: resync_commands.From = None,
    until: resync_commands.To = None,
    dry_run: resync_commands.DryRun = False,
) -> None:
    """Extract, gate and publish flows; with --from, read a window of one again. Exit code 1 when one is held back."""
    from o2c.loads.sync import sync as sync_flows

    with plain_errors():
        flows = _chosen(names or [])
        if since or until or dry_run:
            resync_commands.backfill(flows, since, until, is_dry=dry_run)
            return
        with console.status(f"Loading {len(flows)} flows ..."):
            results = sync_flows(Settings.load(), flows, from_environment)
        rows = [
            (r.flow, r.published.load_id, r.published.source_rows, *r.published.rows.values())
            if r.published
            else (r.flow, "held back", None, None, None, None)
            for r in results
        ]
        show_table(["flow", "load", "source", "published", "quarantined", "duplicate"], rows)
        errors = [result for result in results if result.error]
        for result in errors:
            console.print(f"[bold red]{escape(result.flow)}[/]: {escape(str(result.error))}", highlight=False)
        if errors:
            raise typer.Exit(max(result.error.exit_code for result in errors if result.error))


@app.command()
def status(
    flow: Annotated[str | None, typer.Argument(help="A flow or a source; all when left out.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="A record's source key; parts joined by a slash.")] = None,
    form: FormatOption = Format.table,
) -> None:
    """Show where flows stand, or with --key one record. Exit code 1 when something is overdue or held back."""
    from o2c.terminal.status_command import status as show_status

    with plain_errors():
        if flow:
            _chosen([flow])
        if not show_status(Settings.load(), flow, key, form):
            raise typer.Exit(1)


@app.command()
def build(as_of: AsOf = None) -> None:
    """Build the marts as of a date, then run the tie-outs."""
    from o2c.warehouse.build import build_models, reconcile_marts

    with plain_errors():
        settings = Settings.load()
        day = _business_date(settings, as_of)
        with console.status(f"Building the marts as of {day} ..."):
            build_models(settings, day)
            reconcile_marts(settings, day)
        console.print(f"Marts built as of {day}; every tie-out holds.")


@app.command()
def sql(statement: Annotated[str, typer.Argument(help="One SQL query.")], form: FormatOption = Format.table) -> None:
    """Ask the warehouse, read only."""
    from o2c.warehouse.query import ask

    with plain_errors():
        columns, rows = ask(Settings.load(), statement)
        show_rows(columns, rows, form)


@app.command()
def report() -> None:
    """Write the receivables page and workbook from the marts as they stand."""
    from o2c.reports.packs import write_packs

    with plain_errors():
        for path in write_packs(Settings.load()):
            console.print(str(path))


def _say_missing_roles(settings: Settings) -> None:
    from o2c.warehouse.roles import CREATE_ROLES, missing_roles
    from o2c.warehouse.session import connect

    with connect(settings) as connection:
        missing = missing_roles(connection)
    if missing:
        console.print(f"No rights were given: the server lacks the roles {', '.join(missing)}, and this user may not")
        console.print("create roles. Let an administrator of the server run this, then run 'o2c init' again:")
        console.print("\n".join(f"  {statement};" for statement in CREATE_ROLES), highlight=False)


def _register_flows(settings: Settings) -> None:
    """Make the flows known to the warehouse, so that one that never starts is missed, and keep their contracts."""
    from o2c.warehouse.contract_version import contracts_of, record_versions
    from o2c.warehouse.evidence import append_all
    from o2c.warehouse.flow_table import register, retire_others
    from o2c.warehouse.session import connect

    if not any(settings.flows_dir.glob("*/*.yml")):
        return
    flows = load_catalogue(settings).flows.values()
    with connect(settings) as connection:
        register(connection, flows)
        retire_others(connection, flows)
        append_all(connection, record_versions(connection, contracts_of(flows)))


def _chosen(names: list[str]) -> list[Flow]:
    catalogue = load_catalogue(Settings.load())
    if not names:
        return list(catalogue.flows.values())
    return [flow for name in names for flow in ([catalogue.flow(name)] if "/" in name else catalogue.group(name))]


def _business_date(settings: Settings, given: datetime | None) -> date:
    day = given.date() if given else settings.as_of
    if day is None:
        raise UsageError("A build needs its business date.", next_step="Give --as-of YYYY-MM-DD, or set O2C_AS_OF.")
    return day


def _add_commands_beside() -> None:
    """Commands that come with the checkout but not with the library, such as those of the sample company."""
    if importlib.util.find_spec("demo"):
        app.add_typer(importlib.import_module("demo.commands").app, name="demo")


_add_commands_beside()

if __name__ == "__main__":
    app()
