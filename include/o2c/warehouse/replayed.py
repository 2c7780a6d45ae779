"""What a replay has to know of what came after the load that it replays.

A replay brings back old rows. They must not overtake what arrived later: a version that stood in ``raw`` once is
known for good, and an entity without versions keeps the latest arrival, whichever load brings the older one again.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from o2c.contracts.flow import Flow
from o2c.warehouse.mapping_sql import literal
from o2c.warehouse.request import PublishRequest

# A replayed row arrived when its origin was published, not when it was replayed.
_LATER = """
select l.load_id
from ops.load_ledger as l
left join ops.load_ledger as o on o.load_id = l.manifest ->> 'replay_of'
where l.source_system = %(system)s and l.entity = %(entity)s
    and coalesce(o.published_at, l.published_at) > (select published_at from ops.load_ledger where load_id = %(origin)s)
"""


def origin(request: PublishRequest) -> str | None:
    """The load whose landing files the request replays; None for a load that read its source."""
    name = request.manifest.get("replay_of")
    return str(name) if name else None


def known_to_replay(connection: psycopg.Connection, flow: Flow, replay_of: str) -> sql.Composable:
    """SQL: has the row ``s`` been published in any version, or has its record moved on since?"""
    later = connection.execute(
        _LATER, {"system": flow.system, "entity": flow.entity.name, "origin": replay_of}
    ).fetchall()
    same = "r._key_hash = s._key_hash and r.source_system = {system}"
    known = f"exists (select from {{raw}} as r where {same} and r._row_hash = s._row_hash)"
    if later:
        # With versions the source's own order decides; only a deletion is final.
        which = "r._deleted and " if flow.entity.version in flow.mapping else ""
        known += f" or exists (select from {{raw}} as r where {which}{same} and r._load_id = any ({{later}}))"
    return sql.SQL(f"({known})").format(
        raw=sql.Identifier("raw", flow.entity.name),
        system=sql.Literal(flow.system),
        later=sql.Literal([load_id for (load_id,) in later]),
    )


def is_rejected(connection: psycopg.Connection, flow: Flow) -> str:
    """SQL: has a person rejected this very row ``s``? Then it is never loaded, whatever the rules say now."""
    found = connection.execute(
        "select exists (select from quarantine.record where flow = %s and state = 'rejected')", [flow.name]
    ).fetchone()
    return in_quarantine(flow, "q.state = 'rejected'") if found and found[0] else "false"


def in_quarantine(flow: Flow, condition: str = "true") -> str:
    """SQL: does a record of this very row ``s`` exist, in a state that meets ``condition``?"""
    return (
        f"exists (select from quarantine.record as q where q.entity = {literal(flow.entity.name)}"
        f" and q.key_hash = s._key_hash and q.row_hash = s._row_hash and q.flow = {literal(flow.name)}"
        f" and {condition})"
    )
