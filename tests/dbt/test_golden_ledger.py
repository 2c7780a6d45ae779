"""From raw to reports, on the ledger whose figures were worked out by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

Marts = Any


def test_ageing_by_due_date(golden: Marts) -> None:
    buckets = golden.rows(
        "select current_amount, days_1_30_amount, days_31_60_amount, days_61_90_amount, days_over_90_amount"
        " from marts_receivables.rpt_ageing_monthly where as_of_date = '2026-03-31'"
    )
    assert buckets == [(1900, 0, 600, 400, 0)]


def test_gross_unapplied_and_net(golden: Marts) -> None:
    totals = golden.rows(
        "select gross_receivables_amount, unapplied_cash_amount + unapplied_credits_amount, net_receivables_amount"
        " from marts_receivables.rpt_ageing_monthly where as_of_date = '2026-03-31'"
    )
    assert totals == [(2900, -400, 2500)]


def test_open_documents(golden: Marts) -> None:
    balances = golden.rows(
        "select document_id, sum(amount_txn) from marts_receivables.fct_ar_event"
        " where effective_date <= '2026-03-31' group by 1 having sum(amount_txn) <> 0"
    )
    expected = {"INV2": 300, "INV4": 1200, "INV5": 700, "INV6": 400, "INV8": 300, "CM2": -150, "P9": -250}
    assert dict(balances) == expected


def test_dso(golden: Marts) -> None:
    days = golden.rows(
        "select scope, metric_name, ar_basis, dso_days from marts_receivables.rpt_dso_monthly"
        " where as_of_date = '2026-03-31'"
    )
    expected = {"net_of_unapplied": Decimal("54.2169"), "gross_invoices": Decimal("58.0000")}
    assert len(days) == 12
    assert all(value == expected[basis] for _, _, basis, value in days)


def test_a_month_without_enough_history_has_no_dso(golden: Marts) -> None:
    reasons = golden.rows(
        "select distinct dso_days, null_reason from marts_receivables.rpt_dso_monthly where as_of_date = '2026-01-31'"
    )
    assert reasons == [(None, "insufficient_history")]


def test_roll_forward_of_the_quarter(golden: Marts) -> None:
    components = golden.rows(
        "select min(opening_amount) filter (where month = '2026-01-01'),"
        " sum(credit_sales_amount + credit_memos_amount), sum(cash_received_amount + bounced_receipts_amount),"
        " sum(discounts_amount), max(closing_amount) filter (where month = '2026-03-01'), sum(difference_amount)"
        " from marts_receivables.rpt_roll_forward_monthly where month >= '2026-01-01'"
    )
    assert components == [(400, 4150, -2042, -8, 2500, 0)]


def test_every_month_end_ties_out(golden: Marts) -> None:
    tied = golden.rows("select as_of_date, is_tied_out from marts_receivables.rpt_control_account_tie_out order by 1")
    assert tied == [
        (date(2025, 12, 31), True),
        (date(2026, 1, 31), True),
        (date(2026, 2, 28), True),
        (date(2026, 3, 31), True),
    ]


def test_a_bounced_receipt_reopens_its_invoice_from_that_day(golden: Marts) -> None:
    balances = golden.rows(
        "select day::date, sum(amount_txn) from generate_series(date '2026-02-19', date '2026-02-20', '1 day') as day"
        " join marts_receivables.fct_ar_event on document_id = 'INV8' and effective_date <= day group by 1 order by 1"
    )
    assert balances == [(date(2026, 2, 19), 0), (date(2026, 2, 20), 300)]


def test_the_golden_ledger_has_no_leaks(golden: Marts) -> None:
    assert golden.rows("select * from marts_leakage.fct_leak_finding") == []


def test_a_correction_is_known_from_its_publication_on(spoiled: Marts) -> None:
    later = datetime(2026, 4, 20, tzinfo=UTC)
    spoiled.put("invoice", invoice_id="INV5", invoice_number="INV5", document_type="invoice", sale_type="credit",
                entity_code="DE01", customer_id="C1", issued_on="2026-03-15", posted_on="2026-03-15",
                due_on="2026-04-14", currency_code="EUR", net_amount=690, tax_amount=0, total_amount=690,
                status="posted", published_at=later, load_id="load-2")  # fmt: skip
    spoiled.dbt("run")
    versions = "select recorded_at, effective_date, amount_txn, load_id from marts_receivables.fct_ar_event"
    first = (datetime(2026, 4, 10, tzinfo=UTC), date(2026, 3, 15), 700, "load-1")
    assert spoiled.rows(f"{versions} where document_id = 'INV5' order by 1") == [
        first,
        (later, date(2026, 3, 15), -10, "load-2"),
    ]
    total = "select net_receivables_amount from marts_receivables.rpt_ageing_monthly where as_of_date = '2026-03-31'"
    assert spoiled.rows(total) == [(2490,)]


def test_a_receipt_known_late_changes_the_past(spoiled: Marts) -> None:
    spoiled.put("receipt", receipt_id="late", receipt_type="payment", entity_code="DE01", customer_id="C1",
                received_on="2026-02-10", amount=100, currency_code="EUR", payment_method="cheque",
                published_at=datetime(2026, 4, 30, tzinfo=UTC), load_id="load-2")  # fmt: skip
    spoiled.dbt("run")
    assert spoiled.rows(
        "select as_of_date, unapplied_cash_amount from marts_receivables.rpt_ageing_monthly order by 1"
    ) == [
        (date(2025, 12, 31), 0),
        (date(2026, 1, 31), 0),
        (date(2026, 2, 28), -100),
        (date(2026, 3, 31), -350),
    ]
