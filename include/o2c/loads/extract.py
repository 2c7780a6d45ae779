"""Extract one flow: source to landing files and a staged table, in constant memory."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from o2c.connections import Resolver
from o2c.connectors.base import ControlTotals, ExtractRequest, Part
from o2c.contracts.flow import Flow
from o2c.errors import LoadNotClosed, O2CError, UsageError
from o2c.failpoints import reached
from o2c.formats.base import TableStream
from o2c.loads.events import load_event
from o2c.loads.observed import Observed, locate, note_drift
from o2c.loads.screening import Screening, screened_fields
from o2c.settings import Settings
from o2c.version import code_version
from o2c.warehouse.abandoned import take_over
from o2c.warehouse.evidence import append_all
from o2c.warehouse.fence import superseded
from o2c.warehouse.file_delivery import note_seen
from o2c.warehouse.flow_table import register
from o2c.warehouse.landing import Landed, LandingTable, money_source, totals_by_currency
from o2c.warehouse.landing_files import LandedFile, LandingFolder
from o2c.warehouse.ledger import Load, note_state, open_load
from o2c.warehouse.session import connect
from o2c.warehouse.stage import Staged, create_stage


@dataclass(frozen=True)
class Extracted:
    """A staged load; small enough for XCom."""

    load_id: str
    flow: str
    rows: int


Parts = Generator[Part, None, None]
Narrow = Callable[[psycopg.Connection, Landed], Mapping[str, Any]]


def take_all(connection: psycopg.Connection, landed: Landed) -> Mapping[str, Any]:
    """What an extract takes: every row that has landed."""
    return {"kind": "extract"}


def extract(settings: Settings, flow: Flow, resolve: Resolver, run_id: str | None = None) -> Extracted:
    """Open a load, read its window, land and stage it.

    Args:
        settings: where landing files go and which warehouse.
        flow: what to read.
        resolve: gives the connection a flow names.
        run_id: the run this load belongs to.

    Raises:
        O2CError: the source or the warehouse failed; the load is noted as failed, nothing is staged, no cursor
            has moved.
    """
    connection = resolve(flow.source["connection"]) if "connection" in flow.source else None
    load = begin(settings, flow, run_id)
    seen: dict[str, str] = {}
    request = replace(request_of(flow, load, connection), seen=seen.__setitem__)
    extracted = land(settings, flow, load, lambda: source_parts(flow, request))
    with connect(settings) as warehouse:
        note_seen(warehouse, flow, seen)
    return extracted


def source_parts(flow: Flow, request: ExtractRequest) -> Parts:
    """What the flow's source gives for a request."""
    parts: Parts = importlib.import_module(f"o2c.connectors.{flow.source['connector']}").extract(request)
    return parts


def begin(settings: Settings, flow: Flow, run_id: str | None = None) -> Load:
    """Open a load with the flow's newest fence token: from here on every older load of the flow is refused."""
    with connect(settings) as warehouse:
        register(warehouse, [flow])
        load = open_load(warehouse, flow, run_id)
        overtaken = take_over(warehouse, load)
    reached("extract_opened")
    for load_id in overtaken:
        LandingFolder(settings.landing_dir, flow.name, load_id).discard()
    return load


def land(
    settings: Settings,
    flow: Flow,
    load: Load,
    parts: Callable[[], Parts],
    folder: LandingFolder | None = None,
    narrow: Narrow = take_all,
) -> Extracted:
    """Land and stage what ``parts`` gives; a failure is noted and leaves nothing staged.

    ``narrow`` may leave out landed rows before they are staged, and says what the manifest keeps beside.
    """
    folder = folder or LandingFolder(settings.landing_dir, flow.name, load.load_id)
    try:
        with connect(settings) as warehouse:
            screening = Screening(settings, flow, folder)
            manifest, staged = land_parts(warehouse, flow, load, folder, screening.parts(parts()), narrow)
            screening.note(warehouse, load, manifest)
            folder.complete(manifest)
            reached("landing_renamed")
            cursor_to = tuple(manifest["cursor_to"]) if manifest["cursor_to"] else None
            if not note_state(warehouse, load.load_id, "staged", manifest=manifest, cursor_to=cursor_to):
                raise superseded(load)
            append_all(warehouse, [load_event(manifest)])
    except BaseException as error:
        folder.discard()
        locate(flow, error)
        with connect(settings) as warehouse:
            note_state(warehouse, load.load_id, "failed", error=str(error) or type(error).__name__)
            note_drift(warehouse, flow, load, error)
        raise
    reached("extract_staged")
    return Extracted(load.load_id, flow.name, staged.rows)


def request_of(flow: Flow, load: Load, connection: Any) -> ExtractRequest:
    """The window of a load: from its cursor on, and the files it does not know."""
    money = money_source(flow)
    currency = money[1][0] if money and isinstance(money[1], tuple) else None
    return ExtractRequest(
        flow=flow.name,
        source={**flow.source, "fields": list(flow.source_columns)},
        connection=connection,
        base_dir=flow.path.parent,
        cursor=load.cursor,
        known_files=load.known_files,
        amount=money[0] if money and currency else None,
        currency=currency,
    )


