"""``o2c status`` in its three formats."""

from __future__ import annotations

from datetime import UTC, datetime

from o2c.errors import O2CError
from o2c.settings import Settings
from o2c.terminal import status as page
from o2c.terminal.output import Format, console, problems, show_rows
from o2c.warehouse import sync_info
from o2c.warehouse.session import connect


def status(settings: Settings, name: str | None, key: str | None, form: Format) -> bool:
    """Print where flows stand, or where one record does; False when something is overdue, held back or silent.

    Raises:
        O2CError: nothing is known of the record.
    """
    moment = datetime.now(UTC)
    with connect(settings) as connection:
        connection.read_only = True
        if key is not None:
            _show_record(sync_info.record(connection, key, name), key, form)
            return True
        if form is Format.table:
            return page.show(connection, moment, name, console)
        flows = sync_info.flows(connection, moment, name)
        quiet = sync_info.silence(connection, moment)
    show_rows(*page.plain(flows), form)
    if quiet:
        problems.print(page.silent(quiet), highlight=False)
    return page.is_well(flows, quiet)


def _show_record(rows: list[sync_info.Row], key: str, form: Format) -> None:
    if not rows:
        raise O2CError(
            f"Nothing is known of a record with the key '{key}'.",
            where="raw and quarantine, by source key",
            next_step="Write the key as the source does, its parts joined by a slash, without the source system.",
        )
    if form is Format.table:
        page.show_record(rows, console)
    else:
        show_rows(*page.plain(rows), form)
