"""Balance and rebuild: what the landing files give is what the warehouse holds; what was tampered with is named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from o2c.contracts.catalogue import load_catalogue
from o2c.errors import UsageError
from o2c.loads.quarantine import decide
from o2c.loads.rebuild import RebuildFailed, rebuild
from o2c.loads.resync import Scope, resync
from o2c.warehouse.balance import imbalances
from o2c.warehouse.checksum import checksum, compare
from o2c.warehouse.decisions import Decision
from o2c.warehouse.scratch import scratch_database
from o2c.warehouse.session import connect

COLUMNS = ["receipt_id", "entity_code", "receipt_type", "received_on", "amount", "currency_code", "payment_method"]
HEADER = ",".join(COLUMNS) + "\n"
PAYMENTS = """
create table payment (id int primary key, company text default 'DE01', kind text default 'payment',
    day date default '2026-03-01', amount numeric, currency text default 'EUR', method text default 'card',
    changed_at timestamptz);
insert into payment (id, amount, changed_at)
select n, n - 2, timestamptz '2026-03-01 00:00Z' + n * interval '1 hour' from generate_series(1, 6) as n
"""
pytestmark = pytest.mark.usefixtures("quick_gate")
QUERY = "select id, company, kind, day, amount, currency, method, changed_at from payment"
SOURCES = ["id", "company", "kind", "day", "amount", "currency", "method", "changed_at"]


def line(number: object, amount: str = "10.00", currency: str = "EUR") -> str:
    return f"{number},DE01,payment,2026-03-01,{amount},{currency},card\n"


@pytest.fixture
def history(warehouse: Any, erp: psycopg.Connection) -> Any:
    """Two flows into one table: extracts, repeats, a release, a rejection, replays, a newer version, a deletion."""
    shop = warehouse.flows.csv("shop/receipts", "receipt", COLUMNS)
    erp.execute(PAYMENTS)
    mapping = dict(zip([*COLUMNS, "updated_at"], SOURCES, strict=True))
    bank = warehouse.flows.query("erp/payments", "receipt", mapping, QUERY, cursor=["changed_at", "id"], overlap="1h")
    load(warehouse, shop, 1, line(1), line(2, "-1"), line(3, "-2", "USD"), line(4, "-3"))
    warehouse.load(bank)
    decided(warehouse, "release", 1)
    decided(warehouse, "reject", 2)
    load(warehouse, shop, 2, line(1, "11"), line(2, "-1"), line(3, "-2", "USD"), line(4, "-3"), line(4, "-4"))
    erp.execute("update payment set amount = 77, changed_at = '2026-03-02 00:00Z' where id = 2")
    warehouse.load(bank)
    resync(warehouse.settings, shop, Scope(keys=("1", "2")))
    resync(warehouse.settings, bank, Scope(load_id="L000000002"))
    load(warehouse, shop, 3, line(1))
    return warehouse


@pytest.fixture
def small(warehouse: Any) -> Any:
    """One flow, two loads, one open record."""
    shop = warehouse.flows.csv("shop/receipts", "receipt", COLUMNS)
    load(warehouse, shop, 1, line(1), line(2, "-1"))
    load(warehouse, shop, 2, line(1, "11"), line(6))
    return warehouse


@pytest.fixture
def scratch(warehouse: Any, database: str) -> Iterator[Any]:
    yield replace(warehouse.settings, url=database)


def load(warehouse: Any, flow: Any, number: int, *lines: str) -> Any:
    warehouse.flows.put(f"shop/receipts_{number}.csv", HEADER + "".join(lines))
    return warehouse.load(flow)


def decided(warehouse: Any, kind: str, record: int) -> None:
    list(decide(warehouse.settings, load_catalogue(warehouse.settings).flows, [record], Decision(kind, "Ada", "why")))


def rebuilt(warehouse: Any, scratch: Any) -> Any:
    return rebuild(warehouse.settings, scratch, load_catalogue(warehouse.settings))


def unguarded(connection: psycopg.Connection) -> None:
    """What a superuser could do."""
    for table in (
        "raw.receipt",
        "ops.load_ledger",
        "ops.load_ledger_total",
        "quarantine.record",
        "quarantine.decision",
    ):
        connection.execute(f"alter table {table} disable trigger user")  # type: ignore[arg-type]


def test_a_rebuild_is_byte_identical(history: Any, scratch: Any, entities: Any) -> None:
    before = history.everything()
    result = rebuilt(history, scratch)
    assert (result.differences, result.different_loads, result.outdated) == ([], [], {})
    assert result.loads == history.value("select count(*) from ops.load_ledger") == 9
    assert history.everything() == before
    with connect(history.settings) as here, connect(scratch) as there:
        assert checksum(here, ["raw"]) == checksum(there, ["raw"])
        # Not by the module under test: every column of every row, load ids and times among them.
        everything = "select r::text from raw.receipt as r order by 1"
        assert here.execute(everything).fetchall() == there.execute(everything).fetchall() != []
        states = "select load_id, landing_row, state, closed_by_load_id from quarantine.record order by 1, 2"
        assert here.execute(states).fetchall() == there.execute(states).fetchall() != []
        assert imbalances(there, entities.values()) == []

    assert_tampering_is_named(history, scratch)


def assert_tampering_is_named(history: Any, scratch: Any) -> None:
    cases = {
        "update raw.receipt set amount = amount + 1 where receipt_id = '2' and source_system = 'shop'": (1, 1),
        "delete from raw.receipt where receipt_id = '6'": (0, 1),
        "insert into raw.receipt select * from raw.receipt where receipt_id = '6'": (1, 0),
        "update raw.receipt set _published_at = _published_at + interval '1s' where receipt_id = '6'": (1, 1),
    }
    for statement, counts in cases.items():
        with connect(history.settings) as here, connect(scratch) as there:
            unguarded(here)
            here.execute(statement)  # type: ignore[call-overload]
            (difference,) = compare(here, there, ["raw"])
            here.rollback()
        assert (difference.table, difference.only_here, difference.only_there) == ("raw.receipt", *counts)
        assert "receipt_id=" in difference.example


def test_a_rebuild_says_which_contract_has_changed(small: Any, scratch: Any) -> None:
    small.flows.csv("shop/receipts", "receipt", COLUMNS, validation=[{"rule": "amount < 11", "on_fail": "quarantine"}])
    result = rebuilt(small, scratch)
    assert not result.holds
    assert result.outdated == {"shop/receipts": ["L000000001", "L000000002"]}
    assert any("L000000002 of shop/receipts" in text for text in result.different_loads)


def test_a_rebuild_needs_every_flow(small: Any, scratch: Any) -> None:
    (small.flows.directory / "shop/receipts.yml").unlink()
    small.flows.csv("shop/others", "receipt", COLUMNS)
    with pytest.raises(UsageError, match=r"'shop/receipts' of load L0+1 is gone"):
        rebuilt(small, scratch)


def test_a_load_that_cannot_be_made_again(small: Any, scratch: Any) -> None:
    small.flows.csv("shop/receipts", "receipt", {**{name: name for name in COLUMNS}, "payer_name": "payer"})
    with pytest.raises(RebuildFailed, match="Load L000000001 cannot be made again"):
        rebuilt(small, scratch)


CASES = [
    ("delete from raw.receipt where receipt_id = '6'", "L000000002", "rows published: ledger and raw.receipt"),
    ("update raw.receipt set amount = 5 where receipt_id = '6'", "L000000002", "EUR published"),
    ("delete from quarantine.record where record_id = 3", "L000000001", "rows in quarantine"),
    ("update quarantine.record set amount = -9 where record_id = 3", "L000000001", "EUR in quarantine"),
    ("update quarantine.record set currency_code = 'USD' where record_id = 3", "L000000001", "USD in quarantine"),
    ("update quarantine.record set state = 'released' where record_id = 3", "L000000001", "record 3: released"),
    ("delete from quarantine.decision where decision = 'reject'", "L000000001", "record 2: rejected"),
    ("update ops.load_ledger set source_rows = 9 where load_id = 'L000000001'", "L000000001", "rows: source is not"),
    (
        "update ops.load_ledger_total set source_amount = 9 where load_id = 'L000000001' and currency_code = 'EUR'",
        "L000000001",
        "EUR: source is not",
    ),
]


def test_the_balance_names_a_load_that_does_not_close(history: Any, entities: Any) -> None:
    with connect(history.settings) as connection:
        assert imbalances(connection, entities.values()) == []
        unguarded(connection)
        connection.execute("alter table ops.load_ledger drop constraint load_closes_in_rows")
        connection.execute("alter table ops.load_ledger_total drop constraint load_closes_in_money")
        for statement, load_id, what in CASES:
            with connection.transaction(force_rollback=True):
                connection.execute(statement)  # type: ignore[call-overload]
                found = imbalances(connection, entities.values())
            assert any(each.load_id == load_id and what in each.what for each in found), (statement, found)
        connection.rollback()


def test_the_commands(small: Any, database: str, command: Any) -> None:
    done = command("verify", "balance")
    assert done.exit_code == 0 and "2 loads close" in done.output
    listed = command("verify", "checksum", "--format", "csv").output.splitlines()
    assert any(row.startswith("raw.receipt,") for row in listed)
    done = command("verify", "rebuild")
    assert done.exit_code == 0 and "Byte-identical" in done.output
    assert small.value("select count(*) from pg_database where datname like 'o2c_scratch%%'") == 0
    with connect(small.settings) as connection:
        unguarded(connection)
        connection.execute("delete from raw.receipt where receipt_id = '6'")
    failed = command("verify", "rebuild", "--scratch", database)
    assert failed.exit_code == 1 and "raw.receipt" in failed.output
    assert command("verify", "balance").exit_code == 1
    assert command("verify", "rebuild", "--scratch", database).exit_code == 2


def test_a_scratch_database_that_may_not_be_made(warehouse: Any, postgres_server: Any) -> None:
    with psycopg.connect(postgres_server.cluster.url("postgres"), autocommit=True) as connection:
        connection.execute("alter role warehouse nocreatedb")
        try:
            with pytest.raises(UsageError, match="may not create databases"), scratch_database(warehouse.settings):
                pass
        finally:
            connection.execute("alter role warehouse createdb")
