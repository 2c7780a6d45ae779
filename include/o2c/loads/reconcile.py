"""Reconcile: list all keys a source holds now, publish tombstones for what is gone, read again what was missed.

A load like every other: fence, landing files with manifest and control total, one publishing transaction. It takes the
fence only while no other load of the flow is under way, and steps back when one starts meanwhile: a sync is never
refused because of it.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg

from o2c.connections import Resolver
from o2c.connectors.base import ControlTotals, ExtractRequest, Part
from o2c.contracts.flow import Flow
from o2c.errors import FenceLost, GateStopped, LoadNotClosed, O2CError, SourceError, WarehouseError
from o2c.loads.backfill import backfill
from o2c.loads.events import load_event
from o2c.loads.extract import Extracted, check_control, is_fatal, land_part
from o2c.loads.publish import publish
from o2c.loads.screening import Screening
from o2c.settings import Settings
from o2c.version import code_version
from o2c.warehouse import evidence
from o2c.warehouse.anchors import write_or_warn
from o2c.warehouse.decisions import Decision
from o2c.warehouse.fence import superseded
from o2c.warehouse.key_scan import Differences, compare, key_flow, publish_tombstones, stage_keys
from o2c.warehouse.landing import LandingTable, totals_by_currency
from o2c.warehouse.landing_files import LandingFolder
from o2c.warehouse.ledger import Load, current_cursor, note_state, open_load
from o2c.warehouse.request import Published
from o2c.warehouse.session import connect

# Fewer deletes than this are never too many.
_FEW = 50
_ATTEMPTS = 3
Sleep = Callable[[float], None]


@dataclass(frozen=True)
class Reconciled:
    """What became of one flow: what was found, the tombstones' publication, what was read again, or the error.

    ``found`` is None for a flow that was left alone because nothing of it has been loaded yet.
    """

    flow: str
    found: Differences | None = None
    published: Published | None = None
    read_again: Published | None = None
    error: O2CError | None = None

    @property
    def published_rows(self) -> int:
        """Rows that are new in ``raw``: tombstones, and what was read again."""
        return sum(done.rows["published"] for done in (self.published, self.read_again) if done)


@dataclass(frozen=True)
class Scan:
    """How to scan: ``agreed`` lets more deletes pass than the flow allows; ``patience`` is how long to wait, in
    seconds, for a load of the flow that is under way.
    """

    run_id: str | None = None
    agreed: Decision | None = None
    patience: float = 600.0
    sleep: Sleep = time.sleep


def reconcile(
    settings: Settings, flows: Sequence[Flow], resolve: Resolver, scan: Scan | None = None
) -> list[Reconciled]:
    """Reconcile the flows that list their keys; one that fails does not hold back the others."""
    scan = scan or Scan()
    return [_guarded(flow, lambda flow=flow: _reconcile(settings, flow, resolve, scan)) for flow in flows]  # type: ignore[misc]


def preview(settings: Settings, flows: Sequence[Flow], resolve: Resolver) -> list[Reconciled]:
    """What :func:`reconcile` would find; nothing is written, and no load is opened."""
    return [_guarded(flow, lambda flow=flow: _preview(settings, flow, resolve)) for flow in flows]  # type: ignore[misc]


def _guarded(flow: Flow, work: Callable[[], Reconciled]) -> Reconciled:
    try:
        return work()
    except O2CError as error:
        return Reconciled(flow.name, error=error)


def _reconcile(settings: Settings, flow: Flow, resolve: Resolver, scan: Scan) -> Reconciled:
    """Scan until no load has come between and the list is whole; a source that fails is tried as often as it says."""
    wait = flow.retry.backoff_from.total_seconds()
    for attempt in range(1, max(_ATTEMPTS, flow.retry.attempts) + 1):
        try:
            return _scan(settings, flow, resolve, scan)
        except (FenceLost, LoadNotClosed, SourceError) as error:
            is_source = isinstance(error, SourceError)
            if attempt >= (flow.retry.attempts if is_source else _ATTEMPTS) or is_source and is_fatal(flow, error):
                raise
            scan.sleep(wait)
            wait = min(2 * wait, flow.retry.backoff_to.total_seconds())
    raise AssertionError("the last attempt returns or raises")


def _scan(settings: Settings, flow: Flow, resolve: Resolver, scan: Scan) -> Reconciled:
    load = _open(settings, flow, scan)
    if load is None:
        return Reconciled(flow.name)
    found = _land(settings, flow, load, resolve)
    _gate(settings, flow, load, found, scan.agreed)
    staged = Extracted(load.load_id, flow.name, found.deleted)
    published = publish(settings, flow, staged, partial(publish_tombstones, agreed=scan.agreed))
    read_again = backfill(settings, flow, resolve, found.missed_since) if found.missed_since else None
    return Reconciled(flow.name, found, published, read_again)


def _open(settings: Settings, flow: Flow, scan: Scan) -> Load | None:
    """Open a load when no other one of the flow is under way; None when nothing was ever published."""
    waited = 0.0
    while True:
        with connect(settings) as warehouse:
            # Whoever opens a load of the flow waits for this row.
            warehouse.execute("select from ops.fence where flow = %s for update", [flow.name])
            if not _is_loaded(warehouse, flow):
                return None
            busy = warehouse.execute(
                "select load_id, state from ops.load where flow = %s and state in ('extracting', 'staged', 'gated')"
                " order by fence desc limit 1",
                [flow.name],
            ).fetchone()
            if busy is None:
                load = open_load(warehouse, flow, scan.run_id)
                note_state(warehouse, load.load_id, "extracting", manifest={"kind": "reconcile"})
                return load
        if waited >= scan.patience:
            raise WarehouseError(
                f"Load {busy[0]} of the flow has been under way ({busy[1]}) for longer than {scan.patience:.0f} s.",
                where=flow.name,
                next_step=f"Let it finish, or run './o2c sync {flow.name}', which takes over from a load that died.",
            )
        scan.sleep(1.0)
        waited += 1.0


def _is_loaded(warehouse: psycopg.Connection, flow: Flow) -> bool:
    row = warehouse.execute("select exists (select from ops.load_ledger where flow = %s)", [flow.name]).fetchone()
    return bool(row and row[0])


def _land(settings: Settings, flow: Flow, load: Load, resolve: Resolver) -> Differences:
    """Land the key list and compare it; a failure is noted and leaves nothing behind."""
    folder = LandingFolder(settings.landing_dir, flow.name, load.load_id)
    try:
        with connect(settings) as warehouse:
            row = warehouse.execute("select started_at from ops.load where load_id = %s", [load.load_id]).fetchone()
            assert row is not None
            parts = list_keys(flow, resolve)
            found, manifest = land_keys(settings, warehouse, flow, load, folder, parts, row[0])
            folder.complete(manifest)
            if not note_state(warehouse, load.load_id, "staged", manifest=manifest, cursor_to=load.cursor):
                raise superseded(load)
            evidence.append_all(warehouse, [load_event(manifest)])
    except BaseException as error:
        folder.discard()
        with connect(settings) as warehouse:
            note_state(warehouse, load.load_id, "failed", error=str(error) or type(error).__name__)
        raise
    return found


def list_keys(flow: Flow, resolve: Resolver) -> Generator[Part, None, None]:
    """The parts of the flow's key list, from its connector."""
    module = importlib.import_module(f"o2c.connectors.{flow.source['connector']}")
    request = ExtractRequest(flow.name, flow.source, resolve(flow.source["connection"]), flow.path.parent)
    yield from module.list_keys(request, key_flow(flow).source_columns)


