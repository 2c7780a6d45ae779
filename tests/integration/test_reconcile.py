"""Deletes: what is gone from a source gets a tombstone, what is only late or belongs to others is left alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from o2c.contracts.catalogue import load_catalogue
from o2c.errors import FenceLost, GateStopped
from o2c.loads import reconcile as subject
from o2c.loads.checks import deletes
from o2c.loads.rebuild import rebuild
from o2c.loads.reconcile import Reconciled, Scan, preview, reconcile
from o2c.loads.resync import Scope, resync
from o2c.warehouse.decisions import Decision
from o2c.warehouse.session import connect

PAYMENTS = """
create table payment (id int primary key, company text default 'DE01', kind text default 'payment',
    day date default '2026-03-01', amount numeric, currency text, method text default 'card',
    changed_at timestamptz)
"""
QUERY = "select id, company, kind, day, amount, currency, method, changed_at from payment -- all of them"
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
SCAN = {"scan": "daily"}


def pay(erp: psycopg.Connection, number: int, amount: str = "10.00", at: str = "2026-03-01 10:00Z") -> None:
    erp.execute(
        "insert into payment (id, amount, currency, changed_at) values (%s, %s, %s, %s)"
        " on conflict (id) do update set amount = excluded.amount, changed_at = excluded.changed_at",
        [number, amount, "EUR" if number % 2 else "USD", at],
    )


@pytest.fixture
def payments(warehouse: Any, erp: psycopg.Connection) -> Any:
    """A flow over a table of the source database that lists its keys, with four payments loaded."""
    erp.execute(PAYMENTS)
    flow = warehouse.flows.query(
        "erp/payments", "receipt", MAPPING, QUERY, cursor=["changed_at", "id"], overlap="20m", deletes=SCAN
    )
    for number in (1, 2, 3, 4):
        pay(erp, number, f"{number}0.00", f"2026-03-01 1{number}:00Z")
    warehouse.load(flow)
    return flow


@pytest.fixture
def scan(warehouse: Any) -> Callable[..., Reconciled]:
    """Reconcile one flow, without waiting."""

    def run(flow: Any, **options: Any) -> Reconciled:
        (result,) = reconcile(
            warehouse.settings, [flow], warehouse.resolve, Scan(patience=2.0, sleep=lambda _: None, **options)
        )
        return result

    return run


def good(result: Reconciled) -> Reconciled:
    assert result.error is None, str(result.error)
    return result


def alive(warehouse: Any) -> dict[str, Decimal]:
    """Payments as a reader of ``raw`` sees them: newest version by the source's clock, without tombstones."""
    rows = warehouse.rows(
        "select receipt_id, amount from (select *, row_number() over (partition by source_system, receipt_id"
        " order by updated_at desc nulls last, _published_at desc) as place from raw.receipt) as r"
        " where place = 1 and not _deleted"
    )
    assert len(dict(rows)) == len(rows)
    return dict(rows)


def test_what_is_gone_gets_a_tombstone_with_its_last_values(warehouse: Any, erp: Any, payments: Any, scan: Any) -> None:
    erp.execute("delete from payment where id in (2, 3)")
    result = good(scan(payments))
    assert (result.found.source, result.found.known, result.found.deleted, result.found.missed) == (2, 4, 2, 0)
    tombstones = warehouse.rows(
        "select receipt_id, amount, updated_at, _load_id, encode(_row_hash, 'hex') from raw.receipt where _deleted"
        " order by 1"
    )
    loaded = warehouse.rows(
        "select receipt_id, amount, updated_at, encode(_row_hash, 'hex') from raw.receipt where not _deleted order by 1"
    )
    assert [(*row[:3], row[4]) for row in tombstones] == [row for row in loaded if row[0] in ("2", "3")]
    assert alive(warehouse) == {"1": 10, "4": 40}
    # Nothing was taken away, and nothing is deleted twice.
    assert len(loaded) == 4
    again = good(scan(payments))
    assert (again.found.known, again.found.deleted, again.found.source) == (2, 0, 2)


