"""Alerts by data: opened once, told at least once, escalated, taken, and closed by themselves."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from o2c.errors import O2CError, UsageError
from o2c.loads.checks import CHECKS, span
from o2c.loads.watch import Watched, watch
from o2c.warehouse import alerts
from o2c.warehouse.alerts import Alert, Condition
from o2c.warehouse.session import connect

COLUMNS = ("payout_id", "entity_code", "initiated_at", "arrival_on", "amount", "currency_code")
HEADER = ",".join(COLUMNS) + "\n"
POSITIVE = {"rule": "amount > 0", "on_fail": "quarantine", "reason": "A payout pays."}
T0 = datetime(2026, 3, 1, 6, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


class Channel:
    """Keeps what it was told; refuses while ``error`` is set."""

    def __init__(self) -> None:
        self.told: list[Alert] = []
        self.error: Exception | None = None

    def __call__(self, alert: Alert) -> str:
        if self.error:
            raise self.error
        self.told.append(alert)
        return "a test"


@pytest.fixture
def payouts(warehouse: Any) -> Any:
    """A flow that pages, with one day's promise."""
    warehouse.flows.csv("psp/payouts", "processor_payout", COLUMNS, validation=[POSITIVE])
    return changed(warehouse, ("alert: mail", "alert: page"))


def changed(warehouse: Any, *words: tuple[str, str]) -> Any:
    path = warehouse.flows.directory / "psp" / "payouts.yml"
    for old, new in words:
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    return warehouse.flows.load("psp/payouts")


def put(warehouse: Any, *rows: str) -> None:
    text = "".join(
        f"{row.split()[0]},DE01,2026-02-27T10:00:00Z,2026-03-01,{','.join(row.split()[1:])}\n" for row in rows
    )
    warehouse.flows.put("psp/payouts.csv", HEADER + text)


def turn(warehouse: Any, flow: Any, moment: datetime, tell: Any, **more: Any) -> Watched:
    return watch(warehouse.settings, {flow.name: flow} if flow else {}, moment, tell, **more)


def published_at(warehouse: Any) -> datetime:
    found = warehouse.value("select max(published_at) from ops.load_ledger")
    assert isinstance(found, datetime)
    return found


def events(warehouse: Any) -> list[tuple[str, int]]:
    return warehouse.rows("select event, level from ops.alert_event order by event_id")


# --- overdue -------------------------------------------------------------------------------------------------------


def test_a_killed_task_raises_an_alert(warehouse: Any, payouts: Any) -> None:
    """No callback runs when a task is killed: its load stays as it was, and only its age tells."""
    channel = Channel()
    put(warehouse, "P1 10 EUR")
    warehouse.load(payouts)
    last = published_at(warehouse)
    warehouse.run(
        "insert into ops.load (load_id, flow, source_group, source_system, entity, fence, state, started_at)"
        " values ('L000000099', 'psp/payouts', 'psp', 'psp', 'processor_payout', 99, 'extracting', %s)",
        last + HOUR,
    )
    assert turn(warehouse, payouts, last + DAY, channel) == Watched(0, 0, 0)
    assert turn(warehouse, payouts, last + DAY + MINUTE, channel) == Watched(1, 1, 0)
    (alert,) = channel.told
    assert (alert.flow, alert.owner, alert.severity, alert.level) == ("psp/payouts", "finance", "page", 0)
    assert "psp/payouts is overdue" in alert.what and "1 d 1 min ago, promised every 1 d" in alert.what
    assert "Load L000000099 is extracting" in alert.what and "sync_psp" in alert.next_step


def test_a_flow_that_never_started_is_missed(warehouse: Any, payouts: Any) -> None:
    channel = Channel()
    turn(warehouse, payouts, T0, channel)
    warehouse.run("update ops.flow set registered_at = %s", T0)
    turn(warehouse, payouts, T0 + DAY + MINUTE, channel)
    assert [alert.what for alert in channel.told] == [
        "psp/payouts is overdue: it has never published, promised every 1 d."
    ]


