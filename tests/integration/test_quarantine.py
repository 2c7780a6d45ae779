"""Decisions about quarantined rows: who, why, once, and the balance closes after each."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from o2c.contracts.catalogue import load_catalogue
from o2c.errors import FenceLost, UsageError
from o2c.loads.quarantine import decide
from o2c.warehouse.decisions import Decision, DecisionRefused

pytestmark = pytest.mark.usefixtures("quick_gate")
COLUMNS = ["receipt_id", "entity_code", "receipt_type", "received_on", "amount", "currency_code", "payment_method"]
HEADER = ",".join(COLUMNS) + "\n"
NEGATIVE = "amount > 0"


def line(number: object, amount: str = "10.00", currency: str = "EUR", day: str = "2026-03-01") -> str:
    return f"{number},DE01,payment,{day},{amount},{currency},card\n"


@pytest.fixture
def receipts(warehouse: Any) -> Any:
    """A flow over receipts without versions: the latest arrival counts."""
    return warehouse.flows.csv("shop/receipts", "receipt", COLUMNS)


@pytest.fixture
def versioned(warehouse: Any) -> Any:
    """The same with the source's own versions."""
    return warehouse.flows.csv("erp/receipts", "receipt", [*COLUMNS, "updated_at"])


def put(warehouse: Any, name: str, *lines: str, header: str = HEADER) -> None:
    warehouse.flows.put(name, header + "".join(lines))


def take(
    warehouse: Any, kind: str, *records: int, by: str = "A. Clerk", reason: str = "checked with bank"
) -> list[Any]:
    flows = load_catalogue(warehouse.settings).flows
    return list(decide(warehouse.settings, flows, records, Decision(kind, by, reason)))


def states(warehouse: Any) -> list[tuple[Any, ...]]:
    return warehouse.rows("select source_key, amount, state from quarantine.record order by record_id")


def amounts(warehouse: Any) -> list[Decimal]:
    return [row[0] for row in warehouse.rows("select amount from raw.receipt order by _published_at, receipt_id")]


def assert_balanced(warehouse: Any) -> None:
    """Ledger, records and raw by SQL of the test's own."""
    assert warehouse.rows("select * from ops.quarantine_balance where not closes") == []
    assert warehouse.rows("select * from ops.quarantine_balance_total where not closes") == []
    assert (
        warehouse.rows(
            "select l.load_id from ops.load_ledger l where l.published_rows <>"
            " (select count(*) from raw.receipt r where r._load_id = l.load_id) or l.source_rows <>"
            " l.published_rows + l.quarantined_rows + l.duplicate_rows"
        )
        == []
    )


def test_a_release_publishes_the_row_as_it_stands(warehouse: Any, receipts: Any) -> None:
    put(warehouse, "shop/receipts.csv", line(1), line(2, "-5.00"), line(3, "-7", "USD"), line(4))
    first = warehouse.load(receipts)
    assert states(warehouse) == [("2", Decimal("-5.00"), "open"), ("3", Decimal("-7"), "open")]
    (done,) = take(warehouse, "release", 1, by="Ada", reason="a refund, booked as a receipt")
    assert (done.published.source_rows, done.published.rows) == (1, {"published": 1, "quarantined": 0, "duplicate": 0})
    assert done.published.load_id > first.load_id
    assert amounts(warehouse) == [Decimal("10.00"), Decimal("10.00"), Decimal("-5.00")]
    assert warehouse.rows("select state, closed_by_load_id from quarantine.record order by record_id") == [
        ("released", done.published.load_id),
        ("open", None),
    ]
    assert warehouse.rows("select record_id, decision, decided_by, reason, load_id from quarantine.decision") == [
        (1, "release", "Ada", "a refund, booked as a receipt", done.published.load_id)
    ]
    manifest = warehouse.value("select manifest from ops.load_ledger where load_id = %s", done.published.load_id)
    assert (manifest["kind"], manifest["replay_of"], manifest["rows_selected"]) == ("replay", first.load_id, "{[2,3)}")
    assert manifest["decision"] == {
        "kind": "release",
        "by": "Ada",
        "reason": "a refund, booked as a receipt",
        "records": [[1, first.load_id, 2]],
        "waived_rules": [NEGATIVE],
    }
    event = warehouse.rows("select actor, subject, body::jsonb from ops.evidence where kind = 'quarantine'")
    assert [(actor, subject) for actor, subject, _ in event] == [("Ada", "record 1")]
    assert event[0][2]["waived_rules"] == [NEGATIVE] and event[0][2]["load_id"] == done.published.load_id
    assert_balanced(warehouse)
    balance = (
        "select open_rows, superseded_rows, released_rows, rejected_rows from ops.quarantine_balance where load_id = %s"
    )
    assert warehouse.rows(balance, first.load_id) == [(1, 0, 1, 0)]