def test_the_ledger_and_the_evidence_show_the_deletes(warehouse: Any, erp: Any, payments: Any, scan: Any) -> None:
    erp.execute("delete from payment where id in (2, 3)")
    load_id = good(scan(payments)).published.load_id
    assert warehouse.rows(
        "select kind, source_rows, published_rows, quarantined_rows, duplicate_rows from ops.load_ledger"
        " order by load_id"
    ) == [("extract", 4, 4, 0, 0), ("reconcile", 2, 2, 0, 0)]
    assert warehouse.rows(
        "select currency_code, source_amount, published_amount from ops.load_ledger_total where load_id = %s"
        " order by currency_code",
        load_id,
    ) == [("EUR", 30, 30), ("USD", 20, 20)]
    assert warehouse.rows("select deleted_keys, known_keys, source_keys from ops.key_scan") == [(2, 4, 2)]
    folder = warehouse.settings.landing_dir / payments.name / load_id
    manifest = json.loads((folder / "manifest.json").read_text())
    (file,) = manifest["files"]
    assert (folder / file["name"]).read_text() == "id,changed_at\n1,2026-03-01 11:00:00+00\n4,2026-03-01 14:00:00+00\n"
    assert (manifest["kind"], manifest["control_totals"], file["rows"]) == (
        "reconcile",
        [{"rows": 2, "amounts": {}}],
        2,
    )
    assert warehouse.rows("select distinct _landing_file from raw.receipt where _deleted") == [(file["name"],)]
    body = json.loads(warehouse.value("select body from ops.evidence where kind = 'publish' and subject = %s", load_id))
    assert body["deletes"] == {"source": 2, "known": 4, "deleted": 2, "missed": 0, "pending": 0, "withdrawn": 0}
    assert warehouse.value("select count(*) from pg_class where relnamespace = 'landing'::regnamespace") == 0


def test_a_record_that_comes_back_lives_again(warehouse: Any, erp: Any, payments: Any, scan: Any) -> None:
    erp.execute("delete from payment where id = 4")
    good(scan(payments))
    assert alive(warehouse) == {"1": 10, "2": 20, "3": 30}
    pay(erp, 4, "44.00", "2026-03-02 10:00Z")
    warehouse.load(payments)
    assert alive(warehouse) == {"1": 10, "2": 20, "3": 30, "4": 44}
    again = good(scan(payments))
    assert (again.found.deleted, again.found.missed, again.found.pending) == (0, 0, 0)


@pytest.mark.parametrize("at", ["2026-03-01 14:00Z", "2026-02-01 08:00Z"], ids=["as it was", "as it was before"])
def test_a_record_restored_behind_the_cursor_is_read_again(
    warehouse: Any, erp: Any, payments: Any, scan: Any, at: str
) -> None:
    pay(erp, 5, "50.00", "2026-03-05 10:00Z")
    warehouse.load(payments)
    erp.execute("delete from payment where id = 4")
    good(scan(payments))
    pay(erp, 4, "40.00", at)
    warehouse.load(payments)
    # Behind the cursor, where no increment looks.
    assert "4" not in alive_now(warehouse)
    result = good(scan(payments))
    assert (result.found.missed, result.read_again.rows["published"]) == (1, 1)
    assert alive_now(warehouse)["4"] == 40
    assert good(scan(payments)).found.missed == 0


def alive_now(warehouse: Any) -> dict[str, Decimal]:
    """As :func:`alive`, but what came after a tombstone lives whatever its version says."""
    rows = warehouse.rows(
        "select distinct on (receipt_id) receipt_id, amount from raw.receipt as r where _published_at > all ("
        "select _published_at from raw.receipt as t where t.receipt_id = r.receipt_id and t._deleted)"
        " order by receipt_id, updated_at desc nulls last, _published_at desc"
    )
    return dict(rows)


def test_a_missed_row_is_found_and_read_again(warehouse: Any, erp: Any, payments: Any, scan: Any) -> None:
    watermark = warehouse.value("select cursor_values::text from ops.watermark")
    pay(erp, 9, "90.00", "2026-02-20 10:00Z")
    warehouse.load(payments)
    assert "9" not in alive(warehouse)
    result = good(scan(payments))
    assert (result.found.missed, result.found.deleted, result.found.pending) == (1, 0, 0)
    assert (result.read_again.source_rows, result.read_again.rows["published"]) == (5, 1)
    assert alive(warehouse)["9"] == 90
    assert warehouse.value("select cursor_values::text from ops.watermark") == watermark
    assert warehouse.value("select missed_keys from ops.key_scan") == 1


def test_what_the_next_increment_will_bring_is_not_missed(warehouse: Any, erp: Any, payments: Any, scan: Any) -> None:
    pay(erp, 8, "80.00", "2026-03-01 13:50Z")
    pay(erp, 9, "90.00", "2026-03-02 10:00Z")
    result = good(scan(payments))
    assert (result.found.missed, result.found.pending, result.read_again) == (0, 2, None)