def land_keys(
    settings: Settings,
    warehouse: psycopg.Connection,
    flow: Flow,
    load: Load,
    folder: LandingFolder,
    parts: Generator[Part, None, None],
    scanned_at: datetime,
) -> tuple[Differences, dict[str, Any]]:
    """Land a key list in the caller's transaction and compare it with ``raw``; returns what differs, and a manifest.

    Raises:
        LoadNotClosed: the source counts other rows than arrived.
    """
    keys = key_flow(flow)
    table = LandingTable(warehouse, keys, load.landing_table)
    screening = Screening(settings, keys, folder)
    files: list[dict[str, Any]] = []
    controls: list[ControlTotals] = []
    with closing(screening.parts(parts)) as screened:
        for part in screened:
            files.append(land_part(table, keys, folder, part))
            if (control := part.control()) is not None:
                controls.append(control)
                check_control(flow, part, files[-1]["rows"], control)
    stage_keys(warehouse, flow, load, table.landed)
    found = compare(warehouse, flow, load, scanned_at)
    manifest = _manifest(flow, load, found) | {
        "files": files,
        "ranges": [list(entry) for entry in table.landed.ranges],
        "key_columns": table.landed.columns,
        "control_totals": [{"rows": control.rows, "amounts": {}} for control in controls],
        "scanned_at": scanned_at.isoformat(),
    }
    screening.note(warehouse, load, manifest)
    return found, manifest