def land_parts(
    warehouse: psycopg.Connection,
    flow: Flow,
    load: Load,
    folder: LandingFolder,
    parts: Parts,
    narrow: Narrow = take_all,
) -> tuple[dict[str, Any], Staged]:
    """Land and stage in the caller's transaction; returns the manifest, with a word on what ``narrow`` took."""
    observed = Observed(warehouse, flow, load)
    table = LandingTable(warehouse, flow, load.landing_table, observed.before.columns)
    started = time.perf_counter()
    files: list[dict[str, Any]] = []
    controls: list[ControlTotals] = []
    with closing(parts):
        for part in parts:
            entry = land_part(table, flow, folder, part, observed)
            if entry.get("outcome") == "duplicate_of":
                continue
            files.append(entry)
            observed.part(part, table.landed)
            control = part.control()
            if control is not None:
                controls.append(control)
                check_control(flow, part, files[-1]["rows"], control)
    landing_seconds = time.perf_counter() - started
    reached("extract_copied")
    observed.shape(table.landed)
    taken = narrow(warehouse, table.landed)
    if not table.landed.columns:
        staged = Staged(0, 0, {}, load.cursor)
    else:
        staged = create_stage(warehouse, flow, load, table.landed)
    _check_control_amounts(flow, controls, staged)
    observed.cursor(staged.cursor_to)
    manifest = _manifest(flow, load, table, files, controls, staged) | observed.manifest()
    return {**manifest, "landing_seconds": round(landing_seconds, 3), **taken}, staged


def land_part(
    table: LandingTable, flow: Flow, folder: LandingFolder, part: Part, observed: Observed | None = None
) -> dict[str, Any]:
    """Land one part, as a file and in the table; returns its entry in the manifest.

    A file whose bytes the flow has already (``outcome`` is ``duplicate_of``) is not kept and brings no rows.
    """
    file, blocks = folder.tee(part.name, part.blocks)
    delivery: dict[str, Any] = {}
    if part.fingerprint and observed:
        # A file is known by its bytes: all of it must have arrived before any of it counts.
        _drain(blocks)
        delivery = observed.file(part, file)
        if delivery["outcome"] == "duplicate_of":
            folder.drop(file)
            return {**_file_entry(part, file, 0), **delivery}
        blocks = folder.read(file)
    stream = screened_fields(flow, stream_of(flow, part, blocks), f"{flow.name}: {part.name}")
    rows = table.copy(file.name, stream.columns, stream.blocks, stream.delimiter)
    _drain(blocks)
    return {**_file_entry(part, file, rows), **delivery}


def stream_of(flow: Flow, part: Part, blocks: Iterator[bytes]) -> TableStream:
    """The records of a part, read in the flow's format."""
    spec = dict(flow.source.get("format") or {})
    name = spec.pop("type", "json_records" if flow.source["connector"] == "salesforce" else "csv")
    if name == "json_records":
        spec["fields"] = list(flow.source_columns)
    return importlib.import_module(f"o2c.formats.{name}").read(blocks, spec, f"{flow.name}: {part.name}")


def _drain(blocks: Iterator[bytes]) -> None:
    """Some formats stop before the last byte; the landing file is complete all the same."""
    for _ in blocks:
        pass


def _file_entry(part: Part, file: LandedFile, rows: int) -> dict[str, Any]:
    return {
        "name": file.name,
        "source_name": part.name,
        "sha256": file.sha256,
        "bytes": file.bytes,
        "rows": rows,
        "fingerprint": part.fingerprint,
        "origin": dict(part.origin),
    }


def check_control(flow: Flow, part: Part, rows: int, control: ControlTotals) -> None:
    """Compare the rows that arrived with those the source counts; raises :class:`LoadNotClosed`."""
    if control.rows != rows:
        raise LoadNotClosed(
            f"The source counts {control.rows} rows, {rows} arrived.",
            where=f"{flow.name}: {part.name}",
            next_step="Run the flow again; if it repeats, the source loses rows while it is read.",
        )


def _check_control_amounts(flow: Flow, controls: list[ControlTotals], staged: Staged) -> None:
    sums = [control.amounts for control in controls if control.amounts is not None]
    if not sums or len(sums) != len(controls) or staged.left_out_rows:
        return
    for currency in sorted({*staged.amounts, *(code for amounts in sums for code in amounts)}):
        expected = sum(amounts.get(currency, 0) for amounts in sums)
        if staged.amounts.get(currency, 0) != expected:
            raise LoadNotClosed(
                f"The source sums to {expected} {currency}, {staged.amounts.get(currency, 0)} arrived.",
                where=flow.name,
                next_step="Run the flow again; if it repeats, compare the mapping of the amount.",
            )


def _manifest(
    flow: Flow,
    load: Load,
    table: LandingTable,
    files: list[dict[str, Any]],
    controls: list[ControlTotals],
    staged: Staged,
) -> dict[str, Any]:
    return {
        "flow": flow.name,
        "load_id": load.load_id,
        "source_system": flow.system,
        "files": files,
        "columns": table.landed.columns,
        "ranges": [list(entry) for entry in table.landed.ranges],
        "rows": staged.rows,
        "rows_of_other_flows": staged.left_out_rows,
        "amounts": totals_by_currency(staged.amounts),
        "control_totals": [
            {"rows": control.rows, "amounts": totals_by_currency(control.amounts or {})} for control in controls
        ],
        "cursor_from": list(load.cursor) if load.cursor else None,
        "cursor_to": list(staged.cursor_to) if staged.cursor_to else None,
        "code_version": code_version(),
    }


def is_fatal(flow: Flow, error: Exception) -> bool:
    """True when trying again cannot help: wrong use, a failed check, or a reason the flow calls fatal."""
    if isinstance(error, UsageError | LoadNotClosed):
        return True
    fatal = (*flow.retry.fatal, "malformed_file", "card_number")
    return isinstance(error, O2CError) and getattr(error, "reason", None) in fatal