def test_a_quarantined_record_is_neither_missed_nor_kept_when_it_is_gone(
    warehouse: Any, erp: Any, payments: Any, scan: Any
) -> None:
    pay(erp, 6, "1.005", "2026-03-01 14:00Z")
    pay(erp, 7, "7.00", "2026-03-02 10:00Z")
    warehouse.load(payments)
    assert good(scan(payments)).found.missed == 0
    erp.execute("delete from payment where id = 6")
    result = good(scan(payments))
    assert (result.found.deleted, result.found.known) == (0, 5)
    assert warehouse.rows("select source_key, state, closed_by_load_id from quarantine.record") == [
        ("6", "superseded", result.published.load_id)
    ]
    assert warehouse.value("select withdrawn_records from ops.key_scan order by load_id desc limit 1") == 1


def test_records_of_other_flows_and_systems_are_left_alone(
    warehouse: Any, erp: Any, payments: Any, scan: Any, flows: Any
) -> None:
    columns = ["receipt_id", "entity_code", "receipt_type", "received_on", "amount", "currency_code", "payment_method"]
    header = ",".join(columns) + "\n"
    shop = flows.csv("shop/receipts", "receipt", columns)
    flows.put("shop/receipts.csv", header + "1,DE01,payment,2026-03-01,5.00,EUR,card\n")
    same_system = flows.csv("bank/receipts", "receipt", columns, system="erp")
    flows.put("bank/receipts.csv", header + "B1,DE01,payment,2026-03-01,5.00,EUR,card\n")
    # Both flows of the system bring this one.
    flows.put("bank/receipts_2.csv", header + "3,DE01,payment,2026-03-01,5.00,EUR,card\n")
    warehouse.sync(shop, same_system)
    erp.execute("delete from payment where id in (1, 3)")
    result = good(scan(payments))
    assert (result.found.known, result.found.deleted) == (4, 1)
    assert warehouse.rows("select source_system, receipt_id from raw.receipt where _deleted") == [("erp", "1")]


def test_keys_of_several_columns_and_code_lists_hash_as_rows_do(warehouse: Any, erp: Any, scan: Any) -> None:
    erp.execute("create table rate (a text, b text, kind text, day date, value numeric, at timestamptz, id int)")
    erp.execute(
        "insert into rate values ('EUR', 'USD', 'M', '2026-03-01', 1.1, '2026-03-01 10:00Z', 1),"
        " ('EUR', 'USD', 'C', '2026-03-01', 1.2, '2026-03-01 10:00Z', 2)"
    )
    mapping = {
        "from_currency_code": "a",
        "to_currency_code": "b",
        "rate_type": {"from": "kind", "values": {"M": "spot", "C": "closing"}},
        "rate_date": "day",
        "rate": "value",
        "updated_at": "at",
    }
    flow = warehouse.flows.query(
        "erp/rates", "exchange_rate", mapping, "select * from rate", cursor=["at", "id"], deletes=SCAN
    )
    warehouse.load(flow)
    assert good(scan(flow)).found.deleted == 0
    erp.execute("delete from rate where kind = 'M'")
    assert good(scan(flow)).found.deleted == 1
    assert warehouse.rows("select rate_type, rate from raw.exchange_rate where _deleted") == [("spot", Decimal("1.1"))]


def test_a_full_flow_without_versions(warehouse: Any, erp: Any, scan: Any) -> None:
    erp.execute(PAYMENTS)
    mapping = {name: source for name, source in MAPPING.items() if name != "updated_at"}
    flow = warehouse.flows.query("erp/payments", "receipt", mapping, QUERY, deletes=SCAN)
    pay(erp, 1)
    pay(erp, 2)
    warehouse.load(flow)
    erp.execute("delete from payment where id = 2")
    assert good(scan(flow)).found.deleted == 1
    pay(erp, 2)
    result = good(scan(flow))
    assert (result.found.missed, result.found.pending) == (0, 1)
    assert warehouse.load(flow).rows == {"published": 1, "quarantined": 0, "duplicate": 1}
    assert good(scan(flow)).found.pending == 0


def test_a_flow_that_was_never_loaded_is_left_alone(warehouse: Any, erp: Any, scan: Any) -> None:
    erp.execute(PAYMENTS)
    pay(erp, 1)
    flow = warehouse.flows.query("erp/payments", "receipt", MAPPING, QUERY, cursor=["changed_at", "id"], deletes=SCAN)
    assert good(scan(flow)) == Reconciled("erp/payments")
    assert warehouse.value("select count(*) from ops.load") == 0


