"""Checksums of what is published, written here once more: the judge does not use the accused's own figures.

Rows as text in the order of that text, without what differs between any two runs: load ids and times of publication.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    from chaos.world import World

VOLATILE = {"_load_id", "_published_at"}
TABLES = {
    "crm": ("opportunity",),
    "erp": ("invoice", "receipt"),
    "payments": ("bank_line", "bank_statement", "processor_payout", "processor_transaction"),
}
_COLUMNS = (
    "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped"
    " order by attname"
)
_HELD = (
    "select entity, source_system, flow, rules, source_key, amount, currency_code, payload, state"
    " from quarantine.record where entity = any (%s)"
)


def of_group(world: World, group: str) -> dict[str, str]:
    """One sha256 per table that the group feeds, and one of its quarantine."""
    found = {f"raw.{name}": of_table(world, "raw", name) for name in TABLES[group]}
    rows = sorted(map(repr, world.rows(_HELD, list(TABLES[group]))))
    return {**found, f"quarantine.{group}": _digest(rows)}


def of_table(world: World, schema: str, table: str, without: set[str] = VOLATILE) -> str:
    """The sha256 of one table."""
    with world.connected() as connection:
        name = sql.Identifier(schema, table)
        columns = [row[0] for row in connection.execute(_COLUMNS, [f'"{schema}"."{table}"'])]
        kept = sql.SQL(", ").join(sql.Identifier(column) for column in columns if column not in without)
        rows = connection.execute(sql.SQL("select row({})::text from {}").format(kept, name)).fetchall()
    return _digest(sorted(row[0] for row in rows))


def of_schema(world: World, schema: str, without: set[str] = VOLATILE) -> dict[str, str]:
    """One sha256 per table and view of a schema, for the marts."""
    names = world.rows(
        "select relname from pg_class where relnamespace = %s::regnamespace and relkind in ('r', 'v', 'm') order by 1",
        schema,
    )
    return {f"{schema}.{name}": of_table(world, schema, name, without) for (name,) in names}


def _digest(rows: list[str]) -> str:
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()
