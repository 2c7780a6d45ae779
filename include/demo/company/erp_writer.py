"""Loads the company into its ERP database: everything at first, later only rows that changed or are gone.

One transaction, COPY only. A database that holds another company (other seed, size or a later day) is replaced.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import psycopg
from psycopg import sql

from demo.company.model import ERP_TABLES, Company, Profile, Record
from o2c.errors import SourceError

_SCHEMA = Path(__file__).parent / "erp_schema.sql"


def load_erp(company: Company, url: str) -> dict[str, int]:
    """Bring the ERP database at ``url`` to the company's state.

    Returns:
        The number of rows written, by table.

    Raises:
        SourceError: the database cannot be reached or refuses.
    """
    try:
        with psycopg.connect(url, options="-c timezone=UTC") as connection:
            return _load(company, connection)
    except psycopg.Error as error:
        raise SourceError(
            f"The ERP database could not be loaded: {str(error).splitlines()[0]}",
            next_step="Check that the database runs and that the user may create a schema in it.",
        ) from None


def _load(company: Company, connection: psycopg.Connection) -> dict[str, int]:
    known = _known_rows(company, connection)
    if known is None:
        _create(company.profile, connection)
        return {table: _copy(connection, table, company.erp[table], table) for table in ERP_TABLES}
    for table in reversed(list(ERP_TABLES)):
        _delete(connection, table, [row["id"] for row in company.deleted.get(table, ())])
    written = {}
    for table in ERP_TABLES:
        changed = [row for row in company.erp[table] if known[table].get(row["id"]) != row["updated_at"]]
        written[table] = _upsert(connection, table, changed) if changed else 0
    return written


def _known_rows(company: Company, connection: psycopg.Connection) -> dict[str, dict[str, datetime]] | None:
    """What the database holds, by table and key; None when it is empty or belongs to another company."""
    found = connection.execute("select to_regclass('erp.origin')").fetchone()
    if found is None or found[0] is None:
        return None
    origin = connection.execute("select seed, scale, months from erp.origin").fetchone()
    profile = company.profile
    if origin != (profile.seed, Decimal(str(profile.scale)), profile.months):
        return None
    known: dict[str, dict[str, datetime]] = {}
    for table in ERP_TABLES:
        query = sql.SQL("select id, updated_at from {}").format(sql.Identifier("erp", table))
        known[table] = dict(connection.execute(query).fetchall())
        ours = {row["id"]: row["updated_at"] for row in company.erp[table]}
        gone = {row["id"]: row["updated_at"] for row in company.deleted.get(table, ())}
        if any(key not in ours | gone or at > (ours | gone)[key] for key, at in known[table].items()):
            return None
    return known


def _delete(connection: psycopg.Connection, table: str, keys: list[str]) -> None:
    """Hard deletes: no increment sees them."""
    if keys:
        statement = sql.SQL("delete from {} where id = any(%s)").format(sql.Identifier("erp", table))
        connection.execute(statement, [keys])


def _create(profile: Profile, connection: psycopg.Connection) -> None:
    connection.execute("drop schema if exists erp cascade")
    connection.execute(_SCHEMA.read_bytes())
    connection.execute(
        "insert into erp.origin (seed, scale, months) values (%s, %s, %s)",
        (profile.seed, Decimal(str(profile.scale)), profile.months),
    )


def _copy(connection: psycopg.Connection, table: str, rows: Iterable[Record], target: str) -> int:
    columns = ERP_TABLES[table]
    schema = [] if target != table else ["erp"]
    statement = sql.SQL("copy {} ({}) from stdin").format(
        sql.Identifier(*schema, target), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    count = 0
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row([row[column] for column in columns])
            count += 1
    return count


def _upsert(connection: psycopg.Connection, table: str, rows: Iterable[Record]) -> int:
    staged, columns = f"changed_{table}", ERP_TABLES[table]
    names = {
        "staged": sql.Identifier(staged),
        "target": sql.Identifier("erp", table),
        "columns": sql.SQL(", ").join(map(sql.Identifier, columns)),
        "values": sql.SQL(", ").join(sql.SQL("excluded.{}").format(sql.Identifier(column)) for column in columns),
    }
    connection.execute(sql.SQL("create temp table {staged} (like {target}) on commit drop").format(**names))
    count = _copy(connection, table, rows, staged)
    connection.execute(
        sql.SQL(
            "insert into {target} ({columns}) select {columns} from {staged} "
            "on conflict (id) do update set ({columns}) = row({values})"
        ).format(**names)
    )
    return count
