"""How far a cursor may move in a Postgres source: not beyond what an open transaction may still commit behind it.

A transaction stamps its rows when it starts and shows them when it commits. A cursor that has moved past its start
never sees them. So the start of the oldest open transaction of the database is the horizon. It is asked *before*
the snapshot that reads: who commits in between is read, who starts in between stamps later than the question.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg

from o2c.connectors.base import CursorLimit

# Autovacuum and replication senders write no rows; other extracts of ours cannot. Everybody may see who holds a
# virtual transaction id, that is: has a transaction open; since when, only those with the right to.
_ASK = """
select
    case when pg_is_in_recovery() then least(statement_timestamp(), pg_last_xact_replay_timestamp())
        else statement_timestamp() end as asked_at, min(a.xact_start) as oldest,
    (array_agg(a.pid order by a.xact_start) filter (where a.xact_start is not null))[1] as pid,
    exists (select from pg_prepared_xacts where database = current_database()) as is_prepared,
    coalesce(array_agg(l.virtualxid) filter (where a.query = '<insufficient privilege>' and l.virtualxid is not null),
        array[]::text[]) as hidden
from pg_stat_activity as a left join pg_locks as l on l.pid = a.pid and l.locktype = 'virtualxid'
    and l.virtualxid = l.virtualtransaction
where a.datname = current_database() and a.pid <> pg_backend_pid()
    and coalesce(a.backend_type, '') not in ('autovacuum worker', 'walsender')
    and not (a.usename = current_user and a.application_name = 'o2c extract')
"""
# A transaction shows its start a moment after it has begun.
_MARGIN = timedelta(seconds=1)
# What cannot be seen is waited for: most transactions end within seconds.
_WAITS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)


@dataclass(frozen=True)
class _Activity:
    asked_at: datetime
    oldest: datetime | None
    pid: int | None
    is_prepared: bool
    hidden: list[str]


def ask(connection: psycopg.Connection, sleep: Callable[[float], None]) -> CursorLimit:
    """The limit of a window that is read after this question; ``connection`` is in autocommit.

    A login that may not see the sessions of others (it lacks ``pg_read_all_stats``) sees that transactions are open,
    but not since when. It waits for them to end, some seconds at most; then the cursor is held. A standby does not
    know the transactions of its primary: there the limit is what it has replayed, and the overlap covers the rest.
    """
    first = _look(connection)
    asked_at = first.asked_at.isoformat()
    if first.is_prepared:
        return CursorLimit(None, asked_at, "a prepared transaction is open")
    if not _have_ended(connection, set(first.hidden), sleep):
        return CursorLimit(None, asked_at, "a transaction that this login may not see is open")
    at = min(filter(None, (first.oldest, first.asked_at))) - _MARGIN
    reason = f"process {first.pid} has a transaction open since {first.oldest.isoformat()}" if first.oldest else ""
    return CursorLimit(at.isoformat(), asked_at, reason)


def _look(connection: psycopg.Connection) -> _Activity:
    row = connection.execute(_ASK).fetchone()
    assert row is not None
    return _Activity(*row)


def _have_ended(connection: psycopg.Connection, waiting_for: set[str], sleep: Callable[[float], None]) -> bool:
    """Wait for the transactions with these ids; False when some are still open at the end."""
    for wait in _WAITS:
        if not waiting_for:
            return True
        sleep(wait)
        waiting_for &= set(_look(connection).hidden)
    return not waiting_for
