"""Quarantine: rows held back by a rule, with reason, owner, money and payload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import sql

from o2c.warehouse.mapping_sql import literal
from o2c.warehouse.replayed import origin
from o2c.warehouse.request import PublishRequest
from o2c.warehouse.session import trusted
from o2c.warehouse.sort_out import broken, broken_rules


def write_quarantine(connection: psycopg.Connection, request: PublishRequest, published_at: Any) -> int:
    """Write the rows held back, with every rule they break; returns how many."""
    held = broken_rules(request)
    if not held:
        return 0
    flow, entity = request.flow, request.flow.entity
    rules = ", ".join(f"case when {broken(rule)} then {literal(rule.name)} end" for rule in held)
    reasons = ", ".join(f"case when {broken(rule)} then {rule.reason_sql or literal(rule.reason)} end" for rule in held)
    key = ", ".join(f's."{name}"::text' for name in entity.key)
    amount, currency = (f's."{name}"' if name else "null" for name in (entity.amount, entity.currency))
    return connection.execute(
        sql.SQL(
            "insert into quarantine.record (load_id, flow, entity, source_system, owner, rules, reason, source_key,"
            " amount, currency_code, payload, landing_file, landing_row, key_hash, row_hash, quarantined_at,"
            " origin_load_id, source_version)"
            " select {load_id}, {flow}, {entity}, {system}, {owner}, array_remove(array[{rules}]::text[], null),"
            " concat_ws(' ', {reasons}), concat_ws('/', {key}), {amount}, {currency}, {payload}, {file}, s._row,"
            " s._key_hash, s._row_hash, {published_at}::timestamptz, {origin}, {version}"
            " from {stage} as s inner join sorted_out as o using (_row) inner join {landed} as l using (_row)"
            " where o.kind = 'quarantine' order by s._row"
        ).format(
            load_id=sql.Literal(request.load.load_id),
            origin=sql.Literal(origin(request) or request.load.load_id),
            version=trusted(f's."{entity.version}"' if entity.version in flow.mapping else "null::timestamptz"),
            flow=sql.Literal(flow.name),
            entity=sql.Literal(entity.name),
            system=sql.Literal(flow.system),
            owner=sql.Literal(flow.monitoring.owner),
            rules=trusted(rules),
            reasons=trusted(reasons),
            key=trusted(key),
            amount=trusted(amount),
            currency=trusted(currency),
            payload=trusted(_payload(request.manifest["columns"])),
            file=trusted(landing_file(request.manifest["ranges"])),
            published_at=sql.Literal(published_at.isoformat()),
            stage=sql.Identifier("landing", request.load.stage_table),
            landed=sql.Identifier("landing", request.load.landing_table),
        )
    ).rowcount


def _payload(columns: Mapping[str, str]) -> str:
    """SQL of the record as it came: source column to text."""
    names, texts = ", ".join(map(literal, columns)), ", ".join(f"l.{column}" for column in columns.values())
    return f"jsonb_object(array[{names}]::text[], array[{texts}]::text[])"


def supersede(connection: psycopg.Connection, request: PublishRequest) -> None:
    """A newer version of a quarantined record has arrived, good or held back in its turn: close the older, keep it."""
    flow, version = request.flow, request.flow.entity.version
    newer, in_same_load = "true", "false"
    if version in flow.mapping:
        newer = f'coalesce(s."{version}" >= q.source_version, true)'
        in_same_load = f's."{version}" > q.source_version'
    has_key = " and ".join(f's."{name}" is not null' for name in flow.entity.key)
    _close(
        connection,
        request,
        "q.entity = {entity} and q.source_system = {system} and q.key_hash = s._key_hash"
        f" and (q.load_id <> {{load_id}} or {in_same_load}) and {newer} and {has_key}"
        " and not exists (select from sorted_out as o where o._row = s._row and o.kind <> 'quarantine')",
    )
    if origin(request):
        # The very landing row again: whatever its key is now, the older record of it has had its time.
        _close(
            connection,
            request,
            "q.origin_load_id = {origin} and q.landing_row = s._row and q.load_id <> {load_id} and not exists ("
            "select from sorted_out as o where o._row = s._row and o.is_broken and o.kind <> 'quarantine')",
        )


def _close(connection: psycopg.Connection, request: PublishRequest, condition: str) -> None:
    closing = (
        "update quarantine.record as q set state = 'superseded', closed_at = clock_timestamp(),"
        " closed_by_load_id = {load_id} from {stage} as s where q.state = 'open' and "
    )
    connection.execute(
        trusted(closing + condition).format(
            load_id=sql.Literal(request.load.load_id),
            stage=sql.Identifier("landing", request.load.stage_table),
            entity=sql.Literal(request.flow.entity.name),
            system=sql.Literal(request.flow.system),
            origin=sql.Literal(origin(request)),
        )
    )


def landing_file(ranges: list[list[Any]]) -> str:
    """SQL of the landing file a staged row came from."""
    if len(ranges) == 1:
        return literal(ranges[0][0])
    cases = " ".join(f"when s._row <= {last} then {literal(name)}" for name, _, last in ranges)
    return f"case {cases} end" if ranges else "null"
