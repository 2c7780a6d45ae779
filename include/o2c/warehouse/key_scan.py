"""Deletes: the complete key list of a source against ``raw``. What is gone there gets a tombstone here.

A tombstone is one more version: the last known values with ``_deleted``, published like any other load. Works on the
landing table of a load whose parts are a key list. Nobody else publishes the flow meanwhile: the load holds the
flow's newest fence token, so whatever is in ``raw`` was read from the source before the list was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import sql

from o2c.contracts.flow import Flow, duration
from o2c.failpoints import reached
from o2c.warehouse import evidence
from o2c.warehouse.decisions import Decision
from o2c.warehouse.fence import hold
from o2c.warehouse.landing import Landed
from o2c.warehouse.ledger import Load
from o2c.warehouse.ledger_entry import write_ledger, write_totals
from o2c.warehouse.mapping_sql import typed_columns
from o2c.warehouse.publish import statement, transaction_time
from o2c.warehouse.quarantine import landing_file
from o2c.warehouse.request import Published, PublishRequest
from o2c.warehouse.session import trusted
from o2c.warehouse.stage import amount_and_currency, drop_landing, key_hash
from o2c.warehouse.versions import newest_first, still_stands


@dataclass(frozen=True)
class Differences:
    """What a key list says of ``raw``; counts of distinct keys, exact sums of the deleted by currency.

    ``source``: in the list. ``known``: records of the flow that are alive in ``raw``. ``deleted``: of those, gone from
    the source. ``missed``: in the source, overdue by the cursor, and neither in ``raw`` nor in quarantine;
    ``missed_since`` is the oldest cursor value among them. ``pending``: not there yet, but not overdue either.
    """

    source: int
    known: int
    deleted: int
    missed: int
    pending: int
    missed_since: datetime | None
    amounts: Mapping[str, Decimal]


def key_flow(flow: Flow) -> Flow:
    """The flow as a key list sees it: the columns of the key and of the cursor, nothing else."""
    return replace(flow, mapping={name: flow.mapping[name] for name in flow.entity.key})


def stage_keys(connection: psycopg.Connection, flow: Flow, load: Load, landed: Landed) -> None:
    """Hash the landed keys exactly as rows are hashed when they are staged."""
    keys = key_flow(flow)
    time = landed.columns[flow.cursor[0]] if flow.cursor else "null"
    connection.execute(
        sql.SQL(
            "create materialized view {} as select {} as _key_hash,"
            " case when pg_input_is_valid({time}, 'timestamptz') then {time}::timestamptz end as changed_at from {}"
        ).format(
            _keys(load),
            trusted(key_hash(keys, typed_columns(keys, landed.columns))),
            sql.Identifier("landing", load.landing_table),
            time=trusted(time),
        )
    )
    connection.execute(sql.SQL("analyze {}").format(_keys(load)))


def compare(connection: psycopg.Connection, flow: Flow, load: Load, scanned_at: datetime) -> Differences:
    """Compare the staged keys with ``raw``, in the caller's transaction; leaves the deleted in table ``gone``.

    Args:
        connection: a transaction; the tables ``living`` and ``gone`` live as long as it does.
        flow: whose records to look for; those of other flows into the same table are none of its business.
        load: the load that staged the keys.
        scanned_at: when the load began; what was published later is left alone.
    """
    # A rebuild lists and publishes in one transaction.
    connection.execute("drop table if exists pg_temp.living, pg_temp.gone")
    _find_living(connection, flow)
    _find_gone(connection, flow, load, scanned_at)
    counts = connection.execute(
        sql.SQL(
            "select (select count(distinct _key_hash) from {keys}),"
            " (select count(*) from living where is_own), (select count(*) from gone)"
        ).format(keys=_keys(load))
    ).fetchone()
    assert counts is not None
    source, known, deleted = counts
    missed, since, pending = _count_missing(connection, flow, load)
    amount, currency = amount_and_currency(flow)
    sums = connection.execute(
        sql.SQL("select {}, sum({}) from {} as r inner join gone on r.ctid = gone.place group by 1").format(
            trusted(currency), trusted(amount), sql.Identifier("raw", flow.entity.name)
        )
    ).fetchall()
    return Differences(source, known, deleted, missed, pending, since, dict(sums))


def publish_tombstones(
    connection: psycopg.Connection, request: PublishRequest, agreed: Decision | None = None
) -> Published:
    """Publish one tombstone for each record that is gone, in the caller's transaction.

    The load's source rows are its tombstones, so that it closes like every other; ``ops.key_scan`` keeps the counts.

    Raises:
        FenceLost: another load of the flow has started since the keys were listed.
        LoadNotClosed: more or fewer records are gone now than when the keys were compared.
    """
    flow, load = request.flow, request.load
    reached("publish_opened")
    hold(connection, flow, load)
    reached("publish_fenced")
    published_at = request.published_at or transaction_time(connection)
    scanned_at = datetime.fromisoformat(request.manifest["scanned_at"])
    differences = compare(connection, flow, load, scanned_at)
    result = Published(load.load_id, flow.name, request.manifest["rows"])
    result.add("published", _insert(connection, request, published_at))
    reached("publish_inserted")
    write_ledger(connection, request, result, published_at)
    write_totals(connection, result, {code: Decimal(text) for code, text in request.manifest["amounts"].items()})
    withdrawn = _withdraw(connection, flow, load, scanned_at)
    _note_scan(connection, request, differences, withdrawn, agreed)
    drop_landing(connection, load)
    body = {**statement(request, result), "deletes": {**request.manifest["keys"], "withdrawn": withdrawn}}
    events = [evidence.Event("publish", load.load_id, body)]
    if agreed:
        events.append(evidence.Event("sign_off", load.load_id, _agreement(agreed, differences), agreed.by))
    result.head = evidence.append_all(connection, events)
    reached("publish_written")
    return result


def _keys(load: Load) -> sql.Identifier:
    return sql.Identifier("landing", load.typed_table)


def _find_living(connection: psycopg.Connection, flow: Flow) -> None:
    """The current version of every record of the source system that is not deleted, by the source's own order."""
    connection.execute(
        sql.SQL(
            "create temporary table living on commit drop as"
            " select n._key_hash, n.place, l.flow is not distinct from {flow} as is_own from ("
            "select distinct on (r._key_hash) r._key_hash, r.ctid as place, r._load_id from {raw} as r"
            " where r.source_system = {system} and {still_stands} order by r._key_hash, {newest_first}"
            ") as n left join ops.load_ledger as l on l.load_id = n._load_id"
        ).format(
            flow=sql.Literal(flow.name),
            raw=sql.Identifier("raw", flow.entity.name),
            system=sql.Literal(flow.system),
            still_stands=still_stands(flow),
            newest_first=newest_first(flow),
        )
    )
    connection.execute("analyze living")


