"""Publish a gated load by its id."""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from o2c.contracts.flow import Flow
from o2c.errors import O2CError, WarehouseError
from o2c.failpoints import reached
from o2c.loads.extract import Extracted
from o2c.settings import Settings
from o2c.version import code_version
from o2c.warehouse.acknowledgement import settled
from o2c.warehouse.anchors import write_or_warn
from o2c.warehouse.ledger import note_state, read_load
from o2c.warehouse.publish import publish as publish_load
from o2c.warehouse.request import Published, PublishRequest
from o2c.warehouse.session import connect


def publish(
    settings: Settings,
    flow: Flow,
    extracted: Extracted,
    how: Callable[[psycopg.Connection, PublishRequest], Published] = publish_load,
) -> Published:
    """Move one gated load into ``raw`` in one transaction; ``how`` is what that transaction does.

    Raises:
        FenceLost: a newer load of the flow exists.
        LoadNotClosed: rows or money do not add up.
        WarehouseError: the warehouse broke off and the load is not in the ledger; it can be published again.
            The warehouse is unchanged in all three cases.
    """
    try:
        with connect(settings) as connection:
            published = how(connection, _request(connection, flow, extracted))
        reached("publish_committed")
        write_or_warn(settings, published.head)
        return published
    except WarehouseError:
        # Whether a COMMIT without an answer has happened, only the ledger knows.
        if (found := settled(settings, extracted.load_id)) is not None:
            return found
        raise
    except O2CError as error:
        with connect(settings) as connection:
            note_state(connection, extracted.load_id, "failed", error=str(error))
        raise


def _request(connection: psycopg.Connection, flow: Flow, extracted: Extracted) -> PublishRequest:
    load, manifest = read_load(connection, extracted.load_id)
    rows = connection.execute(
        "select rule, unexpected_rows from ops.gate_result where load_id = %s", [load.load_id]
    ).fetchall()
    cursor = manifest.get("cursor_to")
    return PublishRequest(
        load=load,
        flow=flow,
        manifest=manifest,
        cursor_to=tuple(cursor) if cursor else None,
        unexpected=dict(rows),
        code_version=code_version(),
    )
