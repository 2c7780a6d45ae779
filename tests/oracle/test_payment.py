"""Days to pay, terms, on-time rate: cases by hand."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from oracle.book import Book, Parameters
from oracle.build import (
    adjustment,
    application,
    customer,
    dispute,
    entity,
    instalment,
    invoice,
    ledger,
    memo,
    rate,
    receipt,
)
from oracle.metrics import payment


def book(*versions: Any, as_of: str = "2026-03-31", **changes: Any) -> Book:
    found = ledger(entity(), entity("E2", "USD"), customer(), versions)
    return Book(found, Parameters(date.fromisoformat(as_of), date(2030, 1, 1), **changes))


LINES = (
    invoice("I1", "2026-01-01", "2026-01-31", 100),
    instalment("S1", "I1", 1, "2026-01-31", 40),
    instalment("S2", "I1", 2, "2026-03-01", 60),
)


def test_days_late_by_schedule_line() -> None:
    """50 on 10 February: 40 are 10 days late, 10 are 19 days early."""
    found = book(*LINES, receipt("R1", "2026-02-05", 50), application("A1", "R1", "I1", "2026-02-10", 50))
    assert payment.days_late(found).value == Fraction(40 * 10 - 10 * 19, 50)
    assert payment.days_late(found, floored=True).value == 8
    assert payment.terms(found, population="settled").value == Fraction(40 * 30 + 10 * 59, 50)
    assert payment.terms(found).value == Fraction(40 * 30 + 60 * 59, 100)
    assert payment.days_to_pay(found).value == 40
    assert payment.days_to_pay(found, until="receipt").value == 35


def test_credits_discounts_and_write_offs_are_no_payment() -> None:
    rows = (
        invoice("I1", "2026-01-01", "2026-01-31", 100),
        memo("CM1", "2026-01-05", 20),
        application("A1", "CM1", "I1", "2026-01-06", 20),
        receipt("R1", "2026-02-10", 30),
        application("A2", "R1", "I1", "2026-02-10", 30, discount_amount=Decimal(1)),
        adjustment("W1", "write_off", "2026-03-20", 49, invoice_id="I1"),
    )
    found = payment.days_to_pay(book(*rows))
    assert (found.value, found.denominator) == (40, 30)


@pytest.mark.parametrize(
    ("by", "expected", "with_grace"),
    [("amount", Fraction(130, 280), Fraction(180, 280)), ("count", Fraction(1, 3), Fraction(2, 3))],
)
def test_on_time(by: str, expected: Fraction, with_grace: Fraction) -> None:
    rows = (
        invoice("I1", "2026-01-01", "2026-01-31", 100),  # 20 credited, 80 paid in time
        memo("CM1", "2026-02-20", 20),
        application("A1", "CM1", "I1", "2026-02-25", 20),
        receipt("R1", "2026-01-31", 80),
        application("A2", "R1", "I1", "2026-01-31", 80),
        invoice("I2", "2026-01-01", "2026-01-31", 100),  # half in time
        receipt("R2", "2026-01-30", 100),
        application("A3", "R2", "I2", "2026-01-30", 50),
        application("A4", "R2", "I2", "2026-02-01", 50),
        invoice("I3", "2026-01-01", "2026-01-31", 100),  # in time, and bounced; the rest written off
        receipt("R3", "2026-01-15", 100, reversed_on="2026-02-15"),
        application("A5", "R3", "I3", "2026-01-15", 100),
        adjustment("W1", "write_off", "2026-01-31", 100, invoice_id="I3"),
        invoice("I4", "2026-01-01", "2026-01-31", 100, status="cancelled", cancelled_on=date(2026, 2, 10)),
        invoice("I5", "2026-03-01", "2026-03-31", 100),  # due, but its days of grace are not over
    )
    assert payment.on_time(book(*rows, as_of="2026-03-30"), by=by).value == expected * 100
    # A day of grace saves the second, and on the day itself the fifth has not matured.
    assert payment.on_time(book(*rows), by=by, grace=1).value == with_grace * 100


def test_on_time_without_disputes() -> None:
    rows = (
        invoice("I1", "2026-01-01", "2026-01-31", 100),
        dispute("D1", "I1", "2026-01-20", 10),
        invoice("I2", "2026-01-01", "2026-01-31", 100),
        receipt("R1", "2026-01-31", 100),
        application("A1", "R1", "I2", "2026-01-31", 100),
    )
    assert payment.on_time(book(*rows)).value == 50
    assert payment.on_time(book(*rows), disputed="excl").value == 100


def test_weights_of_several_entities_are_in_the_reporting_currency() -> None:
    """W8: 100 EUR after 10 days, 100 USD (50 EUR) after 40 days: 20 days; inside the dollar entity 40."""
    rows = (
        invoice("I1", "2026-01-01", "2026-01-31", 100),
        receipt("R1", "2026-01-11", 100),
        application("A1", "R1", "I1", "2026-01-11", 100),
        invoice("I2", "2026-01-01", "2026-01-31", 100, entity_code="E2", currency_code="USD"),
        receipt("R2", "2026-02-10", 100, entity_code="E2", currency_code="USD"),
        application("A2", "R2", "I2", "2026-02-10", 100, entity_code="E2", currency_code="USD"),
        rate("USD", "EUR", "spot", "2026-01-01", "0.5"),
    )
    converted = {"fx_basis": "constant", "currency": "EUR"}
    assert payment.days_to_pay(book(*rows, **converted)).value == 20
    one = payment.days_to_pay(book(*rows, **converted, entity="E2"))
    assert (one.value, one.denominator) == (40, 100)
