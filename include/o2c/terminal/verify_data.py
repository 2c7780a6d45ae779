"""``o2c verify balance | checksum | rebuild``: do the rows hold, not only the evidence about them?"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

import typer
from rich.markup import escape

from o2c.contracts.catalogue import load_catalogue
from o2c.contracts.entity import load_entities
from o2c.settings import Settings
from o2c.terminal.output import Format, console, plain_errors, show_rows, show_table
from o2c.warehouse.balance import imbalances
from o2c.warehouse.checksum import VOLATILE, Difference, checksum
from o2c.warehouse.session import connect


def balance() -> None:
    """Compare the ledger with raw and with the quarantine, in rows and money; names every load that does not close."""
    with plain_errors():
        settings = Settings.load()
        with connect(settings) as connection:
            found = imbalances(connection, load_entities(settings.entities_dir).values())
            row = connection.execute("select count(*) from ops.load_ledger").fetchone()
        if found:
            columns = ["load", "flow", "what", "ledger", "found"]
            show_table(columns, [(each.load_id, each.flow, each.what, each.ledger, each.found) for each in found])
            loads = len({each.load_id for each in found})
            console.print(f"[bold red]{loads} loads do not close.[/]")
            raise typer.Exit(1)
        console.print(f"{row[0] if row else 0:,} loads close: ledger, raw and quarantine agree in rows and money.")


def show_checksums(
    schemas: Annotated[list[str] | None, typer.Argument(help="Schemas; raw when left out.")] = None,
    without_volatile: Annotated[
        bool, typer.Option("--without-volatile", help="Leave out load ids and times: to compare two runs.")
    ] = False,
    form: Annotated[Format, typer.Option("--format", help="How to print rows.")] = Format.table,
) -> None:
    """Print a checksum per table: the same rows give the same one, in whatever order they lie."""
    with plain_errors(), connect(Settings.load()) as connection:
        found = checksum(connection, schemas or ["raw"], VOLATILE if without_volatile else ())
        rows = [(each.table, each.rows, each.digest) for each in found.values()]
        show_rows(["table", "rows", "sha256"], rows, form)


def rebuild(
    as_of: Annotated[
        datetime | None, typer.Option("--as-of", formats=["%Y-%m-%d"], help="Also the marts, as of this date.")
    ] = None,
    scratch: Annotated[
        str | None, typer.Option("--scratch", help="URL of an empty database; one is created and dropped without.")
    ] = None,
) -> None:
    """Publish every load again from its landing files, beside the warehouse, and compare raw (and the marts)."""
    from o2c.loads.rebuild import rebuild as run
    from o2c.warehouse.scratch import scratch_database

    with plain_errors():
        settings = Settings.load()
        day: date | None = as_of.date() if as_of else settings.as_of
        with scratch_database(settings, scratch) as beside:
            with console.status("Publishing every load again ..."):
                result = run(settings, beside, load_catalogue(settings))
            for flow, loads in result.outdated.items():
                console.print(
                    f"The contract of {flow} has changed since {len(loads)} of its loads: {', '.join(loads)}."
                )
            for text in result.different_loads:
                console.print(f"[bold red]Load {escape(text)}[/]", highlight=False)
            _show_differences(result.differences)
            console.print(f"raw: {result.loads:,} loads published again from their landing files.")
            differing = _marts(settings, beside, day) if day else []
        if not result.holds or differing:
            console.print("[bold red]The warehouse is not what its landing files give.[/]")
            raise typer.Exit(1)
        console.print("Byte-identical.")


def _marts(settings: Settings, beside: Settings, day: date) -> list[Difference]:
    from o2c.loads.rebuild_marts import differing_marts

    with console.status(f"Building the marts as of {day} ..."):
        what, differing = differing_marts(settings, beside, day)
    _show_differences(differing)
    console.print(f"marts as of {day}: compared {what}.")
    return differing


def _show_differences(differences: list[Difference]) -> None:
    if differences:
        columns = ["table", "rows only in the warehouse", "rows only in the rebuild", "for example"]
        show_table(columns, [(each.table, each.only_here, each.only_there, each.example) for each in differences])
