"""Replay: a new load from the landing files of an older one. The source is not asked, the cursor does not move.

Everything else is as in any load: the fence, the same readers, the gate, one publishing transaction.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import psycopg

from o2c.connectors.base import Part
from o2c.contracts.flow import Flow
from o2c.errors import LoadNotClosed
from o2c.loads.extract import Extracted, Narrow, begin, land
from o2c.loads.gate import gate
from o2c.loads.publish import publish
from o2c.settings import Settings
from o2c.warehouse.decisions import Decision, Record
from o2c.warehouse.landing import Landed, totals_by_currency
from o2c.warehouse.replay_files import LinkedFolder, Origin
from o2c.warehouse.request import Published
from o2c.warehouse.selection import Selection, restrict


def replay(
    settings: Settings,
    flow: Flow,
    origin: Origin,
    selection: Selection | None = None,
    decision: Decision | None = None,
    records: tuple[Record, ...] = (),
) -> Published:
    """Load the selected rows of ``origin`` again.

    Args:
        settings: where landing files go and which warehouse.
        flow: the flow as it is today: mapping and rules are today's.
        origin: the load to replay, its files checked.
        selection: which of its rows; all when left out.
        decision: what a person decided, carried out with the publication.
        records: the records that were decided on.

    Raises:
        GateStopped: a rule that stops the load is broken.
        DecisionRefused: a record was decided otherwise meanwhile; nothing is published.
        O2CError: the load failed; it is noted as failed, nothing is published.
    """
    load = begin(settings, flow)
    folder = LinkedFolder(settings.landing_dir, flow.name, load.load_id, origin)
    narrow = narrowed(flow, origin, selection or Selection(), decision.manifest(records) if decision else None)
    extracted = land(settings, flow, load, lambda: parts(origin), folder, narrow)
    return gated(settings, flow, extracted)


def gated(settings: Settings, flow: Flow, extracted: Extracted) -> Published:
    """Gate and publish one staged load."""
    (outcome,) = gate(settings, flow.group, {flow.name: flow}, [extracted])
    if outcome.error:
        raise outcome.error
    return publish(settings, flow, extracted)


def parts(origin: Origin) -> Generator[Part, None, None]:
    """The landing files of a load, as a connector would give them."""
    for file in origin.manifest["files"]:
        yield Part(file["name"], origin.blocks(file["name"]), origin={"replay_of": origin.load_id})


def narrowed(flow: Flow, origin: Origin, selection: Selection, decision: Mapping[str, Any] | None = None) -> Narrow:
    """What the replay of ``origin`` takes of the rows that have landed, and what its manifest says of it."""

    def narrow(connection: psycopg.Connection, landed: Landed) -> Mapping[str, Any]:
        _check_rows(flow, origin, landed)
        rows = restrict(connection, flow, landed, selection)
        told = {
            "kind": "replay",
            "replay_of": origin.load_id,
            "rows_selected": rows,
            # Known by their bytes already; a replay is no new delivery.
            "files": [{**file, "fingerprint": None} for file in origin.manifest["files"]],
            "control_totals": [{"rows": landed.totals.rows, "amounts": totals_by_currency(landed.totals.amounts)}],
            "cursor_from": None,
            "cursor_to": None,
        }
        return {**told, "decision": decision} if decision else told

    return narrow


def _check_rows(flow: Flow, origin: Origin, landed: Landed) -> None:
    """The numbers of the rows are the address of quarantined records: they must not have moved."""
    read = [list(entry) for entry in landed.ranges]
    if read != origin.manifest["ranges"]:
        raise LoadNotClosed(
            f"The landing files of load {origin.load_id} read {landed.copied_rows:,} rows now, "
            f"{sum(file['rows'] for file in origin.manifest['files']):,} then.",
            where=flow.name,
            next_step="The reader of the format has changed since; replay with the code version in the manifest.",
        )
