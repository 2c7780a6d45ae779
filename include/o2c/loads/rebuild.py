"""Rebuild ``raw`` from the landing files alone, in a scratch database, and compare it with the warehouse.

Every published load is published again in the order of the ledger, with the id and the time that the ledger has;
releases and rejections are repeated where they happened. What differs was not made by the loads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import itemgetter
from typing import Any

import psycopg

from o2c.contracts.catalogue import Catalogue
from o2c.contracts.flow import Flow
from o2c.errors import O2CError, UsageError
from o2c.loads.extract import land_parts
from o2c.loads.reconcile import land_keys
from o2c.loads.replay import parts
from o2c.settings import Settings
from o2c.warehouse.checksum import Difference, compare
from o2c.warehouse.contract_version import contracts_of
from o2c.warehouse.decisions import Decision, records_of, reject
from o2c.warehouse.flow_table import register
from o2c.warehouse.history import PastLoad, Rejection, outdated_loads, past_loads, rejections, reopen
from o2c.warehouse.key_scan import publish_tombstones
from o2c.warehouse.landing import Landed
from o2c.warehouse.migrate import migrate
from o2c.warehouse.preview import count_broken
from o2c.warehouse.publish import publish
from o2c.warehouse.replay_files import NoFolder, Origin, read_origin
from o2c.warehouse.request import KINDS, Published, PublishRequest
from o2c.warehouse.selection import Selection, restrict
from o2c.warehouse.session import connect


class RebuildFailed(O2CError):
    """A published load cannot be made again from its landing files."""


@dataclass
class Rebuilt:
    """What a rebuild found: loads repeated, loads that came out otherwise, tables that differ, changed contracts."""

    loads: int = 0
    different_loads: list[str] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    outdated: dict[str, list[str]] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """True when everything is the same, byte for byte."""
        return not self.different_loads and not self.differences


def rebuild(settings: Settings, scratch: Settings, catalogue: Catalogue) -> Rebuilt:
    """Publish the warehouse's whole history again in ``scratch``, an empty database, and compare ``raw``.

    Loads may go on meanwhile: what is compared is one snapshot.

    Raises:
        LandingChanged: a landing file is not what was landed.
        RebuildFailed: a load cannot be made again, for instance because its flow is gone.
    """
    migrate(scratch, catalogue.entities)
    result = Rebuilt()
    with snapshot(settings) as warehouse:
        result.outdated = _outdated(warehouse, catalogue)
        for step in _steps(warehouse):
            with connect(scratch) as connection:
                if isinstance(step, Rejection):
                    _reject(connection, step)
                else:
                    origin = read_origin(warehouse, settings.landing_dir, step.load_id)
                    _repeat(scratch, connection, catalogue, step, origin, result)
        with connect(scratch) as connection:
            result.differences = compare(warehouse, connection, ["raw"])
    return result


@contextmanager
def snapshot(settings: Settings) -> Iterator[psycopg.Connection]:
    """The warehouse as it stands at one moment, read only."""
    with connect(settings) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        yield connection


def _steps(warehouse: psycopg.Connection) -> list[PastLoad | Rejection]:
    steps: list[tuple[datetime, PastLoad | Rejection]] = [(p.published_at, p) for p in past_loads(warehouse)]
    steps += [(rejection.decided_at, rejection) for rejection in rejections(warehouse)]
    return [step for _, step in sorted(steps, key=itemgetter(0))]


def _outdated(warehouse: psycopg.Connection, catalogue: Catalogue) -> dict[str, list[str]]:
    found = {name: outdated_loads(warehouse, flow, contracts_of([flow])) for name, flow in catalogue.flows.items()}
    return {name: loads for name, loads in found.items() if loads}


def _repeat(
    scratch: Settings,
    connection: psycopg.Connection,
    catalogue: Catalogue,
    past: PastLoad,
    origin: Origin,
    result: Rebuilt,
) -> None:
    flow = _flow(catalogue, past)
    try:
        done = _MAKERS[past.kind](scratch, connection, flow, past, origin)
    except O2CError as error:
        raise RebuildFailed(
            f"Load {past.load_id} cannot be made again: {error.what}",
            where=error.where or flow.name,
            next_step="Compare the contracts and the code with those of the load: see code_version in its manifest.",
        ) from None
    rows = [done.source_rows, *(done.rows[kind] for kind in KINDS)]
    if rows != list(past.rows):
        then, now = ("/".join(map(str, counts)) for counts in (past.rows, rows))
        result.different_loads.append(
            f"{past.load_id} of {past.flow}: source/published/quarantined/duplicate {then} then, {now} now"
        )
    result.loads += 1


def _flow(catalogue: Catalogue, past: PastLoad) -> Flow:
    if past.kind not in _MAKERS:
        raise RebuildFailed(f"Load {past.load_id} is of an unknown kind, '{past.kind}'.", where=past.flow)
    if past.flow not in catalogue.flows:
        raise UsageError(
            f"The flow '{past.flow}' of load {past.load_id} is gone.",
            next_step="Put its file back; what was published by it cannot be read without it.",
        )
    return catalogue.flows[past.flow]


def _rows_again(
    scratch: Settings, connection: psycopg.Connection, flow: Flow, past: PastLoad, origin: Origin
) -> Published:
    """An extract or a replay: rows, of all landed ones or of those that the manifest selects."""

    def narrow(connection: psycopg.Connection, landed: Landed) -> Mapping[str, Any]:
        restrict(connection, flow, landed, Selection(rows=past.manifest.get("rows_selected")))
        return {}

    register(connection, [flow])
    load = reopen(connection, flow, past)
    folder = NoFolder(scratch.landing_dir, flow.name, load.load_id)
    landed, staged = land_parts(connection, flow, load, folder, parts(origin), narrow)
    request = _request(flow, past, load, {**past.manifest, "rows": staged.rows, "amounts": landed["amounts"]})
    if staged.rows:
        request = replace(request, unexpected=count_broken(connection, flow.all_rules, load.stage_table))
    return publish(connection, request)


def _tombstones_again(
    scratch: Settings, connection: psycopg.Connection, flow: Flow, past: PastLoad, origin: Origin
) -> Published:
    """A reconciliation: the key list is compared with ``raw`` as it was then."""
    register(connection, [flow])
    load = reopen(connection, flow, past)
    folder = NoFolder(scratch.landing_dir, flow.name, load.load_id)
    scanned_at = datetime.fromisoformat(past.manifest["scanned_at"])
    land_keys(scratch, connection, flow, load, folder, parts(origin), scanned_at)
    return publish_tombstones(connection, _request(flow, past, load, past.manifest))


def _request(flow: Flow, past: PastLoad, load: Any, manifest: Mapping[str, Any]) -> PublishRequest:
    cursor_to = tuple(past.cursor_to) if past.cursor_to else None
    return PublishRequest(load, flow, manifest, cursor_to, {}, past.code_version, past.published_at)


_Maker = Callable[[Settings, psycopg.Connection, Flow, PastLoad, Origin], Published]
_MAKERS: Mapping[str, _Maker] = {"extract": _rows_again, "replay": _rows_again, "reconcile": _tombstones_again}


def _reject(connection: psycopg.Connection, rejection: Rejection) -> None:
    records = records_of(connection, [(rejection.load_id, rejection.landing_row)])
    numbers: Sequence[int] = [record.record_id for record in records]
    reject(connection, numbers, Decision("reject", rejection.by, rejection.reason))
