"""Backfill: read a window again from the source itself. The cursor stays where it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

import psycopg

from o2c.connections import Resolver
from o2c.contracts.flow import Flow
from o2c.errors import UsageError
from o2c.loads.dry_run import Planned, dry_run
from o2c.loads.extract import begin, land, request_of, source_parts
from o2c.loads.replay import gated
from o2c.settings import Settings
from o2c.warehouse.landing import Landed
from o2c.warehouse.ledger import Load
from o2c.warehouse.request import Published


def backfill(
    settings: Settings,
    flow: Flow,
    resolve: Resolver,
    since: datetime,
    until: datetime | None = None,
    *,
    is_dry: bool = False,
) -> Published:
    """Load what changed in the source from ``since`` (inclusive) to ``until`` (exclusive), by the flow's cursor.

    Raises:
        UsageError: the flow reads no cursor, so it has no windows; or the window is empty.
        O2CError: as any load.
    """
    _check(flow, since, until)
    window = (since.isoformat(), until.isoformat() if until else None)
    connection = resolve(flow.source["connection"]) if "connection" in flow.source else None
    request = request_of(flow, Load("", flow.name, 0, (window[0], ""), {}), connection)
    source = {name: value for name, value in request.source.items() if name != "overlap"}
    parts = partial(source_parts, flow, replace(request, source=source, until=window[1]))

    def narrow(connection: psycopg.Connection, landed: Landed) -> Mapping[str, Any]:
        return {"kind": "extract", "window": list(window), "cursor_from": None, "cursor_to": None}

    if is_dry:
        return dry_run(settings, flow, [Planned(flow.name, parts, narrow)])[0]
    load = begin(settings, flow)
    return gated(settings, flow, land(settings, flow, load, parts, narrow=narrow))


def _check(flow: Flow, since: datetime, until: datetime | None) -> None:
    if not flow.cursor:
        raise UsageError(
            "The flow has no cursor, so there is no window to read again.",
            where=flow.name,
            next_step=f"'o2c sync {flow.name}' reads all of it; 'o2c resync' loads its landing files again.",
        )
    if until and since >= until:
        raise UsageError("The window ends before it begins.", next_step="Give --from before --to.")