def test_a_rejected_row_is_never_loaded(warehouse: Any, receipts: Any) -> None:
    put(warehouse, "shop/receipts.csv", line(1, "-5.00"))
    warehouse.load(receipts)
    (done,) = take(warehouse, "reject", 1, by="Ada", reason="test data")
    assert done.published is None
    assert states(warehouse) == [("1", Decimal("-5.00"), "rejected")]
    put(warehouse, "shop/receipts_2.csv", line(1, "-5.00"), line(9))
    again = warehouse.load(receipts)
    assert again.rows == {"published": 1, "quarantined": 0, "duplicate": 1}
    assert warehouse.rows("select actor from ops.evidence where kind = 'quarantine'") == [("Ada",)]
    assert_balanced(warehouse)


def test_a_rejected_row_stays_out_when_the_rule_is_gone(warehouse: Any, receipts: Any) -> None:
    rule = {"rule": "amount < 100", "on_fail": "quarantine"}
    strict = warehouse.flows.csv("shop/receipts", "receipt", COLUMNS, validation=[rule])
    put(warehouse, "shop/receipts.csv", line(1, "500"), line(2, "600"))
    warehouse.load(strict)
    take(warehouse, "reject", 1)
    lenient = warehouse.flows.csv("shop/receipts", "receipt", COLUMNS)
    put(warehouse, "shop/receipts_2.csv", line(1, "500"), line(2, "600"), line(3))
    assert warehouse.load(lenient).rows == {"published": 2, "quarantined": 0, "duplicate": 1}
    assert [state for *_, state in states(warehouse)] == ["rejected", "superseded"]


def test_a_row_that_gets_its_key_closes_its_record(warehouse: Any, receipts: Any) -> None:
    put(warehouse, "shop/receipts.csv", line("", "5.00"), line("", "6.00"))
    warehouse.load(receipts)
    mapping: dict[str, Any] = {column: column for column in COLUMNS}
    warehouse.flows.csv(
        "shop/receipts", "receipt", {**mapping, "receipt_id": {"concat": ["amount", "-", "entity_code"]}}
    )
    (done,) = take(warehouse, "resync", 2)
    assert done.published.rows == {"published": 1, "quarantined": 0, "duplicate": 0}
    assert [state for *_, state in states(warehouse)] == ["open", "superseded"]


@pytest.mark.parametrize(
    ("first", "second"), [("release", "release"), ("release", "reject"), ("reject", "release"), ("reject", "resync")]
)
def test_a_record_is_decided_once(warehouse: Any, receipts: Any, first: str, second: str) -> None:
    put(warehouse, "shop/receipts.csv", line(1, "-5.00"), line(2, "-6.00"))
    warehouse.load(receipts)
    take(warehouse, first, 1, by="Ada", reason="my word")
    before = warehouse.everything()
    with pytest.raises(DecisionRefused, match=rf"Record 1 is {first}e?d already by Ada on .* UTC: my word"):
        take(warehouse, second, 1, 2, by="Bob")
    assert warehouse.everything() == before


def test_a_superseded_record_cannot_be_released(warehouse: Any, receipts: Any) -> None:
    put(warehouse, "shop/receipts.csv", line(1, "-5.00"))
    warehouse.load(receipts)
    put(warehouse, "shop/receipts_2.csv", line(1, "5.00"))
    good = warehouse.load(receipts)
    before = warehouse.everything()
    with pytest.raises(DecisionRefused, match=f"Record 1 is superseded already by load {good.load_id}"):
        take(warehouse, "release", 1)
    assert warehouse.everything() == before
    assert_balanced(warehouse)


@pytest.mark.parametrize(
    ("lines", "rule"),
    [
        ((line(1, "much"),), "type:amount"),
        ((line(1, ""),), "required:amount"),
        ((line(1, currency="XXX"),), "currency:currency_code"),
        ((line(1, "5"), line(1, "6")), "unique_key"),
    ],
)
def test_a_row_without_its_values_cannot_be_released(
    warehouse: Any, receipts: Any, lines: tuple[str, ...], rule: str
) -> None:
    put(warehouse, "shop/receipts.csv", *lines)
    warehouse.load(receipts)
    before = warehouse.everything()
    with pytest.raises(DecisionRefused, match=f"cannot be published as it is: {rule}.") as refused:
        take(warehouse, "release", 1)
    assert "resync" in refused.value.next_step
    assert warehouse.everything() == before


