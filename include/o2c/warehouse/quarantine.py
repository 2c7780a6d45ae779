"""Quarantine: rows held back by a rule, with reason, owner, money and payload."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from o2c.warehouse.mapping_sql import literal
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
    reasons = ", ".join(f"case when {broken(rule)} then {literal(rule.reason)} end" for rule in held)
    key = ", ".join(f's."{name}"::text' for name in entity.key)
    amount, currency = (f's."{name}"' if name else "null" for name in (entity.amount, entity.currency))
    columns = request.manifest["columns"]
    names, texts = ", ".join(map(literal, columns)), ", ".join(f"l.{column}" for column in columns.values())
    return connection.execute(
        sql.SQL(
            "insert into quarantine.record (load_id, flow, entity, source_system, owner, rules, reason, source_key,"
            " amount, currency_code, payload, landing_file, landing_row, key_hash, row_hash, quarantined_at)"
            " select {load_id}, {flow}, {entity}, {system}, {owner}, array_remove(array[{rules}]::text[], null),"
            " concat_ws(' ', {reasons}), concat_ws('/', {key}), {amount}, {currency}, {payload}, {file}, s._row,"
            " s._key_hash, s._row_hash, {published_at}::timestamptz"
            " from {stage} as s inner join sorted_out as o using (_row) inner join {landed} as l using (_row)"
            " where o.kind = 'quarantine'"
        ).format(
            load_id=sql.Literal(request.load.load_id),
            flow=sql.Literal(flow.name),
            entity=sql.Literal(entity.name),
            system=sql.Literal(flow.system),
            owner=sql.Literal(flow.monitoring.owner),
            rules=trusted(rules),
            reasons=trusted(reasons),
            key=trusted(key),
            amount=trusted(amount),
            currency=trusted(currency),
            payload=trusted(f"jsonb_object(array[{names}]::text[], array[{texts}]::text[])"),
            file=trusted(landing_file(request.manifest["ranges"])),
            published_at=sql.Literal(published_at.isoformat()),
            stage=sql.Identifier("landing", request.load.stage_table),
            landed=sql.Identifier("landing", request.load.landing_table),
        )
    ).rowcount


def supersede(connection: psycopg.Connection, request: PublishRequest) -> None:
    """A good version of a quarantined record has arrived: close the record, keep it."""
    flow = request.flow
    connection.execute(
        sql.SQL(
            "update quarantine.record as q set state = 'superseded', closed_at = clock_timestamp(),"
            " closed_by_load_id = {load_id} from {stage} as s"
            " where q.state = 'open' and q.entity = {entity} and q.source_system = {system}"
            " and q.key_hash = s._key_hash and q.load_id <> {load_id}"
            " and not exists (select from sorted_out as o where o._row = s._row)"
        ).format(
            load_id=sql.Literal(request.load.load_id),
            stage=sql.Identifier("landing", request.load.stage_table),
            entity=sql.Literal(flow.entity.name),
            system=sql.Literal(flow.system),
        )
    )


def landing_file(ranges: list[list[Any]]) -> str:
    """SQL of the landing file a staged row came from."""
    if len(ranges) == 1:
        return literal(ranges[0][0])
    cases = " ".join(f"when s._row <= {last} then {literal(name)}" for name, _, last in ranges)
    return f"case {cases} end" if ranges else "null"
