"""Checksums of tables: two tables have the same one when they hold the same rows, in whatever order.

Every row's sha256 is cut into numbers, and those are summed: the sum does not depend on the order, and a row that
comes twice counts twice. One scan per table, in the server.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import psycopg
from psycopg import sql

# Columns that tell which load brought a row and when: they differ between two runs on the same inputs.
VOLATILE = (
    "_load_id",
    "_published_at",
    "load_id",
    "next_load_id",
    "known_from",
    "known_to",
    "recorded_at",
    "first_known_at",
    "last_known_at",
)
_PARTS = 4
_BLOCK = 5_000


@dataclass(frozen=True)
class Checksum:
    """Rows of one table, and a digest in hex over all of them."""

    table: str
    rows: int
    digest: str


@dataclass(frozen=True)
class Difference:
    """One table that differs: rows here only, rows there only, and how one of them begins."""

    table: str
    only_here: int
    only_there: int
    example: str


def checksum(
    connection: psycopg.Connection, schemas: Sequence[str], without_columns: Sequence[str] = ()
) -> dict[str, Checksum]:
    """The checksum of every table and materialized view in ``schemas``, by ``schema.name``.

    Args:
        connection: any transaction; the settings of :func:`o2c.warehouse.session.connect` make texts comparable.
        schemas: for example ``["raw"]``.
        without_columns: columns left out wherever they stand, such as :data:`VOLATILE`.
    """
    return {
        f"{schema}.{table}": _checksum(connection, schema, table, columns)
        for schema, table, columns in _tables(connection, schemas, without_columns)
    }


def compare(
    here: psycopg.Connection,
    there: psycopg.Connection,
    schemas: Sequence[str],
    without_columns: Sequence[str] = (),
) -> list[Difference]:
    """The tables that differ between two databases, with counts and an example; empty when all are the same."""
    first, second = checksum(here, schemas, without_columns), checksum(there, schemas, without_columns)
    differences = []
    for name in sorted({*first, *second}):
        ours, theirs = first.get(name), second.get(name)
        if ours == theirs:
            continue
        if ours is None or theirs is None:
            only = (ours.rows, 0) if ours else (0, theirs.rows if theirs else 0)
            differences.append(Difference(name, *only, f"the table is missing {'there' if ours else 'here'}"))
        else:
            differences.append(_difference(here, there, name, without_columns))
    return differences


def _tables(
    connection: psycopg.Connection, schemas: Sequence[str], without_columns: Sequence[str]
) -> list[tuple[str, str, list[str]]]:
    return connection.execute(
        "select n.nspname, c.relname, array_agg(a.attname::text order by a.attname) from pg_class as c"
        " inner join pg_namespace as n on n.oid = c.relnamespace inner join pg_attribute as a on a.attrelid = c.oid"
        " where n.nspname = any(%s) and c.relkind in ('r', 'm', 'p') and a.attnum > 0 and not a.attisdropped"
        " and a.attname <> all(%s) group by 1, 2 order by 1, 2",
        [list(schemas), list(without_columns)],
    ).fetchall()


def _row_text(columns: Iterable[str]) -> sql.Composed:
    """A row as one text in which nothing and the empty text differ; columns in order of their names."""
    return sql.SQL("row({})::text").format(sql.SQL(", ").join(map(sql.Identifier, columns)))


def _checksum(connection: psycopg.Connection, schema: str, table: str, columns: list[str]) -> Checksum:
    part = "sum(('x' || substr(hash, {0}, 16))::bit(64)::bigint::numeric)"
    sums = sql.SQL(", ").join(sql.SQL(part).format(sql.Literal(16 * index + 1)) for index in range(_PARTS))
    row = connection.execute(
        sql.SQL(
            "select count(*), {sums} from (select encode(sha256(convert_to({row}, 'UTF8')), 'hex') as hash"
            " from {table} offset 0) as hashed"
        ).format(sums=sums, row=_row_text(columns), table=sql.Identifier(schema, table))
    ).fetchone()
    assert row is not None
    told = "|".join([",".join(columns), *(str(value) for value in row)])
    return Checksum(f"{schema}.{table}", row[0], hashlib.sha256(told.encode()).hexdigest())


def _difference(
    here: psycopg.Connection, there: psycopg.Connection, name: str, without_columns: Sequence[str]
) -> Difference:
    schema, table = name.split(".", 1)
    columns = {
        side: next(names for _, found, names in _tables(side, [schema], without_columns) if found == table)
        for side in (here, there)
    }
    with (
        _sorted_rows(here, schema, table, columns[here]) as ours,
        _sorted_rows(there, schema, table, columns[there]) as theirs,
    ):
        only_here, only_there, example = _merge(ours, theirs)
    return Difference(name, only_here, only_there, example)


def _merge(ours: Iterator[tuple[str, str]], theirs: Iterator[tuple[str, str]]) -> tuple[int, int, str]:
    """Walk two sorted streams side by side, in constant memory."""
    only_here = only_there = 0
    example = ""
    left, right = next(ours, None), next(theirs, None)
    while left or right:
        if left and right and left[0] == right[0]:
            left, right = next(ours, None), next(theirs, None)
        elif right is None or (left and left[0] < right[0]):
            assert left is not None
            only_here, example, left = only_here + 1, example or left[1], next(ours, None)
        else:
            only_there, example, right = only_there + 1, example or right[1], next(theirs, None)
    return only_here, only_there, example


@contextmanager
def _sorted_rows(
    connection: psycopg.Connection, schema: str, table: str, columns: list[str]
) -> Iterator[Iterator[tuple[str, str]]]:
    """Hash and key of every row, in order of the hash, by a cursor on the server."""
    with connection.cursor(name=f"rows_{uuid4().hex}") as cursor:
        cursor.itersize = _BLOCK
        cursor.execute(
            sql.SQL(
                "select encode(sha256(convert_to({row}, 'UTF8')), 'hex') as hash, {key} from {table} order by 1"
            ).format(row=_row_text(columns), key=_example(columns), table=sql.Identifier(schema, table))
        )
        yield iter(cursor)


def _example(columns: list[str]) -> sql.Composed:
    """What names a row for a person: identifiers, no names and no free text."""
    names = [name for name in columns if name.endswith(("_id", "_code", "_key")) or name == "source_system"]
    shown = [sql.SQL("{} || coalesce({}::text, '')").format(sql.Literal(f"{n}="), sql.Identifier(n)) for n in names]
    return sql.SQL("concat_ws(' '{})").format(sql.Composed([sql.SQL(", ") + text for text in shown]))
