"""The load ledger: open a load, note its progress, read cursors and known files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from o2c.contracts.flow import Flow
from o2c.errors import UsageError


@dataclass(frozen=True)
class Load:
    """One load of one flow. ``fence`` is its token: only the newest load of a flow may publish."""

    load_id: str
    flow: str
    fence: int
    cursor: tuple[str, ...] | None
    known_files: Mapping[str, str]

    @property
    def landing_table(self) -> str:
        """Name in schema ``landing`` of the rows as they arrived."""
        return f"{self._stem}__landed"

    @property
    def typed_table(self) -> str:
        """Name in schema ``landing`` of the rows, mapped and typed."""
        return f"{self._stem}__typed"

    @property
    def marks_table(self) -> str:
        """Name in schema ``landing`` of the marks of rows that cannot be published as they are."""
        return f"{self._stem}__marks"

    @property
    def stage_table(self) -> str:
        """Name in schema ``landing`` of typed rows and marks together: what the gate checks."""
        return self._stem

    @property
    def _stem(self) -> str:
        return f"{self.flow.replace('/', '__')[:36]}__{self.load_id.lower()}"


def open_load(connection: psycopg.Connection, flow: Flow, run_id: str | None) -> Load:
    """Begin a load: take the flow's fence token and read its committed cursor. Commits with the caller."""
    connection.execute("set local lock_timeout = '60s'")
    row = connection.execute(
        "insert into ops.fence as f (flow, token) values (%s, 1)"
        " on conflict (flow) do update set token = f.token + 1 returning token",
        [flow.name],
    ).fetchone()
    assert row is not None
    load_id = _next_load_id(connection)
    cursor = current_cursor(connection, flow.name)
    connection.execute(
        "insert into ops.load (load_id, flow, source_group, source_system, entity, run_id, fence, state, cursor_from)"
        " values (%s, %s, %s, %s, %s, %s, %s, 'extracting', %s)",
        [load_id, flow.name, flow.group, flow.system, flow.entity.name, run_id, row[0], Jsonb(cursor)],
    )
    return Load(load_id, flow.name, row[0], cursor, _known_files(connection, flow.name))


def read_load(connection: psycopg.Connection, load_id: str) -> tuple[Load, dict[str, Any]]:
    """A load by its id, with its manifest; raises :class:`UsageError` when there is none."""
    row = connection.execute(
        "select flow, fence, cursor_from, manifest from ops.load where load_id = %s", [load_id]
    ).fetchone()
    if row is None:
        raise UsageError(f"There is no load '{load_id}'.", next_step="See 'o2c status' for the loads.")
    flow, fence, cursor, manifest = row
    return Load(load_id, flow, fence, tuple(cursor) if cursor else None, {}), manifest or {}


def note_state(
    connection: psycopg.Connection,
    load_id: str,
    state: str,
    *,
    manifest: Mapping[str, Any] | None = None,
    cursor_to: tuple[str, ...] | None = None,
    error: str | None = None,
) -> bool:
    """Write a load's progress; a final state sets ``finished_at``. False when the load has had its last word."""
    changed = connection.execute(
        "update ops.load set state = %(state)s, error = %(error)s,"
        " manifest = coalesce(%(manifest)s, manifest), cursor_to = coalesce(%(cursor_to)s, cursor_to),"
        " finished_at = case when %(state)s in ('published', 'stopped', 'failed') then clock_timestamp() end"
        # Published is final: who comes late with bad news has lost an acknowledgement, not the load.
        " where load_id = %(load_id)s and state not in ('published', 'superseded')",
        {
            "state": state,
            "error": error,
            "manifest": Jsonb(manifest) if manifest is not None else None,
            "cursor_to": Jsonb(list(cursor_to)) if cursor_to else None,
            "load_id": load_id,
        },
    )
    return changed.rowcount == 1


def _next_load_id(connection: psycopg.Connection) -> str:
    row = connection.execute("select 'L' || lpad(nextval('ops.load_number')::text, 9, '0')").fetchone()
    assert row is not None
    return str(row[0])


def current_cursor(connection: psycopg.Connection, flow: str) -> tuple[str, ...] | None:
    """The committed cursor of a flow, as text; None before its first load."""
    row = connection.execute("select cursor_values from ops.watermark where flow = %s", [flow]).fetchone()
    return tuple(row[0]) if row else None


def _known_files(connection: psycopg.Connection, flow: str) -> dict[str, str]:
    rows = connection.execute(
        "select distinct on (file_name) file_name, fingerprint from ops.file_delivery where flow = %s"
        " order by file_name, load_id desc",
        [flow],
    )
    return dict(rows.fetchall())
