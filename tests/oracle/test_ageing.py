"""The cases of metrics.md 3.3."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from oracle.book import Book, Parameters
from oracle.build import adjustment, application, customer, dispute, entity, instalment, invoice, ledger, memo, receipt
from oracle.dates import Window, end_of_month_terms
from oracle.metrics import ageing, collection

AS_OF = date(2026, 3, 31)


def book(*versions: Any, as_of: date = AS_OF, **changes: Any) -> Book:
    return Book(ledger(entity(), customer(), versions), Parameters(as_of, date(2030, 1, 1), **changes))


def buckets(found: Book, **how: Any) -> dict[str, Any]:
    return {name: left for name, left in ageing.ageing(found, **how).buckets.items() if left}


@pytest.mark.parametrize(
    ("late", "due", "age"),
    [(-1, "current", "0-30"), (0, "current", "0-30"), (1, "1-30", "0-30"), (30, "1-30", "0-30"), (31, "31-60", "31-60")]
    + [(60, "31-60", "31-60"), (90, "61-90", "61-90"), (91, "90+", "90+")],
)
def test_right_edges_are_included(late: int, due: str, age: str) -> None:
    assert (ageing.place(late), ageing.place(late, basis="invoice")) == (due, age)


def test_the_edges_can_be_chosen() -> None:
    assert ageing.labels((7, 45)) == ["current", "1-7", "8-45", "45+"]
    assert ageing.place(46, (7, 45)) == "45+"


SCHEDULE = (
    invoice("I1", "2026-01-01", "2026-01-31", 100),
    instalment("S1", "I1", 1, "2026-01-31", 40),
    instalment("S2", "I1", 2, "2026-03-15", 50),
    instalment("S3", "I1", 3, "2026-02-10", 10, is_retention=True),
)


def test_money_settles_the_oldest_line_first_and_retention_last() -> None:
    paid = receipt("R1", "2026-02-20", 60), application("A1", "R1", "I1", "2026-02-20", 60)
    assert buckets(book(*SCHEDULE)) == {"31-60": 50, "1-30": 50}  # 59, 49 (retention, past its date) and 16 days
    assert buckets(book(*SCHEDULE, *paid)) == {"1-30": 30, "31-60": 10}


def test_retention_is_a_class_of_its_own_until_its_date() -> None:
    early = book(*SCHEDULE, as_of=date(2026, 2, 10))
    assert buckets(early) == {"1-30": 40, "current": 50, "retention": 10}
    assert ageing.current(early) == 60
    assert ageing.share(early, "current").shown(2) == Decimal("60.00")


def test_a_schedule_that_does_not_add_up_follows_the_document() -> None:
    short = invoice("I1", "2026-01-01", "2026-01-31", 120), *SCHEDULE[1:]
    long = invoice("I1", "2026-01-01", "2026-01-31", 70), *SCHEDULE[1:]
    assert buckets(book(*short)) == {"31-60": 70, "1-30": 50}  # 20 more, due with the invoice
    assert buckets(book(*long)) == {"31-60": 40, "1-30": 30}  # cut from what is settled last


def test_credits_stand_beside_unless_they_are_aged() -> None:
    rows = invoice("I1", "2026-01-01", "2026-01-31", 100), memo("CM1", "2026-02-20", 30), receipt("R1", "2026-03-01", 5)
    found = ageing.ageing(book(*rows))
    assert (found.buckets["31-60"], found.unapplied_credits, found.unapplied_cash) == (100, -30, -5)
    aged = ageing.ageing(book(*rows), age_credits_by_own_date=True)
    assert (aged.buckets["31-60"], aged.unapplied_credits, aged.total) == (70, 0, 65)


def test_unapplied_cash_by_posting_date() -> None:
    rows = (
        receipt("R1", "2026-03-01", 50, value_on=date(2026, 2, 1)),
        receipt("R2", "2026-01-20", 20, customer_id=None),
        receipt("R3", "2026-01-20", 7, receipt_type="deposit"),
    )
    found = ageing.unapplied_by_age(book(*rows))
    assert {kind: {k: v for k, v in ages.items() if v} for kind, ages in found.items()} == {
        "identified": {"0-30": 50},
        "unidentified": {"61-90": 20},
        "deposit": {"61-90": 7},
    }
    balance = book(*rows).balance(AS_OF)
    assert (balance.unapplied_cash, balance.unidentified_cash, balance.deposits) == (-50, -20, 0)


def test_a_dispute_flags_at_most_what_is_open_and_ends_on_its_closing_day() -> None:
    rows = *SCHEDULE, dispute("D1", "I1", "2026-02-01", 300, "2026-03-20")
    assert ageing.ageing(book(*rows, as_of=date(2026, 3, 19))).disputed == {
        "current": 0, "1-30": 50, "31-60": 50, "61-90": 0, "90+": 0, "retention": 0,
    }  # fmt: skip
    assert sum(ageing.ageing(book(*rows, as_of=date(2026, 3, 20))).disputed.values()) == 0
    part = book(*SCHEDULE, dispute("D1", "I1", "2026-02-01", 45), disputed="excl")
    assert sum(ageing.ageing(part).buckets.values()) == part.balance(AS_OF).gross == 55


def test_a_due_date_that_moved_counts_at_once_and_is_shown() -> None:
    moved = invoice("I1", "2026-01-01", "2026-04-15", 100, original_due_on=date(2026, 1, 31))
    assert buckets(book(moved)) == {"current": 100}
    assert ageing.re_aged(book(moved))[0] == 100
    assert ageing.re_aged(book(*SCHEDULE))[0] == 0


def test_a_missing_due_date_falls_back_to_terms_and_is_marked() -> None:
    rows = invoice("I1", "2026-01-01", None, 100, payment_terms_days=30), invoice("I2", "2026-03-01", None, 10)
    found = ageing.ageing(book(*rows))
    assert ({k: v for k, v in found.buckets.items() if v}, found.marked) == ({"31-60": 100, "1-30": 10}, 110)


def test_a_due_date_on_a_weekend_moves_for_entities_that_say_so() -> None:
    weekend = invoice("I1", "2026-02-01", "2026-03-28", 100)  # a Saturday
    assert buckets(book(weekend, as_of=date(2026, 3, 30))) == {"1-30": 100}
    assert buckets(book(weekend, as_of=date(2026, 3, 30), business_days=("E1",))) == {"current": 100}
    closed = {"business_days": ("E1",), "holidays": (date(2026, 3, 30),)}
    assert buckets(book(weekend, as_of=AS_OF, **closed)) == {"current": 100}
    assert ageing.re_aged(book(weekend, business_days=("E1",)))[0] == 0, "the calendar is no re-ageing"


def test_a_future_invoice_is_out_by_its_accounting_date() -> None:
    posted_later = invoice("I1", "2026-03-30", "2026-04-30", 100, posted="2026-04-01")
    assert buckets(book(posted_later)) == {}
    assert buckets(book(posted_later, as_of=date(2026, 4, 30)), basis="invoice") == {"31-60": 100}


def test_end_of_month_terms() -> None:
    assert end_of_month_terms(date(2026, 1, 5), 10) == date(2026, 2, 10)


def test_customers_in_credit_and_companies_of_the_group_stand_apart() -> None:
    rows = (
        customer("C2"),
        customer("C3", is_intercompany=True),
        invoice("I1", "2026-01-01", "2026-01-31", 100),
        receipt("R2", "2026-03-01", 30, customer_id="C2"),
        invoice("I3", "2026-01-01", "2026-01-31", 55, customer_id="C3"),
    )
    assert ageing.credit_customers(book(*rows)) == {"C2": -30}
    assert ageing.intercompany_excluded(book(*rows)) == 55
    assert book(*rows).balance(AS_OF).net == 70


def test_the_roll_forward_names_every_part() -> None:
    rows = (
        customer("C2"),
        invoice("I1", "2026-01-10", "2026-02-09", 1000),
        invoice("I2", "2026-02-10", "2026-03-09", 200, sale_type="cash"),
        memo("CM1", "2026-02-01", 50),
        receipt("R1", "2026-02-05", 300),
        application("A1", "R1", "I1", "2026-02-05", 300, discount_amount=Decimal(6)),
        receipt("R2", "2026-02-06", 40, customer_id="C2"),
        application("A2", "R2", "I1", "2026-02-06", 40),
        receipt("R3", "2026-02-07", 70, receipt_type="deposit"),
        application("A3", "R3", "I1", "2026-02-08", 70),
        receipt("R4", "2026-02-09", 90),
        adjustment("F1", "refund", "2026-03-01", 25, receipt_id="R4"),
        receipt("R5", "2026-02-10", 11, reversed_on="2026-02-12"),
        adjustment("W1", "write_off", "2026-03-20", 80, invoice_id="I1"),
        adjustment("W2", "write_off_reversal", "2026-03-25", 30, invoice_id="I1"),
    )
    quarter = Window(date(2026, 1, 1), AS_OF)
    whole = {"opening": 0, "credit_sales": 1000, "cash_sales": 200, "credit_memos": -50, "cash_received": -430}
    whole |= {"discounts": -6, "write_offs": -80, "write_off_reversals": 30, "refunds": 25, "deposits_applied": -70}
    whole |= {"transfers": 0, "fx": 0, "closing": 619}
    assert ageing.roll_forward(book(*rows), quarter) == whole
    one = ageing.roll_forward(book(*rows, customer="C1"), quarter)
    assert one == whole | {"cash_received": -390, "transfers": -40}
    assert one["closing"] == 619


def test_concentration_is_ranked_anew_for_what_is_past_due() -> None:
    rows = (
        invoice("I1", "2026-03-01", "2026-04-30", 500),
        invoice("I2", "2026-01-01", "2026-01-31", 300, customer_id="C2"),
        invoice("I3", "2026-01-01", "2026-01-31", 200, customer_id="C3"),
        receipt("R1", "2026-03-01", 400, customer_id="C2"),
    )
    assert collection.concentration(book(*rows), 1).value == 50
    assert collection.concentration(book(*rows), 1, of="past_due").value == 60
