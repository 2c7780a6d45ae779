from __future__ import annotations

from dataclasses import fields
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from o2c.errors import UsageError
from o2c.reports.facts import Facts, read_facts, total, totals_by
from o2c.settings import Settings


def test_sums_leave_out_empty_cells_and_keep_currencies_apart() -> None:
    rows = [
        {"amount": Decimal("1.10"), "currency_code": "USD"},
        {"amount": None, "currency_code": "USD"},
        {"amount": Decimal("2"), "currency_code": "EUR"},
        {"amount": Decimal("3"), "currency_code": None},
    ]
    assert total(rows, "amount") == Decimal("6.10")
    assert totals_by(rows, "amount") == {"": Decimal(3), "EUR": Decimal(2), "USD": Decimal("1.10")}


def test_without_loads_nothing_stands_in_for_the_clock() -> None:
    empty = Facts("EUR")
    assert (empty.as_of, empty.known_at, empty.code_version) == (None, None, "unknown")


@pytest.mark.integration
def test_what_is_read_is_what_the_warehouse_holds(built: Settings, facts: Facts) -> None:
    read = read_facts(built)
    for part in fields(Facts):
        found, expected = getattr(read, part.name), getattr(facts, part.name)
        assert found == expected, part.name
    assert all(isinstance(row["amount_txn"], Decimal) for row in read.leaks)
    assert isinstance(read.leaks[0]["evidence"]["delivery_line"]["unit_price"], Decimal)


@pytest.mark.integration
def test_a_warehouse_without_marts_says_what_to_run(warehouse: Any) -> None:
    with pytest.raises(UsageError) as caught:
        read_facts(warehouse.settings)
    assert "marts_receivables.rpt_dso_monthly" in caught.value.where
    assert "ops." not in caught.value.where
    assert "o2c build" in caught.value.next_step


@pytest.mark.integration
def test_a_warehouse_that_was_never_prepared_says_so(database: str, tmp_path: Any) -> None:
    settings = Settings.load({"O2C_HOME": str(tmp_path), "O2C_WAREHOUSE_URL": database})
    with pytest.raises(UsageError, match="no figures") as caught:
        read_facts(settings)
    assert "o2c init" in caught.value.next_step


@pytest.mark.integration
def test_the_newest_load_decides_the_state_of_a_flow(built: Settings) -> None:
    with psycopg.connect(built.warehouse_url) as connection:
        connection.execute(
            "insert into ops.load (load_id, flow, source_group, source_system, entity, fence, state, started_at, error)"
            " values ('L000000009', 'erp/invoices', 'erp', 'erp', 'invoice', 2, 'stopped', '2026-04-02', 'why')"
        )
    (load,) = [row for row in read_facts(built).loads if row["flow"] == "erp/invoices"]
    assert (load["state"], load["error"], load["load_id"]) == ("stopped", "why", "L000000003")


@pytest.mark.integration
def test_released_quarantine_is_not_shown(built: Settings) -> None:
    with psycopg.connect(built.warehouse_url) as connection:
        connection.execute("update quarantine.record set state = 'released' where currency_code = 'KWD'")
    read = read_facts(built)
    assert [row["currency_code"] for row in read.quarantine] == ["EUR", "EUR"]
    assert len(read.quarantine_records) == 2


@pytest.mark.integration
def test_companies_of_the_group_are_no_debtors(built: Settings, facts: Facts) -> None:
    with psycopg.connect(built.warehouse_url) as connection:
        connection.execute(
            "update marts_receivables.rpt_ageing_by_customer set is_intercompany = true where customer_id = 'DE01-C2'"
        )
    expected = [row for row in facts.debtors if row["customer_id"] != "DE01-C2"]
    assert read_facts(built).debtors == expected
