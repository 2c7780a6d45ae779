"""Dry runs: what a replay or a backfill would change, without a table, a load, a file or a cursor left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg

from o2c.contracts.flow import Flow
from o2c.loads.extract import Narrow, Parts, land_parts, take_all
from o2c.settings import Settings
from o2c.version import code_version
from o2c.warehouse.ledger import Load
from o2c.warehouse.preview import preview
from o2c.warehouse.replay_files import NoFolder
from o2c.warehouse.request import Published, PublishRequest
from o2c.warehouse.session import connect


@dataclass(frozen=True)
class Planned:
    """One load that would be made: what it is called in the answer, its parts, and what it takes of them."""

    name: str
    parts: Callable[[], Parts]
    narrow: Narrow = take_all


def dry_run(settings: Settings, flow: Flow, planned: Sequence[Planned]) -> list[Published]:
    """What each load would publish, quarantine and find known, in order; each sees what those before it brought.

    Raises:
        O2CError: as the loads would.
    """
    with _rolled_back(settings) as connection:
        row = connection.execute("select pg_backend_pid(), clock_timestamp()").fetchone()
        assert row is not None
        return [
            _preview(connection, settings, flow, plan, f"dry{row[0]}n{n}", row[1]) for n, plan in enumerate(planned)
        ]


@contextmanager
def _rolled_back(settings: Settings) -> Iterator[psycopg.Connection]:
    with connect(settings) as connection:
        try:
            yield connection
        finally:
            connection.rollback()


def _preview(
    connection: psycopg.Connection, settings: Settings, flow: Flow, plan: Planned, load_id: str, moment: datetime
) -> Published:
    load = Load(load_id, flow.name, 0, None, {})
    folder = NoFolder(settings.landing_dir, flow.name, load_id)
    manifest, staged = land_parts(connection, flow, load, folder, plan.parts(), plan.narrow)
    request = PublishRequest(load, flow, {**manifest, "rows": staged.rows}, None, {}, code_version())
    result = preview(connection, request, moment)
    result.load_id = plan.name
    return result
