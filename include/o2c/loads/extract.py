"""Extract one flow: source to landing files and a staged table, in constant memory."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg

from o2c.connections import Resolver
from o2c.connectors.base import ControlTotals, ExtractRequest, Part
from o2c.contracts.flow import Flow
from o2c.errors import LoadNotClosed, O2CError, UsageError
from o2c.failpoints import reached
from o2c.formats.base import TableStream
from o2c.settings import Settings
from o2c.version import code_version
from o2c.warehouse.abandoned import take_over
from o2c.warehouse.fence import superseded
from o2c.warehouse.landing import LandingTable, money_source, totals_by_currency
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
    with connect(settings) as warehouse:
        load = open_load(warehouse, flow, run_id)
        overtaken = take_over(warehouse, load)
    reached("extract_opened")
    for load_id in overtaken:
        LandingFolder(settings.landing_dir, flow.name, load_id).discard()
    folder = LandingFolder(settings.landing_dir, flow.name, load.load_id)
    try:
        with connect(settings) as warehouse:
            manifest, staged = _land(warehouse, flow, load, folder, _request(flow, load, connection))
            folder.complete(manifest)
            reached("landing_renamed")
            if not note_state(warehouse, load.load_id, "staged", manifest=manifest, cursor_to=staged.cursor_to):
                raise superseded(load)
    except BaseException as error:
        folder.discard()
        with connect(settings) as warehouse:
            note_state(warehouse, load.load_id, "failed", error=str(error) or type(error).__name__)
        raise
    reached("extract_staged")
    return Extracted(load.load_id, flow.name, staged.rows)


def _request(flow: Flow, load: Load, connection: Any) -> ExtractRequest:
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


def _land(
    warehouse: psycopg.Connection, flow: Flow, load: Load, folder: LandingFolder, request: ExtractRequest
) -> tuple[dict[str, Any], Staged]:
    module = importlib.import_module(f"o2c.connectors.{flow.source['connector']}")
    table = LandingTable(warehouse, flow, load.landing_table)
    started = time.perf_counter()
    files: list[dict[str, Any]] = []
    controls: list[ControlTotals] = []
    with closing(module.extract(request)) as parts:
        for part in parts:
            files.append(_land_part(table, flow, folder, part))
            control = part.control()
            if control is not None:
                controls.append(control)
                _check_control(flow, part, files[-1]["rows"], control)
    landing_seconds = time.perf_counter() - started
    reached("extract_copied")
    if not table.landed.columns:
        staged = Staged(0, 0, {}, load.cursor)
    else:
        staged = create_stage(warehouse, flow, load, table.landed)
    _check_control_amounts(flow, controls, staged)
    manifest = _manifest(flow, load, table, files, controls, staged)
    return {**manifest, "landing_seconds": round(landing_seconds, 3)}, staged


def _land_part(table: LandingTable, flow: Flow, folder: LandingFolder, part: Part) -> dict[str, Any]:
    file, blocks = folder.tee(part.name, part.blocks)
    stream = _stream(flow, part, blocks)
    rows = table.copy(file.name, stream.columns, stream.blocks, stream.delimiter)
    _drain(blocks)
    return _file_entry(part, file, rows)


def _stream(flow: Flow, part: Part, blocks: Iterator[bytes]) -> TableStream:
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


def _check_control(flow: Flow, part: Part, rows: int, control: ControlTotals) -> None:
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
    return isinstance(error, O2CError) and getattr(error, "reason", None) in (*flow.retry.fatal, "malformed_file")
