"""Decide what becomes of each staged row: published, quarantined, or a duplicate."""

from __future__ import annotations

from decimal import Decimal

import psycopg
from psycopg import sql

from o2c.contracts.entity import Rule
from o2c.contracts.flow import Flow
from o2c.errors import LoadNotClosed
from o2c.warehouse.ledger import Load
from o2c.warehouse.replayed import in_quarantine, is_rejected, known_to_replay, origin
from o2c.warehouse.request import PublishRequest
from o2c.warehouse.session import trusted
from o2c.warehouse.stage import amount_and_currency
from o2c.warehouse.versions import still_stands


def broken(rule: Rule) -> str:
    """SQL: does the row break the rule?"""
    return f"({rule.predicate}) is false"


def broken_rules(request: PublishRequest) -> list[Rule]:
    """Rules that quarantine and that the gate saw broken; the others need no second look."""
    waived = (request.manifest.get("decision") or {}).get("waived_rules", ())
    return [
        rule
        for rule in request.flow.all_rules
        if rule.on_fail == "quarantine" and request.unexpected.get(rule.name) and rule.name not in waived
    ]


def sort_out(connection: psycopg.Connection, request: PublishRequest) -> None:
    """Note the rows that are not published: a broken rule quarantines, a row known already is a duplicate."""
    flow = request.flow
    any_broken = " or ".join(broken(rule) for rule in broken_rules(request)) or "false"
    replay_of = origin(request)
    known = known_to_replay(connection, flow, replay_of) if replay_of else _known(connection, flow)
    rejected = is_rejected(connection, flow)
    connection.execute(
        sql.SQL(
            "create temporary table sorted_out on commit drop as"
            " select s._row, case when not ({broken}) or s._repeat = 'duplicate' then 'duplicate'"
            " when {lies_there} then 'duplicate' else 'quarantine' end as kind, ({broken}) as is_broken"
            " from {stage} as s where ({broken}) or s._repeat = 'duplicate' or {known} or {rejected}"
        ).format(
            broken=trusted(any_broken),
            lies_there=_lies_there(flow, known, is_replay=replay_of is not None),
            rejected=trusted(rejected),
            stage=sql.Identifier("landing", request.load.stage_table),
            known=known,
        )
    )
    _compare_with_gate(connection, request)


def _lies_there(flow: Flow, known: sql.Composable, *, is_replay: bool) -> sql.Composable:
    """Was the broken row held back before? Without versions, one that comes back after another is a new case."""
    lies_there = trusted(in_quarantine(flow))
    if is_replay or flow.entity.version in flow.mapping:
        return lies_there
    waits = trusted(in_quarantine(flow, "q.state in ('open', 'rejected')"))
    return sql.SQL("({} or ({} and {}))").format(waits, lies_there, known)


def count_sorted(connection: psycopg.Connection, flow: Flow, load: Load, kind: str) -> list[tuple[str, int, Decimal]]:
    """Rows of one kind, as (currency, rows, amount)."""
    amount, currency = amount_and_currency(flow)
    return connection.execute(
        sql.SQL(
            "select {}, count(*), sum({}) from {} inner join sorted_out using (_row) where kind = {} group by 1"
        ).format(trusted(currency), trusted(amount), sql.Identifier("landing", load.stage_table), sql.Literal(kind))
    ).fetchall()


def _compare_with_gate(connection: psycopg.Connection, request: PublishRequest) -> None:
    """Rule by rule, the rows held back must be those that the gate counted."""
    rules = broken_rules(request)
    if not rules:
        return
    counts = ", ".join(f"count(*) filter (where {broken(rule)})" for rule in rules)
    held = connection.execute(
        sql.SQL("select {} from {} inner join sorted_out using (_row) where is_broken").format(
            trusted(counts), sql.Identifier("landing", request.load.stage_table)
        )
    ).fetchone()
    for rule, rows in zip(rules, held or (), strict=True):
        if rows != request.unexpected[rule.name]:
            raise LoadNotClosed(
                f"Rows that break '{rule.name}': the gate counted {request.unexpected[rule.name]}, publishing {rows}.",
                where=f"{request.flow.name}, load {request.load.load_id}",
                next_step="The stage table has changed since the gate ran; run the load again.",
            )


def _known(connection: psycopg.Connection, flow: Flow) -> sql.Composable:
    """Is the row in ``raw`` already, and not deleted since? Versioned rows: in any version; others: as the latest."""
    table = sql.Identifier("raw", flow.entity.name)
    row = connection.execute(
        sql.SQL("select exists (select from {} where source_system = %s)").format(table), [flow.system]
    ).fetchone()
    if row is None or not row[0]:
        return sql.SQL("false")
    if flow.entity.version in flow.mapping:
        return sql.SQL(
            "exists (select from {} as r where r._key_hash = s._key_hash and r._row_hash = s._row_hash"
            " and r.source_system = {} and {})"
        ).format(table, sql.Literal(flow.system), still_stands(flow))
    return sql.SQL(
        "(select case when not r._deleted then r._row_hash end from {} as r"
        " where r._key_hash = s._key_hash and r.source_system = {}"
        " order by r._published_at desc, r._load_id desc limit 1) = s._row_hash"
    ).format(table, sql.Literal(flow.system))