def _find_gone(connection: psycopg.Connection, flow: Flow, load: Load, scanned_at: datetime) -> None:
    """Own records that are not in the list, and of which nothing came from another flow or after the scan began."""
    connection.execute(
        sql.SQL(
            "create temporary table gone on commit drop as select living._key_hash, living.place from living"
            " where is_own and not exists (select from {keys} as k where k._key_hash = living._key_hash)"
            " and not exists (select from {raw} as v left join ops.load_ledger as l on l.load_id = v._load_id"
            " where v._key_hash = living._key_hash and v.source_system = {system}"
            " and (l.flow is distinct from {flow} or v._published_at >= {scanned_at}))"
        ).format(
            keys=_keys(load),
            raw=sql.Identifier("raw", flow.entity.name),
            system=sql.Literal(flow.system),
            flow=sql.Literal(flow.name),
            scanned_at=sql.Literal(scanned_at),
        )
    )


def _count_missing(connection: psycopg.Connection, flow: Flow, load: Load) -> tuple[int, datetime | None, int]:
    """Keys the warehouse does not have: overdue ones, the oldest of their cursor values, and those still due."""
    overdue = "false"
    if load.cursor:
        overlap = duration(flow.source["overlap"]) if "overlap" in flow.source else timedelta(0)
        overdue = "(k.changed_at is null or k.changed_at < {cursor}::timestamptz - {overlap})"
        overdue = overdue.format(
            cursor=sql.Literal(load.cursor[0]).as_string(connection),
            overlap=sql.Literal(overlap).as_string(connection),
        )
    row = connection.execute(
        sql.SQL(
            "select count(distinct _key_hash) filter (where {overdue}), min(changed_at) filter (where {overdue}),"
            " count(distinct _key_hash) filter (where not {overdue}) from {keys} as k"
            " where not exists (select from living where living._key_hash = k._key_hash)"
            " and not exists (select from quarantine.record as q where q.entity = {entity}"
            " and q.source_system = {system} and q.key_hash = k._key_hash and q.state in ('open', 'rejected'))"
        ).format(
            overdue=trusted(overdue),
            keys=_keys(load),
            entity=sql.Literal(flow.entity.name),
            system=sql.Literal(flow.system),
        )
    ).fetchone()
    assert row is not None
    return row[0], row[1], row[2]


