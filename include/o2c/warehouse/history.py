"""What was published and decided, in the order in which it happened: what a rebuild repeats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from o2c.contracts.flow import Flow
from o2c.warehouse.contract_version import Contract
from o2c.warehouse.ledger import Load

_LOADS = """
select l.load_id, l.flow, p.fence, l.published_at, l.run_id, l.cursor_from, l.cursor_to, l.manifest, l.code_version,
    array[l.source_rows, l.published_rows, l.quarantined_rows, l.duplicate_rows]
from ops.load_ledger as l inner join ops.load as p using (load_id)
order by l.published_at, l.load_id
"""
_REJECTIONS = """
select d.decided_at, d.decided_by, d.reason, r.load_id, r.landing_row
from quarantine.decision as d inner join quarantine.record as r using (record_id)
where d.decision = 'reject' order by d.decided_at, d.decision_id
"""
_OUTDATED = """
select l.load_id, l.flow
from ops.load_ledger as l
cross join lateral (
    select v.sha256 from ops.contract_version as v
    where v.contract = %(contract)s and v.first_seen_at <= l.published_at order by v.version_id desc limit 1
) as obeyed
where l.flow = %(flow)s and obeyed.sha256 <> %(sha256)s
"""


@dataclass(frozen=True)
class PastLoad:
    """One published load as the ledger has it; ``rows`` are source, published, quarantined and duplicate."""

    load_id: str
    flow: str
    fence: int
    published_at: datetime
    run_id: str | None
    cursor_from: Sequence[str] | None
    cursor_to: Sequence[str] | None
    manifest: Mapping[str, Any]
    code_version: str
    rows: Sequence[int]

    @property
    def kind(self) -> str:
        """How it was made: extract, replay or reconcile."""
        return str(self.manifest.get("kind", "extract"))


@dataclass(frozen=True)
class Rejection:
    """One record that a person rejected, by the load and the row of its landing files."""

    decided_at: datetime
    by: str
    reason: str
    load_id: str
    landing_row: int


def past_loads(connection: psycopg.Connection) -> list[PastLoad]:
    """Every published load, oldest first."""
    return [PastLoad(*row) for row in connection.execute(_LOADS).fetchall()]


def rejections(connection: psycopg.Connection) -> list[Rejection]:
    """Every rejection, oldest first."""
    return [Rejection(*row) for row in connection.execute(_REJECTIONS).fetchall()]


def outdated_loads(connection: psycopg.Connection, flow: Flow, contracts: Sequence[Contract]) -> list[str]:
    """Loads of a flow that obeyed another version of one of its contracts than today's."""
    found: set[str] = set()
    for contract in contracts:
        rows = connection.execute(
            _OUTDATED, {"contract": contract.name, "flow": flow.name, "sha256": contract.sha256}
        ).fetchall()
        found |= {load_id for load_id, _ in rows}
    return sorted(found)


def reopen(connection: psycopg.Connection, flow: Flow, past: PastLoad) -> Load:
    """Open a past load again in another warehouse: same id, same fence token, waiting to be published."""
    connection.execute(
        "insert into ops.fence (flow, token) values (%s, %s) on conflict (flow) do update set token = excluded.token",
        [flow.name, past.fence],
    )
    connection.execute(
        "insert into ops.load (load_id, flow, source_group, source_system, entity, run_id, fence, state, cursor_from,"
        " manifest) values (%s, %s, %s, %s, %s, %s, %s, 'gated', %s, %s)",
        [
            past.load_id,
            flow.name,
            flow.group,
            flow.system,
            flow.entity.name,
            past.run_id,
            past.fence,
            Jsonb(past.cursor_from),
            Jsonb(dict(past.manifest)),
        ],
    )
    return Load(past.load_id, flow.name, past.fence, tuple(past.cursor_from) if past.cursor_from else None, {})
