"""Billing, cash application, disputes, orders, credit: cases by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from oracle.book import Book, Parameters
from oracle.build import (
    application,
    customer,
    delivery,
    delivery_line,
    dispute,
    entity,
    hold,
    invoice,
    invoice_line,
    ledger,
    memo,
    order,
    order_line,
    rate,
    receipt,
    return_line,
)
from oracle.dates import Window
from oracle.metrics import billing, cash, credit, disputes, fulfilment


def book(*versions: Any, as_of: str = "2026-03-31", **changes: Any) -> Book:
    found = ledger(entity(), customer(), versions)
    return Book(found, Parameters(date.fromisoformat(as_of), date(2030, 1, 1), **changes))


def sold(name: str = "1", quantity: int = 10, **more: Any) -> list[Any]:
    """Ordered on 1 March (09:00), promised for the 10th, shipped on the 5th (12:00), there on the 8th, billed on the
    6th (12:00), due on 5 April."""
    arrived, shipped = more.get("arrived", "2026-03-08"), more.get("shipped", quantity)
    return [
        order(f"O{name}", "2026-03-01", quantity * 10, requested_on=date(2026, 3, 4)),
        order_line(f"OL{name}", f"O{name}", quantity, 10, promised_on=date(2026, 3, 10)),
        delivery(f"D{name}", "2026-03-05", arrived, picked_at=datetime(2026, 3, 2, 8, tzinfo=UTC)),
        delivery_line(f"DL{name}", f"D{name}", f"OL{name}", shipped),
        invoice(f"I{name}", "2026-03-06", "2026-04-05", shipped * 10),
        invoice_line(f"IL{name}", f"I{name}", 1, shipped, 10, order_line_id=f"OL{name}", delivery_line_id=f"DL{name}"),
    ]


def test_invoice_cycle_times() -> None:
    early = delivery("D2", "2026-03-07", "2026-03-08"), delivery_line("DL2", "D2", "OL1", 5)
    billed_first = invoice_line("IL2", "I1", 2, 5, 10, delivery_line_id="DL2")
    found = book(*sold(), *early, billed_first)
    assert billing.order_to_invoice(found).mean.value == 5 * 24 + 3
    lag = billing.shipment_to_invoice(found)
    assert (lag.mean.value, lag.median, lag.p90, lag.negative) == (24, 24, 24, 1)


def test_a_lag_is_weighted_by_quantity_and_its_median_is_not() -> None:
    rows = [*sold("1", 10), *sold("2", 30)]
    rows[10] = invoice("I2", "2026-03-09", "2026-04-05", 300)
    lag = billing.shipment_to_invoice(book(*rows))
    assert (lag.mean.value, lag.median) == (Fraction(24 * 10 + 96 * 30, 40), 60)


def test_a_blanket_order_counts_from_the_promised_day() -> None:
    rows = sold()
    rows[0] = order("O1", "2026-01-01", 100, order_type="blanket")
    assert billing.order_to_invoice(book(*rows)).mean.reason == "denominator_not_positive"  # billed before the day
    assert billing.order_to_invoice(book(*rows)).negative == 1


def test_billing_errors_of_a_mature_cohort() -> None:
    rows = [
        invoice("I1", "2025-12-01", "2025-12-31", 100),
        memo("CM1", "2025-12-10", 10, invoice_id="I1", reason="price"),
        invoice("I2", "2025-12-02", "2025-12-31", 300),
        memo("CM2", "2025-12-10", 10, invoice_id="I2", reason="return"),  # no error of the bill
        invoice("I3", "2025-12-03", "2025-12-31", 100),
        dispute("D1", "I3", "2026-03-03", 5),  # day 90
        invoice("I4", "2025-12-04", "2025-12-31", 100),
        dispute("D2", "I4", "2026-03-05", 5),  # day 91
        invoice("I5", "2026-02-01", "2026-03-31", 100),  # not mature
        memo("CM3", "2026-02-10", 10, invoice_id="I5", reason="price"),
    ]
    assert billing.error_rate(book(*rows)).value == 50
    assert billing.error_rate(book(*rows), by="amount").value == Fraction(200, 600) * 100


def test_cash_application() -> None:
    rows = [
        invoice("I1", "2026-01-01", "2026-01-31", 1000),
        receipt("R1", "2026-03-06", 100),  # a Friday
        application("A1", "R1", "I1", "2026-03-06", 60),
        application("A2", "R1", "I1", "2026-03-09", 40),  # Monday
        receipt("R2", "2026-03-02", 100),
        application("A3", "R2", "I1", "2026-03-12", 100, is_automatic=False),
        receipt("R3", "2026-03-02", 50),
        application("A4", "R3", "I1", "2026-03-02", 50, unapplied_on=date(2026, 3, 20)),
        receipt("R4", "2026-01-02", 70, receipt_type="deposit"),
        application("A5", "R4", "I1", "2026-03-02", 70),
    ]
    found = book(*rows)
    assert cash.application_time(found).value == Fraction(40 * 3 + 100 * 10, 200)
    assert cash.applied_within(found).value == 30
    assert cash.applied_within(found, next_day=True).value == 50
    shares = [cash.auto_match(found, level=level).value for level in ("payment", "line", "amount")]
    assert shares == [Fraction(100, 3), 50, 40]
    assert cash.false_application(found).value == Fraction(100, 3)
    bounced = receipt("R5", "2026-03-02", 10, reversed_on="2026-03-20"), application("A6", "R5", "I1", "2026-03-02", 10)
    assert cash.false_application(book(*rows, *bounced)).value == 25, "a bounce was matched rightly"


def test_disputes() -> None:
    rows = [
        invoice("I1", "2026-02-01", "2026-03-01", 100),
        dispute("D1", "I1", "2026-02-10", 150, "2026-02-20"),
        invoice("I2", "2026-02-01", "2026-03-01", 300),
        dispute("D2", "I2", "2026-03-01", 60),
        invoice("I3", "2026-02-01", "2026-03-01", 100),
    ]
    assert disputes.dispute_rate(book(*rows)).value == Fraction(200, 3)
    assert disputes.dispute_rate(book(*rows), by="amount").value == Fraction(160, 500) * 100
    found = disputes.dispute_time(book(*rows))
    assert (found.mean.value, found.median, found.open_count, found.open_median) == (10, 10, 1, 30)


def test_orders_in_full_on_time() -> None:
    rows = [*sold("1"), *sold("2", arrived="2026-03-11"), *sold("3", shipped=8), *sold("4", arrived=None)]
    found = book(*rows)
    assert fulfilment.otif(found).value == 25
    assert fulfilment.otif(found, level="line").value == 25
    assert fulfilment.fill_rate(found).value == Fraction(10 + 8, 40) * 100
    assert fulfilment.fill_rate(found, backorders=True).value == 75
    assert fulfilment.fulfilment_time(found).value == Fraction(7 + 10, 2)
    # Picked on the 2nd, asked for on the 4th: two days of waiting were the customer's wish.
    assert fulfilment.fulfilment_time(found, net_of_dwell=True).value == Fraction(5 + 8, 2)


def test_a_perfect_order_is_all_four_at_once() -> None:
    rows = [
        *sold("1"),
        *sold("2"), return_line("RL", "OL2", "2026-03-20", 1),
        *sold("3"), memo("CM1", "2026-03-20", 10, invoice_id="I3", reason="price"),
        *sold("4", shipped=9), *sold("5", arrived="2026-03-12"),
        *sold("6"), return_line("RL6", "OL6", "2026-04-20", 1),
    ]  # fmt: skip
    found = fulfilment.perfect_order(book(*rows))
    assert (found.numerator, found.denominator) == (2, 6)  # 1, and 6, whose return comes after the day
    assert found.extra["parts"] == {"in_full": 5, "on_time": 5, "documents": 5, "condition": 5}
    assert fulfilment.perfect_order(book(*rows, as_of="2026-04-30")).numerator == 1


def test_the_order_to_cash_cycle() -> None:
    paid = receipt("R1", "2026-04-20", 100), application("A1", "R1", "I1", "2026-04-23", 100)
    other = (
        invoice("X", "2026-04-01", "2026-04-02", 40),
        receipt("R2", "2026-04-20", 40),
        application("A2", "R2", "X", "2026-04-20", 40),
    )
    found = fulfilment.order_to_cash(book(*sold(), *paid, *other, as_of="2026-04-30"))
    assert [found.stages[name].value for name in fulfilment.STAGES] == [4, 1, 30, 15, 3]
    assert (found.whole.value, found.untraced) == (53, 40)


def test_credit_utilisation_of_a_group() -> None:
    rows = [
        customer("P", credit_limit_amount=Decimal(1000), credit_limit_currency_code="EUR"),
        customer("C1", parent_customer_id="P", recorded=date(2020, 2, 1)),
        *sold("1", 10),  # 100 open
        order_line("OL1b", "O1", 6, 20),  # 120 ordered, of which 4 shipped and not billed: 80 and 40
        delivery("D1b", "2026-03-20"),
        delivery_line("DL1b", "D1b", "OL1b", 4),
        invoice("U", "2026-03-01", "2026-03-31", 200, customer_id="P", currency_code="USD"),
        rate("USD", "EUR", "closing", "2026-03-31", "0.5"),
        receipt("R1", "2026-03-20", 30),
    ]
    found = credit.utilisation(book(*rows), "P")
    assert found.extra["parts"] == {"open": 200, "unbilled": 80, "ordered": 40, "unapplied": -30}
    assert found.value == 29
    assert credit.utilisation(book(*rows), "P", unapplied_counts=False).value == 32
    assert credit.utilisation(book(*rows), "C9").reason == "no_limit"
    assert credit.head_of(book(*rows), "C1") == "P"


def test_holds_in_the_calendar_of_the_entity() -> None:
    night = datetime(2026, 3, 9, 23, 30, tzinfo=UTC)  # the 10th in Berlin
    rows = [
        entity(timezone="Europe/Berlin", recorded=date(2020, 2, 1)), *sold(),
        hold("H1", "O1", datetime(2026, 3, 1, 12, tzinfo=UTC), datetime(2026, 3, 2, 12, tzinfo=UTC)),
        hold("H2", "O1", night), hold("H3", "O9", night), hold("H4", "O1", night, hold_type="billing"),
    ]  # fmt: skip
    found = credit.holds(book(*rows))
    assert (found.open_count, found.median, found.re_held_orders, found.re_holds, found.skipped) == (1, 21, 1, 1, 1)


def test_a_window_can_be_given() -> None:
    window = Window(date(2026, 3, 1), date(2026, 3, 9))
    assert fulfilment.otif(book(*sold()), window).reason == "denominator_not_positive"
