"""What publishing would do, found out in a transaction that is rolled back.

Takes no fence and no advisory lock, and draws from no sequence: nobody waits for it, nothing is left of it.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime
from decimal import Decimal

import psycopg
from psycopg import sql

from o2c.contracts.entity import Rule
from o2c.contracts.flow import Flow
from o2c.errors import GateStopped
from o2c.warehouse.ledger import Load
from o2c.warehouse.publish import insert_versions
from o2c.warehouse.request import Published, PublishRequest
from o2c.warehouse.session import trusted
from o2c.warehouse.sort_out import broken, count_sorted, sort_out


def preview(connection: psycopg.Connection, request: PublishRequest, moment: datetime) -> Published:
    """Do what publishing would do to ``raw``, in the caller's transaction, which must be rolled back.

    Several loads can be previewed one after the other: each finds what those before it have brought.

    Raises:
        GateStopped: a rule that stops the load is broken.
    """
    flow, load = request.flow, request.load
    result = Published(load.load_id, flow.name, request.manifest["rows"])
    if not result.source_rows:
        return result
    unexpected = count_broken(connection, flow.all_rules, load.stage_table)
    _check_stops(flow, unexpected)
    request = dataclasses.replace(request, unexpected=unexpected)
    sort_out(connection, request)
    _held_before(connection, load)
    result.add("duplicate", count_sorted(connection, flow, load, "duplicate"))
    result.add("quarantined", count_sorted(connection, flow, load, "quarantine"))
    connection.execute(insert_versions(connection, request, moment))
    for currency, amount in request.manifest["amounts"].items():
        others = [result.amounts[kind].get(currency, Decimal(0)) for kind in ("duplicate", "quarantined")]
        result.amounts["published"][currency] = Decimal(amount) - sum(others)
    result.rows["published"] = result.source_rows - result.rows["duplicate"] - result.rows["quarantined"]
    connection.execute("drop table sorted_out")
    return result


def count_broken(connection: psycopg.Connection, rules: tuple[Rule, ...], stage: str) -> dict[str, int]:
    """Rows of a stage that break each rule, by the text that the gate uses, in one scan."""
    counts = ", ".join(f"count(*) filter (where {broken(rule)})" for rule in rules)
    row = connection.execute(
        sql.SQL("select {} from {}").format(trusted(counts), sql.Identifier("landing", stage))
    ).fetchone()
    return dict(zip((rule.name for rule in rules), row or (), strict=True))


def _check_stops(flow: Flow, unexpected: dict[str, int]) -> None:
    for rule in flow.all_rules:
        if rule.on_fail == "stop" and unexpected[rule.name]:
            raise GateStopped(
                f"{unexpected[rule.name]} rows break the rule '{rule.name}', which stops the load: {rule.reason}",
                where=flow.name,
                next_step="This was a dry run; nothing was written.",
            )


def _held_before(connection: psycopg.Connection, load: Load) -> None:
    """A row that a load before this one of the same preview would hold back comes a second time."""
    stage = sql.Identifier("landing", load.stage_table)
    connection.execute("create temporary table if not exists held (key_hash bigint, row_hash bytea) on commit drop")
    connection.execute(
        sql.SQL(
            "update sorted_out as o set kind = 'duplicate' from {stage} as s inner join held as h"
            " on h.key_hash = s._key_hash and h.row_hash = s._row_hash where o._row = s._row and o.kind = 'quarantine'"
        ).format(stage=stage)
    )
    connection.execute(
        sql.SQL(
            "insert into held select s._key_hash, s._row_hash from {stage} as s inner join sorted_out using (_row)"
            " where kind = 'quarantine'"
        ).format(stage=stage)
    )