# --- one condition, one alert --------------------------------------------------------------------------------------


def test_an_alert_is_opened_once_and_closes_itself(warehouse: Any, payouts: Any) -> None:
    channel = Channel()
    put(warehouse, "P1 -10.50 EUR", "P2 -1 USD", "P3 5 EUR")
    warehouse.load(payouts)
    last = published_at(warehouse)
    for minute in (1, 11, 21):
        turn(warehouse, payouts, last + minute * MINUTE, channel)
    (alert,) = channel.told
    assert alert.money == {"EUR": Decimal("-10.50"), "USD": Decimal("-1")}
    assert (alert.rule, alert.entity, alert.check_name) == ("amount > 0", "processor_payout", "quarantine")
    assert alert.what.startswith("2 records of psp/payouts in quarantine")
    put(warehouse, "P1 10.50 EUR")
    warehouse.load(payouts)
    turn(warehouse, payouts, last + 31 * MINUTE, channel)
    assert warehouse.rows("select closed_at, money from ops.alert") == [(None, {"USD": "-1"})]
    put(warehouse, "P2 1 USD")
    warehouse.load(payouts)
    turn(warehouse, payouts, last + 41 * MINUTE, channel)
    assert warehouse.value("select closed_at from ops.alert") == last + 41 * MINUTE
    assert events(warehouse) == [("opened", 0), ("notified", 0), ("closed", 0)]
    # The same condition again is another alert.
    put(warehouse, "P9 -1 EUR")
    warehouse.load(payouts)
    turn(warehouse, payouts, last + 51 * MINUTE, channel)
    assert [alert.alert_id for alert in channel.told] == [1, 2]


def test_two_watches_at_once_tell_once(warehouse: Any, payouts: Any) -> None:
    """The second one begins while the first is telling, and waits until it has noted what it told."""
    channel = Channel()
    put(warehouse, "P1 -10 EUR")
    warehouse.load(payouts)
    moment = published_at(warehouse) + MINUTE
    second = threading.Thread(target=turn, args=(warehouse, payouts, moment, channel))

    def slow(alert: Alert) -> str:
        second.start()
        waiting = "select count(*) from pg_stat_activity where wait_event = 'advisory' and datname = current_database()"
        while second.is_alive() and not warehouse.value(waiting):
            time.sleep(0.01)
        return channel(alert)

    turn(warehouse, payouts, moment, slow)
    second.join()
    assert len(channel.told) == 1 and events(warehouse) == [("opened", 0), ("notified", 0)]


def test_the_history_of_an_alert_cannot_be_changed(warehouse: Any, payouts: Any) -> None:
    put(warehouse, "P1 -10 EUR")
    warehouse.load(payouts)
    turn(warehouse, payouts, published_at(warehouse), Channel())
    for statement in ("update ops.alert_event set by = 'x'", "delete from ops.alert_event"):
        with (
            psycopg.connect(warehouse.settings.warehouse_url) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege, match="alert_event"),
        ):
            connection.execute(statement)


# --- what a flow tolerates -----------------------------------------------------------------------------------------


def test_money_above_what_is_tolerated(warehouse: Any, payouts: Any) -> None:
    flow = changed(warehouse, ("alert: page", "alert: page\n  quarantine: {amount: {EUR: 10}}"))
    channel = Channel()
    put(warehouse, "P1 -10 EUR")
    warehouse.load(flow)
    turn(warehouse, flow, published_at(warehouse), channel)
    assert channel.told == []
    put(warehouse, "P2 -0.01 EUR")
    warehouse.load(flow)
    turn(warehouse, flow, published_at(warehouse), channel)
    assert [alert.money for alert in channel.told] == [{"EUR": Decimal("-10.01")}]


