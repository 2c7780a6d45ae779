"""Columns of a source that are added, removed, renamed, retyped or moved, and values nobody has heard of."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from o2c.contracts.entity import load_entity
from o2c.errors import GateStopped, SchemaDrift, UsageError

COLUMNS = ["receipt_id", "entity_code", "receipt_type", "received_on", "amount", "currency_code", "payment_method"]
HEADER = ",".join(COLUMNS) + "\n"
TABLE = """
create table payment (id int primary key, company text default 'DE01', kind text default 'payment',
    day date default '2026-03-01', amount numeric default 1, currency text default 'EUR', method text default 'card',
    note varchar(10), changed_at timestamptz default '2026-03-01')
"""
MAPPING = {
    "receipt_id": "id",
    "entity_code": "company",
    "receipt_type": "kind",
    "received_on": "day",
    "amount": "amount",
    "currency_code": "currency",
    "payment_method": "method",
    "updated_at": "changed_at",
}
CHANGES = "select column_name, change, detail, first_load_id from ops.schema_change order by first_seen_at, column_name"


def line(number: int, amount: str = "10") -> str:
    return f"{number},DE01,payment,2026-03-01,{amount},EUR,card\n"


@pytest.fixture
def files(warehouse: Any) -> Any:
    return warehouse.flows.csv("shop/receipts", "receipt", COLUMNS)


@pytest.fixture
def payments(warehouse: Any, erp: psycopg.Connection) -> Any:
    erp.execute(TABLE)
    erp.execute("insert into payment (id) values (1)")
    flow = warehouse.flows.query(
        "erp/payments", "receipt", MAPPING, "select *\nfrom payment", cursor=["changed_at", "id"]
    )
    warehouse.load(flow)
    return flow


def warnings(warehouse: Any, load_id: str) -> list[str]:
    found: list[str] = warehouse.value("select manifest -> 'warnings' from ops.load_ledger where load_id = %s", load_id)
    return found


def refused(warehouse: Any, flow: Any) -> SchemaDrift:
    before = warehouse.everything()
    error = warehouse.refused(flow)
    assert isinstance(error, SchemaDrift) and error.reason == "schema_drift" and error.next_step
    changes = "ops.schema_change"
    assert {**warehouse.everything(), changes: []} == {**before, changes: []}
    return error


def test_an_added_column_is_landed_recorded_once_and_told(
    warehouse: Any, files: Any, caplog: pytest.LogCaptureFixture
) -> None:
    warehouse.flows.put("shop/receipts1.csv", HEADER + line(1))
    assert warnings(warehouse, warehouse.load(files).load_id) == []
    added = "discount," + HEADER
    warehouse.flows.put("shop/receipts2.csv", added + "7," + line(2))
    second = warehouse.load(files)
    assert warnings(warehouse, second.load_id) == ["The column 'discount' was added."]
    assert "The column 'discount' was added." in caplog.text
    landed = warehouse.settings.landing_dir / "shop/receipts" / second.load_id / "receipts2.csv"
    assert landed.read_text() == added + "7," + line(2)
    warehouse.flows.put("shop/receipts3.csv", added + "7," + line(3))
    assert warnings(warehouse, warehouse.load(files).load_id) == []
    warehouse.flows.put("shop/receipts4.csv", HEADER + line(4))
    fourth = warehouse.load(files)
    assert warnings(warehouse, fourth.load_id) == ["The column 'discount' was removed."]
    warehouse.flows.put("shop/receipts5.csv", added + "7," + line(5))
    warehouse.load(files)
    assert warehouse.rows(CHANGES) == [
        ("discount", "added", "", second.load_id),
        ("discount", "removed", "", fourth.load_id),
    ]


def test_columns_in_another_order_are_the_same_columns(warehouse: Any, files: Any) -> None:
    warehouse.flows.put("shop/receipts1.csv", HEADER + line(1))
    warehouse.load(files)
    moved = [",".join(reversed(text.strip().split(","))) for text in (HEADER, line(2))]
    warehouse.flows.put("shop/receipts2.csv", "\n".join(moved) + "\n")
    second = warehouse.load(files)
    assert second.rows["published"] == 1 and warnings(warehouse, second.load_id) == []
    assert warehouse.rows(CHANGES) == []


def test_a_renamed_column_stops_and_its_new_name_is_guessed(warehouse: Any, files: Any) -> None:
    warehouse.flows.put("shop/receipts1.csv", HEADER + line(1))
    warehouse.load(files)
    warehouse.flows.put("shop/receipts2.csv", HEADER.replace("amount", "betrag") + line(2))
    error = refused(warehouse, files)
    assert "'amount' is missing" in error.what and "It may be called betrag now." in error.next_step
    number = 1 + files.path.read_text().splitlines().index("  amount: amount")
    assert error.where == f"{files.path}:{number}: mapping.amount"
    assert [row[:2] for row in warehouse.rows(CHANGES)] == [("amount", "removed")]


def test_a_renamed_column_of_a_table(warehouse: Any, erp: psycopg.Connection, payments: Any) -> None:
    erp.execute("alter table payment rename column method to methods")
    error = refused(warehouse, payments)
    assert "'method' is missing" in error.what and "It may be called methods now." in error.next_step
    payments.path.with_suffix(".sql").write_text(
        "select id, company, kind, day, amount, currency,\nmethod, changed_at from payment"
    )
    error = refused(warehouse, payments)
    assert "mapping.payment_method" in error.where and "payments.sql:2" in error.where
    assert 'Perhaps you meant to reference the column "payment.methods"' in error.next_step


def test_a_column_without_a_single_value_of_its_type_stops(warehouse: Any, files: Any) -> None:
    warehouse.flows.put("shop/receipts1.csv", HEADER + line(1) + line(2) + line(3))
    warehouse.load(files)
    warehouse.flows.put("shop/receipts2.csv", HEADER + line(4, "ten") + line(5, "n/a") + line(6, "-"))
    error = refused(warehouse, files)
    assert "None of the 3 values of the column 'amount' is a money" in error.what and "mapping.amount" in error.where
    assert [row[:3] for row in warehouse.rows(CHANGES)] == [("amount", "retyped", "no value is a money")]
    warehouse.flows.put("shop/receipts2.csv", HEADER + line(4, "ten") + line(5, "n/a") + line(6))
    assert warehouse.load(files).rows == {"published": 1, "quarantined": 2, "duplicate": 0}


def test_a_number_that_becomes_text_stops_though_it_still_parses(
    warehouse: Any, erp: psycopg.Connection, payments: Any
) -> None:
    erp.execute("alter table payment alter column amount type text")
    error = refused(warehouse, payments)
    assert error.what == "The column 'amount' was retyped: numeric became text."
    assert "mapping.amount" in error.where
    assert [row[:3] for row in warehouse.rows(CHANGES)] == [("amount", "retyped", "numeric became text")]
    # Who touches the query has seen it.
    payments.path.with_suffix(".sql").write_text("select * from payment -- amount is text since March")
    erp.execute("insert into payment (id, amount) values (2, '5')")
    assert warehouse.load(payments).rows["published"] == 1


@pytest.mark.parametrize("kind", ["int", "numeric(12, 2)", "double precision"])
def test_another_kind_of_number_is_no_other_type(
    warehouse: Any, erp: psycopg.Connection, payments: Any, kind: str
) -> None:
    erp.execute(f"alter table payment alter column amount type {kind} using amount::{kind}".encode())
    assert warnings(warehouse, warehouse.load(payments).load_id) == []


def test_a_retyped_column_that_nobody_reads_is_only_told(
    warehouse: Any, erp: psycopg.Connection, payments: Any
) -> None:
    erp.execute("alter table payment alter column note type int using note::int, add column extra text")
    load = warehouse.load(payments)
    assert warnings(warehouse, load.load_id) == [
        "The column 'extra' was added.",
        "The column 'note' was retyped: varchar became int4.",
    ]
    assert warnings(warehouse, warehouse.load(payments).load_id) == []


def test_an_unknown_value_is_held_back_or_stops_as_the_contract_says(warehouse: Any, files: Any, tmp_path: Any) -> None:
    warehouse.flows.put("shop/receipts1.csv", HEADER + line(1) + line(2).replace("payment", "barter"))
    assert warehouse.load(files).rows == {"published": 1, "quarantined": 1, "duplicate": 0}
    contract = warehouse.settings.entities_dir / "receipt.yml"
    strict = contract.read_text().replace("receipt_type: {type: enum,", "receipt_type: {type: enum, on_unknown: stop,")
    (tmp_path / "receipt.yml").write_text(strict)
    warehouse.flows.entities = {**warehouse.flows.entities, "receipt": load_entity(tmp_path / "receipt.yml")}
    files = warehouse.flows.load("shop/receipts")
    warehouse.flows.put("shop/receipts2.csv", HEADER + line(3) + line(4).replace("payment", "barter"))
    error = warehouse.refused(files)
    assert isinstance(error, GateStopped) and "values:receipt_type" in error.what
    assert warehouse.value("select count(*) from raw.receipt") == 1


@pytest.mark.parametrize("text", ["{type: enum, on_unknown: panic, ", "{type: text, on_unknown: stop, "])
def test_a_wrong_word_for_unknown_values_is_refused(warehouse: Any, tmp_path: Any, text: str) -> None:
    contract = (warehouse.settings.entities_dir / "receipt.yml").read_text()
    changed = contract.replace("receipt_type: {type: enum, ", f"receipt_type: {text}")
    (tmp_path / "receipt.yml").write_text(changed)
    with pytest.raises(UsageError, match="on_unknown|lists its values") as refused:
        load_entity(tmp_path / "receipt.yml")
    assert "receipt_type" in refused.value.where
