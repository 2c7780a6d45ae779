"""Marks of staged rows that cannot be published as they are: what is no value, what comes twice, what was masked."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg import sql

from o2c.contracts.flow import Flow
from o2c.protection.mask import MASK_PATTERN
from o2c.warehouse.landing import Landed
from o2c.warehouse.ledger import Load
from o2c.warehouse.mapping_sql import TypedColumn, literal
from o2c.warehouse.session import trusted

# Columns whose text is no value; 'duplicate' or 'conflict'; source columns that hold the mask of a card number.
MARKS = {"_unparsed": "text[]", "_repeat": "text", "_masked": "text[]"}


@dataclass(frozen=True)
class Marked:
    """What is known of the staged rows: how many, where texts are no values, and what has landed."""

    rows: int
    unparsed: list[TypedColumn]
    landed: Landed


def mark_rows(connection: psycopg.Connection, flow: Flow, load: Load, known: Marked, source: sql.Composed) -> bool:
    """Keep the marks of the rows that need one, in a table of the load; False when none does."""
    typed = sql.Identifier("landing", load.typed_table)
    distinct = connection.execute(sql.SQL("select count(distinct _key_hash) from {}").format(typed)).fetchone()
    repeated = distinct is not None and distinct[0] != known.rows
    if not known.unparsed and not repeated and not known.landed.is_masked:
        return False
    connection.execute(
        sql.SQL(
            "create table {} as select _row, _unparsed, _repeat, _masked from ({}) as u"
            " full join ({}) as r using (_row) full join ({}) as m using (_row)"
        ).format(
            sql.Identifier("landing", load.marks_table),
            _unparsed_rows(known.unparsed, source),
            _repeated_rows(flow, typed),
            _masked_rows(known.landed, source),
        )
    )
    return True


def _unparsed_rows(unparsed: list[TypedColumn], source: sql.Composed) -> sql.Composed:
    names = {column.name: column.invalid or "false" for column in unparsed}
    return _named(names, "_unparsed", source)


def _masked_rows(landed: Landed, source: sql.Composed) -> sql.Composed:
    held = {name: f"{column} ~ {literal(MASK_PATTERN)}" for name, column in landed.columns.items()}
    return _named(held if landed.is_masked else {}, "_masked", source)


def _named(conditions: dict[str, str], mark: str, source: sql.Composed) -> sql.Composed:
    """The rows where a condition holds, with the names of those that do."""
    names = ", ".join(f"case when {condition} then {literal(name)} end" for name, condition in conditions.items())
    return sql.SQL(
        "select * from (select _row, array_remove(array[{}]::text[], null) as {} from {}) as n where {} <> '{{}}'"
    ).format(trusted(names), sql.Identifier(mark), source if conditions else _no_rows(source), sql.Identifier(mark))


def _no_rows(source: sql.Composed) -> sql.Composed:
    return sql.SQL("(select _row from {} limit 0) as nothing").format(source)


def _repeated_rows(flow: Flow, typed: sql.Identifier) -> sql.Composed:
    """Copies of a row are duplicates; rows that contradict each other under one key are in conflict.

    Several versions of one record in one window are no contradiction when their version differs.
    """
    versions = f', "{flow.entity.version}"' if flow.entity.version in flow.mapping else ""
    return sql.SQL(
        "select _row, case when copy > 1 then 'duplicate' else 'conflict' end as _repeat from ("
        "select s._row, row_number() over (partition by s._key_hash, s._row_hash order by s._row) as copy,"
        " min(s._row_hash) over (partition by s._key_hash{versions}) <>"
        " max(s._row_hash) over (partition by s._key_hash{versions}) as differs from {typed} as s"
        " inner join (select _key_hash from {typed} group by _key_hash having count(*) > 1) as k using (_key_hash)"
        ") as ranked where copy > 1 or differs"
    ).format(versions=trusted(versions), typed=typed)
