"""What arrives late, changes or goes away: the past as it was known stays, and the open period shows the difference.

The golden ledger was published on 10 April 2026 for the close of March. Everything here is published on 20 April.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

Marts = Any
CLOSED, OPEN = date(2026, 3, 31), date(2026, 4, 30)
KNOWN_AT_CLOSE = date(2026, 4, 10)
LATER = datetime(2026, 4, 20, tzinfo=UTC)
LATER_STILL = datetime(2026, 4, 25, tzinfo=UTC)
PARTIES = {"entity_code": "DE01", "customer_id": "C1", "currency_code": "EUR"}
_MARTS = (
    "fct_ar_event", "rpt_ageing_monthly", "rpt_ageing_by_customer", "rpt_dso_monthly", "rpt_roll_forward_monthly",
    "rpt_control_account_tie_out",
)  # fmt: skip


def put_invoice(marts: Marts, number: str, issued: str, amount: int, **other: Any) -> None:
    values = {"document_type": "invoice", "sale_type": "credit", "issued_on": issued, "posted_on": issued,
              "due_on": issued, "net_amount": amount, "tax_amount": 0, "total_amount": amount, "status": "posted",
              "published_at": LATER, "load_id": "load-2", **PARTIES, **other}  # fmt: skip
    marts.put("invoice", invoice_id=number, invoice_number=number, **values)


def balance(marts: Marts, as_of: date, as_known: datetime | None = None) -> Decimal:
    """The receivable at a date, as known at a moment: a sum over events and nothing else."""
    known = f"and recorded_at <= '{as_known}'" if as_known else ""
    query = f"select sum(amount_txn) from marts_receivables.fct_ar_event where effective_date <= '{as_of}' {known}"
    return Decimal(marts.rows(query)[0][0])


def snapshot(marts: Marts) -> dict[str, list[Any]]:
    """Every figure of the receivables marts, as text; what a report says it was asked is left out."""
    figures = "select (to_jsonb(t) - 'as_known')::text from marts_receivables.{} as t order by 1"
    return {name: marts.rows(figures.format(name)) for name in _MARTS}


def late_payment(marts: Marts) -> None:
    marts.put("receipt", receipt_id="late", receipt_type="payment", received_on="2026-03-30", amount=300,
              payment_method="bank_transfer", published_at=LATER, load_id="load-2", **PARTIES)  # fmt: skip
    marts.put("receipt_application", application_id="late-INV8", entity_code="DE01", receipt_id="late",
              invoice_id="INV8", applied_on="2026-03-30", applied_amount=300, discount_amount=0, currency_code="EUR",
              published_at=LATER, load_id="load-2")  # fmt: skip


def restated_invoice(marts: Marts) -> None:
    put_invoice(marts, "INV5", "2026-03-15", 690)


def deleted_invoice(marts: Marts) -> None:
    put_invoice(marts, "INV3", "2026-02-10", 800, _deleted=True, updated_at=datetime(2026, 4, 10, tzinfo=UTC))


# What happens late, what it does to the balance of the closed period as known now, and to that of INV3, INV5 or INV8.
CASES = {
    "late payment": (late_payment, -300, ("INV8", 300, 0)),
    "restated invoice": (restated_invoice, -10, ("INV5", 700, 690)),
    # 800 invoiced, 792 paid and 8 allowed: without the invoice the payment is on account again.
    "deleted invoice": (deleted_invoice, -800 + 8, ("INV3", 0, 0)),
}


@pytest.mark.parametrize("case", CASES)
def test_the_closed_period_as_known_then_stays(spoiled: Marts, case: str) -> None:
    happen, difference, (document, before, after) = CASES[case]
    closed = snapshot(spoiled)
    assert balance(spoiled, CLOSED) == 2500
    happen(spoiled)
    spoiled.dbt("run", "--select", "+marts.receivables")
    open_items = (
        "select coalesce(sum(amount_txn), 0) from marts_receivables.fct_ar_event"
        " where document_id = '{}' and effective_date <= '2026-03-31' and recorded_at <= '{}'"
    )
    for known, expected, of_document in (
        (datetime(2026, 4, 10, 23, tzinfo=UTC), 2500, before),
        (LATER, 2500 + difference, after),
    ):
        assert balance(spoiled, CLOSED, known) == expected
        assert spoiled.rows(open_items.format(document, known)) == [(of_document,)]
    # The difference was recorded after the close: it belongs to the open period.
    adjustment = "select sum(amount_txn) from marts_receivables.fct_ar_event where effective_date <= '2026-03-31'"
    assert spoiled.rows(f"{adjustment} and recorded_at > '2026-04-10 23:59'") == [(difference,)]
    # Every report built as known at the close is the same, byte by byte.
    spoiled.dbt("run", "--select", "+marts.receivables", as_known=KNOWN_AT_CLOSE)
    assert snapshot(spoiled) == closed


def test_a_corrected_rate_changes_group_figures_from_its_publication_on(spoiled: Marts) -> None:
    rate = {"from_currency_code": "USD", "to_currency_code": "EUR", "rate_type": "closing", "rate_date": "2026-03-31"}
    put_invoice(
        spoiled, "USD1", "2026-03-20", 1000, currency_code="USD", published_at=datetime(2026, 4, 10, tzinfo=UTC)
    )
    spoiled.put("exchange_rate", rate=Decimal("0.90"), **rate)
    group = "select distinct numerator_amount from marts_receivables.rpt_dso_monthly" \
        " where scope = 'group' and metric_name = 'dso_simple' and as_of_date = '2026-03-31'" \
        " and ar_basis = 'net_of_unapplied'"  # fmt: skip
    spoiled.dbt("run", "--select", "+rpt_dso_monthly")
    assert spoiled.rows(group) == [(Decimal("3400.00"),)]
    then = snapshot(spoiled)
    spoiled.put("exchange_rate", rate=Decimal("0.92"), published_at=LATER, load_id="load-2", **rate)
    # An older quotation that arrives last is no correction.
    spoiled.put("exchange_rate", rate=Decimal("0.50"), published_at=LATER_STILL, load_id="load-3",
                updated_at=datetime(2026, 4, 1, tzinfo=UTC), **rate)  # fmt: skip
    spoiled.dbt("run", "--select", "+rpt_dso_monthly")
    assert spoiled.rows(group) == [(Decimal("3420.00"),)]
    spoiled.dbt("run", "--select", "+marts.receivables", as_known=KNOWN_AT_CLOSE)
    assert spoiled.rows(group) == [(Decimal("3400.00"),)]
    assert snapshot(spoiled)["rpt_dso_monthly"] == then["rpt_dso_monthly"]


def test_versions_count_by_the_source_and_deletes_until_the_record_is_back(spoiled: Marts) -> None:
    # The third version arrives before the second.
    put_invoice(spoiled, "NEW", "2026-03-25", 300, updated_at=datetime(2026, 4, 13, tzinfo=UTC))
    put_invoice(spoiled, "NEW", "2026-03-25", 200, updated_at=datetime(2026, 4, 12, tzinfo=UTC), load_id="load-3",
                published_at=datetime(2026, 4, 21, tzinfo=UTC))  # fmt: skip
    put_invoice(spoiled, "NEW", "2026-03-25", 300, updated_at=datetime(2026, 4, 13, tzinfo=UTC), load_id="load-4",
                published_at=datetime(2026, 4, 22, tzinfo=UTC), _deleted=True)  # fmt: skip
    put_invoice(spoiled, "NEW", "2026-03-25", 310, updated_at=datetime(2026, 4, 24, tzinfo=UTC), load_id="load-5",
                published_at=LATER_STILL)  # fmt: skip
    spoiled.dbt("run", "--select", "+fct_ar_event", "stg_invoices")
    known = {day: balance(spoiled, CLOSED, datetime(2026, 4, day, 12, tzinfo=UTC)) for day in (19, 20, 21, 22, 25)}
    assert known == {19: 2500, 20: 2800, 21: 2800, 22: 2500, 25: 2810}
    assert spoiled.rows("select total_amount from staging.stg_invoices where invoice_id = 'NEW'") == [(310,)]
