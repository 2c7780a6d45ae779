"""Loads from end to end: what is read, what becomes of it, and that every load closes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from o2c.errors import FatalSourceError, FenceLost, LoadNotClosed, O2CError, SourceError, UsageError, WarehouseError
from o2c.loads.extract import extract
from o2c.loads.gate import gate
from o2c.loads.publish import publish

COLUMNS = ["receipt_id", "entity_code", "receipt_type", "received_on", "amount", "currency_code", "payment_method"]
HEADER = ",".join(COLUMNS) + "\n"
PAYMENTS = """
create table payment (id int primary key, company text default 'DE01', kind text default 'payment',
    day date default '2026-03-01', amount numeric, currency text, method text default 'card',
    changed_at timestamptz)
"""
QUERY = """select id, company, kind, day, amount, currency, method, changed_at from payment -- all of them"""
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


def line(number: object, amount: str = "10.00", currency: str = "EUR", kind: str = "payment") -> str:
    return f"{number},DE01,{kind},2026-03-01,{amount},{currency},card\n"


@pytest.fixture
def files(warehouse: Any) -> Any:
    """A flow over receipts in CSV files."""
    return warehouse.flows.csv("shop/receipts", "receipt", COLUMNS)


@pytest.fixture
def payments(warehouse: Any, erp: psycopg.Connection) -> Any:
    """An incremental flow over a table of the source database, with twenty minutes overlap."""
    erp.execute(PAYMENTS)
    return warehouse.flows.query("erp/payments", "receipt", MAPPING, QUERY, cursor=["changed_at", "id"], overlap="20m")


def pay(
    erp: psycopg.Connection,
    number: int,
    amount: str | None,
    currency: str = "EUR",
    at: str | None = "2026-03-01 10:00Z",
    **other: Any,
) -> None:
    names, values = ["id", "amount", "currency", "changed_at", *other], [number, amount, currency, at, *other.values()]
    slots = ", ".join(["%s"] * len(names))
    updates = ", ".join(f"{name} = excluded.{name}" for name in names)
    statement = f"insert into payment ({', '.join(names)}) values ({slots}) on conflict (id) do update set {updates}"
    erp.execute(statement, values)  # type: ignore[call-overload]


def became(published: Any) -> tuple[int, int, int, int]:
    return (published.source_rows, *published.rows.values())


def totals(warehouse: Any, load_id: str) -> dict[str, tuple[Decimal, ...]]:
    rows = warehouse.rows(
        "select currency_code, source_amount, published_amount, quarantined_amount, duplicate_amount"
        " from ops.load_ledger_total where load_id = %s",
        load_id,
    )
    return {row[0]: row[1:] for row in rows}


# --- what a load leaves behind -------------------------------------------------------------------------------------


def test_a_load_of_a_file(warehouse: Any, files: Any) -> None:
    content = HEADER + line(1) + line(2, "0.10") + line(3, "500", "JPY")
    warehouse.flows.put("shop/receipts.csv", content)
    published = warehouse.load(files)
    assert became(published) == (3, 3, 0, 0)
    assert warehouse.rows(
        "select source_system, receipt_id, received_on::text, amount, currency_code, updated_at, _load_id, _deleted,"
        " _landing_file from raw.receipt order by receipt_id limit 1"
    ) == [("shop", "1", "2026-03-01", Decimal("10.00"), "EUR", None, published.load_id, False, "receipts.csv")]
    assert warehouse.value("select count(distinct _published_at) from raw.receipt") == 1
    assert totals(warehouse, published.load_id) == {
        "EUR": (Decimal("10.10"), Decimal("10.10"), 0, 0),
        "JPY": (500, 500, 0, 0),
    }
    folder = warehouse.settings.landing_dir / "shop/receipts" / published.load_id
    assert (folder / "receipts.csv").read_text() == content
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["files"][0]["sha256"] == hashlib.sha256(content.encode()).hexdigest()
    assert manifest["rows"] == 3 and manifest["amounts"] == {"EUR": "10.10", "JPY": "500"}
    ledger = (
        "select flow, source_group, entity, source_rows, manifest ->> 'rows', code_version <> '' from ops.load_ledger"
    )
    assert warehouse.rows(ledger) == [("shop/receipts", "shop", "receipt", 3, "3", True)]
    assert warehouse.rows("select file_name, sha256, bytes from ops.file_delivery") == [
        ("receipts.csv", manifest["files"][0]["sha256"], len(content))
    ]
    assert warehouse.rows("select relname from pg_class where relnamespace = 'landing'::regnamespace") == []


def test_a_first_load_reads_all_a_second_only_what_changed(
    warehouse: Any, erp: psycopg.Connection, payments: Any
) -> None:
    for number in range(1, 41):
        pay(erp, number, "10.00", at=f"2026-03-01 {number // 60:02}:{number % 60:02}Z")
    first = warehouse.load(payments)
    assert became(first) == (40, 40, 0, 0)
    assert warehouse.rows("select cursor_values, load_id from ops.watermark") == [
        (["2026-03-01 00:40:00+00", "40"], first.load_id)
    ]
    pay(erp, 7, "11.00", at="2026-03-01 05:00Z")
    pay(erp, 41, "1.00", at="2026-03-01 05:01Z")
    second = warehouse.load(payments)
    # 00:20 to 00:40 is read again: 21 rows that are known, and the two that changed.
    assert became(second) == (23, 2, 0, 21)
    assert totals(warehouse, second.load_id) == {"EUR": (Decimal("222"), Decimal("12"), 0, Decimal("210"))}
    third = warehouse.load(payments)
    assert became(third) == (2, 0, 0, 2)
    versions = warehouse.rows("select amount from raw.receipt where receipt_id = '7' order by _load_id")
    assert versions == [(Decimal("10.00"),), (Decimal("11.00"),)]
    manifest = warehouse.value("select manifest from ops.load_ledger where load_id = %s", second.load_id)
    assert manifest["control_totals"] == [{"rows": 23, "amounts": {"EUR": "222.00"}}]


def test_a_full_flow_publishes_nothing_twice(warehouse: Any, erp: psycopg.Connection) -> None:
    erp.execute(PAYMENTS)
    mapping = {name: column for name, column in MAPPING.items() if name != "updated_at"}
    flow = warehouse.flows.query("erp/payments", "receipt", mapping, "select * from payment;\n")
    pay(erp, 1, "5")
    pay(erp, 2, "6")
    assert became(warehouse.load(flow)) == (2, 2, 0, 0)
    assert became(warehouse.load(flow)) == (2, 0, 0, 2)
    pay(erp, 1, "7")
    assert became(warehouse.load(flow)) == (2, 1, 0, 1)
    pay(erp, 1, "5")  # back to what it was: a change like any other
    assert became(warehouse.load(flow)) == (2, 1, 0, 1)
    assert warehouse.rows("select cursor_values from ops.watermark") == []


def test_an_empty_source_closes_too(warehouse: Any, erp: psycopg.Connection, payments: Any, files: Any) -> None:
    assert became(warehouse.load(payments)) == (0, 0, 0, 0)
    assert warehouse.rows("select * from ops.watermark") == []
    assert became(warehouse.load(files)) == (0, 0, 0, 0)
    warehouse.flows.put("shop/receipts.csv", HEADER)
    assert became(warehouse.load(files)) == (0, 0, 0, 0)


def test_a_known_file_is_not_read_again_a_changed_one_is(warehouse: Any, files: Any) -> None:
    warehouse.flows.put("shop/receipts1.csv", HEADER + line(1) + line(2))
    assert became(warehouse.load(files)) == (2, 2, 0, 0)
    assert became(warehouse.load(files)) == (0, 0, 0, 0)
    warehouse.flows.put("shop/receipts1.csv", HEADER + line(1) + line(2) + line(3))
    warehouse.flows.put("shop/receipts2.csv", HEADER + line(4))
    published = warehouse.load(files)
    assert became(published) == (4, 2, 0, 2)
    assert warehouse.rows(
        "select receipt_id, _landing_file from raw.receipt where _load_id = %s order by 1", published.load_id
    ) == [
        ("3", "receipts1.csv"),
        ("4", "receipts2.csv"),
    ]


# --- keys, versions, duplicates ------------------------------------------------------------------------------------


def test_copies_of_a_row_are_duplicates(warehouse: Any, files: Any) -> None:
    warehouse.flows.put("shop/receipts.csv", HEADER + line(1) + line(2) + line(1) + line(1))
    published = warehouse.load(files)
    assert became(published) == (4, 2, 0, 2)
    assert totals(warehouse, published.load_id) == {"EUR": (40, 20, 0, 20)}


def test_copies_of_a_bad_row_are_held_once(warehouse: Any, files: Any) -> None:
    warehouse.flows.put("shop/receipts.csv", HEADER + line(1) + 3 * line(2, "-5.00"))
    published = warehouse.load(files)
    assert became(published) == (4, 1, 1, 2)
    assert totals(warehouse, published.load_id) == {"EUR": (-5, 10, -5, -10)}
    assert warehouse.value("select count(*) from quarantine.record") == 1


def test_rows_that_contradict_each_other_are_both_held_back(warehouse: Any, files: Any) -> None:
    warehouse.flows.put("shop/receipts.csv", HEADER + line(1) + line(1, "11.00") + line(1) + line(2))
    assert became(warehouse.load(files)) == (4, 1, 2, 1)
    assert warehouse.rows("select rules, amount from quarantine.record order by landing_row") == [
        (["unique_key"], Decimal("10.00")),
        (["unique_key"], Decimal("11.00")),
    ]


def test_versions_of_one_record_in_one_window_are_all_kept(
    warehouse: Any, erp: psycopg.Connection, payments: Any
) -> None:
    erp.execute("alter table payment drop constraint payment_pkey")
    for amount, at in (("10", "2026-03-01 10:00Z"), ("12", "2026-03-01 11:00Z"), ("11", "2026-03-01 10:30Z")):
        erp.execute("insert into payment (id, amount, currency, changed_at) values (1, %s, 'EUR', %s)", [amount, at])
    assert became(warehouse.load(payments)) == (3, 3, 0, 0)
    current = (
        "select amount from raw.receipt order by updated_at desc nulls last, _published_at desc, _load_id desc limit 1"
    )
    assert warehouse.value(current) == 12
    erp.execute("insert into payment (id, amount, currency, changed_at) values (1, 13, 'EUR', '2026-03-01 11:00Z')")
    # Two rows with the same version say different things: neither can be trusted.
    assert became(warehouse.load(payments)) == (2, 0, 2, 0)


def test_two_sources_share_a_table_without_sharing_keys(warehouse: Any, files: Any) -> None:
    other = warehouse.flows.csv("till/receipts", "receipt", COLUMNS)
    warehouse.flows.put("shop/receipts.csv", HEADER + line(1))
    warehouse.flows.put("till/receipts.csv", HEADER + line(1))
    assert [became(result.published) for result in warehouse.sync(files, other)] == [(1, 1, 0, 0), (1, 1, 0, 0)]
    assert warehouse.rows("select source_system, count(distinct _key_hash) from raw.receipt group by 1 order by 1") == [
        ("shop", 1),
        ("till", 1),
    ]
    assert warehouse.value("select count(distinct _key_hash) from raw.receipt") == 2


def test_key_parts_do_not_run_together(warehouse: Any) -> None:
    flow = warehouse.flows.csv("shop/accounts", "customer_bank_account", ["customer_id", "iban"])
    warehouse.flows.put("shop/accounts.csv", "customer_id,iban\nA,DE0012345678\nAD,E00123456789\nA ,DE0012345678\n")
    warehouse.load(flow)
    assert (
        warehouse.value(
            "select count(distinct _key_hash) from (select _key_hash from raw.customer_bank_account"
            " union all select key_hash from quarantine.record) as t"
        )
        == 3
    )


# --- quarantine ----------------------------------------------------------------------------------------------------


def test_bad_rows_are_kept_with_reason_and_money(warehouse: Any, files: Any) -> None:
    bad = HEADER + line(1) + line(2, "-5.00") + line(3, "abc") + line(4, "7.00", "XXX") + line(5, "1.5", "", "gift")
    warehouse.flows.put("shop/receipts.csv", bad)
    published = warehouse.load(files)
    assert became(published) == (5, 1, 4, 0)
    assert totals(warehouse, published.load_id) == {
        "EUR": (Decimal("5.00"), Decimal("10.00"), Decimal("-5.00"), 0),
        "XXX": (Decimal("7.00"), 0, Decimal("7.00"), 0),
        "": (Decimal("1.5"), 0, Decimal("1.5"), 0),
    }
    rows = warehouse.rows(
        "select landing_row, rules, amount, currency_code, source_key, owner, state, payload ->> 'amount',"
        " landing_file from quarantine.record order by 1"
    )
    assert rows == [
        (2, ["amount > 0"], Decimal("-5.00"), "EUR", "2", "finance", "open", "-5.00", "receipts.csv"),
        (3, ["type:amount", "required:amount"], None, "EUR", "3", "finance", "open", "abc", "receipts.csv"),
        (4, ["currency:currency_code"], Decimal("7.00"), "XXX", "4", "finance", "open", "7.00", "receipts.csv"),
        (
            5,
            ["values:receipt_type", "required:currency_code"],
            Decimal("1.5"),
            None,
            "5",
            "finance",
            "open",
            "1.5",
            "receipts.csv",
        ),
    ]
    assert (
        warehouse.value("select reason from quarantine.record where landing_row = 2")
        == "A receipt needs a positive amount."
    )


# What Python or Postgres takes for a number, and nobody writes into an amount.
ODD_DIGITS = ["0x1F", "0b11", "0o17", "1_000", "１２", "١٢", "5\u00a0"]


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "nan", "1e400000", "1,50", "12.50 EUR", *ODD_DIGITS])
def test_an_amount_that_is_none_goes_to_quarantine_without_money(warehouse: Any, files: Any, text: str) -> None:
    warehouse.flows.put("shop/receipts.csv", HEADER + line(1) + line(2, f'"{text}"'))
    published = warehouse.load(files)
    assert became(published) == (2, 1, 1, 0)
    assert totals(warehouse, published.load_id) == {"EUR": (10, 10, 0, 0)}
    assert warehouse.rows("select 'type:amount' = any (rules), amount from quarantine.record") == [(True, None)]


def test_not_a_number_from_a_database_goes_to_quarantine(
    warehouse: Any, erp: psycopg.Connection, payments: Any
) -> None:
    pay(erp, 1, "10.00")
    pay(erp, 2, "NaN")
    published = warehouse.load(payments)
    assert became(published) == (2, 1, 1, 0)
    assert totals(warehouse, published.load_id) == {"EUR": (10, 10, 0, 0)}


def test_a_later_good_version_closes_the_record(warehouse: Any, erp: psycopg.Connection, payments: Any) -> None:
    pay(erp, 1, "-1", at="2026-03-01 10:00Z")
    pay(erp, 2, "5", at="2026-03-01 10:00Z")
    assert became(warehouse.load(payments)) == (2, 1, 1, 0)
    # Read again by the overlap: known already, not quarantined twice.
    assert became(warehouse.load(payments)) == (2, 0, 0, 2)
    pay(erp, 1, "1", at="2026-03-01 10:05Z")
    good = warehouse.load(payments)
    assert became(good) == (2, 1, 0, 1)
    assert warehouse.rows("select state, closed_by_load_id from quarantine.record") == [("superseded", good.load_id)]


def test_a_bad_version_does_not_hide_behind_the_good_one_before(
    warehouse: Any, erp: psycopg.Connection, payments: Any
) -> None:
    pay(erp, 1, "5", at="2026-03-01 10:00Z")
    warehouse.load(payments)
    pay(erp, 1, "-5", at="2026-03-01 10:05Z")
    assert became(warehouse.load(payments)) == (1, 0, 1, 0)
    assert warehouse.rows("select state from quarantine.record") == [("open",)]
    assert warehouse.value("select amount from raw.receipt") == 5


def test_another_bad_version_is_another_record(warehouse: Any, erp: psycopg.Connection, payments: Any) -> None:
    pay(erp, 1, "-1", at="2026-03-01 10:00Z")
    warehouse.load(payments)
    pay(erp, 1, "-2", at="2026-03-01 10:05Z")
    assert became(warehouse.load(payments)) == (1, 0, 1, 0)
    assert warehouse.rows("select amount from quarantine.record order by record_id") == [(-1,), (-2,)]


def test_a_closed_record_is_not_opened_again_by_the_same_row(warehouse: Any, files: Any) -> None:
    warehouse.flows.put("shop/receipts1.csv", HEADER + line(1, "-1"))
    warehouse.load(files)
    warehouse.flows.put("shop/receipts2.csv", HEADER + line(1, "1"))
    warehouse.load(files)
    warehouse.flows.put("shop/receipts3.csv", HEADER + line(1, "-1") + line(2))
    # Without versions the latest arrival counts: the record is bad again, and that is a case of its own.
    assert became(warehouse.load(files)) == (2, 1, 1, 0)
    assert warehouse.rows("select state from quarantine.record order by record_id") == [("superseded",), ("open",)]


# --- publishing is all or nothing ----------------------------------------------------------------------------------

POINTS = (
    "sort_out",
    "count_sorted",
    "_insert_versions",
    "write_ledger",
    "write_totals",
    "write_quarantine",
    "supersede",
    "move_watermark",
    "drop_landing",
)


@pytest.mark.parametrize(("point", "when"), [(POINTS[0], "before"), *((point, "after") for point in POINTS)])
def test_a_publication_that_breaks_off_leaves_nothing(
    warehouse: Any, erp: psycopg.Connection, payments: Any, monkeypatch: pytest.MonkeyPatch, point: str, when: str
) -> None:
    from o2c.warehouse import publish as module

    pay(erp, 1, "5", at="2026-03-01 10:00Z")
    pay(erp, 3, "-5", at="2026-03-01 10:00Z")
    warehouse.load(payments)
    pay(erp, 2, "6", at="2026-03-02 10:00Z")
    pay(erp, 3, "3", at="2026-03-02 10:00Z")
    pay(erp, 4, "-4", at="2026-03-02 10:00Z")
    before = warehouse.everything()
    whole = getattr(module, point)

    def broken(*arguments: Any) -> Any:
        if when == "after":
            whole(*arguments)
        raise O2CError("The power is gone.")

    with monkeypatch.context() as patched:
        patched.setattr(module, point, broken)
        assert str(warehouse.refused(payments)) == "The power is gone."
    assert warehouse.everything() == before
    assert warehouse.value("select state from ops.load order by fence desc limit 1") == "failed"
    assert became(warehouse.load(payments)) == (4, 2, 1, 1)


def staged(warehouse: Any, flow: Any) -> Any:
    """Extract and gate one load, ready to publish."""
    extracted = extract(warehouse.settings, flow, warehouse.resolve)
    (outcome,) = gate(warehouse.settings, flow.group, {flow.name: flow}, [extracted])
    assert outcome.is_open, str(outcome.error)
    return extracted


def test_an_older_load_may_not_publish_after_a_newer_one_has_started(
    warehouse: Any, erp: psycopg.Connection, payments: Any
) -> None:
    pay(erp, 1, "5")
    old = staged(warehouse, payments)
    new = staged(warehouse, payments)
    before = warehouse.everything()
    with pytest.raises(FenceLost, match="a newer load of the flow has started"):
        publish(warehouse.settings, payments, old)
    assert warehouse.everything() == before
    assert became(publish(warehouse.settings, payments, new)) == (1, 1, 0, 0)
    with pytest.raises(FenceLost):
        publish(warehouse.settings, payments, old)


def test_a_load_is_published_once(warehouse: Any, erp: psycopg.Connection, payments: Any) -> None:
    pay(erp, 1, "5")
    load = staged(warehouse, payments)
    publish(warehouse.settings, payments, load)
    before = warehouse.everything()
    with pytest.raises(FenceLost, match="is published"):
        publish(warehouse.settings, payments, load)
    assert warehouse.everything() == before
    # The acknowledgement was lost, not the load.
    assert warehouse.rows("select state, error from ops.load") == [("published", None)]


@pytest.mark.parametrize("state", ["extracting", "staged", "stopped", "failed"])
def test_only_a_gated_load_is_published(warehouse: Any, erp: psycopg.Connection, payments: Any, state: str) -> None:
    pay(erp, 1, "5")
    load = staged(warehouse, payments)
    warehouse.run("update ops.load set state = %s", state)
    with pytest.raises(FenceLost, match=state):
        publish(warehouse.settings, payments, load)
    assert warehouse.value("select count(*) from raw.receipt") == 0


def test_rows_that_change_after_the_gate_are_noticed(warehouse: Any, files: Any) -> None:
    warehouse.flows.put("shop/receipts.csv", HEADER + line(1) + line(2, "-1"))
    load = staged(warehouse, files)
    warehouse.run("update ops.gate_result set unexpected_rows = 2 where rule = 'amount > 0'")
    before = warehouse.everything()
    with pytest.raises(LoadNotClosed, match="amount > 0"):
        publish(warehouse.settings, files, load)
    assert warehouse.everything() == before


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 3},
        {"rows": 1},
        {"amounts": {"EUR": "20.01"}},
        {"amounts": {"EUR": "20.00", "USD": "1"}},
        {"amounts": {}},
    ],
)
def test_a_load_that_does_not_close_is_not_published(warehouse: Any, files: Any, change: Mapping[str, Any]) -> None:
    warehouse.flows.put("shop/receipts.csv", HEADER + line(1) + line(2))
    load = staged(warehouse, files)
    warehouse.run("update ops.load set manifest = manifest || %s", json.dumps(change))
    before = warehouse.everything()
    with pytest.raises(LoadNotClosed, match="does not close"):
        publish(warehouse.settings, files, load)
    assert warehouse.everything() == before


LEDGER = (
    "insert into ops.load_ledger"
    " select load_id || 'x', flow, source_group, source_system, entity, run_id, published_at,"
    " {}, cursor_from, cursor_to, manifest, code_version from ops.load_ledger"
)


def test_the_ledger_itself_refuses_what_does_not_add_up(warehouse: Any, files: Any) -> None:
    warehouse.flows.put("shop/receipts.csv", HEADER + line(1))
    published = warehouse.load(files)
    warehouse.run(
        "insert into ops.load (load_id, flow, source_group, source_system, entity, fence, state)"
        " select load_id || 'x', flow, source_group, source_system, entity, fence, state from ops.load"
    )
    with pytest.raises(psycopg.errors.CheckViolation, match="load_closes_in_rows"):
        warehouse.run(LEDGER.format("10, 7, 2, 0"))
    warehouse.run(LEDGER.format("10, 7, 2, 1"))
    insert = "insert into ops.load_ledger_total values (%s, 'USD', 10, 7, 2, {})"
    with pytest.raises(psycopg.errors.CheckViolation, match="load_closes_in_money"):
        warehouse.run(insert.format("0.99"), published.load_id)
    with pytest.raises(psycopg.errors.UniqueViolation):
        warehouse.run(LEDGER.format("0, 0, 0, 0"))


def test_the_cursor_never_moves_back(warehouse: Any, erp: psycopg.Connection, payments: Any) -> None:
    pay(erp, 1, "5", at="2026-03-05 10:00Z")
    warehouse.load(payments)
    erp.execute("delete from payment")
    pay(erp, 2, "5", at="2026-03-05 09:50Z")
    assert became(warehouse.load(payments)) == (1, 1, 0, 0)
    assert warehouse.value("select cursor_values ->> 0 from ops.watermark") == "2026-03-05 10:00:00+00"


def test_a_row_without_a_cursor_value_does_not_break_the_cursor(
    warehouse: Any, erp: psycopg.Connection, payments: Any
) -> None:
    pay(erp, 1, "5", at=None)
    pay(erp, 2, "6", at="2026-03-05 10:00Z")
    assert became(warehouse.load(payments)) == (2, 2, 0, 0)
    assert warehouse.value("select cursor_values from ops.watermark") == ["2026-03-05 10:00:00+00", "2"]
    assert warehouse.load(payments).source_rows == 1


def test_only_rows_without_a_cursor_value(warehouse: Any, erp: psycopg.Connection, payments: Any) -> None:
    pay(erp, 1, "5", at=None)
    assert became(warehouse.load(payments)) == (1, 1, 0, 0)
    assert warehouse.rows("select * from ops.watermark") == []


# --- sources that are not as they should be ------------------------------------------------------------------------


@pytest.fixture
def unchanged(warehouse: Any) -> Any:
    before = warehouse.everything()
    yield
    assert warehouse.everything() == before
    assert warehouse.rows("select relname from pg_class where relnamespace = 'landing'::regnamespace") == []
    landing: Path = warehouse.settings.landing_dir
    assert [path for path in landing.rglob("*") if path.is_file()] == []


def test_control_totals_that_disagree_stop(
    warehouse: Any, erp: psycopg.Connection, payments: Any, unchanged: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from o2c.connectors import postgres
    from o2c.connectors.base import ControlTotals

    pay(erp, 1, "5")
    monkeypatch.setattr(postgres, "_control", lambda *_: ControlTotals(2, {"EUR": Decimal(5)}))
    error = warehouse.refused(payments)
    assert isinstance(error, LoadNotClosed) and "The source counts 2 rows, 1 arrived." in error.what
    for sums in ({"EUR": Decimal("5.01")}, {"USD": Decimal(5)}, {"EUR": Decimal(5), "USD": Decimal(1)}):
        monkeypatch.setattr(postgres, "_control", lambda *_, sums=sums: ControlTotals(1, sums))
        error = warehouse.refused(payments)
        assert isinstance(error, LoadNotClosed) and "The source sums to" in error.what
    assert {state for (state,) in warehouse.rows("select state from ops.load")} == {"failed"}


def test_a_count_that_disagrees_with_the_reading_stops(
    warehouse: Any, files: Any, unchanged: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from o2c.warehouse import meter

    warehouse.flows.put("shop/receipts.csv", HEADER + line(1) + line(2))
    whole = meter._count_block

    def forgetful(*arguments: Any) -> None:
        whole(*arguments)
        arguments[-1].rows -= 1

    monkeypatch.setattr(meter, "_count_block", forgetful)
    error = warehouse.refused(files)
    assert isinstance(error, LoadNotClosed) and "took 2 records, the file holds 1" in error.what


def test_money_that_disagrees_with_the_reading_stops(
    warehouse: Any, files: Any, unchanged: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from o2c.warehouse import meter

    warehouse.flows.put("shop/receipts.csv", HEADER + line(1) + line(2))
    monkeypatch.setattr(meter, "_decimal", lambda *_: Decimal("9.99"))
    error = warehouse.refused(files)
    assert isinstance(error, LoadNotClosed) and "19.98 EUR were read, 20.00 are staged" in error.what


def test_rows_that_are_lost_while_staging_stop(
    warehouse: Any, files: Any, unchanged: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from o2c.warehouse import stage

    warehouse.flows.put("shop/receipts.csv", HEADER + line(1) + line(2, "0"))
    monkeypatch.setattr(stage, "_where", lambda *_: stage.sql.SQL(" where _row = 1"))
    error = warehouse.refused(files)
    assert isinstance(error, LoadNotClosed) and "2 records were read, 1 are staged" in error.what


def test_a_column_that_is_gone_names_column_and_line(warehouse: Any, files: Any, unchanged: None) -> None:
    warehouse.flows.put("shop/receipts.csv", HEADER.replace("amount", "betrag") + line(1))
    error = warehouse.refused(files)
    assert isinstance(error, FatalSourceError) and error.reason == "schema_drift"
    assert "'amount' is missing in receipts.csv" in error.what and "betrag" in error.next_step
    number = 1 + files.path.read_text().splitlines().index("  amount: amount")
    assert error.where == f"{files.path}:{number}: mapping.amount"


def test_a_column_that_is_gone_from_a_query(
    warehouse: Any, erp: psycopg.Connection, payments: Any, unchanged: None
) -> None:
    erp.execute("alter table payment drop column method")
    error = warehouse.refused(payments)
    assert isinstance(error, FatalSourceError) and error.reason == "schema_drift"
    assert 'column "method" does not exist' in error.what and error.where.endswith("payments.sql:1")
    number = 1 + payments.path.read_text().splitlines().index("  payment_method: method")
    assert error.where.startswith(f"{payments.path}:{number}: mapping.payment_method")


def test_columns_may_be_added_and_change_places(warehouse: Any, files: Any) -> None:
    warehouse.flows.put("shop/receipts1.csv", HEADER + line(1))
    warehouse.load(files)
    moved = ",".join(["extra", *reversed(COLUMNS)])
    warehouse.flows.put("shop/receipts2.csv", f"{moved}\nnew,card,EUR,3.00,2026-03-01,payment,DE01,2\n")
    assert became(warehouse.load(files)) == (1, 1, 0, 0)
    assert warehouse.rows("select amount, payment_method from raw.receipt where receipt_id = '2'") == [(3, "card")]


def test_files_of_two_layouts_in_one_load(warehouse: Any, files: Any, unchanged: None) -> None:
    warehouse.flows.put("shop/receipts1.csv", HEADER + line(1))
    warehouse.flows.put("shop/receipts2.csv", "extra," + HEADER + "x," + line(2))
    error = warehouse.refused(files)
    assert isinstance(error, FatalSourceError) and "receipts2.csv differ" in error.what


def test_files_whose_columns_change_places_in_one_load(warehouse: Any, files: Any) -> None:
    warehouse.flows.put("shop/receipts1.csv", HEADER + line(1))
    warehouse.flows.put(
        "shop/receipts2.csv",
        ",".join(reversed(COLUMNS)) + "\n" + ",".join(reversed(line(2, "7").strip().split(","))) + "\n",
    )
    published = warehouse.load(files)
    assert became(published) == (2, 2, 0, 0) and totals(warehouse, published.load_id) == {"EUR": (17, 17, 0, 0)}


@pytest.mark.parametrize(
    ("content", "word", "place"),
    [
        (HEADER + line(1) + "2,DE01,payment\n" + line(3), "missing data for column", "line 2"),
        (HEADER + line(1) + line(2).strip() + ",surplus\n", "extra data after last expected column", "line 2"),
        (HEADER + line(1) + line("2\x00"), "invalid byte sequence", "line 2"),
        (HEADER.encode() + line(1).encode() + line("ä").encode("latin-1"), "invalid byte sequence", "line 2"),
        (HEADER + line(1) + line("2\n", kind="x").replace("\n", "\r", 1), "carriage return", "line 2"),
        (HEADER + line(1) + line('"2'), "inside a quoted field", ""),
        (HEADER + line('5" pipe') + line('6" pipe'), "", ""),
        ("", "does not name every column", ""),
    ],
)
def test_a_file_that_cannot_be_read_names_the_line(
    warehouse: Any, files: Any, unchanged: None, content: str | bytes, word: str, place: str
) -> None:
    warehouse.flows.put("shop/receipts.csv", content)
    error = warehouse.refused(files)
    assert isinstance(error, FatalSourceError | LoadNotClosed), repr(error)
    assert word in error.what and place in error.where and "receipts.csv" in error.where, str(error)


def test_a_line_of_backslash_and_dot_loses_nothing(warehouse: Any) -> None:
    flow = warehouse.flows.csv(
        "shop/accounts", "customer_bank_account", {"customer_id": "id", "iban": {"constant": "DE00123456789012"}}
    )
    warehouse.flows.put("shop/accounts.csv", "id\nA\n\\.\nB\n")
    (result,) = warehouse.sync(flow)
    if result.published:  # a server that takes it as data
        assert became(result.published) == (3, 3, 0, 0)
    else:
        assert isinstance(result.error, LoadNotClosed)


def test_quoted_line_ends_umlauts_and_windows(warehouse: Any) -> None:
    form = {"delimiter": ";", "encoding": "cp1252", "decimal": ",", "thousands": ".", "date": "%d.%m.%Y"}
    flow = warehouse.flows.csv(
        "shop/receipts", "receipt", {**{name: name for name in COLUMNS}, "payer_name": "payer"}, form=form
    )
    rows = [
        ";".join([*COLUMNS, "payer"]),
        '1;DE01;payment;28.2.2026;"1.234,50";EUR;card;"Käse\r\n""GmbH"" 5€"',
        "2;DE01;payment;1.3.2026;7,5;EUR;card;",
    ]
    warehouse.flows.put("shop/receipts.csv", "\r\n".join(rows).encode("cp1252"))
    published = warehouse.load(flow)
    assert became(published) == (2, 2, 0, 0) and totals(warehouse, published.load_id) == {"EUR": (1242, 1242, 0, 0)}
    assert warehouse.rows("select received_on::text, amount, payer_name from raw.receipt order by 1") == [
        ("2026-02-28", Decimal("1234.50"), 'Käse\r\n"GmbH" 5€'),
        ("2026-03-01", Decimal("7.5"), None),
    ]


def test_amounts_written_in_the_wrong_style_are_not_read_as_others(warehouse: Any) -> None:
    form = {"delimiter": ";", "decimal": ",", "thousands": "."}
    flow = warehouse.flows.csv("shop/receipts", "receipt", COLUMNS, form=form)
    warehouse.flows.put("shop/receipts.csv", (HEADER + line(1, "1.50")).replace(",", ";"))
    assert became(warehouse.load(flow)) == (1, 0, 1, 0)


# --- one file, two flows -------------------------------------------------------------------------------------------


def test_rows_of_other_flows_are_counted_and_left(warehouse: Any) -> None:
    flow = warehouse.flows.csv("shop/receipts", "receipt", COLUMNS, where="receipt_type = 'payment' and amount <> ''")
    content = (
        HEADER + line(1) + line(2, kind="deposit") + line(3, "") + line(4, "NaN") + line(5, "oops", kind="deposit")
    )
    warehouse.flows.put("shop/receipts.csv", content)
    published = warehouse.load(flow)
    assert became(published) == (2, 1, 1, 0) and totals(warehouse, published.load_id) == {"EUR": (10, 10, 0, 0)}
    assert warehouse.value("select manifest -> 'rows_of_other_flows' from ops.load_ledger") == 3


@pytest.mark.parametrize("where", ["colour = 'red'", "amount > 5", "amount + 1 = 2"])
def test_a_condition_the_file_cannot_answer(warehouse: Any, unchanged: None, where: str) -> None:
    flow = warehouse.flows.csv("shop/receipts", "receipt", COLUMNS, where=where)
    warehouse.flows.put("shop/receipts.csv", HEADER + line(1))
    error = warehouse.refused(flow)
    assert isinstance(error, UsageError) and error.where.endswith(": source.where"), repr(error)


# --- connections ---------------------------------------------------------------------------------------------------


def test_a_wrong_password_is_final(warehouse: Any, payments: Any, unchanged: None) -> None:
    warehouse.source = replace(warehouse.source, password="wrong-secret")
    error = warehouse.refused(payments)
    assert isinstance(error, FatalSourceError) and error.reason == "unauthorized"
    assert "erp_db" in error.where and "wrong-secret" not in str(error)
    assert warehouse.value("select error from ops.load") == str(error)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"port": 1}, "cannot be reached"),
        ({"schema": "nowhere"}, "does not exist"),
        ({"extra": {"sslmode": "sometimes"}}, "sslmode"),
    ],
)
def test_a_source_that_does_not_answer(
    warehouse: Any, payments: Any, unchanged: None, change: dict[str, Any], word: str
) -> None:
    warehouse.source = replace(warehouse.source, **change)
    error = warehouse.refused(payments)
    assert isinstance(error, SourceError) and word in error.what, repr(error)


def test_a_source_is_tried_again_only_when_that_can_help(warehouse: Any, payments: Any) -> None:
    from o2c.loads.sync import sync

    path = payments.path
    path.write_text(path.read_text().replace("attempts: 1", "attempts: 4").replace("1s..1s", "2s..5s"))
    flow = warehouse.flows.load("erp/payments")
    waits: list[float] = []
    good = warehouse.source
    for change, expected in (({"port": 1}, [2.0, 4.0, 5.0]), ({"password": "wrong"}, [])):
        warehouse.source = replace(good, **change)
        waits.clear()
        (result,) = sync(warehouse.settings, [flow], warehouse.resolve, sleep=waits.append)
        assert result.error and waits == expected
    assert warehouse.value("select count(*) from ops.load") == 5


def test_one_flow_that_fails_does_not_hold_back_the_others(warehouse: Any, files: Any, payments: Any) -> None:
    warehouse.source = replace(warehouse.source, port=1)
    warehouse.flows.put("shop/receipts.csv", HEADER + line(1))
    results = {result.flow: result for result in warehouse.sync(payments, files)}
    assert results["erp/payments"].error and became(results["shop/receipts"].published) == (1, 1, 0, 0)


def test_a_warehouse_that_is_full_or_gone_holds_back_one_load(
    warehouse: Any, files: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from o2c.warehouse import landing

    warehouse.flows.put("shop/receipts.csv", HEADER + line(1))

    def full(*_: Any) -> None:
        raise psycopg.errors.DiskFull("could not extend file: No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(landing.LandingTable, "_create", full)
        error = warehouse.refused(files)
    assert isinstance(error, WarehouseError) and "No space left" in error.what
    assert warehouse.load(files).rows["published"] == 1