def test_money_of_a_currency_that_nobody_tolerates(warehouse: Any, payouts: Any) -> None:
    flow = changed(warehouse, ("alert: page", "alert: page\n  quarantine: {amount: {EUR: 10}}"))
    channel = Channel()
    put(warehouse, "P1 -0.01 USD")
    warehouse.load(flow)
    turn(warehouse, flow, published_at(warehouse), channel)
    assert len(channel.told) == 1


def test_records_older_than_what_is_tolerated(warehouse: Any, payouts: Any) -> None:
    flow = changed(warehouse, ("alert: page", "alert: page\n  quarantine: {age: 2h}"))
    channel = Channel()
    put(warehouse, "P1 -1000 EUR")
    warehouse.load(flow)
    turn(warehouse, flow, published_at(warehouse) + 2 * HOUR, channel)
    assert channel.told == []
    turn(warehouse, flow, published_at(warehouse) + 2 * HOUR + MINUTE, channel)
    assert len(channel.told) == 1


# --- held back -----------------------------------------------------------------------------------------------------


def test_a_load_that_a_rule_stops(warehouse: Any) -> None:
    warehouse.flows.csv("psp/payouts", "processor_payout", COLUMNS, validation=[{**POSITIVE, "on_fail": "stop"}])
    flow, channel = warehouse.flows.load("psp/payouts"), Channel()
    put(warehouse, "P1 -10 EUR", "P2 3 USD")
    warehouse.refused(flow)
    ended = warehouse.value("select finished_at from ops.load")
    turn(warehouse, flow, ended, channel)
    (alert,) = channel.told
    assert (alert.check_name, alert.rule, alert.severity) == ("held_back", "amount > 0", "mail")
    assert alert.what.startswith("psp/payouts is held back: ") and alert.next_step
    # What waits is all the load has read, not only the row that broke the rule.
    assert alert.money == {"EUR": Decimal(-10), "USD": Decimal(3)}
    put(warehouse, "P1 10 EUR", "P2 3 USD")
    warehouse.load(flow)
    turn(warehouse, flow, published_at(warehouse), channel)
    assert warehouse.value("select closed_at is not null from ops.alert")


def test_a_failure_is_told_when_retrying_has_had_its_time(warehouse: Any, payouts: Any) -> None:
    flow = changed(warehouse, ("1s..1s", "1s..2m"))
    channel = Channel()
    warehouse.flows.put("psp/payouts.csv", "nothing\n1\n")
    warehouse.refused(flow)
    ended = warehouse.value("select finished_at from ops.load")
    turn(warehouse, flow, ended + timedelta(seconds=119), channel)
    assert channel.told == []
    turn(warehouse, flow, ended + timedelta(seconds=120), channel)
    (alert,) = channel.told
    assert alert.rule == "load L000000001 publishes" and "column" in alert.what
    # Failing again and again stays one alert, and does not start anew.
    warehouse.refused(flow)
    turn(warehouse, flow, ended + timedelta(seconds=130), channel)
    assert len(channel.told) == 1 and events(warehouse) == [("opened", 0), ("notified", 0)]


# --- escalation ----------------------------------------------------------------------------------------------------


def open_alert(warehouse: Any, payouts: Any, channel: Channel) -> datetime:
    put(warehouse, "P1 -10 EUR")
    warehouse.load(payouts)
    moment = published_at(warehouse)
    turn(warehouse, payouts, moment, channel)
    return moment


def test_an_alert_that_nobody_takes_goes_up(warehouse: Any, payouts: Any) -> None:
    channel = Channel()
    opened = open_alert(warehouse, payouts, channel)
    levels = []
    for minutes in (59, 60, 70, 119, 120, 180, 240, 300):
        turn(warehouse, payouts, opened + minutes * MINUTE, channel)
        levels.append(channel.told[-1].level)
    assert levels == [0, 1, 1, 1, 2, 3, 3, 3]
    assert [alert.level for alert in channel.told] == [0, 1, 2, 3]
    assert [event for event in events(warehouse) if event[0] == "escalated"] == [
        ("escalated", 1), ("escalated", 2), ("escalated", 3),
    ]  # fmt: skip


