"""``o2c status`` and ``o2c alerts`` as a person sees them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from rich.console import Console

from o2c.loads.watch import watch
from o2c.terminal import status
from o2c.warehouse.flow_table import register
from o2c.warehouse.session import connect
from o2c.warehouse.sync_info import Silence, beat

Command = Callable[..., Any]
COLUMNS = ("payout_id", "entity_code", "initiated_at", "arrival_on", "amount", "currency_code")
POSITIVE = {"rule": "amount > 0", "on_fail": "quarantine", "reason": "A payout pays."}
T0 = datetime(2026, 3, 1, 6, 0, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def payouts(warehouse: Any) -> Any:
    """A flow whose one load has held back a payout."""
    flow = warehouse.flows.csv("psp/payouts", "processor_payout", COLUMNS, validation=[POSITIVE])
    rows = ["P1,DE01,2026-02-27T10:00:00Z,2026-03-01,-1234567.80,EUR", "P2,DE01,2026-02-27T10:00:00Z,2026-03-01,5,EUR"]
    warehouse.flows.put("psp/payouts.csv", "\n".join([",".join(COLUMNS), *rows]) + "\n")
    warehouse.load(flow)
    return flow


def page(warehouse: Any, moment: datetime, width: int = 80, name: str | None = None) -> tuple[bool, str]:
    out = Console(file=io.StringIO(), width=width)
    with connect(warehouse.settings) as connection:
        is_well = status.show(connection, moment, name, out)
    return is_well, out.file.getvalue()  # type: ignore[attr-defined]


def published(warehouse: Any) -> datetime:
    found = warehouse.value("select max(published_at) from ops.load_ledger")
    assert isinstance(found, datetime)
    return found


# --- the first line ------------------------------------------------------------------------------------------------


def flow_row(state: str) -> dict[str, Any]:
    return {"status": state}


def held(currency: str, records: int, amount: str | None) -> dict[str, Any]:
    return {"currency_code": currency, "records": records, "amount": Decimal(amount) if amount else None}


@pytest.mark.parametrize(
    ("states", "money", "line"),
    [
        (["fresh"], [], "1 flow: 1 fresh; quarantine empty"),
        (
            ["fresh"] * 31 + ["held back", "overdue"],
            [held("EUR", 10, "8000.00"), held("EUR", 2, "412.5"), held("USD", 1, "1.005")],
            "33 flows: 31 fresh, 1 overdue, 1 held back; quarantine 13 records, EUR 8,412.50, USD 1.00",
        ),
        (["new", "new"], [held("", 1, None)], "2 flows: 2 new; quarantine 1 record"),
    ],
)
def test_the_first_line(states: list[str], money: list[dict[str, Any]], line: str) -> None:
    assert status.headline([flow_row(state) for state in states], money).replace("\N{NO-BREAK SPACE}", " ") == line


def test_silence_is_told_with_its_beginning() -> None:
    quiet = Silence("The scheduler seems to be down", T0, "Look.")
    assert status.silent(quiet) == "The scheduler seems to be down: nothing has started since 2026-03-01 06:00 UTC."
    assert status.silent(Silence("The scheduler seems to be down", None, "Look.")).endswith("nothing has started yet.")


# --- the page ------------------------------------------------------------------------------------------------------


def test_a_page_when_all_is_well(warehouse: Any, payouts: Any) -> None:
    is_well, text = page(warehouse, published(warehouse) + timedelta(minutes=5))
    assert is_well
    assert text.splitlines()[0].replace("\N{NO-BREAK SPACE}", " ") == (
        "1 flow: 1 fresh; quarantine 1 record, EUR −1,234,567.80"
    )
    row = next(line for line in text.splitlines() if line.startswith("psp/payouts") and "fresh" in line)
    assert row.split() == ["psp/payouts", "fresh", "5", "min", "ago", "2", "1", "1", "1"]
    assert "Held back" not in text and "Overdue" not in text


def test_a_page_when_a_flow_is_late(warehouse: Any, payouts: Any) -> None:
    is_well, text = page(warehouse, published(warehouse) + DAY + timedelta(hours=2))
    flat = " ".join(text.split())
    assert not is_well
    assert flat.startswith("The scheduler seems to be down: nothing has started since ")
    assert "Overdue psp/payouts, owner finance: due " in flat and ", 2 h ago." in flat
    assert "next: Run the DAG sync_psp or './o2c sync psp/payouts'." in flat


def test_a_page_when_nobody_watches_though_all_is_fresh(warehouse: Any, payouts: Any) -> None:
    moment = published(warehouse) + timedelta(hours=1)
    with connect(warehouse.settings) as connection:
        beat(connection, "watch_loads", moment - timedelta(minutes=31), timedelta(minutes=10))
    is_well, text = page(warehouse, moment)
    assert not is_well and "1 flow: 1 fresh" in text
    assert text.startswith("The scheduler seems to be down: nothing has started since ")


def test_a_page_when_a_flow_is_held_back(warehouse: Any, payouts: Any) -> None:
    warehouse.flows.put("psp/payouts.csv", "nothing\n1\n")
    error = warehouse.refused(payouts)
    is_well, text = page(warehouse, datetime.now(UTC))
    flat = " ".join(text.split())
    assert not is_well and "1 held back" in flat
    assert f"load L000000002 failed. {error.what}" in flat and " ".join(f"next: {error.next_step}".split()) in flat


def test_a_page_after_the_source_has_changed(warehouse: Any, payouts: Any) -> None:
    moment = published(warehouse)
    warehouse.run(
        "insert into ops.schema_change values ('psp/payouts', 'fee', 'added', '', 'L000000001', %s),"
        " ('psp/payouts', 'old', 'added', '', 'L000000001', %s)", moment, moment - 31 * DAY,
    )  # fmt: skip
    is_well, text = page(warehouse, moment)
    assert is_well and "psp/payouts: fee added, first in load L000000001" in text and "old added" not in text
    assert warehouse.value("select schema_changes_30d from ops.sync_info_at(%s)", moment) == 1


@pytest.mark.parametrize("width", [80, 100, 120])
def test_figures_are_whole_at_any_width(warehouse: Any, width: int) -> None:
    name = "payments/card_transactions_eu"
    flow = warehouse.flows.csv(name, "processor_payout", COLUMNS)
    with connect(warehouse.settings) as connection:
        register(connection, [flow])
    warehouse.run(
        "insert into ops.load (load_id, flow, source_group, source_system, entity, fence, state, started_at)"
        " values ('L1', %s, 'payments', 'payments', 'processor_payout', 1, 'published', %s)", name, T0,
    )  # fmt: skip
    warehouse.run(
        "insert into ops.load_ledger (load_id, flow, source_group, source_system, entity, published_at, source_rows,"
        " published_rows, quarantined_rows, duplicate_rows, manifest, code_version) values ('L1', %s, 'payments',"
        " 'payments', 'processor_payout', %s, 1234567, 1234560, 7, 0, '{}', 'x')", name, T0,
    )  # fmt: skip
    _, text = page(warehouse, T0 + timedelta(minutes=1), width)
    assert max(map(len, text.splitlines())) <= width
    assert "1,234,567" in text and "1,234,560" in text and "…" not in text


# --- the commands --------------------------------------------------------------------------------------------------


def test_one_record(command: Command, payouts: Any) -> None:
    text = " ".join(command("status", "--key", "P1").output.replace("\N{NO-BREAK SPACE}", " ").split())
    assert "record processor_payout P1 of psp" in text and "status quarantined" in text
    assert "reason A payout pays. [amount > 0] (EUR −1,234,567.80)" in text
    assert "attempts 1: 0 published, 1 quarantined" in text and "loads L000000001" in text
    (row,) = json.loads(command("status", "psp", "--key", "P2", "--format", "json").output)
    assert (row["status"], row["amount"], row["load_ids"]) == ("published", None, ["L000000001"])
    nothing = command("status", "--key", "P3")
    assert nothing.exit_code == 1 and "Nothing is known of a record with the key 'P3'." in nothing.output


def test_the_exit_code_says_whether_all_is_well(command: Command, warehouse: Any, payouts: Any) -> None:
    for form in ("table", "csv", "json"):
        assert command("status", "--format", form).exit_code == 0
    warehouse.run("update ops.flow set freshness = '1 microsecond'")
    for form in ("table", "csv", "json"):
        result = command("status", "--format", form)
        assert result.exit_code == 1 and "The scheduler seems to be down" in result.output


def test_alerts_are_listed_and_taken(command: Command, warehouse: Any, payouts: Any) -> None:
    assert command("alerts", "list").output.startswith("0 alerts open")
    assert json.loads(command("alerts", "list", "--format", "json").output) == []
    watch(warehouse.settings, {payouts.name: payouts}, published(warehouse), lambda _: "a test")
    text = " ".join(command("alerts", "list").output.replace("\N{NO-BREAK SPACE}", " ").split())
    assert "1 mail 1 record of psp/payouts in quarantine" in text and "owner finance" in text
    assert "rule: amount > 0; money: EUR −1,234,567.80" in text and "o2c quarantine list" in text
    assert "1 open alert, 0 escalated, 0 acknowledged" in command("status").output
    taken = command("alerts", "acknowledge", "1", "--by", "Ada [x]")
    assert taken.exit_code == 0 and "Alert 1 is Ada [x]'s" in taken.output
    (row,) = json.loads(command("alerts", "list", "--format", "json").output)
    assert (row["acknowledged_by"], row["money"]) == ("Ada [x]", {"EUR": "-1234567.80"})
    again = command("alerts", "acknowledge", "1", "--by", "Bo")
    assert again.exit_code == 2 and "has been acknowledged by Ada [x]" in again.output
    assert command("alerts", "acknowledge", "1").exit_code == 2


def test_init_makes_flows_known(command: Command, warehouse: Any) -> None:
    warehouse.flows.csv("psp/payouts", "processor_payout", COLUMNS)
    assert command("init").exit_code == 0
    (row,) = json.loads(command("status", "--format", "json").output)
    assert (row["flow"], row["status"], row["last_success_at"]) == ("psp/payouts", "new", None)
