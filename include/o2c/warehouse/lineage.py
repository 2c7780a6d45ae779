"""Where a record in ``raw`` comes from: what the warehouse knows of its versions, loads, rules and decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from o2c.contracts.entity import Entity

Row = Mapping[str, Any]
_LOAD = """
select l.load_id, l.flow, l.source_system, l.run_id, l.published_at, l.source_rows, l.published_rows,
    l.quarantined_rows, l.duplicate_rows, l.manifest, l.code_version
from ops.load_ledger as l where l.load_id = %s
"""
_GATE = """
select rule, on_fail, predicate, evaluated_rows, unexpected_rows, is_success, checked_at
from ops.gate_result where load_id = %s order by rule
"""
_CONTRACTS = """
select contract, sha256, code_version, recorded_by, first_seen_at from ops.contract_version
where (contract, sha256) in (select * from unnest(%s::text[], %s::text[])) order by contract, version_id
"""
_QUARANTINE = """
select record_id, load_id, flow, source_system, rules, reason, owner, amount, currency_code, landing_file, landing_row,
    quarantined_at, state, closed_at, closed_by_load_id
from quarantine.record where entity = %(entity)s and source_key = %(key)s
    and (%(system)s::text is null or source_system = %(system)s)
order by record_id
"""
_DECISIONS = """
select record_id, decision, decided_by, reason, decided_at, load_id from quarantine.decision
where record_id = any (%s) order by decision_id
"""


def versions(connection: psycopg.Connection, entity: Entity, key: str, system: str | None) -> list[dict[str, Any]]:
    """Every version of a record in ``raw``, oldest first: its own columns and those of the load engine.

    Args:
        connection: to the warehouse.
        entity: what it is.
        key: the key's columns as text, joined by '/'.
        system: one source system; all when None.
    """
    parts = key.split("/") if len(entity.key) > 1 else [key]
    if len(parts) == len(entity.key):
        # The key as the source writes it is indexed.
        row = connection.execute(
            "select array_agg(distinct ops.key_hash(source_system, variadic %s::text[])) from ops.load"
            " where entity = %s",
            [parts, entity.name],
        ).fetchone()
        if row and row[0] and (found := _versions(connection, entity, key, system, hashes=row[0])):
            return found
    return _versions(connection, entity, key, system, hashes=None)


def _versions(
    connection: psycopg.Connection, entity: Entity, key: str, system: str | None, hashes: Sequence[int] | None
) -> list[dict[str, Any]]:
    # Two texts, for a plan that must serve both would not use the index.
    indexed = sql.SQL("r._key_hash = any (%(hashes)s) and ") if hashes is not None else sql.SQL("")
    query = sql.SQL(
        "select r.* from {raw} as r where {indexed} concat_ws('/', {columns}) = %(key)s"
        " and (%(system)s::text is null or r.source_system = %(system)s) order by r._published_at, r._load_id"
    ).format(
        raw=sql.Identifier("raw", entity.name),
        indexed=indexed,
        columns=sql.SQL(", ").join(sql.SQL("r.{}::text").format(sql.Identifier(name)) for name in entity.key),
    )
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, {"hashes": hashes, "key": key, "system": system}).fetchall()


def load_of(connection: psycopg.Connection, load_id: str) -> Row | None:
    """The ledger row of a load with its manifest; None when it is not in the ledger."""
    rows = _rows(connection, _LOAD, [load_id])
    return rows[0] if rows else None


def gate_of(connection: psycopg.Connection, load_id: str) -> list[Row]:
    """The rules that ran over a load, with their SQL and what broke them."""
    return _rows(connection, _GATE, [load_id])


def contracts_of_load(connection: psycopg.Connection, versions_by_name: Mapping[str, str]) -> list[Row]:
    """The recorded versions of contracts, given as name and sha256."""
    return _rows(connection, _CONTRACTS, [list(versions_by_name), list(versions_by_name.values())])


def quarantine_of(connection: psycopg.Connection, entity: Entity, key: str, system: str | None) -> list[dict[str, Any]]:
    """Quarantined records of a key, each with the decisions about it."""
    records = _rows(connection, _QUARANTINE, {"entity": entity.name, "key": key, "system": system})
    decisions = _rows(connection, _DECISIONS, [[record["record_id"] for record in records]])
    return [
        {**record, "decisions": [each for each in decisions if each["record_id"] == record["record_id"]]}
        for record in records
    ]


def _rows(connection: psycopg.Connection, query: str, parameters: Any) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return list(cursor.execute(query, parameters).fetchall())
