"""Rights as each role: every role, every relation, every kind of statement; and guards that bind the owner too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from o2c.settings import Settings
from o2c.warehouse.guards import APPEND_ONLY
from o2c.warehouse.migrate import migrate
from o2c.warehouse.roles import ROLES, ensure_roles, missing_roles, share_marts

ACTIONS = {"s": "select", "i": "insert", "u": "update", "d": "delete", "t": "truncate"}
# What each role may do, written by hand; a role that is not named may do nothing.
EXPECTED: dict[str, dict[str, str]] = {
    "raw": {"loader": "si", "transformer": "s", "admin": "si"},
    "ops.load_ledger": {"loader": "si", "auditor": "s", "admin": "si"},
    "ops.load_ledger_total": {"loader": "si", "auditor": "s", "admin": "si"},
    "ops.file_delivery": {"loader": "si", "auditor": "s", "admin": "si"},
    "ops.gate_result": {"loader": "s", "gate": "si", "auditor": "s", "admin": "si"},
    "ops.contract_version": {"loader": "si", "gate": "si", "auditor": "s", "admin": "si"},
    # Those who add events do not read them.
    "ops.evidence": {"loader": "i", "gate": "i", "auditor": "s", "admin": "si"},
    "ops.fence": {"loader": "siu", "auditor": "s", "admin": "siu"},
    "ops.watermark": {"loader": "siu", "auditor": "s", "admin": "siu"},
    "ops.load": {"loader": "siu", "gate": "s", "auditor": "s", "admin": "siu"},
    "ops.build": {"transformer": "siu", "auditor": "s", "admin": "siu"},
    "ops.migration": {"auditor": "s", "admin": "s"},
    # Auditors read columns of it, see below.
    "quarantine.record": {"loader": "si", "admin": "si"},
    "quarantine.decision": {"loader": "si", "auditor": "s", "admin": "si"},
    "marts_core.figure": {"reader": "s", "auditor": "s", "admin": "s"},
}
NEVER_CHANGED = (
    "ops.evidence", "ops.load_ledger", "ops.load_ledger_total", "ops.gate_result", "ops.contract_version",
    "quarantine.decision",
)  # fmt: skip

_GUARD = "is refused: what is recorded there is evidence"


@pytest.fixture(scope="module")
def database(postgres_server: Any) -> Iterator[str]:
    """A migrated warehouse of its own, with a mart."""
    url = postgres_server.new_database("warehouse")
    with psycopg.connect(url) as connection:
        connection.execute("create schema marts_core; create table marts_core.figure (amount numeric)")
        assert ensure_roles(connection) == []
        share_marts(connection)
    yield url
    postgres_server.drop(url)


@pytest.fixture
def anybody(postgres_server: Any, database: str) -> Iterator[psycopg.Connection]:
    """A superuser, who can become any role; what he does is rolled back."""
    name = database.rsplit("/", 1)[1]
    with psycopg.connect(postgres_server.cluster.url(name, role="postgres")) as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def owner(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database) as connection:
        yield connection
        connection.rollback()


def statement(action: str, table: str, column: str) -> sql.Composed:
    text = {
        "s": "select * from {table} where false",
        "i": "insert into {table} default values",
        "u": "update {table} set {column} = {column} where false",
        "d": "delete from {table} where false",
        "t": "truncate {table} cascade",
    }[action]
    return sql.SQL(text).format(table=sql.Identifier(*table.split(".")), column=sql.Identifier(column))


def refusal(connection: psycopg.Connection, query: sql.Composed) -> str | None:
    """Why the statement is refused; None when rights do not stand in its way."""
    try:
        with connection.transaction():
            connection.execute(query)
    except psycopg.errors.InsufficientPrivilege as error:
        return str(error)
    except psycopg.errors.IntegrityError:
        return None
    return None


def tables(connection: psycopg.Connection, schema: str) -> list[tuple[str, str]]:
    """Tables of a schema, each with a column that can be updated."""
    return connection.execute(
        "select n.nspname || '.' || c.relname, (select attname from pg_attribute where attrelid = c.oid and"
        " attnum > 0 and attidentity = '' order by attnum limit 1)"
        " from pg_class as c join pg_namespace as n on n.oid = c.relnamespace where c.relkind = 'r' and n.nspname = %s"
        " order by 1",
        [schema],
    ).fetchall()


def test_every_role_may_what_it_needs_and_no_more(anybody: psycopg.Connection, entities: Mapping[str, Any]) -> None:
    found = [each for schema in ("raw", "ops", "quarantine", "marts_core") for each in tables(anybody, schema)]
    looked_at = 0
    for role in ROLES:
        anybody.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
        for table, column in found:
            expected = EXPECTED.get("raw" if table.startswith("raw.") else table)
            if expected is None:
                continue
            # A guard speaks only to those whom rights have let through.
            may = "".join(a for a in ACTIONS if _GUARD in (refusal(anybody, statement(a, table, column)) or _GUARD))
            assert may == expected.get(role.removeprefix("o2c_"), ""), (role, table)
            looked_at += 1
        anybody.execute("reset role")
    assert looked_at == len(ROLES) * (len(EXPECTED) - 1 + len(entities))


def test_nobody_removes_anything_anywhere(anybody: psycopg.Connection) -> None:
    """Tables that other parts of the warehouse bring are no exception."""
    found = [each for schema in ("raw", "ops", "quarantine") for each in tables(anybody, schema)]
    for role in ROLES:
        anybody.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
        for table, column in found:
            assert refusal(anybody, statement("d", table, column)), (role, table)
            assert refusal(anybody, statement("t", table, column)), (role, table)
        anybody.execute("reset role")


@pytest.mark.parametrize(
    ("role", "query", "is_allowed"),
    [
        ("loader", "select sequence, hash from ops.evidence", True),
        ("loader", "select body from ops.evidence", False),
        (
            "loader",
            "update quarantine.record set state = 'superseded', closed_at = now(), closed_by_load_id = ''",
            True,
        ),
        ("loader", "update quarantine.record set amount = 0", False),
        ("loader", "update quarantine.record set payload = '{}'", False),
        ("loader", "update ops.file_delivery set last_seen_at = now()", True),
        ("loader", "update ops.file_delivery set file_name = ''", False),
        ("gate", "update ops.load set state = 'gated', error = null", True),
        ("gate", "update ops.load set fence = 7", False),
        ("auditor", "select record_id, rules, amount, currency_code, state from quarantine.record", True),
        ("auditor", "select payload from quarantine.record", False),
        ("auditor", "select source_key from quarantine.record", False),
        ("reader", "select from ops.load", False),
        ("loader", "create table landing.mine (a int)", True),
        ("gate", "create table landing.mine (a int)", False),
        ("loader", "create table raw.mine (a int)", False),
        ("transformer", "create schema marts_mine", True),
        ("loader", "create schema mine", False),
        ("auditor", "alter table ops.evidence disable trigger all", False),
        ("admin", "alter table ops.evidence disable trigger all", False),
        ("admin", "drop table ops.evidence", False),
        ("loader", "select nextval('ops.load_number')", True),
    ],
)
def test_columns_and_objects(anybody: psycopg.Connection, role: str, query: str, is_allowed: bool) -> None:
    anybody.execute(sql.SQL("set role {}").format(sql.Identifier(f"o2c_{role}")))
    assert (refusal(anybody, sql.SQL(query)) is None) == is_allowed  # type: ignore[arg-type]


def test_the_owner_is_refused_as_well(owner: psycopg.Connection) -> None:
    guarded = [*NEVER_CHANGED, *(table for table, _ in tables(owner, "raw"))]
    first = {table: column for schema in ("raw", "ops", "quarantine") for table, column in tables(owner, schema)}
    for table in guarded:
        for action in "udt":
            why = refusal(owner, statement(action, table, first[table]))
            assert why and _GUARD in why, (table, action)
    assert set(NEVER_CHANGED) <= APPEND_ONLY.keys()


def test_of_a_quarantined_record_only_the_decision_changes(owner: psycopg.Connection) -> None:
    columns = [
        name
        for (name,) in owner.execute(
            "select attname from pg_attribute where attrelid = 'quarantine.record'::regclass and attnum > 0"
            " and attidentity = ''"
        )
    ]
    free = {name for name in columns if not refusal(owner, statement("u", "quarantine.record", name))}
    assert free == {"state", "closed_at", "closed_by_load_id"}
    assert refusal(owner, statement("d", "quarantine.record", "state"))
    assert refusal(owner, statement("t", "quarantine.record", "state"))


def test_a_superuser_who_plays_a_replica_is_refused(anybody: psycopg.Connection) -> None:
    anybody.execute("set session_replication_role = replica")
    assert refusal(anybody, statement("d", "ops.evidence", "sequence"))
    assert refusal(anybody, statement("t", "raw.invoice", "source_system"))


def test_tables_and_columns_that_come_later_are_guarded(
    postgres_server: Any, tmp_path: Path, entities: Mapping[str, Any]
) -> None:
    url = postgres_server.new_database("warehouse")
    settings = Settings.load({"O2C_WAREHOUSE_URL": url, "O2C_HOME": str(tmp_path)})
    with psycopg.connect(url) as connection:
        connection.execute("alter table quarantine.record add column hint text")
        connection.execute("alter table ops.evidence disable trigger keep_as_recorded")
    try:
        migrate(settings, {**entities, "voucher": replace(entities["receipt"], name="voucher")})
        with psycopg.connect(url) as connection:
            assert refusal(connection, statement("d", "raw.voucher", "source_system"))
            assert refusal(connection, statement("u", "quarantine.record", "hint"))
            assert refusal(connection, statement("d", "ops.evidence", "sequence"))
    finally:
        postgres_server.drop(url)


def test_rights_that_somebody_gave_beside_are_taken_back(owner: psycopg.Connection) -> None:
    owner.execute("grant all on raw.invoice, ops.load_ledger to o2c_loader; grant select on raw.invoice to o2c_reader")
    ensure_roles(owner)
    rows = owner.execute(
        "select grantee, string_agg(lower(privilege_type), ' ' order by privilege_type) from"
        " information_schema.role_table_grants where table_schema = 'raw' and table_name = 'invoice'"
        " and grantee like 'o2c%' group by 1 order by 1"
    ).fetchall()
    assert rows == [("o2c_loader", "insert select"), ("o2c_transformer", "select")]


def test_without_the_right_to_create_roles_the_rest_is_done(
    owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    from o2c.warehouse import roles

    monkeypatch.setattr(roles, "ROLES", (*ROLES[:-1], "o2c_unknown"))
    assert missing_roles(owner) == ["o2c_unknown"]
    assert ensure_roles(owner) == ["o2c_unknown"]
    share_marts(owner)
    owner.execute("select 1")


def test_a_load_runs_as_loader_and_gate(warehouse: Any, postgres_server: Any) -> None:
    """The rights are enough: a service that is a member of both roles loads from end to end, and owns nothing."""
    flow = warehouse.flows.csv("shop/rates", "exchange_rate", RATE)
    warehouse.flows.put(
        "shop/rates1.csv", ",".join(RATE) + "\nEUR,USD,spot,2026-01-01,1.1\nEUR,USD,spot,2026-01-02,-1\n"
    )
    name = warehouse.settings.warehouse_url.rsplit("/", 1)[1]
    with psycopg.connect(postgres_server.cluster.url(name, role="postgres"), autocommit=True) as connection:
        connection.execute("create role loading_service login password 'x' in role o2c_loader, o2c_gate")
    with psycopg.connect(warehouse.settings.warehouse_url) as connection:
        ensure_roles(connection)
    host = warehouse.settings.warehouse_url.rpartition("@")[2]
    service = replace(warehouse, settings=replace(warehouse.settings, url=f"postgresql://loading_service:x@{host}"))
    try:
        assert service.load(flow).rows == {"published": 1, "quarantined": 1, "duplicate": 0}
        warehouse.flows.put("shop/rates2.csv", ",".join(RATE) + "\nEUR,USD,spot,2026-01-02,1.2\n")
        assert service.load(flow).rows == {"published": 1, "quarantined": 0, "duplicate": 0}
    finally:
        with psycopg.connect(postgres_server.cluster.url(name, role="postgres"), autocommit=True) as connection:
            connection.execute("drop owned by loading_service; drop role loading_service")


RATE = ["from_currency_code", "to_currency_code", "rate_type", "rate_date", "rate"]
