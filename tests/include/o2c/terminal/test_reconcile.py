from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

COLUMNS = ["receipt_id", "entity_code", "receipt_type", "received_on", "amount", "currency_code", "payment_method"]
ROWS = "select n as id, 'DE01' as company, n || '.00' as amount, at from payment"


@pytest.fixture
def flow(warehouse: Any, erp: psycopg.Connection, erp_database: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sixty payments of the ERP, loaded, by a flow that lists its keys."""
    monkeypatch.setenv("AIRFLOW_CONN_ERP_DB", erp_database)
    erp.execute("create table payment as select n, timestamptz '2026-03-01Z' as at from generate_series(1, 60) as n")
    constants = {
        "receipt_type": "payment",
        "received_on": "2026-03-01",
        "currency_code": "EUR",
        "payment_method": "card",
    }
    mapping = {"receipt_id": "id", "entity_code": "company", "amount": "amount", "updated_at": "at"}
    mapping |= {name: {"constant": value} for name, value in constants.items()}  # type: ignore[misc]
    flow = warehouse.flows.query(
        "erp/payments", "receipt", mapping, ROWS, cursor=["at", "id"], deletes={"scan": "daily"}
    )
    warehouse.flows.csv("shop/receipts", "receipt", COLUMNS)
    warehouse.load(flow)
    return flow


def deleted(warehouse: Any) -> int:
    return int(warehouse.value("select count(*) from raw.receipt where _deleted"))


def test_dry_run_then_reconcile(warehouse: Any, erp: Any, flow: Any, command: Callable[..., Any]) -> None:
    erp.execute("delete from payment where n <= 3")
    shown = command("reconcile", "--dry-run")
    assert shown.exit_code == 0 and "dry run" in shown.output and deleted(warehouse) == 0
    done = command("reconcile", "erp")
    assert done.exit_code == 0 and "L000000002" in done.output
    (line,) = [line for line in done.output.splitlines() if "erp/payments" in line]
    assert line.split("│")[3:6] == [
        f"{n:>{len(cell) - 1}} " for n, cell in zip((57, 60, 3), line.split("│")[3:6], strict=True)
    ]
    assert deleted(warehouse) == 3


def test_too_many_deletes_need_a_name_and_a_reason(
    warehouse: Any, erp: Any, flow: Any, command: Callable[..., Any]
) -> None:
    erp.execute("delete from payment where n <= 55")
    stopped = command("reconcile")
    assert stopped.exit_code == 1 and "55 of 60 records are gone" in stopped.output and deleted(warehouse) == 0
    nameless = command("reconcile", "erp/payments", "--accept-deletes", "--reason", "Test payments")
    assert nameless.exit_code == 2 and deleted(warehouse) == 0
    agreed = command("reconcile", "erp/payments", "--accept-deletes", "--by", "A. Clerk", "--reason", "Test payments")
    assert agreed.exit_code == 0 and deleted(warehouse) == 55


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["shop/receipts"], "does not list its keys"),
        (["erp/nowhere"], "no flow"),
        (["erp", "--by", "A. Clerk"], "--accept-deletes"),
        (["erp/payments", "erp/payments", "--accept-deletes", "--by", "A", "--reason", "B"], "flow by flow"),
    ],
)
def test_wrong_use(flow: Any, command: Callable[..., Any], arguments: list[str], word: str) -> None:
    result = command("reconcile", *arguments)
    assert result.exit_code == 2 and word in result.output


def test_a_source_that_does_not_answer(flow: Any, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ERP_DB", "postgresql://nobody:secret@127.0.0.1:1/erp")
    result = command("reconcile")
    assert result.exit_code == 1 and "cannot be reached" in result.output and "secret" not in result.output
