"""DDL of ``raw``: one append-only table per entity, made from its contract."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from o2c.contracts.entity import Entity
from o2c.errors import UsageError

BEFORE = (("source_system", "text not null"),)
AFTER = (
    ("_load_id", "text not null"),
    ("_published_at", "timestamptz not null"),
    ("_row_hash", "bytea not null"),
    ("_key_hash", "bigint not null"),
    ("_deleted", "boolean not null default false"),
    ("_landing_file", "text"),
)

_INDEXES = (("_key_hash", "btree (_key_hash)"), ("_published_at", "brin (_published_at)"))


def create_raw_tables(connection: psycopg.Connection, entities: Iterable[Entity]) -> None:
    """Create the tables that are missing and add the columns that are new.

    Raises:
        UsageError: a column stands in the warehouse with another type than in the contract.
    """
    for entity in entities:
        _create(connection, entity)
        _check(connection, entity)


def _create(connection: psycopg.Connection, entity: Entity) -> None:
    table = sql.Identifier("raw", entity.name)
    columns = [*BEFORE, *((column.name, column.sql_type) for column in entity.columns.values()), *AFTER]
    definitions = [sql.SQL("{} ").format(sql.Identifier(name)) + sql.SQL(kind) for name, kind in columns]
    body = sql.SQL(", ").join(definitions)
    connection.execute(sql.SQL("create table if not exists {} ({})").format(table, body))
    for definition in definitions:
        connection.execute(sql.SQL("alter table {} add column if not exists {}").format(table, definition))
    _create_indexes(connection, entity)
    comment = sql.SQL("comment on table {} is {}").format(table, sql.Literal(entity.description))
    connection.execute(comment)


def _create_indexes(connection: psycopg.Connection, entity: Entity) -> None:
    """One to find a record's versions, a small one to find a load's rows, which lie together."""
    for name, kind in _INDEXES:
        connection.execute(
            sql.SQL("create index if not exists {} on {} using {}").format(
                sql.Identifier(f"{entity.name}{name}"), sql.Identifier("raw", entity.name), sql.SQL(kind)
            )
        )


@contextmanager
def indexes_rebuilt(connection: psycopg.Connection, entity: Entity) -> Iterator[None]:
    """Build the indexes after the first rows instead of row by row: a third of the cost of a first load.

    Only while the table is empty, when nobody can be looking for anything in it, and for who owns it.
    """
    table = sql.Identifier("raw", entity.name)
    filled_or_foreign = connection.execute(
        sql.SQL(
            "select exists (select from {table}) or not pg_has_role(c.relowner, 'usage') from pg_class as c"
            " where c.oid = {name}::regclass"
        ).format(table=table, name=sql.Literal(f'raw."{entity.name}"'))
    ).fetchone()
    if filled_or_foreign and filled_or_foreign[0]:
        yield
        return
    for name, _ in _INDEXES:
        connection.execute(sql.SQL("drop index if exists {}").format(sql.Identifier("raw", f"{entity.name}{name}")))
    yield
    _create_indexes(connection, entity)


def _check(connection: psycopg.Connection, entity: Entity) -> None:
    rows = connection.execute(
        "select a.attname, format_type(a.atttypid, null) from pg_catalog.pg_attribute a"
        " where a.attrelid = %s::regclass and a.attnum > 0 and not a.attisdropped",
        [f'raw."{entity.name}"'],
    ).fetchall()
    found = {name: kind.replace("timestamp with time zone", "timestamptz") for name, kind in rows}
    for column in entity.columns.values():
        if found[column.name] != column.sql_type:
            raise UsageError(
                f"The warehouse holds {column.name} as {found[column.name]}, the contract says {column.sql_type}.",
                where=f"raw.{entity.name}",
                next_step="Give the changed column a new name in the contract; published history keeps its type.",
            )
