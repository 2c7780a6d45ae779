"""The marts of a rebuilt ``raw``: are they those of the warehouse, byte for byte?"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
from psycopg import sql

from o2c.loads.rebuild import snapshot
from o2c.settings import Settings
from o2c.warehouse.build import build_models
from o2c.warehouse.checksum import Checksum, Difference, checksum, compare
from o2c.warehouse.session import connect

_BUILT = """
select nspname from pg_namespace
where nspname !~ '^pg_' and nspname not in ('information_schema', 'public', 'raw', 'ops', 'quarantine', 'landing')
order by 1
"""
# What stands in the marts is comparable when the last build was for this date and nothing was published since.
_IS_CURRENT = """
select coalesce((
    select b.is_success and b.as_of = %s
        and not exists (select from ops.load_ledger as l where l.published_at >= b.started_at)
    from ops.build as b order by b.build_id desc limit 1
), false)
"""


def differing_marts(settings: Settings, scratch: Settings, as_of: date) -> tuple[str, list[Difference]]:
    """Build the marts on the rebuilt ``raw`` and compare.

    With what stands in the warehouse, when that was built for ``as_of`` and nothing has been published since; else
    with a second build on a copy of the warehouse's ``raw``. The warehouse is only read.

    Returns:
        What was compared, in words, and the tables that differ.

    Raises:
        BuildFailed: dbt failed.
    """
    with TemporaryDirectory() as home, snapshot(settings) as warehouse:
        scratch = replace(scratch, home=Path(home))
        build_models(scratch, as_of)
        row = warehouse.execute(_IS_CURRENT, [as_of]).fetchone()
        if row and row[0]:
            with connect(scratch) as connection:
                return "as they stand in the warehouse", compare(warehouse, connection, built_schemas(connection))
        first = _marts(scratch)
        with connect(scratch) as connection:
            _copy_raw(warehouse, connection)
        build_models(scratch, as_of)
        return "built from a copy of the warehouse's raw", _differences(_marts(scratch), first)


def built_schemas(connection: psycopg.Connection) -> list[str]:
    """The schemas that dbt has built."""
    return [name for (name,) in connection.execute(_BUILT).fetchall()]


def _marts(scratch: Settings) -> dict[str, Checksum]:
    with connect(scratch) as connection:
        return checksum(connection, built_schemas(connection))


def _differences(here: dict[str, Checksum], there: dict[str, Checksum]) -> list[Difference]:
    return [
        Difference(
            name,
            here[name].rows if name in here else 0,
            there[name].rows if name in there else 0,
            "rows of the whole table; see the differences of raw",
        )
        for name in sorted({*here, *there})
        if here.get(name) != there.get(name)
    ]


def _copy_raw(warehouse: psycopg.Connection, scratch: psycopg.Connection) -> None:
    """Replace ``raw`` of the scratch database by the warehouse's."""
    tables = warehouse.execute("select tablename from pg_tables where schemaname = 'raw' order by 1").fetchall()
    for (name,) in tables:
        table = sql.Identifier("raw", name)
        scratch.execute(sql.SQL("alter table {} disable trigger user").format(table))
        scratch.execute(sql.SQL("truncate {}").format(table))
        columns = warehouse.execute(
            "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped"
            " order by attnum",
            [f'raw."{name}"'],
        ).fetchall()
        names = sql.SQL(", ").join(sql.Identifier(column) for (column,) in columns)
        out = sql.SQL("copy {} ({}) to stdout (format binary)").format(table, names)
        into = sql.SQL("copy {} ({}) from stdin (format binary)").format(table, names)
        with warehouse.cursor().copy(out) as source, scratch.cursor().copy(into) as target:
            for data in source:
                target.write(data)
