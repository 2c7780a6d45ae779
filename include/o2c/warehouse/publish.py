"""Publish: one transaction that moves a gated load into ``raw``, with quarantine, ledger and watermark.

Nothing else writes to ``raw`` and nothing else moves a cursor. The ledger's check constraints refuse a load that
does not close, and with it everything this transaction did.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import psycopg
from psycopg import sql

from o2c.failpoints import reached
from o2c.warehouse import evidence
from o2c.warehouse.decisions import append_decision, carry_out
from o2c.warehouse.fence import hold
from o2c.warehouse.ledger_entry import move_watermark, not_closed, write_ledger, write_totals
from o2c.warehouse.quarantine import landing_file, supersede, write_quarantine
from o2c.warehouse.request import Published, PublishRequest
from o2c.warehouse.session import trusted
from o2c.warehouse.sort_out import count_sorted, sort_out
from o2c.warehouse.stage import amount_and_currency, drop_landing
from o2c.warehouse.tables import indexes_rebuilt


def publish(connection: psycopg.Connection, request: PublishRequest) -> Published:
    """Publish one gated load in the caller's transaction; commit it, and it has happened.

    Raises:
        FenceLost: a newer load of the flow has started, or this one has been published already.
        LoadNotClosed: rows or money do not add up, or the quarantine differs from what the gate counted.
    """
    flow, load = request.flow, request.load
    reached("publish_opened")
    hold(connection, flow, load)
    reached("publish_fenced")
    published_at = request.published_at or transaction_time(connection)
    # What came is what was counted while reading; what became of it is counted here, table by table.
    result = Published(load.load_id, flow.name, request.manifest["rows"])
    if result.source_rows:
        sort_out(connection, request)
        result.add("duplicate", count_sorted(connection, flow, load, "duplicate"))
        result.add("quarantined", count_sorted(connection, flow, load, "quarantine"))
        reached("publish_sorted")
        result.add("published", _insert_versions(connection, request, published_at))
        reached("publish_inserted")
    write_ledger(connection, request, result, published_at)
    write_totals(connection, result, {code: Decimal(text) for code, text in request.manifest["amounts"].items()})
    if write_quarantine(connection, request, published_at) != result.rows["quarantined"]:
        raise not_closed(flow, result)
    carry_out(connection, request)
    if result.source_rows:
        supersede(connection, request)
    move_watermark(connection, request)
    drop_landing(connection, load)
    append_decision(connection, request)
    result.head = evidence.append(connection, "publish", load.load_id, statement(request, result))
    reached("publish_written")
    return result


def statement(request: PublishRequest, result: Published) -> dict[str, Any]:
    """What the evidence chain keeps of a publication: enough to find and to check everything else."""
    return {
        "flow": result.flow,
        "source_rows": result.source_rows,
        "rows": result.rows,
        "amounts": {kind: {code: str(sum_) for code, sum_ in by.items()} for kind, by in result.amounts.items()},
        "cursor_to": request.cursor_to,
        "files": [
            {key: file[key] for key in ("name", "sha256", "bytes", "rows")} for file in request.manifest["files"]
        ],
        "code_version": request.code_version,
    }


def transaction_time(connection: psycopg.Connection) -> Any:
    """The server's clock now: the instant that all rows of one publication share."""
    row = connection.execute("select clock_timestamp()").fetchone()
    assert row is not None
    return row[0]


def _insert_versions(
    connection: psycopg.Connection, request: PublishRequest, published_at: Any
) -> list[tuple[str, int, Decimal]]:
    """Append the rows that are left; returns what stands in ``raw`` afterwards, counted there."""
    entity = request.flow.entity
    amount, currency = amount_and_currency(request.flow)
    count = sql.SQL(
        "select {currency}, count(*), sum({amount}) from {raw}"
        " where _published_at = {published_at}::timestamptz and _load_id = {load_id} group by 1"
    ).format(
        currency=trusted(currency),
        amount=trusted(amount),
        raw=sql.Identifier("raw", entity.name),
        published_at=sql.Literal(published_at.isoformat()),
        load_id=sql.Literal(request.load.load_id),
    )
    with indexes_rebuilt(connection, entity):
        connection.execute(insert_versions(connection, request, published_at))
        return connection.execute(count).fetchall()


def insert_versions(connection: psycopg.Connection, request: PublishRequest, published_at: Any) -> sql.Composed:
    """SQL that appends the staged rows that are not sorted out."""
    flow, names = request.flow, list(request.flow.entity.columns)
    values = [
        sql.Literal(flow.system),
        *(sql.SQL("s.{}").format(sql.Identifier(name)) for name in names),
        sql.Literal(request.load.load_id),
        sql.SQL("{}::timestamptz").format(sql.Literal(published_at.isoformat())),
        sql.SQL("s._row_hash"),
        sql.SQL("s._key_hash"),
        trusted(landing_file(request.manifest["ranges"])),
    ]
    targets = ["source_system", *names, "_load_id", "_published_at", "_row_hash", "_key_hash", "_landing_file"]
    row = connection.execute("select exists (select from sorted_out)").fetchone()
    keep = "where not exists (select from sorted_out as o where o._row = s._row)" if row and row[0] else ""
    return sql.SQL("insert into {raw} ({targets}) select {values} from {stage} as s {keep}").format(
        raw=sql.Identifier("raw", flow.entity.name),
        targets=sql.SQL(", ").join(map(sql.Identifier, targets)),
        values=sql.SQL(", ").join(values),
        stage=sql.Identifier("landing", request.load.stage_table),
        keep=trusted(keep),
    )
