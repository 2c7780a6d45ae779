"""Where flows and records stand: the views of ``ops`` for programs, and whether anything starts loads at all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from o2c.warehouse.session import trusted

# A watcher that has missed so many turns is not late, it is gone.
MISSED_TURNS = 3
_OF = sql.SQL("(%(name)s::text is null or flow = %(name)s or flow like %(name)s || '/%%')")

Row = dict[str, Any]


@dataclass(frozen=True)
class Silence:
    """Why it seems that nobody starts loads, and since when (UTC)."""

    what: str
    since: datetime | None
    next_step: str


def flows(connection: psycopg.Connection, moment: datetime, name: str | None = None) -> list[Row]:
    """``ops.sync_info_at(moment)`` for one flow, one source folder, or all: a row per flow, times in UTC."""
    return _ask(connection, "select * from ops.sync_info_at(%(moment)s) where {}", _OF, moment=moment, name=name)


def money(connection: psycopg.Connection, moment: datetime, name: str | None = None) -> list[Row]:
    """``ops.sync_money_at(moment)``: a row per flow and currency, exact amounts in that currency."""
    return _ask(connection, "select * from ops.sync_money_at(%(moment)s) where {}", _OF, moment=moment, name=name)


def quarantine(connection: psycopg.Connection, name: str | None = None) -> list[Row]:
    """``ops.quarantine_money``: a row per entity, flow, owner and currency that has open records."""
    query = "select * from ops.quarantine_money where {} order by flow, entity, currency_code"
    return _ask(connection, query, _OF, name=name)


def schema_changes(connection: psycopg.Connection, moment: datetime, name: str | None = None) -> list[Row]:
    """Columns of sources that were added, removed or retyped within 30 days before ``moment``, newest first."""
    query = (
        "select * from ops.schema_change where {} and first_seen_at <= %(moment)s"
        " and first_seen_at > %(moment)s - interval '30 days' order by first_seen_at desc, flow, column_name"
    )
    return _ask(connection, query, _OF, moment=moment, name=name)


def record(connection: psycopg.Connection, key: str, name: str | None = None) -> list[Row]:
    """``ops.sync_record``: what became of the records with this source key, a row per entity and source system."""
    return _ask(connection, "select * from ops.sync_record(%(key)s, %(name)s)", key=key, name=name)


def silence(connection: psycopg.Connection, moment: datetime) -> Silence | None:
    """None while loads are started; else why it seems that they are not.

    The watch beats each time it has come to its end, and within the shortest freshness promised some load must have
    started. Without any flow nothing is promised.
    """
    (row,) = _ask(
        connection,
        "select (select max(started_at) from ops.load where started_at <= %(moment)s) as started_at,"
        " (select min(registered_at) from ops.flow where retired_at is null) as registered_at,"
        " (select min(freshness) from ops.flow where retired_at is null) as freshness,"
        " (select beat_at from ops.heartbeat where watcher = 'watch_loads') as beat_at,"
        " (select every from ops.heartbeat where watcher = 'watch_loads') as every",
        moment=moment,
    )
    if row["freshness"] is None:
        return None
    is_quiet = moment - (row["started_at"] or row["registered_at"]) > row["freshness"]
    is_gone = row["beat_at"] is not None and moment - row["beat_at"] > MISSED_TURNS * row["every"]
    if is_gone:
        return _scheduler_down(row)
    if not is_quiet:
        return None
    if row["beat_at"] is None:
        return _scheduler_down(row)
    return Silence(
        "No load has started within the shortest freshness promised, though the scheduler runs",
        row["started_at"],
        "See in Airflow whether the sync DAGs are paused or wait for each other.",
    )


def beat(connection: psycopg.Connection, watcher: str, moment: datetime, every: timedelta) -> None:
    """Note that a watcher has come to its end; never earlier than before."""
    connection.execute(
        "insert into ops.heartbeat as h values (%s, %s, %s) on conflict (watcher) do update"
        " set beat_at = greatest(h.beat_at, excluded.beat_at), every = excluded.every",
        [watcher, moment, every],
    )


def _scheduler_down(row: Row) -> Silence:
    known = [at for at in (row["started_at"], row["beat_at"]) if at]
    return Silence(
        "The scheduler seems to be down",
        max(known) if known else None,
        "Look at the scheduler's process and log; loads carry on from their cursors once it runs.",
    )


def _ask(connection: psycopg.Connection, query: str, *parts: sql.SQL, **values: object) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(trusted(query).format(*parts), values).fetchall()
