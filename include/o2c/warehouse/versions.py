"""Which version of a record counts: the newest by the source's own clock, of those that no tombstone follows.

A version published after a tombstone was read from the source after the record was seen to be gone: it lives again,
whatever its version says.
"""

from __future__ import annotations

from psycopg import sql

from o2c.contracts.flow import Flow
from o2c.warehouse.session import trusted


def still_stands(flow: Flow) -> sql.Composed:
    """SQL: does no tombstone follow row ``r`` of the flow's raw table? Never true of a tombstone."""
    return sql.SQL(
        "not exists (select from {} as t where t._deleted and t._key_hash = r._key_hash"
        " and t.source_system = r.source_system and t._published_at >= r._published_at)"
    ).format(sql.Identifier("raw", flow.entity.name))


def newest_first(flow: Flow) -> sql.SQL:
    """SQL: the order of the versions ``r`` of one record, newest first; arrival decides between equal versions."""
    version = f'r."{flow.entity.version}" desc nulls last, ' if flow.entity.version else ""
    return trusted(f"{version}r._published_at desc, r._load_id desc")