@pytest.mark.parametrize(("severity", "wait"), [("mail", DAY), ("log", None)])
def test_mail_waits_a_day_and_the_log_for_ever(
    warehouse: Any, payouts: Any, severity: str, wait: timedelta | None
) -> None:
    flow, channel = changed(warehouse, ("alert: page", f"alert: {severity}"), ("1d", "100d")), Channel()
    opened = open_alert(warehouse, flow, channel)
    turn(warehouse, flow, opened + (wait or 50 * DAY) - MINUTE, channel)
    assert [alert.level for alert in channel.told] == [0]
    turn(warehouse, flow, opened + (wait or 50 * DAY), channel)
    assert [alert.level for alert in channel.told] == ([0, 1] if wait else [0])


def test_who_takes_an_alert_stops_the_timer(warehouse: Any, payouts: Any) -> None:
    channel = Channel()
    opened = open_alert(warehouse, payouts, channel)
    with connect(warehouse.settings) as connection:
        alerts.acknowledge(connection, 1, " Ada ", opened + 30 * MINUTE)
    turn(warehouse, payouts, opened + 5 * HOUR, channel)
    assert [alert.level for alert in channel.told] == [0]
    assert warehouse.rows("select acknowledged_by, closed_at from ops.alert") == [("Ada", None)]
    assert warehouse.rows("select by, at from ops.alert_event where event = 'acknowledged'") == [
        ("Ada", opened + 30 * MINUTE)
    ]


@pytest.mark.parametrize(("number", "by", "why"), [(7, "Ada", "no alert 7"), (1, " ", "Who"), (1, "Bo", "by Ada")])
def test_taking_what_cannot_be_taken(warehouse: Any, payouts: Any, number: int, by: str, why: str) -> None:
    opened = open_alert(warehouse, payouts, Channel())
    with connect(warehouse.settings) as connection:
        alerts.acknowledge(connection, 1, "Ada", opened)
    with pytest.raises(UsageError, match=why), connect(warehouse.settings) as connection:
        alerts.acknowledge(connection, number, by, opened)


def test_a_closed_alert_cannot_be_taken(warehouse: Any, payouts: Any) -> None:
    opened = open_alert(warehouse, payouts, Channel())
    put(warehouse, "P1 10 EUR")
    warehouse.load(payouts)
    turn(warehouse, payouts, opened + MINUTE, Channel())
    with pytest.raises(UsageError, match="was closed"), connect(warehouse.settings) as connection:
        alerts.acknowledge(connection, 1, "Ada", opened + HOUR)


# --- channels that fail --------------------------------------------------------------------------------------------


def test_an_alert_that_no_channel_takes_is_told_later(warehouse: Any, payouts: Any) -> None:
    channel = Channel()
    channel.error = RuntimeError("smtp://robot:hush@mail refused")
    opened = open_alert(warehouse, payouts, channel)
    assert turn(warehouse, payouts, opened + 10 * MINUTE, channel) == Watched(1, 0, 1)
    channel.error = O2CError("The receiver answers 500.")
    turn(warehouse, payouts, opened + 20 * MINUTE, channel)
    channel.error = None
    assert turn(warehouse, payouts, opened + 30 * MINUTE, channel) == Watched(1, 1, 0)
    assert turn(warehouse, payouts, opened + 40 * MINUTE, channel) == Watched(1, 0, 0)
    assert [name for name, _ in events(warehouse)] == ["opened", *["not_notified"] * 3, "notified"]
    details = [
        detail for (detail,) in warehouse.rows("select detail from ops.alert_event where event = 'not_notified'")
    ]
    assert details == ["RuntimeError", "RuntimeError", "The receiver answers 500."]


