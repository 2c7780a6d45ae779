"""Documents to events: every case of metrics.md 3.0 and its decisions, with figures worked by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Any

import pytest

from oracle.book import Balance, Book, Parameters
from oracle.build import adjustment, application, customer, entity, invoice, ledger, memo, receipt
from oracle.ledger import Ledger

BASE = (entity(), customer())
SALE = invoice("I1", "2026-01-10", "2026-02-09", 100)


def at(day: str, *versions: Any, known: date | datetime = date(2030, 1, 1), **changes: Any) -> Balance:
    scope = {key: changes.pop(key) for key in list(changes) if key != "deposits_as_receivables"}
    found: Ledger = ledger(BASE, versions, **changes)
    moment = date.fromisoformat(day)
    return Book(found, Parameters(moment, known, **scope)).balance(moment)


def test_an_application_after_the_day_leaves_money_unapplied() -> None:
    rows = SALE, receipt("R1", "2026-01-20", 60), application("A1", "R1", "I1", "2026-01-25", 60)
    assert (at("2026-01-22", *rows).gross, at("2026-01-22", *rows).unapplied_cash) == (100, -60)
    assert (at("2026-01-25", *rows).gross, at("2026-01-25", *rows).unapplied_cash) == (40, 0)


def test_a_bounced_receipt_reopens_from_its_day_with_the_discount() -> None:
    rows = (
        SALE,
        receipt("R1", "2026-01-20", 98, reversed_on="2026-02-10"),
        application("A1", "R1", "I1", "2026-01-20", 98, discount_amount=Fraction(2)),
    )
    assert at("2026-02-09", *rows).net == 0
    assert at("2026-02-10", *rows).gross == 100
    assert at("2026-02-10", *rows).unapplied == 0


def test_a_bounce_before_the_application_leaves_nothing() -> None:
    rows = SALE, receipt("R1", "2026-01-20", 60, "2026-01-22"), application("A1", "R1", "I1", "2026-01-25", 60)
    found = [at(f"2026-01-{day}", *rows) for day in (21, 22, 25, 26)]
    assert [balance.net for balance in found] == [40, 100, 100, 100]
    assert [balance.gross for balance in found] == [100] * 4


def test_a_memo_reduces_from_its_day_and_an_invoice_from_the_application() -> None:
    rows = SALE, memo("CM1", "2026-01-15", 30), application("A1", "CM1", "I1", "2026-01-20", 30)
    assert (at("2026-01-15", *rows).gross, at("2026-01-15", *rows).unapplied_credits) == (100, -30)
    assert (at("2026-01-20", *rows).gross, at("2026-01-20", *rows).unapplied_credits) == (70, 0)


def test_an_invoice_corrected_down_after_payment_is_a_credit() -> None:
    """A7, and A42: the new amount is effective on the document's day, and known later."""
    corrected = invoice("I1", "2026-01-10", "2026-02-09", 80, recorded=date(2026, 3, 1))
    rows = SALE, receipt("R1", "2026-01-20", 100), application("A1", "R1", "I1", "2026-01-20", 100), corrected
    found = at("2026-01-25", *rows)
    assert (found.gross, found.unapplied_credits) == (0, -20)
    assert at("2026-01-12", *rows).gross == 80
    assert at("2026-01-12", *rows, known=date(2026, 2, 28)).gross == 100


def test_an_application_waits_for_its_documents() -> None:
    """A27: it counts from its own day as soon as both are known."""
    late = receipt("R1", "2026-01-20", 60, recorded=date(2026, 3, 1))
    rows = (*BASE, SALE, application("A1", "R1", "I1", "2026-01-20", 60), late)
    before, after = ledger(rows).facts(date(2026, 2, 1)), ledger(rows).facts(date(2026, 3, 1))
    assert before.pending == [("receipt_application", "A1")]
    assert after.pending == []
    (event,) = [e for e in ledger(rows).events() if e.event_type == "apply" and e.document == ("invoice", "I1")]
    assert (event.effective_date, event.recorded_at) == (date(2026, 1, 20), datetime(2026, 3, 1, tzinfo=UTC))


def test_two_currencies_are_refused() -> None:
    dollars = receipt("R1", "2026-01-20", 60, currency_code="USD")
    rows = ledger(BASE, SALE, dollars, application("A1", "R1", "I1", "2026-01-20", 60))
    assert rows.facts(date(2030, 1, 1)).refused == [("receipt_application", "A1")]