@pytest.mark.parametrize(("by", "reason"), [("", "x"), ("  ", "x"), ("Ada", " "), ("Ada\nBob", "x"), ("Ada", "x\x1fy")])
def test_a_decision_needs_a_name_and_a_reason(by: str, reason: str) -> None:
    with pytest.raises(UsageError, match="needs a"):
        Decision("release", by, reason)


def test_a_newer_bad_version_supersedes_the_older_one(warehouse: Any, receipts: Any) -> None:
    put(warehouse, "shop/receipts.csv", line(1, "-5.00"))
    warehouse.load(receipts)
    put(warehouse, "shop/receipts_2.csv", line(1, "-6.00"))
    warehouse.load(receipts)
    assert states(warehouse) == [("1", Decimal("-5.00"), "superseded"), ("1", Decimal("-6.00"), "open")]
    assert warehouse.value("select sum(amount) from quarantine.record where state = 'open'") == Decimal("-6.00")
    assert_balanced(warehouse)


def test_an_older_version_that_comes_late_leaves_the_newer_bad_one_open(warehouse: Any, versioned: Any) -> None:
    header = HEADER.strip() + ",updated_at\n"
    put(warehouse, "erp/receipts.csv", line(1, "-7.00").strip() + ",2026-03-03T00:00Z\n", header=header)
    warehouse.load(versioned)
    put(warehouse, "erp/receipts_2.csv", line(1, "7.00").strip() + ",2026-03-02T00:00Z\n", header=header)
    assert warehouse.load(versioned).rows["published"] == 1
    assert states(warehouse) == [("1", Decimal("-7.00"), "open")]
    put(warehouse, "erp/receipts_3.csv", line(1, "8.00").strip() + ",2026-03-04T00:00Z\n", header=header)
    warehouse.load(versioned)
    assert states(warehouse) == [("1", Decimal("-7.00"), "superseded")]


def test_rows_without_a_key_do_not_supersede_each_other(warehouse: Any, receipts: Any) -> None:
    put(warehouse, "shop/receipts.csv", line("", "5.00"))
    warehouse.load(receipts)
    put(warehouse, "shop/receipts_2.csv", line("", "6.00"))
    warehouse.load(receipts)
    assert [state for *_, state in states(warehouse)] == ["open", "open"]


def test_a_bad_row_that_comes_back_after_a_good_one_is_a_new_case(warehouse: Any, receipts: Any) -> None:
    for number, amount in enumerate(["-5.00", "5.00", "-5.00", "-5.00"]):
        put(warehouse, f"shop/receipts_{number}.csv", line(1, amount), line(f"other {number}"))
        warehouse.load(receipts)
    assert states(warehouse) == [("1", Decimal("-5.00"), "superseded"), ("1", Decimal("-5.00"), "open")]
    assert_balanced(warehouse)


def test_a_resync_under_a_mended_mapping_publishes_what_passes(warehouse: Any, receipts: Any) -> None:
    put(warehouse, "shop/receipts.csv", line(1), line(2).replace("payment", "P"), line(3, "-1").replace("payment", "P"))
    warehouse.load(receipts)
    mapping: dict[str, Any] = {column: column for column in COLUMNS}
    mapping["receipt_type"] = {"from": "receipt_type", "values": {"P": "payment"}}
    warehouse.flows.csv("shop/receipts", "receipt", mapping)
    (done,) = take(warehouse, "resync", 1, 2)
    assert done.published.rows == {"published": 1, "quarantined": 1, "duplicate": 0}
    assert states(warehouse) == [
        ("2", Decimal("10.00"), "superseded"),
        ("3", Decimal("-1"), "superseded"),
        ("3", Decimal("-1"), "open"),
    ]
    assert [row[0] for row in warehouse.rows("select decision from quarantine.decision")] == ["resync", "resync"]
    # The newer record knows where its row lies: it can be released in turn.
    take(warehouse, "release", 3)
    assert amounts(warehouse) == [Decimal("10.00"), Decimal("10.00"), Decimal("-1")]
    assert_balanced(warehouse)


