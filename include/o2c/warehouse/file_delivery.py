"""Files a flow has taken in: which bytes came under which names, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

from o2c.contracts.flow import Flow
from o2c.warehouse.request import PublishRequest


@dataclass(frozen=True)
class Delivery:
    """One delivery that is published: the load and the name it came under, and its content."""

    load_id: str
    file_name: str
    sha256: str


@dataclass
class Deliveries:
    """What a flow has taken in so far: the newest delivery by name, and the first one of each content."""

    newest: dict[str, Delivery]
    first: dict[str, Delivery]

    @classmethod
    def of(cls, connection: psycopg.Connection, flow: Flow) -> Deliveries:
        """Read them from the warehouse; nothing for a flow that reads no files."""
        if flow.run_mode != "file":
            return cls({}, {})
        rows = connection.execute(
            "select load_id, file_name, sha256 from ops.file_delivery where flow = %s order by load_id", [flow.name]
        ).fetchall()
        known = [Delivery(*row) for row in rows]
        return cls(
            {delivery.file_name: delivery for delivery in known},
            {delivery.sha256: delivery for delivery in reversed(known)},
        )

    def judge(self, load_id: str, name: str, sha256: str) -> tuple[str, Delivery | None]:
        """What this content under this name is, and which earlier delivery it relates to.

        ``duplicate_of``: known bytes, under a new name or unchanged under the old one. ``supersedes``: another
        content than the name had, even when it returns to one it had before. ``published``: neither.
        """
        before = self.newest.get(name)
        self.newest[name] = Delivery(load_id, name, sha256)
        first = self.first.setdefault(sha256, self.newest[name])
        if before is not None:
            return ("duplicate_of", before) if before.sha256 == sha256 else ("supersedes", before)
        return ("published", None) if first is self.newest[name] else ("duplicate_of", first)


def write_deliveries(connection: psycopg.Connection, request: PublishRequest) -> None:
    """Remember the files of a load, duplicates included, so that none is fetched again."""
    manifest = request.manifest
    for file in (*manifest["files"], *manifest.get("duplicate_files", ())):
        if file.get("fingerprint"):
            _write(connection, request, file)


def _write(connection: psycopg.Connection, request: PublishRequest, file: Mapping[str, Any]) -> None:
    related = file.get("related") or {}
    connection.execute(
        # A content may come back under a fingerprint that it had before.
        "insert into ops.file_delivery (flow, file_name, fingerprint, sha256, bytes, load_id, outcome,"
        " related_load_id, related_file_name) values (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " on conflict (flow, file_name, fingerprint) do update set sha256 = excluded.sha256,"
        " load_id = excluded.load_id, outcome = excluded.outcome, related_load_id = excluded.related_load_id,"
        " related_file_name = excluded.related_file_name, last_seen_at = clock_timestamp()",
        [
            request.flow.name,
            file["source_name"],
            file["fingerprint"],
            file["sha256"],
            file["bytes"],
            request.load.load_id,
            file.get("outcome", "published"),
            related.get("load_id"),
            related.get("file_name"),
        ],
    )


def note_seen(connection: psycopg.Connection, flow: Flow, seen: Mapping[str, str]) -> None:
    """Note that the source still lists these files, as (name, fingerprint), though none was fetched."""
    if seen:
        connection.execute(
            "update ops.file_delivery as d set last_seen_at = clock_timestamp()"
            " from unnest(%s::text[], %s::text[]) as s (file_name, fingerprint)"
            " where d.flow = %s and d.file_name = s.file_name and d.fingerprint = s.fingerprint",
            [list(seen), list(seen.values()), flow.name],
        )
