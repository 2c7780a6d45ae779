"""Where flows and records stand, at moments that the tests choose."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from o2c.warehouse import sync_info
from o2c.warehouse.flow_table import register, retire_others
from o2c.warehouse.session import connect

COLUMNS = ("payout_id", "entity_code", "initiated_at", "arrival_on", "amount", "currency_code")
HEADER = ",".join(COLUMNS) + "\n"
POSITIVE = {"rule": "amount > 0", "on_fail": "quarantine", "reason": "A payout pays."}
T0 = datetime(2026, 3, 1, 6, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def line(key: str, amount: str, currency: str = "EUR", entity: str = "DE01") -> str:
    return f"{key},{entity},2026-02-27T10:00:00Z,2026-03-01,{amount},{currency}\n"


@pytest.fixture
def payouts(warehouse: Any) -> Any:
    """A file flow with money; its promise is one day."""
    return warehouse.flows.csv("psp/payouts", "processor_payout", COLUMNS, validation=[POSITIVE])


def put(warehouse: Any, *lines: str, name: str = "payouts") -> None:
    warehouse.flows.put(f"psp/{name}.csv", HEADER + "".join(lines))


def add_load(
    warehouse: Any,
    flow: str,
    number: int,
    state: str,
    started: datetime,
    error: str | None = None,
    kind: str = "extract",
) -> str:
    """A load as the ledger would have it, at a time of our own."""
    group, _, _name = flow.partition("/")
    load_id = f"L{number:09d}"
    manifest = json.dumps({"kind": kind})
    finished = None if state in ("extracting", "staged", "gated") else started + timedelta(minutes=1)
    warehouse.run(
        "insert into ops.load (load_id, flow, source_group, source_system, entity, fence, state, started_at,"
        " finished_at, error, manifest) values (%s, %s, %s, %s, 'processor_payout', %s, %s, %s, %s, %s, %s)",
        load_id, flow, group, group, number, state, started, finished, error, manifest,
    )  # fmt: skip
    if state == "published":
        warehouse.run(
            "insert into ops.load_ledger (load_id, flow, source_group, source_system, entity, published_at,"
            " source_rows, published_rows, quarantined_rows, duplicate_rows, manifest, code_version)"
            " values (%s, %s, %s, %s, 'processor_payout', %s, 10, 7, 2, 1, %s, 'test')",
            load_id, flow, group, group, finished, manifest,
        )  # fmt: skip
        warehouse.run("insert into ops.load_ledger_total values (%s, 'EUR', 100.10, 70.05, 20.04, 10.01)", load_id)
    return load_id


def known(warehouse: Any, *flows: Any, registered: datetime = T0) -> None:
    with connect(warehouse.settings) as connection:
        register(connection, flows)
        connection.execute("update ops.flow set registered_at = %s", [registered])


def info(warehouse: Any, moment: datetime, name: str | None = None) -> dict[str, sync_info.Row]:
    with connect(warehouse.settings) as connection:
        return {row["flow"]: row for row in sync_info.flows(connection, moment, name)}


# --- flows ---------------------------------------------------------------------------------------------------------


def test_a_flow_against_its_promise(warehouse: Any, payouts: Any) -> None:
    known(warehouse, payouts)
    assert info(warehouse, T0 + DAY)["psp/payouts"]["status"] == "new"
    assert info(warehouse, T0 + DAY + HOUR)["psp/payouts"]["status"] == "overdue"
    add_load(warehouse, "psp/payouts", 1, "published", T0 + 30 * HOUR)
    published = T0 + 30 * HOUR + timedelta(minutes=1)
    row = info(warehouse, published + DAY)["psp/payouts"]
    assert (row["status"], row["is_overdue"], row["lag"], row["due_at"]) == ("fresh", False, DAY, published + DAY)
    row = info(warehouse, published + DAY + timedelta(seconds=1))["psp/payouts"]
    assert (row["status"], row["is_overdue"]) == ("overdue", True)


def test_a_load_that_hangs_does_not_make_its_flow_fresh(warehouse: Any, payouts: Any) -> None:
    """A task killed by SIGKILL leaves its load in the state it had."""
    known(warehouse, payouts)
    add_load(warehouse, "psp/payouts", 1, "published", T0)
    add_load(warehouse, "psp/payouts", 2, "extracting", T0 + 20 * HOUR)
    row = info(warehouse, T0 + 26 * HOUR)["psp/payouts"]
    assert (row["status"], row["last_attempt_state"], row["last_attempt_load_id"]) == (
        "overdue", "extracting", "L000000002",
    )  # fmt: skip


def test_rates_and_retries_of_thirty_days(warehouse: Any, payouts: Any) -> None:
    known(warehouse, payouts)
    # 31 days back: outside. Then fail, fail, publish, publish, fail; one under way.
    states = ["failed", "failed", "failed", "published", "published", "stopped", "extracting"]
    starts = [T0, *(T0 + 10 * DAY + n * HOUR for n in range(6))]
    for number, (state, start) in enumerate(zip(states, starts, strict=True), 1):
        add_load(warehouse, "psp/payouts", number, state, start, "It broke." if state != "published" else None)
    row = info(warehouse, T0 + 31 * DAY)["psp/payouts"]
    # Six in the window: two of five that ended published; after the two failures and after the stop somebody tried on.
    assert (row["loads_30d"], row["published_30d"], row["failed_30d"], row["retries_30d"]) == (6, 2, 3, 3)
    assert (row["success_rate_30d"], row["error_rate_30d"]) == (Decimal("0.4"), Decimal("0.6"))
    assert (row["rows_in_30d"], row["rows_published_30d"]) == (20, 14)
    assert (row["rows_quarantined_30d"], row["rows_duplicate_30d"]) == (4, 2)


def test_held_back_since_the_first_failure_for_the_newest_reason(warehouse: Any, payouts: Any) -> None:
    known(warehouse, payouts)
    add_load(warehouse, "psp/payouts", 1, "failed", T0, "Old and mended.")
    add_load(warehouse, "psp/payouts", 2, "published", T0 + HOUR)
    assert info(warehouse, T0 + 2 * HOUR)["psp/payouts"]["status"] == "fresh"
    add_load(warehouse, "psp/payouts", 3, "failed", T0 + 3 * HOUR, "The first.")
    add_load(warehouse, "psp/payouts", 4, "stopped", T0 + 4 * HOUR, "The newest.")
    add_load(warehouse, "psp/payouts", 5, "extracting", T0 + 5 * HOUR)
    row = info(warehouse, T0 + 6 * HOUR)["psp/payouts"]
    assert (row["status"], row["last_error"]) == ("held back", "The newest.")
    assert row["held_since"] == T0 + 3 * HOUR + timedelta(minutes=1)


def test_a_replay_is_no_sign_of_life_of_the_source(warehouse: Any, payouts: Any) -> None:
    known(warehouse, payouts)
    add_load(warehouse, "psp/payouts", 1, "published", T0)
    add_load(warehouse, "psp/payouts", 2, "published", T0 + 20 * HOUR, kind="replay")
    row = info(warehouse, T0 + 30 * HOUR)["psp/payouts"]
    assert (row["status"], row["last_attempt_load_id"], row["loads_30d"]) == ("overdue", "L000000001", 1)
    assert (row["last_success_at"], row["rows_in_30d"]) == (T0 + timedelta(minutes=1), 10)
    with connect(warehouse.settings) as connection:
        (money,) = sync_info.money(connection, T0 + 30 * HOUR)
    assert money["amount_in_30d"] == Decimal("100.10")


def test_one_flow_one_source_or_all(warehouse: Any, payouts: Any) -> None:
    other = warehouse.flows.csv("pspx/payouts", "processor_payout", COLUMNS)
    known(warehouse, payouts, other)
    assert list(info(warehouse, T0)) == ["psp/payouts", "pspx/payouts"]
    assert list(info(warehouse, T0, "psp")) == list(info(warehouse, T0, "psp/payouts")) == ["psp/payouts"]


def test_a_flow_whose_file_is_gone_is_missed_by_nobody(warehouse: Any, payouts: Any) -> None:
    other = warehouse.flows.csv("till/payouts", "processor_payout", COLUMNS)
    known(warehouse, payouts, other)
    with connect(warehouse.settings) as connection:
        retire_others(connection, [payouts])
    assert list(info(warehouse, T0)) == ["psp/payouts"]
    with connect(warehouse.settings) as connection:
        register(connection, [other])
    assert warehouse.value(
        "select retired_at is null and registered_at > %s from ops.flow where flow = 'till/payouts'", T0
    )


def test_settings_are_written_when_they_change(warehouse: Any, payouts: Any) -> None:
    put(warehouse, line("P1", "5.00"))
    warehouse.load(payouts)
    before = warehouse.value("select xmin::text from ops.flow")
    warehouse.load(payouts)
    assert warehouse.value("select xmin::text from ops.flow") == before
    document = payouts.path.read_text().replace("owner: finance", "owner: treasury").replace("1d", "2h")
    payouts.path.write_text(document + "  quarantine: {amount: {EUR: 1000.50}, age: 3d}\n")
    known(warehouse, warehouse.flows.load("psp/payouts"))
    assert warehouse.rows(
        "select owner, freshness, tolerated_amounts, tolerated_age, key_columns, dag_id, alert from ops.flow"
    ) == [("treasury", 2 * HOUR, {"EUR": "1000.5"}, 3 * DAY, ["payout_id"], "sync_psp", "mail")]


# --- money ---------------------------------------------------------------------------------------------------------


def test_money_of_a_load_and_in_quarantine(warehouse: Any, payouts: Any) -> None:
    lines = [line("P1", "100.10"), line("P2", "-20.04"), line("P3", "7", "USD"), line("P4", "-3", "USD")]
    put(warehouse, *lines, line("P5", "-0.96"), lines[0])
    warehouse.load(payouts)
    moment = datetime.now(UTC) + HOUR
    with connect(warehouse.settings) as connection:
        money = {row["currency_code"]: row for row in sync_info.money(connection, moment)}
        held = sync_info.quarantine(connection)
    kinds = ("in", "published", "quarantined", "duplicate")
    assert [money["EUR"][f"last_amount_{kind}"] for kind in kinds] == [
        Decimal(text) for text in ("179.20", "100.10", "-21.00", "100.10")
    ]
    assert [money["USD"][f"amount_{kind}_30d"] for kind in kinds] == [Decimal(text) for text in ("4", "7", "-3", "0")]
    assert (money["EUR"]["open_records"], money["EUR"]["open_amount"]) == (2, Decimal("-21.00"))
    assert [(row["entity"], row["flow"], row["currency_code"], row["records"], row["amount"]) for row in held] == [
        ("processor_payout", "psp/payouts", "EUR", 2, Decimal("-21.00")),
        ("processor_payout", "psp/payouts", "USD", 1, Decimal("-3")),
    ]
    assert held[0]["rules"] == "amount > 0" and held[0]["owner"] == "finance"


# --- records -------------------------------------------------------------------------------------------------------


def record(warehouse: Any, key: str, name: str | None = None) -> list[sync_info.Row]:
    with connect(warehouse.settings) as connection:
        return sync_info.record(connection, key, name)


def test_a_record_from_quarantine_to_published(warehouse: Any, payouts: Any) -> None:
    put(warehouse, line("P1", "-20.04"))
    first = warehouse.load(payouts)
    (row,) = record(warehouse, "P1")
    assert (row["status"], row["reason"], row["rules"]) == ("quarantined", "A payout pays.", ["amount > 0"])
    assert (row["amount"], row["currency_code"], row["owner"]) == (Decimal("-20.04"), "EUR", "finance")
    assert (row["versions"], row["quarantined"], row["attempts"]) == (0, 1, 1)
    put(warehouse, line("P1", "20.04"))
    second = warehouse.load(payouts)
    (row,) = record(warehouse, "P1")
    assert (row["status"], row["attempts"], row["flow"]) == ("published", 2, "psp/payouts")
    assert row["load_ids"] == [second.load_id, first.load_id]
    assert (row["target"], row["target_key"]) == (
        "raw.processor_payout", warehouse.value("select _key_hash from raw.processor_payout"),
    )  # fmt: skip
    assert row["first_seen_at"] < row["last_seen_at"]


def test_a_bad_version_of_a_published_record_is_in_quarantine(warehouse: Any, payouts: Any) -> None:
    put(warehouse, line("P1", "20"))
    warehouse.load(payouts)
    put(warehouse, line("P1", "-20"))
    warehouse.load(payouts)
    (row,) = record(warehouse, "P1")
    assert (row["status"], row["versions"], row["quarantined"]) == ("quarantined", 1, 1)


@pytest.mark.parametrize("state", ["rejected", "superseded"])
def test_a_record_that_never_came_through(warehouse: Any, payouts: Any, state: str) -> None:
    put(warehouse, line("P1", "-20"))
    warehouse.load(payouts)
    warehouse.run("update quarantine.record set state = %s, closed_at = clock_timestamp()", state)
    assert [row["status"] for row in record(warehouse, "P1")] == [state]


def test_a_record_deleted_in_the_source(warehouse: Any, payouts: Any) -> None:
    put(warehouse, line("P1", "20"))
    warehouse.load(payouts)
    names = (
        "source_system, payout_id, entity_code, initiated_at, arrival_on, amount, currency_code, _load_id, _key_hash"
    )
    warehouse.run(
        f"insert into raw.processor_payout ({names}, _row_hash, _published_at, _deleted)"
        f" select {names}, '\\x00', _published_at + interval '1 day', true from raw.processor_payout"
    )
    assert [row["status"] for row in record(warehouse, "P1")] == ["deleted"]


def test_keys_of_several_parts_and_keys_with_a_slash(warehouse: Any, payouts: Any) -> None:
    accounts = warehouse.flows.csv("shop/accounts", "customer_bank_account", ["customer_id", "iban"])
    warehouse.flows.put("shop/accounts.csv", "customer_id,iban\nC7,DE00123456789012\n")
    put(warehouse, line("A/7", "20"))
    warehouse.sync(payouts, accounts)
    assert [row["entity"] for row in record(warehouse, "C7/DE00123456789012")] == ["customer_bank_account"]
    assert [row["entity"] for row in record(warehouse, "A/7")] == ["processor_payout"]
    assert record(warehouse, "C7") == record(warehouse, "a/7") == record(warehouse, "'; drop table ops.flow; --") == []
    assert record(warehouse, "A/7", "shop") == []


def test_the_same_key_in_two_systems(warehouse: Any, payouts: Any) -> None:
    other = warehouse.flows.csv("till/payouts", "processor_payout", COLUMNS)
    put(warehouse, line("P1", "20"))
    warehouse.flows.put("till/payouts.csv", HEADER + line("P1", "30"))
    warehouse.sync(payouts, other)
    assert [row["source_system"] for row in record(warehouse, "P1")] == ["psp", "till"]
    assert [row["source_system"] for row in record(warehouse, "P1", "till/payouts")] == ["till"]


def test_a_key_that_is_missing_has_the_hash_that_staging_gives_it(warehouse: Any, payouts: Any) -> None:
    put(warehouse, line("", "20"))
    warehouse.load(payouts)
    assert warehouse.value("select key_hash = ops.key_hash('psp', null::text) from quarantine.record")


def test_a_record_is_found_by_index(warehouse: Any, payouts: Any) -> None:
    put(warehouse, *(line(f"P{number}", str(number)) for number in range(1, 2001)))
    warehouse.load(payouts)
    scans = "select sum(seq_scan) from pg_stat_xact_user_tables where relname in ('processor_payout', 'record')"
    with psycopg.connect(warehouse.settings.warehouse_url) as connection:
        connection.execute("analyze raw.processor_payout")
        before = connection.execute(scans).fetchone()
        assert len(connection.execute("select * from ops.sync_record('P1234')").fetchall()) == 1
        assert connection.execute(scans).fetchone() == before


# --- silence -------------------------------------------------------------------------------------------------------


def quiet(warehouse: Any, moment: datetime) -> sync_info.Silence | None:
    with connect(warehouse.settings) as connection:
        return sync_info.silence(connection, moment)


def test_nothing_is_promised_without_flows(warehouse: Any) -> None:
    assert quiet(warehouse, T0) is None


def test_no_load_within_the_shortest_promise(warehouse: Any, payouts: Any) -> None:
    known(warehouse, payouts)
    assert quiet(warehouse, T0 + DAY) is None
    late = quiet(warehouse, T0 + DAY + HOUR)
    assert late is not None and "scheduler seems to be down" in late.what and late.since is None
    add_load(warehouse, "psp/payouts", 1, "failed", T0 + 20 * HOUR)
    assert quiet(warehouse, T0 + 44 * HOUR) is None
    late = quiet(warehouse, T0 + 45 * HOUR)
    assert late is not None and late.since == T0 + 20 * HOUR


def test_a_heart_that_has_stopped(warehouse: Any, payouts: Any) -> None:
    known(warehouse, payouts)
    add_load(warehouse, "psp/payouts", 1, "published", T0)
    with connect(warehouse.settings) as connection:
        sync_info.beat(connection, "watch_loads", T0 + HOUR, timedelta(minutes=10))
        sync_info.beat(connection, "watch_loads", T0, timedelta(minutes=10))
    assert quiet(warehouse, T0 + HOUR + timedelta(minutes=30)) is None
    late = quiet(warehouse, T0 + HOUR + timedelta(minutes=31))
    assert late is not None and "scheduler seems to be down" in late.what and late.since == T0 + HOUR


def test_a_heart_that_beats_while_no_load_starts(warehouse: Any, payouts: Any) -> None:
    known(warehouse, payouts)
    with connect(warehouse.settings) as connection:
        sync_info.beat(connection, "watch_loads", T0 + 26 * HOUR, timedelta(minutes=10))
    late = quiet(warehouse, T0 + 26 * HOUR)
    assert late is not None and "the scheduler runs" in late.what and "paused" in late.next_step


# --- the views -----------------------------------------------------------------------------------------------------


def test_every_view_says_what_a_row_is(warehouse: Any) -> None:
    rows = warehouse.rows(
        "select name, obj_description(name::regclass) from unnest(array['ops.sync_info', 'ops.sync_money',"
        " 'ops.quarantine_money', 'ops.flow', 'ops.alert', 'ops.alert_event', 'ops.heartbeat']) as name"
    )
    assert [name for name, text in rows if not (text or "").startswith("One row per ")] == []
    for view in ("sync_info", "sync_money", "quarantine_money"):
        assert warehouse.rows(f"select * from ops.{view}") == []