def test_a_resync_of_one_side_of_a_contradiction_takes_both(warehouse: Any, receipts: Any) -> None:
    put(warehouse, "shop/receipts.csv", line(1, "5"), line(1, "6"), line(2))
    warehouse.load(receipts)
    (done,) = take(warehouse, "resync", 1)
    assert done.published.rows == {"published": 0, "quarantined": 0, "duplicate": 2}
    assert [state for *_, state in states(warehouse)] == ["open", "open"]
    assert amounts(warehouse) == [Decimal("10.00")]


def test_a_release_is_refused_when_the_row_reads_differently_now(warehouse: Any, receipts: Any) -> None:
    put(warehouse, "shop/receipts.csv", line(1, "-5.00"))
    warehouse.load(receipts)
    mapping: dict[str, Any] = {column: column for column in COLUMNS}
    warehouse.flows.csv(
        "shop/receipts",
        "receipt",
        {**mapping, "payment_method": {"from": "payment_method", "values": {"card": "cash"}}},
    )
    with pytest.raises(DecisionRefused, match="the mapping has changed"):
        take(warehouse, "release", 1)
    assert [state for *_, state in states(warehouse)] == ["open"]
    assert amounts(warehouse) == []


def test_a_release_is_refused_when_the_row_breaks_another_rule_now(warehouse: Any, receipts: Any) -> None:
    put(warehouse, "shop/receipts.csv", line(1, "-5.00"))
    warehouse.load(receipts)
    rule = {"rule": "received_on > '2026-04-01'", "on_fail": "quarantine"}
    warehouse.flows.csv("shop/receipts", "receipt", COLUMNS, validation=[rule])
    with pytest.raises(DecisionRefused, match="break other rules"):
        take(warehouse, "release", 1)
    assert [state for *_, state in states(warehouse)] == ["open"]
    assert warehouse.rows("select count(*) from quarantine.decision") == [(0,)]


def test_of_two_people_who_release_at_once_one_is_refused(warehouse: Any, receipts: Any) -> None:
    put(warehouse, "shop/receipts.csv", line(1, "-5.00"))
    warehouse.load(receipts)
    outcomes = _at_once(lambda: take(warehouse, "release", 1, by="Ada"), lambda: take(warehouse, "reject", 1, by="Bob"))
    refused = [error for error in outcomes if error]
    assert len(refused) == 1 and isinstance(refused[0], DecisionRefused | FenceLost)
    assert warehouse.value("select count(*) from quarantine.decision") == 1
    assert_balanced(warehouse)


def _at_once(*calls: Callable[[], Any]) -> list[Exception | None]:
    barrier, errors = threading.Barrier(len(calls)), [None] * len(calls)

    def run(index: int, call: Callable[[], Any]) -> None:
        barrier.wait()
        try:
            call()
        except Exception as error:
            errors[index] = error  # type: ignore[call-overload]

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return list(errors)


def test_the_commands(warehouse: Any, receipts: Any, command: Any) -> None:
    put(warehouse, "shop/receipts.csv", line(1, "-5.00"), line(2, "-6.00"), line(3, "7", day="soon"))
    warehouse.load(receipts)
    listed = command("quarantine", "list", "shop", "--format", "csv").output.splitlines()
    assert [row.split(",")[:6] for row in listed[1:]] == [
        ["1", "shop/receipts", "1", "EUR", "-5.00", NEGATIVE],
        ["2", "shop/receipts", "2", "EUR", "-6.00", NEGATIVE],
        ["3", "shop/receipts", "3", "EUR", "7", '"type:received_on'],
    ]
    assert "type:received_on" in command("quarantine", "list", "--rule", "type:received_on").output
    assert command("quarantine", "release", "1", "--by", "Ada").exit_code == 2
    assert command("quarantine", "release", "1", "--by", " ", "--reason", "x").exit_code == 2
    done = command("quarantine", "release", "1", "--by", "Ada", "--reason", "refund")
    assert done.exit_code == 0 and "1 published" in done.output
    twice = command("quarantine", "release", "1", "--by", "Bob", "--reason", "again")
    assert twice.exit_code == 1 and "released already by Ada" in twice.output
    assert command("quarantine", "reject", "2", "--by", "Ada", "--reason", "test data").exit_code == 0
    assert command("quarantine", "release", "77", "--by", "Ada", "--reason", "x").exit_code == 2
    shown = command("quarantine", "show", "2").output
    assert "rejected" in shown and "test data" in shown and "receipts.csv" in shown
    assert command("quarantine", "show", "78").exit_code == 2
    assert command("quarantine", "list", "nobody").exit_code == 2