def test_one_channel_that_fails_does_not_hold_up_the_others(warehouse: Any, payouts: Any) -> None:
    def picky(alert: Alert) -> str:
        if alert.check_name == "overdue":
            raise RuntimeError
        return "a test"

    open_alert(warehouse, payouts, Channel())
    late = published_at(warehouse) + 2 * DAY
    done = turn(warehouse, payouts, late, picky)
    assert (done.conditions, done.untold) == (2, 1)


# --- checks --------------------------------------------------------------------------------------------------------


def test_a_check_that_cannot_run_is_an_alert_and_closes_nothing(warehouse: Any, payouts: Any) -> None:
    opened = open_alert(warehouse, payouts, Channel())
    channel = Channel()

    def broken(connection: Any, moment: datetime) -> list[Condition]:
        connection.execute("select 1 / 0")
        return []

    turn(warehouse, payouts, opened + MINUTE, channel, checks={**CHECKS, "quarantine": broken})
    (alert,) = channel.told
    assert "The check 'quarantine' could not run: division by zero" in alert.what
    assert warehouse.rows("select check_name from ops.alert where closed_at is null order by 1") == [
        ("check",), ("quarantine",),
    ]  # fmt: skip
    turn(warehouse, payouts, opened + 2 * MINUTE, channel)
    assert warehouse.rows("select check_name from ops.alert where closed_at is null") == [("quarantine",)]


def test_accounts_that_do_not_tie_out(warehouse: Any) -> None:
    channel = Channel()
    warehouse.run(
        "create schema marts_receivables; create table marts_receivables.rpt_control_account_tie_out"
        " (as_of_date date, entity_code text, currency_code text, difference_amount numeric, is_tied_out boolean);"
        " insert into marts_receivables.rpt_control_account_tie_out values ('2026-01-31', 'DE01', 'EUR', 5, false),"
        " ('2026-02-28', 'DE01', 'EUR', -12.34, false), ('2026-02-28', 'US01', 'USD', 0, true)"
    )
    turn(warehouse, None, T0, channel)
    assert [(alert.owner, alert.severity, alert.money) for alert in channel.told] == [
        ("finance_systems", "page", {"EUR": Decimal("-12.34")})
    ]
    warehouse.run("update marts_receivables.rpt_control_account_tie_out set is_tied_out = true")
    turn(warehouse, None, T0 + HOUR, channel)
    assert warehouse.value("select closed_at is not null from ops.alert")


@pytest.mark.parametrize(("is_success", "hours", "found"), [(True, 9, 0), (False, 0, 1), (None, 2, 0), (None, 3, 1)])
def test_builds_that_fail_or_never_end(warehouse: Any, is_success: bool | None, hours: int, found: int) -> None:
    warehouse.run(
        "insert into ops.build (as_of, started_at, is_success, code_version)"
        " values ('2026-02-28', %s, false, 'x'), ('2026-02-28', %s, %s, 'x')",
        T0 - DAY, T0, is_success,
    )  # fmt: skip
    channel = Channel()
    turn(warehouse, None, T0 + hours * HOUR, channel)
    assert len(channel.told) == found


def test_the_heart_beats_when_a_turn_has_come_to_its_end(warehouse: Any, payouts: Any) -> None:
    turn(warehouse, payouts, T0, Channel())
    assert warehouse.rows("select watcher, beat_at, every from ops.heartbeat") == [("watch_loads", T0, 10 * MINUTE)]

    def stopped(alert: Alert) -> str:
        raise KeyboardInterrupt

    put(warehouse, "P1 -10 EUR")
    warehouse.load(payouts)
    with pytest.raises(KeyboardInterrupt):
        turn(warehouse, payouts, T0 + HOUR, stopped)
    assert warehouse.value("select beat_at from ops.heartbeat") == T0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3661, "1 h 1 min"), (90000, "1 d 1 h"), (86400 * 40 + 60, "40 d 1 min")],
)
def test_how_long(seconds: int, text: str) -> None:
    assert span(timedelta(seconds=seconds)) == text
