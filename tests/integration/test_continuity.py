"""Bank statements follow each other without a gap, in numbers and in money, against what is published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from o2c.contracts.entity import load_entity
from o2c.errors import GateStopped, UsageError

COLUMNS = [
    "statement_id", "account_iban", "sequence_number", "created_at", "statement_on", "currency_code",
    "opening_balance_amount", "closing_balance_amount", "entry_count", "entry_net_amount",
]  # fmt: skip
HEADER = ",".join(COLUMNS) + "\n"
IBAN = "DE89370400440532013000"


def statement(
    number: int, opening: int, closing: int, on: str = "", name: str = "", account: str = IBAN, sent: str = "T03"
) -> str:
    on = on or f"2026-{number:02}-28"
    name = name or f"S-{account[-2:]}-{number}"
    return f"{name},{account},{number},{on}{sent}:00Z,{on},EUR,{opening}.00,{closing}.00,1,{closing - opening}.00\n"


@pytest.fixture
def statements(warehouse: Any) -> Any:
    return warehouse.flows.csv("bank/statements", "bank_statement", COLUMNS)


@pytest.fixture
def put(warehouse: Any) -> Any:
    def put(name: str, *lines: str) -> None:
        warehouse.flows.put(f"bank/statements{name}.csv", HEADER + "".join(lines))

    return put


def published(warehouse: Any) -> list[str]:
    return [name for (name,) in warehouse.rows("select statement_id from raw.bank_statement order by 1, _load_id")]


def test_statements_that_follow_each_other_pass(warehouse: Any, statements: Any, put: Any) -> None:
    other = "DE02120300000000202051"
    put("1", statement(7, 100, 120), statement(3, 5, 6, account=other))  # the first of each has no predecessor
    warehouse.load(statements)
    put("2", statement(9, 90, 95), statement(8, 120, 90), statement(4, 6, 7, account=other))
    load = warehouse.load(statements)
    assert load.rows["published"] == 3
    rule = (
        "select on_fail, evaluated_rows, unexpected_rows, is_success from ops.gate_result"
        " where load_id = %s and rule = %s"
    )
    assert warehouse.rows(rule, load.load_id, "continuity") == [("stop", 3, 0, True)]


@pytest.mark.parametrize(
    ("line", "expected", "found"),
    [
        (statement(9, 120, 130), "number 8 opening with 120.00 EUR", "number 9 opening with 120.00 EUR"),
        (statement(8, 121, 130), "number 8 opening with 120.00 EUR", "number 8 opening with 121.00 EUR"),
        (
            statement(7, 120, 130, on="2026-08-28", name="S-00-7b"),
            "number 8 opening with 120.00 EUR",
            "number 7 opening with 120.00 EUR",
        ),
        (statement(1, 120, 130, on="2026-12-31"), "number 8 opening", "number 1 opening"),
    ],
    ids=["a number is missing", "money is missing", "a number comes twice", "a restart within the year"],
)
def test_a_break_stops_the_load_and_names_it(
    warehouse: Any, statements: Any, put: Any, line: str, expected: str, found: str
) -> None:
    put("1", statement(7, 100, 120))
    warehouse.load(statements)
    before = warehouse.everything()
    put("2", line)
    error = warehouse.refused(statements)
    assert isinstance(error, GateStopped) and error.next_step
    assert f"of account {IBAN} does not follow 'S-00-7'" in error.what
    assert f"expected {expected}" in error.what and f"found {found}" in error.what
    assert warehouse.everything() == before
    assert warehouse.rows("select state from ops.load order by load_id desc limit 1") == [("stopped",)]
    assert warehouse.rows("select rule from ops.gate_result where not is_success") == [("continuity",)]


def test_the_missing_statement_mends_the_break(warehouse: Any, statements: Any, put: Any) -> None:
    put("1", statement(7, 100, 120))
    warehouse.load(statements)
    put("3", statement(9, 90, 95))
    warehouse.refused(statements)
    put("2", statement(8, 120, 90))
    warehouse.load(statements)
    assert published(warehouse) == ["S-00-7", "S-00-8", "S-00-9"]


def test_numbers_may_begin_again_in_a_new_year(warehouse: Any, statements: Any, put: Any) -> None:
    put("1", statement(12, 100, 120, on="2025-12-31"))
    warehouse.load(statements)
    put("2", statement(1, 120, 130, on="2026-01-31"))
    warehouse.load(statements)
    put("3", statement(1, 131, 140, on="2027-01-31", name="S-00-1b"))
    assert "opening with 130.00 EUR" in warehouse.refused(statements).what


def test_a_statement_that_is_sent_again_takes_its_old_place(warehouse: Any, statements: Any, put: Any) -> None:
    put("1", statement(7, 100, 120), statement(8, 120, 90))
    warehouse.load(statements)
    put("2", statement(7, 100, 120, sent="T04"))  # new bytes, the same money: supersedes
    assert warehouse.load(statements).rows["published"] == 1
    put("3", statement(8, 120, 95))  # the last one, corrected
    assert warehouse.load(statements).rows["published"] == 1
    put("4", statement(7, 100, 121))  # no longer leads to number 8
    assert "'S-00-8' of account" in warehouse.refused(statements).what
    put("5", statement(8, 121, 95))
    assert warehouse.load(statements).rows["published"] == 2


def test_an_old_break_does_not_hold_back_what_follows(warehouse: Any, statements: Any, put: Any) -> None:
    put("1", statement(7, 100, 120), statement(8, 120, 90))
    warehouse.load(statements)
    warehouse.run("alter table raw.bank_statement disable trigger user")
    warehouse.run("update raw.bank_statement set closing_balance_amount = 1 where sequence_number = 7")
    put("2", statement(9, 90, 95))
    warehouse.load(statements)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("continuity: {account: account_iban}", "Continuity names five columns"),
        ("continuity: {account: x, number: x, opening: x, closing: x, date: x}", "'x' is no column"),
    ],
)
def test_a_wrong_contract_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = Path(__file__).resolve().parents[2] / "include/entities/bank_statement.yml"
    lines = [text if line.startswith("continuity:") else line for line in path.read_text().splitlines()]
    (tmp_path / path.name).write_text("\n".join(lines) + "\n")
    with pytest.raises(UsageError, match=message) as refused:
        load_entity(tmp_path / path.name)
    assert "bank_statement.yml:" in refused.value.where and "continuity" in refused.value.where