def _manifest(flow: Flow, load: Load, found: Differences) -> dict[str, Any]:
    """The load's rows are its tombstones; ``keys`` says what the list was compared with, ``columns`` stays empty."""
    cursor = list(load.cursor) if load.cursor else None
    return {
        "kind": "reconcile",
        "flow": flow.name,
        "load_id": load.load_id,
        "source_system": flow.system,
        "columns": {},
        "rows": found.deleted,
        "rows_of_other_flows": 0,
        "amounts": totals_by_currency(found.amounts),
        "keys": {name: getattr(found, name) for name in ("source", "known", "deleted", "missed", "pending")},
        "cursor_from": cursor,
        "cursor_to": cursor,
        "code_version": code_version(),
    }


def _gate(settings: Settings, flow: Flow, load: Load, found: Differences, agreed: Decision | None) -> None:
    """Let the load publish, unless more is gone than can be believed without a person.

    Raises:
        GateStopped: too many of the records are gone, or the source answers with none at all.
    """
    is_too_many = found.deleted > _FEW and found.deleted * 100 > found.known * flow.most_deleted_percent
    is_empty = found.known > 0 and found.source == 0
    rule = f"deleted <= {_FEW} or deleted <= {flow.most_deleted_percent} % of known, and source > 0"
    stops = (is_too_many or is_empty) and agreed is None
    error = None
    if stops:
        error = GateStopped(
            f"{found.deleted:,} of {found.known:,} records are gone from the source, which lists {found.source:,}.",
            where=f"{flow.name}, load {load.load_id}",
            next_step="Nothing was deleted. Check that the source answers in full; if it does, run"
            f" './o2c reconcile {flow.name} --accept-deletes --by NAME --reason TEXT'.",
        )
    with connect(settings) as warehouse:
        note_state(warehouse, load.load_id, "stopped" if error else "gated", error=str(error) if error else None)
        body = {
            "flow": flow.name,
            "rule": rule,
            "evaluated": found.known,
            "unexpected": found.deleted,
            "open": not stops,
        }
        head = evidence.append(warehouse, "gate", load.load_id, body)
    write_or_warn(settings, head)
    if error:
        raise error


def _preview(settings: Settings, flow: Flow, resolve: Resolver) -> Reconciled:
    with TemporaryDirectory() as scratch, connect(settings) as warehouse:
        if not _is_loaded(warehouse, flow):
            return Reconciled(flow.name)
        row = warehouse.execute("select clock_timestamp()").fetchone()
        assert row is not None
        load = Load("preview", flow.name, 0, current_cursor(warehouse, flow.name), {})
        folder = LandingFolder(Path(scratch), flow.name, load.load_id)
        found, _ = land_keys(settings, warehouse, flow, load, folder, list_keys(flow, resolve), row[0])
        warehouse.rollback()
    return Reconciled(flow.name, found)
