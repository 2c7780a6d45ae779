"""What a load notices of its source beside the rows: files seen before, columns that change, a cursor held back."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from o2c.connectors.base import CursorLimit, Part
from o2c.contracts.flow import Flow
from o2c.errors import SchemaDrift
from o2c.warehouse.file_delivery import Deliveries
from o2c.warehouse.landing import Landed
from o2c.warehouse.landing_files import LandedFile
from o2c.warehouse.ledger import Load
from o2c.warehouse.schema_change import SchemaChange, SourceShape, last_shape, note_changes

log = logging.getLogger(__name__)

# A cursor that is held back longer than this makes every window larger; somebody should know.
_LONGEST_LAG = timedelta(hours=1)
_TYPE_FAMILIES = {
    "number": ("int2", "int4", "int8", "numeric", "float4", "float8", "money"),
    "text": ("text", "varchar", "bpchar", "name", "citext"),
    "time": ("date", "timestamp", "timestamptz"),
}


class Observed:
    """Gathers while a load lands; :meth:`manifest` is what is kept of it."""

    def __init__(self, connection: psycopg.Connection, flow: Flow, load: Load) -> None:
        self._connection = connection
        self._flow = flow
        self._load = load
        self._deliveries = Deliveries.of(connection, flow)
        self._limit: CursorLimit | None = None
        self._types: dict[str, str] = {}
        self._duplicates: list[dict[str, Any]] = []
        self._warnings: list[str] = []
        self._is_replay = False
        self.before: SourceShape = last_shape(connection, flow.name)

    def file(self, part: Part, file: LandedFile) -> dict[str, Any]:
        """What the bytes under this name are to the flow: ``outcome``, and the delivery they relate to."""
        outcome, related = self._deliveries.judge(self._load.load_id, part.name, file.sha256)
        entry = {
            "outcome": outcome,
            "related": {"load_id": related.load_id, "file_name": related.file_name} if related else None,
        }
        if outcome == "duplicate_of" and related:
            log.warning("%s: %s has the bytes of %s; not loaded again", self._flow.name, part.name, related.file_name)
            seen = {"source_name": part.name, "sha256": file.sha256, "bytes": file.bytes}
            self._duplicates.append({**seen, "fingerprint": part.fingerprint, **entry})
        return entry

    def part(self, part: Part, landed: Landed) -> None:
        """Take over what the source says of its cursor and its columns; the part's blocks are exhausted."""
        self._types.update(part.column_types())
        self._is_replay = "replay_of" in part.origin
        if part.cursor_limit is None:
            return
        self._limit = part.cursor_limit
        landed.cursor_limit, landed.is_cursor_held = part.cursor_limit.at, part.cursor_limit.at is None

    def shape(self, landed: Landed) -> None:
        """Compare the columns with those of the last published load; changes are kept and warned about.

        Raises:
            SchemaDrift: a column that the flow reads has another type, and nobody has touched the flow since.
        """
        if not landed.columns or not self.before.columns or self._is_replay:
            return
        # Who changes the flow or its query changes the columns that are asked for: that is no drift.
        is_ours = self.before.contract_sha256 != _contract(self._flow)
        if is_ours and self._flow.run_mode != "file":
            return
        changes = [SchemaChange(name, "added") for name in landed.columns if name not in self.before.columns]
        changes += [SchemaChange(name, "removed") for name in self.before.columns if name not in landed.columns]
        for name, kind in self._types.items():
            before = self.before.types.get(name, kind)
            if _family(before) != _family(kind):
                changes.append(SchemaChange(name, "retyped", f"{before} became {kind}"))
        note_changes(self._connection, self._flow.name, self._load.load_id, changes)
        for change in changes:
            if change.change == "retyped" and change.column in self._flow.source_columns:
                raise _retyped(self._flow, change)
            self._warn(str(change))

    def cursor(self, cursor_to: tuple[str, ...] | None) -> None:
        """Warn when the cursor stays far behind the source's clock because somebody keeps a transaction open."""
        if self._limit is None or not self._limit.reason:
            return
        stands = self._limit.at or (cursor_to[0] if cursor_to else None)
        if stands is None:
            self._warn(f"The cursor is held: {self._limit.reason}.")
            return
        now, then = _instant(self._limit.asked_at), _instant(stands)
        lag = now - then if now and then else timedelta(0)
        if lag > _LONGEST_LAG:
            hours = lag.total_seconds() / 3600
            self._warn(
                f"The cursor lags {hours:.1f} hours behind the source, and every window reads them again:"
                f" {self._limit.reason}."
            )

    def manifest(self) -> dict[str, Any]:
        """What the manifest keeps."""
        return {
            "column_types": self._types,
            "contract_sha256": _contract(self._flow),
            "cursor_limit": asdict(self._limit) if self._limit else None,
            "duplicate_files": self._duplicates,
            "warnings": self._warnings,
        }

    def _warn(self, text: str) -> None:
        log.warning("%s: %s", self._flow.name, text)
        self._warnings.append(text)


def note_drift(connection: psycopg.Connection, flow: Flow, load: Load, error: BaseException) -> None:
    """Keep a change that has stopped the load, whose own transaction is gone."""
    if isinstance(error, SchemaDrift) and error.column:
        change = SchemaChange(error.column, error.change, error.detail)
        note_changes(connection, flow.name, load.load_id, [change])


def _contract(flow: Flow) -> str:
    """The hash of the flow file and its query: what has to be touched to make a change of the source intended."""
    digest = hashlib.sha256(flow.document.text.encode())
    if "query" in flow.source:
        digest.update((flow.path.parent / str(flow.source["query"])).read_bytes())
    return digest.hexdigest()


def _family(type_name: str) -> str:
    return next((family for family, names in _TYPE_FAMILIES.items() if type_name in names), type_name)


def _retyped(flow: Flow, change: SchemaChange) -> SchemaDrift:
    return SchemaDrift(
        str(change),
        change="retyped",
        column=change.column,
        detail=change.detail,
        where=column_line(flow, change.column),
        next_step="Ask the source's owner; to accept it, cast the column in the query or change the flow's mapping.",
    )


def column_line(flow: Flow, column: str) -> str:
    """File, line and key of the flow that read this source column; the cursor or the source when no mapping does."""
    target = next((name for name, spec in flow.mapping.items() if column in spec.sources), None)
    return flow.where("mapping", target) if target else flow.where("source")


def locate(flow: Flow, error: BaseException) -> None:
    """Add the flow's line to what a connector says of a column that is gone."""
    if isinstance(error, SchemaDrift) and error.column in flow.source_columns:
        line = column_line(flow, error.column)
        error.where = error.where if line in error.where else f"{line}\n         {error.where}"


def _instant(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
