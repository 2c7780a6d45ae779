"""Publish: one transaction that moves a gated load into ``raw``, with quarantine, ledger and watermark.

Nothing else writes to ``raw`` and nothing else moves a cursor. The ledger's check constraints refuse a load that
does not close, and with it everything this transaction did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from o2c.contracts.entity import Rule
from o2c.contracts.flow import Flow
from o2c.errors import FenceLost, LoadNotClosed
from o2c.warehouse.ledger import Load
from o2c.warehouse.mapping_sql import literal
from o2c.warehouse.session import trusted
from o2c.warehouse.stage import amount_and_currency
from o2c.warehouse.tables import indexes_rebuilt

KINDS = ("published", "quarantined", "duplicate")


@dataclass
class Published:
    """Rows and exact sums by currency of one published load, by what became of them."""

    load_id: str
    flow: str
    source_rows: int
    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    amounts: dict[str, dict[str, Decimal]] = field(default_factory=lambda: {kind: {} for kind in KINDS})

    def add(self, kind: str, counted: list[tuple[str, int, Decimal]]) -> None:
        """Add rows of one kind, as (currency, rows, amount)."""
        for currency, rows, amount in counted:
            self.rows[kind] += rows
            self.amounts[kind][currency] = self.amounts[kind].get(currency, Decimal(0)) + amount


@dataclass(frozen=True)
class PublishRequest:
    """What the gate hands over: the load, its manifest, and how many rows broke each rule."""

    load: Load
    flow: Flow
    manifest: Mapping[str, Any]
    cursor_to: tuple[str, ...] | None
    unexpected: Mapping[str, int]
    code_version: str


def publish(connection: psycopg.Connection, request: PublishRequest) -> Published:
    """Publish one gated load in the caller's transaction; commit it, and it has happened.

    Raises:
        FenceLost: a newer load of the flow has started, or this one has been published already.
        LoadNotClosed: rows or money do not add up, or the quarantine differs from what the gate counted.
    """
    flow, load = request.flow, request.load
    _lock(connection, flow, load)
    published_at = _transaction_time(connection)
    # What came is what was counted while reading; what became of it is counted here, table by table.
    result = Published(load.load_id, flow.name, request.manifest["rows"])
    if result.source_rows:
        _sort_out(connection, request)
        result.add("duplicate", _count_sorted(connection, flow, load, "duplicate"))
        result.add("quarantined", _count_sorted(connection, flow, load, "quarantine"))
        result.add("published", _insert_versions(connection, request, published_at))
    _write_ledger(connection, request, result, published_at)
    _write_totals(connection, result, {code: Decimal(text) for code, text in request.manifest["amounts"].items()})
    if _quarantine(connection, request, published_at) != result.rows["quarantined"]:
        raise _not_closed(flow, result)
    if result.rows["published"]:
        _supersede(connection, request)
    _move_watermark(connection, request)
    _drop_landing(connection, load)
    return result


def _lock(connection: psycopg.Connection, flow: Flow, load: Load) -> None:
    for name in sorted((f"flow {flow.name}", f"table {flow.entity.name}")):
        connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", [name])
    row = connection.execute(
        "select f.token, l.state from ops.fence as f inner join ops.load as l using (flow)"
        " where l.load_id = %s for update",
        [load.load_id],
    ).fetchone()
    if row is None or row[0] != load.fence or row[1] != "gated":
        raise FenceLost(
            f"Load {load.load_id} may not publish: "
            + (f"it is {row[1]}." if row and row[1] != "gated" else "a newer load of the flow has started."),
            where=flow.name,
            next_step="Nothing to do when it is published or a newer load carries the rows; else run the flow again.",
        )


def _transaction_time(connection: psycopg.Connection) -> Any:
    row = connection.execute("select clock_timestamp()").fetchone()
    assert row is not None
    return row[0]


def _broken(rule: Rule) -> str:
    return f"({rule.predicate}) is false"


def _broken_rules(request: PublishRequest) -> list[Rule]:
    """Rules that quarantine and that the gate saw broken; the others need no second look."""
    return [
        rule for rule in request.flow.all_rules if rule.on_fail == "quarantine" and request.unexpected.get(rule.name)
    ]


def _sort_out(connection: psycopg.Connection, request: PublishRequest) -> None:
    """Note the rows that are not published: a broken rule quarantines, a row known already is a duplicate."""
    flow = request.flow
    broken = " or ".join(_broken(rule) for rule in _broken_rules(request)) or "false"
    in_quarantine = (
        f"exists (select from quarantine.record as q where q.entity = {literal(flow.entity.name)}"
        f" and q.key_hash = s._key_hash and q.row_hash = s._row_hash and q.flow = {literal(flow.name)})"
    )
    connection.execute(
        sql.SQL(
            "create temporary table sorted_out on commit drop as"
            " select s._row, case when not ({broken}) or s._repeat = 'duplicate' then 'duplicate'"
            " when {in_quarantine} then 'duplicate' else 'quarantine' end as kind, ({broken}) as is_broken"
            " from {stage} as s where ({broken}) or s._repeat = 'duplicate' or {known}"
        ).format(
            broken=trusted(broken),
            in_quarantine=trusted(in_quarantine),
            stage=sql.Identifier("landing", request.load.stage_table),
            known=_known(connection, flow),
        )
    )
    _compare_with_gate(connection, request)


def _compare_with_gate(connection: psycopg.Connection, request: PublishRequest) -> None:
    """Rule by rule, the rows held back must be those that the gate counted."""
    rules = _broken_rules(request)
    if not rules:
        return
    counts = ", ".join(f"count(*) filter (where {_broken(rule)})" for rule in rules)
    held = connection.execute(
        sql.SQL("select {} from {} inner join sorted_out using (_row) where is_broken").format(
            trusted(counts), sql.Identifier("landing", request.load.stage_table)
        )
    ).fetchone()
    for rule, rows in zip(rules, held or (), strict=True):
        if rows != request.unexpected[rule.name]:
            raise LoadNotClosed(
                f"Rows that break '{rule.name}': the gate counted {request.unexpected[rule.name]}, publishing {rows}.",
                where=f"{request.flow.name}, load {request.load.load_id}",
                next_step="The stage table has changed since the gate ran; run the load again.",
            )


def _known(connection: psycopg.Connection, flow: Flow) -> sql.Composable:
    """Is the row in ``raw`` already? Versioned rows: in any version; others: as the latest one."""
    table = sql.Identifier("raw", flow.entity.name)
    row = connection.execute(
        sql.SQL("select exists (select from {} where source_system = %s)").format(table), [flow.system]
    ).fetchone()
    if row is None or not row[0]:
        return sql.SQL("false")
    if flow.entity.version in flow.mapping:
        return sql.SQL(
            "exists (select from {} as r where r._key_hash = s._key_hash and r._row_hash = s._row_hash"
            " and r.source_system = {})"
        ).format(table, sql.Literal(flow.system))
    return sql.SQL(
        "(select r._row_hash from {} as r where r._key_hash = s._key_hash and r.source_system = {}"
        " order by r._published_at desc, r._load_id desc limit 1) = s._row_hash"
    ).format(table, sql.Literal(flow.system))


def _count_sorted(connection: psycopg.Connection, flow: Flow, load: Load, kind: str) -> list[tuple[str, int, Decimal]]:
    amount, currency = amount_and_currency(flow)
    return connection.execute(
        sql.SQL(
            "select {}, count(*), sum({}) from {} inner join sorted_out using (_row) where kind = {} group by 1"
        ).format(trusted(currency), trusted(amount), sql.Identifier("landing", load.stage_table), sql.Literal(kind))
    ).fetchall()


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
        connection.execute(_insert(connection, request, published_at))
        return connection.execute(count).fetchall()


def _insert(connection: psycopg.Connection, request: PublishRequest, published_at: Any) -> sql.Composed:
    flow, names = request.flow, list(request.flow.entity.columns)
    values = [
        sql.Literal(flow.system),
        *(sql.SQL("s.{}").format(sql.Identifier(name)) for name in names),
        sql.Literal(request.load.load_id),
        sql.SQL("{}::timestamptz").format(sql.Literal(published_at.isoformat())),
        sql.SQL("s._row_hash"),
        sql.SQL("s._key_hash"),
        trusted(_landing_file(request.manifest["ranges"])),
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


def _landing_file(ranges: list[list[Any]]) -> str:
    if len(ranges) == 1:
        return literal(ranges[0][0])
    cases = " ".join(f"when s._row <= {last} then {literal(name)}" for name, _, last in ranges)
    return f"case {cases} end" if ranges else "null"


def _quarantine(connection: psycopg.Connection, request: PublishRequest, published_at: Any) -> int:
    broken = _broken_rules(request)
    if not broken:
        return 0
    flow, entity = request.flow, request.flow.entity
    rules = ", ".join(f"case when {_broken(rule)} then {literal(rule.name)} end" for rule in broken)
    reasons = ", ".join(f"case when {_broken(rule)} then {literal(rule.reason)} end" for rule in broken)
    key = ", ".join(f's."{name}"::text' for name in entity.key)
    amount, currency = (f's."{name}"' if name else "null" for name in (entity.amount, entity.currency))
    columns = request.manifest["columns"]
    names, texts = ", ".join(map(literal, columns)), ", ".join(f"l.{column}" for column in columns.values())
    return connection.execute(
        sql.SQL(
            "insert into quarantine.record (load_id, flow, entity, source_system, owner, rules, reason, source_key,"
            " amount, currency_code, payload, landing_file, landing_row, key_hash, row_hash, quarantined_at)"
            " select {load_id}, {flow}, {entity}, {system}, {owner}, array_remove(array[{rules}]::text[], null),"
            " concat_ws(' ', {reasons}), concat_ws('/', {key}), {amount}, {currency}, {payload}, {file}, s._row,"
            " s._key_hash, s._row_hash, {published_at}::timestamptz"
            " from {stage} as s inner join sorted_out as o using (_row) inner join {landed} as l using (_row)"
            " where o.kind = 'quarantine'"
        ).format(
            load_id=sql.Literal(request.load.load_id),
            flow=sql.Literal(flow.name),
            entity=sql.Literal(entity.name),
            system=sql.Literal(flow.system),
            owner=sql.Literal(flow.monitoring.owner),
            rules=trusted(rules),
            reasons=trusted(reasons),
            key=trusted(key),
            amount=trusted(amount),
            currency=trusted(currency),
            payload=trusted(f"jsonb_object(array[{names}]::text[], array[{texts}]::text[])"),
            file=trusted(_landing_file(request.manifest["ranges"])),
            published_at=sql.Literal(published_at.isoformat()),
            stage=sql.Identifier("landing", request.load.stage_table),
            landed=sql.Identifier("landing", request.load.landing_table),
        )
    ).rowcount


def _supersede(connection: psycopg.Connection, request: PublishRequest) -> None:
    """A good version of a quarantined record has arrived: close the record, keep it."""
    flow = request.flow
    connection.execute(
        sql.SQL(
            "update quarantine.record as q set state = 'superseded', closed_at = clock_timestamp(),"
            " closed_by_load_id = {load_id} from {stage} as s"
            " where q.state = 'open' and q.entity = {entity} and q.source_system = {system}"
            " and q.key_hash = s._key_hash and q.load_id <> {load_id}"
            " and not exists (select from sorted_out as o where o._row = s._row)"
        ).format(
            load_id=sql.Literal(request.load.load_id),
            stage=sql.Identifier("landing", request.load.stage_table),
            entity=sql.Literal(flow.entity.name),
            system=sql.Literal(flow.system),
        )
    )


def _write_ledger(
    connection: psycopg.Connection, request: PublishRequest, result: Published, published_at: Any
) -> None:
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
        raise _not_closed(request.flow, result) from None
    except psycopg.errors.UniqueViolation:
        raise FenceLost(f"Load {request.load.load_id} is published already.", where=request.flow.name) from None
    connection.execute(
        "update ops.load set state = 'published', finished_at = clock_timestamp() where load_id = %s",
        [request.load.load_id],
    )
    _remember_files(connection, request)


def _remember_files(connection: psycopg.Connection, request: PublishRequest) -> None:
    for file in request.manifest["files"]:
        if file.get("fingerprint"):
            connection.execute(
                "insert into ops.source_file (flow, file_name, fingerprint, sha256, bytes, load_id)"
                " values (%s, %s, %s, %s, %s, %s)",
                [
                    request.flow.name,
                    file["source_name"],
                    file["fingerprint"],
                    file["sha256"],
                    file["bytes"],
                    request.load.load_id,
                ],
            )


def _write_totals(connection: psycopg.Connection, result: Published, source: Mapping[str, Decimal]) -> None:
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


def _not_closed(flow: Flow, result: Published) -> LoadNotClosed:
    parts = ", ".join(f"{result.rows[kind]} {kind}" for kind in KINDS)
    return LoadNotClosed(
        f"The load does not close: {result.source_rows} rows came, {parts}.",
        where=f"{flow.name}, load {result.load_id}",
        next_step="Nothing was published. Keep the landing files and report it.",
    )


def _move_watermark(connection: psycopg.Connection, request: PublishRequest) -> None:
    if request.cursor_to is None:
        return
    connection.execute(
        "insert into ops.watermark as w (flow, cursor_values, load_id) values (%s, %s, %s)"
        " on conflict (flow) do update set cursor_values = excluded.cursor_values, load_id = excluded.load_id,"
        " moved_at = clock_timestamp()"
        " where (w.cursor_values ->> 0)::timestamptz <= (excluded.cursor_values ->> 0)::timestamptz",
        [request.flow.name, Jsonb(list(request.cursor_to)), request.load.load_id],
    )


def _drop_landing(connection: psycopg.Connection, load: Load) -> None:
    for kind, name in (
        ("view", load.stage_table),
        ("materialized view", load.typed_table),
        ("table", load.marks_table),
        ("table", load.landing_table),
    ):
        statement = sql.SQL("drop {} if exists {}").format(trusted(kind), sql.Identifier("landing", name))
        connection.execute(statement)
