"""What publishing writes into the ledger: one row per load, its money, its files, and the watermark."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from o2c.contracts.flow import Flow
from o2c.errors import FenceLost, LoadNotClosed
from o2c.warehouse.file_delivery import write_deliveries
from o2c.warehouse.request import KINDS, Published, PublishRequest


def write_ledger(connection: psycopg.Connection, request: PublishRequest, result: Published, published_at: Any) -> None:
    """Write the load's row, which a check constraint refuses when rows do not add up, and remember its files."""
    try:
        connection.execute(
            "insert into ops.load_ledger (load_id, flow, source_group, source_system, entity, run_id, published_at,"
            " source_rows, published_rows, quarantined_rows, duplicate_rows, cursor_from, cursor_to, manifest,"
            " code_version) select load_id, flow, source_group, source_system, entity, run_id, %s, %s, %s, %s, %s,"
            " cursor_from, %s, %s, %s from ops.load where load_id = %s",
            [
                published_at,
                result.source_rows,
                *(result.rows[kind] for kind in KINDS),
                Jsonb(request.cursor_to),
                Jsonb(request.manifest),
                request.code_version,
                request.load.load_id,
            ],
        )
    except psycopg.errors.CheckViolation:
        raise not_closed(request.flow, result) from None
    except psycopg.errors.UniqueViolation:
        raise FenceLost(f"Load {request.load.load_id} is published already.", where=request.flow.name) from None
    connection.execute(
        "update ops.load set state = 'published', finished_at = clock_timestamp() where load_id = %s",
        [request.load.load_id],
    )
    write_deliveries(connection, request)


def write_totals(connection: psycopg.Connection, result: Published, source: Mapping[str, Decimal]) -> None:
    """Write the load's sums by currency, which a check constraint refuses when they do not add up."""
    zero = Decimal(0)
    try:
        for currency in sorted({*source, *(code for kind in KINDS for code in result.amounts[kind])}):
            if currency == "" and not any(by.get("") for by in (source, *result.amounts.values())):
                continue
            connection.execute(
                "insert into ops.load_ledger_total values (%s, %s, %s, %s, %s, %s)",
                [
                    result.load_id,
                    currency,
                    source.get(currency, zero),
                    *(result.amounts[kind].get(currency, zero) for kind in KINDS),
                ],
            )
    except psycopg.errors.CheckViolation:
        raise LoadNotClosed(
            "The load does not close in money.",
            where=f"{result.flow}, load {result.load_id}",
            next_step="Nothing was published. Keep the landing files and report it.",
        ) from None


def move_watermark(connection: psycopg.Connection, request: PublishRequest) -> None:
    """Move the flow's cursor; never back."""
    if request.cursor_to is None:
        return
    connection.execute(
        "insert into ops.watermark as w (flow, cursor_values, load_id) values (%s, %s, %s)"
        " on conflict (flow) do update set cursor_values = excluded.cursor_values, load_id = excluded.load_id,"
        " moved_at = clock_timestamp()"
        " where (w.cursor_values ->> 0)::timestamptz <= (excluded.cursor_values ->> 0)::timestamptz",
        [request.flow.name, Jsonb(list(request.cursor_to)), request.load.load_id],
    )


def not_closed(flow: Flow, result: Published) -> LoadNotClosed:
    """The error of a load whose rows do not add up."""
    parts = ", ".join(f"{result.rows[kind]} {kind}" for kind in KINDS)
    return LoadNotClosed(
        f"The load does not close: {result.source_rows} rows came, {parts}.",
        where=f"{flow.name}, load {result.load_id}",
        next_step="Nothing was published. Keep the landing files and report it.",
    )