@pytest.fixture
def many(warehouse: Any, erp: psycopg.Connection) -> Any:
    """A flow with three hundred payments loaded."""
    erp.execute(PAYMENTS)
    erp.execute(
        "insert into payment (id, amount, currency, changed_at)"
        " select n, 1, 'EUR', '2026-03-01 10:00Z' from generate_series(1, 300) as n"
    )
    flow = warehouse.flows.query("erp/payments", "receipt", MAPPING, QUERY, cursor=["changed_at", "id"], deletes=SCAN)
    warehouse.load(flow)
    return flow


def test_too_many_deletes_at_once_stop_the_load(warehouse: Any, erp: Any, many: Any, scan: Any) -> None:
    before = warehouse.everything()
    # 60 of 300 are 20 percent; one more is too many.
    erp.execute("delete from payment where id <= 61")
    result = scan(many)
    assert isinstance(result.error, GateStopped)
    assert "61 of 300 records are gone" in result.error.what and "--accept-deletes" in result.error.next_step
    assert warehouse.everything() == before
    assert warehouse.rows("select state from ops.load order by load_id") == [("published",), ("stopped",)]
    # The next sync is not held up by it.
    warehouse.load(many)
    erp.execute("insert into payment (id, amount, currency, changed_at) values (61, 1, 'EUR', '2026-03-01 10:00Z')")
    assert good(scan(many)).found.deleted == 60


def test_the_owner_hears_of_a_scan_that_stopped_or_stays_away(warehouse: Any, erp: Any, many: Any, scan: Any) -> None:
    def conditions(after: timedelta = timedelta(0)) -> list[str]:
        with connect(warehouse.settings) as connection:
            return [found.what for found in deletes(connection, datetime.now(UTC) + after)]

    assert conditions() == []
    good(scan(many))
    assert conditions() == [] and len(conditions(timedelta(days=2, minutes=1))) == 1
    erp.execute("delete from payment where id <= 61")
    scan(many)
    # A sync that went well since does not hide it.
    warehouse.load(many)
    assert conditions() == ["erp/payments: 61 of 300 records are gone from the source, which lists 239."]


def test_a_person_may_agree_to_many_deletes(warehouse: Any, erp: Any, many: Any, scan: Any) -> None:
    erp.execute("delete from payment where id <= 100")
    assert scan(many).error is not None
    agreed = Decision("accept_deletes", "A. Clerk", "Test customers were removed.")
    assert good(scan(many, agreed=agreed)).found.deleted == 100
    assert warehouse.rows("select accepted_by, accepted_reason, deleted_keys from ops.key_scan") == [
        ("A. Clerk", "Test customers were removed.", 100)
    ]
    ((actor, body),) = warehouse.rows("select actor, body from ops.evidence where kind = 'sign_off'")
    assert actor == "A. Clerk"
    assert json.loads(body) == {
        "decision": "accept_deletes",
        "reason": "Test customers were removed.",
        "deleted": 100,
        "of": 300,
    }


def test_a_source_that_answers_empty_deletes_nothing(warehouse: Any, erp: Any, payments: Any, scan: Any) -> None:
    before = warehouse.everything()
    erp.execute("delete from payment")
    result = scan(payments)
    assert isinstance(result.error, GateStopped) and "4 of 4 records" in result.error.what
    assert warehouse.everything() == before


def test_a_flow_may_allow_more(warehouse: Any, erp: Any, many: Any, scan: Any) -> None:
    erp.execute("delete from payment where id <= 100")
    flow = warehouse.flows.query(
        "erp/payments", "receipt", MAPPING, QUERY, cursor=["changed_at", "id"], deletes={**SCAN, "most": 34}
    )
    assert good(scan(flow)).found.deleted == 100


def test_preview_writes_nothing(warehouse: Any, erp: Any, payments: Any) -> None:
    erp.execute("delete from payment where id = 2")
    before = (warehouse.everything(), warehouse.value("select count(*) from ops.load"), sorted_files(warehouse))
    (result,) = preview(warehouse.settings, [payments], warehouse.resolve)
    assert good(result).found.deleted == 1 and result.published is None
    assert (warehouse.everything(), warehouse.value("select count(*) from ops.load"), sorted_files(warehouse)) == before
    assert warehouse.value("select count(*) from pg_class where relnamespace = 'landing'::regnamespace") == 0


