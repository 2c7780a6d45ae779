"""Where the cursor of a load may move: to the newest row it landed, but not past the source's open transactions."""

from __future__ import annotations

import psycopg
from psycopg import sql

from o2c.contracts.flow import Flow
from o2c.errors import FatalSourceError
from o2c.warehouse.landing import Landed
from o2c.warehouse.ledger import Load


def cursor_to(connection: psycopg.Connection, flow: Flow, load: Load, landed: Landed) -> tuple[str, ...] | None:
    """The cursor to commit with this load, as text in the order of the flow's cursor; never before the load's own.

    Raises:
        FatalSourceError: a cursor value is no timestamp (``schema_drift``).
    """
    if not flow.cursor or not landed.copied_rows:
        return load.cursor
    newest = _newest(connection, flow, load, landed)
    if newest is None or landed.is_cursor_held:
        return load.cursor
    if landed.cursor_limit and _is_before(connection, landed.cursor_limit, newest[0]):
        # The limit is an instant, not a row: it has no key.
        newest = (landed.cursor_limit, "")
    if load.cursor and _is_before(connection, newest[0], load.cursor[0]):
        return load.cursor
    return newest


def _newest(connection: psycopg.Connection, flow: Flow, load: Load, landed: Landed) -> tuple[str, ...] | None:
    time, key = (landed.columns[name] for name in flow.cursor)
    query = sql.SQL(
        "select {time}, coalesce({key}, '') from {table} where {time} is not null"
        " order by {time}::timestamptz desc, {key} desc limit 1"
    ).format(time=sql.Identifier(time), key=sql.Identifier(key), table=sql.Identifier("landing", load.landing_table))
    try:
        row = connection.execute(query).fetchone()
    except psycopg.DataError as error:
        raise FatalSourceError(
            f"The cursor column '{flow.cursor[0]}' holds a value that is no timestamp: {error.diag.message_primary}.",
            reason="schema_drift",
            where=flow.where("source", "cursor"),
            next_step="Choose a column that is always a timestamp.",
        ) from None
    return tuple(str(value) for value in row) if row else None


def _is_before(connection: psycopg.Connection, first: str, second: str) -> bool:
    row = connection.execute("select %s::timestamptz < %s::timestamptz", [first, second]).fetchone()
    return bool(row and row[0])
