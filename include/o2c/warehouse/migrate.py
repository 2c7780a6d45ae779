"""Prepare a warehouse: schemas, operations tables, and one raw table per entity."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from o2c.contracts.entity import Entity
from o2c.settings import Settings
from o2c.warehouse.guards import ensure_guards
from o2c.warehouse.roles import ensure_roles
from o2c.warehouse.session import connect, trusted
from o2c.warehouse.tables import create_raw_tables

MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x6F32635F


def migrate(settings: Settings, entities: Mapping[str, Entity]) -> list[str]:
    """Apply what is missing, in one transaction, and return the names of the migrations applied.

    Safe to call again and from two places at once. Group roles are left out where the user may not create any
    (:func:`o2c.warehouse.roles.missing_roles` names them).

    Raises:
        WarehouseError: the warehouse cannot be reached.
        UsageError: a contract disagrees with a table that exists.
    """
    applied = []
    with connect(settings) as connection:
        connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
        connection.execute("create schema if not exists ops")
        connection.execute(
            "create table if not exists ops.migration (name text primary key, applied_at timestamptz default now())"
        )
        done = {name for (name,) in connection.execute("select name from ops.migration")}
        for path in sorted(MIGRATIONS.glob("*.sql")):
            if path.stem not in done:
                connection.execute(trusted(path.read_text(encoding="utf-8")))
                connection.execute("insert into ops.migration (name) values (%s)", [path.stem])
                applied.append(path.stem)
        create_raw_tables(connection, entities.values())
        ensure_guards(connection)
        ensure_roles(connection)
    return applied