def sorted_files(warehouse: Any) -> list[str]:
    return sorted(str(path) for path in warehouse.settings.landing_dir.rglob("*"))


def test_a_sync_that_comes_between_wins_and_the_scan_is_repeated(
    warehouse: Any, erp: Any, payments: Any, scan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    list_keys, calls = subject.list_keys, []

    def listed_then_synced(*arguments: Any) -> Any:
        yield from list_keys(*arguments)
        if not calls:
            # Inserted and loaded after the keys were listed: not in the list, and alive.
            pay(erp, 5, "50.00", "2026-03-03 10:00Z")
            calls.append(warehouse.load(payments))

    monkeypatch.setattr(subject, "list_keys", listed_then_synced)
    result = good(scan(payments))
    assert result.found.deleted == 0 and result.found.known == 5
    assert alive(warehouse)["5"] == 50
    assert warehouse.rows("select kind, state from ops.load order by load_id") == [
        ("extract", "published"),
        ("reconcile", "superseded"),
        ("extract", "published"),
        ("reconcile", "published"),
    ]


def test_a_scan_that_lost_its_fence_publishes_nothing(
    warehouse: Any, erp: Any, payments: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    erp.execute("delete from payment where id = 1")
    publish = subject.publish_tombstones

    def overtaken(*arguments: Any, **options: Any) -> Any:
        pay(erp, 1, "11.00", "2026-03-04 10:00Z")
        warehouse.load(payments)
        return publish(*arguments, **options)

    monkeypatch.setattr(subject, "publish_tombstones", overtaken)
    monkeypatch.setattr(subject, "_ATTEMPTS", 1)
    (result,) = reconcile(warehouse.settings, [payments], warehouse.resolve, Scan(sleep=lambda _: None))
    assert isinstance(result.error, FenceLost)
    assert alive(warehouse)["1"] == 11
    assert warehouse.value("select count(*) from raw.receipt where _deleted") == 0


def test_a_load_under_way_is_waited_for(warehouse: Any, erp: Any, payments: Any, scan: Any) -> None:
    from o2c.loads.extract import extract

    erp.execute("delete from payment where id = 1")
    extract(warehouse.settings, payments, warehouse.resolve)
    error = scan(payments).error
    assert error is not None and "under way (staged)" in error.what
    # The load under way keeps its fence.
    assert warehouse.rows("select kind, state from ops.load order by load_id") == [
        ("extract", "published"),
        ("extract", "staged"),
    ]
    warehouse.load(payments)
    assert good(scan(payments)).found.deleted == 1


def test_a_source_that_counts_otherwise_stops_the_scan(
    warehouse: Any, erp: Any, payments: Any, scan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from o2c.connectors import postgres
    from o2c.connectors.base import ControlTotals

    monkeypatch.setattr(postgres, "_control", lambda *_: ControlTotals(5))
    before = warehouse.everything()
    result = scan(payments)
    assert result.error is not None and "The source counts 5 rows, 4 arrived" in result.error.what
    assert warehouse.everything() == before


def test_a_replay_brings_nothing_back_that_was_deleted(warehouse: Any, erp: Any, payments: Any, scan: Any) -> None:
    erp.execute("delete from payment where id = 2")
    good(scan(payments))
    before = warehouse.everything()["raw.receipt"]
    (first,) = warehouse.rows("select load_id from ops.load_ledger where kind = 'extract'")
    (done,) = resync(warehouse.settings, payments, Scope(load_id=first[0]))
    assert done.published.rows == {"published": 0, "quarantined": 0, "duplicate": 4}
    assert warehouse.everything()["raw.receipt"] == before


def test_a_rebuild_from_landing_files_gives_the_same_tombstones(
    warehouse: Any, erp: Any, payments: Any, scan: Any, database: str
) -> None:
    pay(erp, 6, "1.005", "2026-03-01 14:00Z")
    warehouse.load(payments)
    erp.execute("delete from payment where id in (2, 6)")
    good(scan(payments))
    pay(erp, 2, "22.00", "2026-03-05 10:00Z")
    warehouse.load(payments)
    scratch = replace(warehouse.settings, url=database, home=warehouse.settings.home / "scratch")
    catalogue = load_catalogue(warehouse.settings)
    rebuilt = rebuild(warehouse.settings, scratch, catalogue)
    assert rebuilt.holds, rebuilt
    assert rebuilt.loads == 4
    with psycopg.connect(database) as connection:
        assert connection.execute("select receipt_id from raw.receipt where _deleted").fetchall() == [("2",)]
