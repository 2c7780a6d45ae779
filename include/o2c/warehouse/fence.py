"""Fencing: of all who hold a load of one flow, only the newest may publish, and it is told so at once."""

from __future__ import annotations

import psycopg

from o2c.contracts.flow import Flow
from o2c.errors import FenceLost, WarehouseError
from o2c.warehouse.ledger import Load

# How long a publication waits for another one of its flow or table, or for a long report, before it gives up.
_LONGEST_WAIT = "60s"
_LONGEST_SILENCE = "30s"


def hold(connection: psycopg.Connection, flow: Flow, load: Load) -> None:
    """Keep everybody else from publishing ``flow`` or into its table until the caller's transaction ends.

    Raises:
        FenceLost: a newer load of the flow has started, or this one is not waiting to be published. Who is late
            is refused before anything is waited for.
        WarehouseError: somebody else has held the locks for a minute.
    """
    _check(connection, load)
    connection.execute(f"set local lock_timeout = '{_LONGEST_WAIT}'")
    # A process that stops in the middle must not keep the flow for ever.
    connection.execute(f"set local idle_in_transaction_session_timeout = '{_LONGEST_SILENCE}'")
    try:
        for name in sorted((f"flow {flow.name}", f"table {flow.entity.name}")):
            connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", [name])
        _check(connection, load, lock=True)
    except psycopg.errors.LockNotAvailable:
        raise WarehouseError(
            f"Another load has been publishing for longer than {_LONGEST_WAIT}.",
            where=f"{flow.name}, load {load.load_id}",
            next_step="Nothing was published. See pg_stat_activity for who holds the lock, then publish again.",
        ) from None


def hold_table(connection: psycopg.Connection, entity: str) -> None:
    """Keep everybody from publishing into the table of ``entity`` until the caller's transaction ends."""
    connection.execute(f"set local lock_timeout = '{_LONGEST_WAIT}'")
    try:
        connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"table {entity}"])
    except psycopg.errors.LockNotAvailable:
        raise WarehouseError(
            f"A load has been publishing for longer than {_LONGEST_WAIT}.",
            where=f"raw.{entity}",
            next_step="Nothing was changed. See pg_stat_activity for who holds the lock, then try again.",
        ) from None


def superseded(load: Load, state: str = "superseded") -> FenceLost:
    """The error of a load that may not go on: a newer one has started, or it has had its last word."""
    why = "a newer load of the flow has started" if state in ("gated", "superseded") else f"it is {state}"
    return FenceLost(
        f"Load {load.load_id} may not publish: {why}.",
        where=load.flow,
        next_step="Nothing to do when it is published or a newer load carries the rows; else run the flow again.",
    )


def _check(connection: psycopg.Connection, load: Load, *, lock: bool = False) -> None:
    held = "select f.token, l.state from ops.fence as f inner join ops.load as l using (flow) where l.load_id = %s"
    row = connection.execute(f"{held} for update" if lock else held, [load.load_id]).fetchone()
    if row is None or row[0] != load.fence or row[1] != "gated":
        raise superseded(load, row[1] if row else "unknown")
