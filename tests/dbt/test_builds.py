"""The project builds whatever has been loaded so far, and refuses to guess the business date."""

from __future__ import annotations

from typing import Any

import pytest

from o2c.warehouse.dbt import BuildFailed, run_dbt

Marts = Any


def test_an_empty_warehouse_gives_empty_marts(empty: Marts) -> None:
    empty.build()
    tables = empty.rows("select format('%I.%I', schemaname, tablename) from pg_tables where schemaname like 'marts%'")
    assert len(tables) >= 11
    assert all(empty.rows(f"select count(*) from {table}") == [(0,)] for (table,) in tables)


def test_crm_alone_gives_deals_and_no_receivables(empty: Marts) -> None:
    empty.put("customer", source_system="crm", customer_id="A1", legal_name="Account")
    empty.put("opportunity", source_system="crm", opportunity_id="O1", opportunity_name="Deal", customer_id="A1",
              stage="Won", is_closed=True, is_won=True, closed_on="2026-03-01", amount=5, currency_code="EUR",
              opportunity_type="new_business")  # fmt: skip
    empty.build()
    findings = empty.rows(
        "select rule_id, business_key, amount_txn, amount_reporting from marts_leakage.fct_leak_finding"
    )
    assert findings == [("L03", "O1", 5, 5)]
    assert empty.rows("select * from marts_receivables.rpt_ageing_monthly") == []


def test_without_a_business_date_nothing_is_built(empty: Marts) -> None:
    with pytest.raises(BuildFailed, match="as_of is not set"):
        run_dbt(empty.settings, ["compile", "--select", "rpt_ageing_monthly"])


def test_unit_tests_hold(golden: Marts) -> None:
    golden.dbt("test", "--select", "test_type:unit")