def _insert(
    connection: psycopg.Connection, request: PublishRequest, published_at: Any
) -> list[tuple[str, int, Decimal]]:
    """Append the tombstones; returns (currency, rows, amount) of what was appended."""
    flow = request.flow
    kept = ["source_system", *flow.entity.columns, "_row_hash", "_key_hash"]
    added = {
        "_load_id": sql.Literal(request.load.load_id),
        "_published_at": sql.SQL("{}::timestamptz").format(sql.Literal(published_at.isoformat())),
        "_deleted": sql.SQL("true"),
        # The list that does not name the record is what proves that it is gone.
        "_landing_file": trusted(landing_file(request.manifest["ranges"][:1])),
    }
    amount, currency = amount_and_currency(flow)
    return connection.execute(
        sql.SQL(
            "with added as (insert into {raw} ({targets}) select {values} from {raw} as r"
            " inner join gone on r.ctid = gone.place returning *)"
            " select {currency}, count(*), sum({amount}) from added group by 1"
        ).format(
            raw=sql.Identifier("raw", flow.entity.name),
            targets=sql.SQL(", ").join(map(sql.Identifier, [*kept, *added])),
            values=sql.SQL(", ").join([*(sql.Identifier("r", name) for name in kept), *added.values()]),
            currency=trusted(currency),
            amount=trusted(amount),
        )
    ).fetchall()


def _withdraw(connection: psycopg.Connection, flow: Flow, load: Load, scanned_at: datetime) -> int:
    """Close quarantined records whose source record is gone: nothing is left there to mend."""
    return connection.execute(
        sql.SQL(
            "update quarantine.record as q set state = 'superseded', closed_at = clock_timestamp(),"
            " closed_by_load_id = {load_id} where q.state = 'open' and q.flow = {flow} and q.key_hash is not null"
            " and q.quarantined_at < {scanned_at}"
            " and not exists (select from {keys} as k where k._key_hash = q.key_hash)"
        ).format(
            load_id=sql.Literal(load.load_id),
            flow=sql.Literal(flow.name),
            scanned_at=sql.Literal(scanned_at),
            keys=_keys(load),
        )
    ).rowcount


def _note_scan(
    connection: psycopg.Connection,
    request: PublishRequest,
    found: Differences,
    withdrawn: int,
    agreed: Decision | None,
) -> None:
    connection.execute(
        "insert into ops.key_scan (load_id, flow, scanned_at, source_keys, known_keys, deleted_keys, missed_keys,"
        " pending_keys, withdrawn_records, accepted_by, accepted_reason)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        [
            request.load.load_id,
            request.flow.name,
            request.manifest["scanned_at"],
            *(found.source, found.known, found.deleted, found.missed, found.pending),
            withdrawn,
            agreed.by if agreed else None,
            agreed.reason if agreed else None,
        ],
    )


def _agreement(agreed: Decision, found: Differences) -> dict[str, Any]:
    return {"decision": agreed.kind, "reason": agreed.reason, "deleted": found.deleted, "of": found.known}