def test_a_deposit_is_a_liability_until_it_is_applied() -> None:
    rows = (
        SALE,
        receipt("R1", "2026-01-12", 60, receipt_type="deposit"),
        application("A1", "R1", "I1", "2026-01-20", 60),
    )
    assert [at(day, *rows).net for day in ("2026-01-15", "2026-01-20")] == [100, 40]
    inside = at("2026-01-15", *rows, deposits_as_receivables=["E1"])
    assert (inside.gross, inside.deposits, inside.unapplied_cash) == (100, -60, 0)
    assert at("2026-01-20", *rows, deposits_as_receivables=["E1"]).net == 40


def test_write_off_reversal_refund_and_cancellation() -> None:
    rows = (
        SALE,
        adjustment("W1", "write_off", "2026-04-01", 100, invoice_id="I1"),
        adjustment("W2", "write_off_reversal", "2026-05-01", 40, invoice_id="I1"),
        receipt("R1", "2026-04-10", 50),
        adjustment("F1", "refund", "2026-04-20", 50, receipt_id="R1"),
        invoice("I2", "2026-04-05", "2026-05-05", 70, status="cancelled", cancelled_on=date(2026, 4, 15)),
    )
    nets = [at(day, *rows).net for day in ("2026-04-01", "2026-04-05", "2026-04-10", "2026-04-15", "2026-04-20")]
    assert nets == [0, 70, 20, -50, 0]
    assert at("2026-05-01", *rows).gross == 40


def test_intercompany_is_known_for_every_day() -> None:
    flag = customer(is_intercompany=True, recorded=date(2026, 3, 1))
    assert at("2026-01-31", SALE, flag, known=date(2026, 2, 28)).net == 100
    assert at("2026-01-31", SALE, flag).net == 0
    assert at("2026-01-31", SALE, flag, intercompany="incl").net == 100


def test_without_tax_money_stays_whole() -> None:
    """A4: 119 with 19 of tax, 59.50 paid: 50 left, and 10 on account at full amount."""
    sale = invoice("I1", "2026-01-10", "2026-02-09", 119, tax_amount=19)
    rows = sale, receipt("R1", "2026-01-20", "69.5"), application("A1", "R1", "I1", "2026-01-20", "59.5")
    found = at("2026-01-20", *rows, tax_basis="excl")
    assert (found.gross, found.unapplied_cash) == (50, -10)


def test_the_newest_source_version_wins_whenever_it_arrives() -> None:
    newest = invoice("I1", "2026-01-10", "2026-02-09", 90, recorded=date(2026, 2, 1))
    stale = invoice(
        "I1", "2026-01-10", "2026-02-09", 70, recorded=date(2026, 3, 1), updated_at=datetime(2026, 1, 15, tzinfo=UTC)
    )
    assert at("2026-01-31", SALE, newest, stale).net == 90
    assert at("2026-01-31", stale, newest, SALE).net == 90


@pytest.mark.parametrize(("returns", "expected"), [(None, 0), (date(2026, 4, 1), 55)])
def test_a_deleted_document_is_gone_from_then_on(returns: date | None, expected: int) -> None:
    gone = invoice("I1", "2026-01-10", "2026-02-09", 100, recorded=date(2026, 3, 1), deleted=True, updated_at=None)
    back = [invoice("I1", "2026-01-10", "2026-02-09", 55, recorded=returns)] if returns else []
    assert at("2026-01-31", SALE, gone, *back).net == expected
    assert at("2026-01-31", SALE, gone, *back, known=date(2026, 2, 28)).net == 100


def test_a_backdated_application_is_taken_back_and_stated_anew() -> None:
    rows = (
        *BASE,
        SALE,
        receipt("R1", "2026-01-20", 60),
        application("A1", "R1", "I1", "2026-02-05", 60),
        application("A1", "R1", "I1", "2026-01-25", 60, recorded=date(2026, 3, 1)),
    )
    found = [e for e in ledger(rows).events() if e.event_type == "apply" and e.document[0] == "invoice"]
    assert [
        (e.effective_date.isoformat(), e.amount, e.recorded_at.month, e.takes_back) for e in found if e.recorded_at
    ] == [
        ("2026-02-05", -60, 1, False),
        ("2026-01-25", -60, 3, False),
        ("2026-02-05", 60, 3, True),
    ]


def test_a_bare_date_as_known_is_its_last_instant() -> None:
    evening = invoice("I1", "2026-01-10", "2026-02-09", 100, recorded=datetime(2026, 1, 11, 23, 59, tzinfo=UTC))
    assert at("2026-01-10", evening, known=date(2026, 1, 11)).net == 100
    assert at("2026-01-10", evening, known=datetime(2026, 1, 11, 12, tzinfo=UTC)).net == 0
