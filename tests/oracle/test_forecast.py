"""The cash forecast and its published accuracy: a small case by hand, and what must hold on random ledgers."""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.book import Book, Parameters
from oracle.build import application, customer, dispute, entity, invoice, ledger, receipt
from oracle.metrics import forecast
from oracle.metrics.roi import RoiInput, roi
from oracle.random_ledger import Shape, random_ledger

KNOWN = date(2030, 1, 1)


def paid(name: str, due: str, on: str, amount: int = 100, **more: Any) -> list[Any]:
    who = {"customer_id": more.get("customer_id", "C1")}
    return [
        invoice(f"I{name}", "2026-01-01", due, amount, **who),
        receipt(f"R{name}", on, amount, **who),
        application(f"A{name}", f"R{name}", f"I{name}", on, amount),
    ]


def book(*versions: Any, as_of: str = "2026-03-31") -> Book:
    found = ledger(entity(), customer(segment="s"), customer("C2", segment="s"), versions)
    return Book(found, Parameters(date.fromisoformat(as_of), KNOWN))


HISTORY = [*paid("1", "2026-02-01", "2026-02-11"), *paid("2", "2026-02-01", "2026-02-21")]  # 10 and 20 days late
OTHER = paid("3", "2026-02-01", "2026-02-06", customer_id="C2")  # 5 days


def test_the_expected_day_is_shrunk_to_the_segment() -> None:
    """(2 x 15 + 5 x 35/3) / 7 = 12.6: 13 days."""
    (found,) = forecast.expectations(book(*HISTORY, *OTHER, invoice("X", "2026-03-01", "2026-04-10", 50)))
    assert (found.expected_on, found.outcomes) == (date(2026, 4, 23), (10, 20))


def test_what_is_late_already_can_only_be_later() -> None:
    """15 days late: only the payment after 20 days still counts, for the customer and its segment."""
    (found,) = forecast.expectations(book(*HISTORY, *OTHER, invoice("X", "2026-03-01", "2026-03-16", 50)))
    assert (found.expected_on, found.outcomes) == (date(2026, 4, 5), (20,))
    (found,) = forecast.expectations(book(*HISTORY, invoice("X", "2026-01-01", "2026-01-16", 50)))
    assert (found.expected_on, found.outcomes) == (date(2026, 4, 1), (75,))


def test_a_dispute_overrides() -> None:
    rows = invoice("X", "2026-03-01", "2026-04-10", 50), dispute("D1", "X", "2026-03-10", 20)
    (found,) = forecast.expectations(book(*HISTORY, *rows))
    assert found.amount == 30


def test_inflow_by_week_has_a_spread() -> None:
    found = book(*HISTORY, *(invoice(f"X{n}", "2026-03-01", "2026-04-01", 10) for n in range(10)))
    flows = forecast.inflow(found, forecast.weeks(date(2026, 3, 31), 4))
    assert [flow.window.days for flow in flows] == [7] * 4
    # 10 or 20 days after 1 April; 15 expected: 16 April, in the third week.
    assert [flow.expected for flow in flows] == [0, 0, 100, 0]
    second, third = flows[1], flows[2]
    assert (second.p50 + third.p50, flows[0].p90, flows[3].p90) == (100, 0, 0)
    assert 0 < second.p10 < second.p50 < second.p90 < 100
    assert flows == forecast.inflow(found, forecast.weeks(date(2026, 3, 31), 4)), "the draws are the same each time"


def test_accuracy_beside_the_naive_forecast() -> None:
    """A customer that is always 10 days late: known to the model, unknown to the due dates."""
    rows = [row for n in range(3) for row in paid(f"H{n}", "2026-02-01", "2026-02-11")]
    rows += [*paid("X", "2026-04-01", "2026-04-11", 50), *paid("Y", "2026-04-20", "2026-04-30", 70)]
    now = book(*rows, as_of="2026-06-30")
    one, two, four, quarter = forecast.accuracy(now, [(date(2026, 3, 31), KNOWN)])
    assert (one.wape.value, one.wape.reason) == (None, "denominator_not_positive")  # no money came in that week
    assert (two.wape.value, two.naive_wape.value, two.bias.value, two.coverage.value) == (0, 0, 0, 100)
    assert (four.wape.value, four.naive_wape.value) == (0, Fraction(70, 50) * 100)  # the 30th is day 30
    assert (quarter.weeks, quarter.wape.value, quarter.coverage.value) == (13, 0, 100)
    early = forecast.accuracy(now.with_(as_of=date(2026, 4, 13)), [(date(2026, 3, 31), KNOWN)])
    assert early[1].wape.denominator == 0, "a window that is not over is not judged"


@settings(max_examples=8)
@given(st.integers(0, 1000))
def test_what_is_learnt_later_changes_no_forecast(seed: int) -> None:
    ledger = random_ledger(seed, Shape(currencies=("EUR",)))
    moment = ledger.recorded_times[8]
    origin = Parameters(date(2025, 9, 30), moment)
    flows = [
        forecast.inflow(Book(one, origin), forecast.weeks(origin.as_of, 3), draws=20)
        for one in (ledger, ledger.until(moment))
    ]
    assert flows[0] == flows[1]
    for flow in flows[0]:
        assert 0 <= flow.p10 <= flow.p50 <= flow.p90


def test_return_on_automation() -> None:
    """1,000 invoices of 6 minutes, half automated, at 40: 24,000 a year; 5 days of 7.3 million: 100,000, once."""
    given_ = RoiInput(
        work={"invoice": (Fraction(1000), Fraction(6), Fraction(1, 2))},
        hourly_cost=Fraction(40),
        fewer_errors=Fraction(10),
        cost_per_correction=Fraction(50),
        annual_credit_sales=Fraction(7_300_000),
        dso_reduction=Fraction(5),
        cost_of_capital=Fraction(8, 100),
        leakage_found=Fraction(20_000),
        recovery_rate=Fraction(1, 2),
        bad_debt_reduction=Fraction(0),
        one_off_cost=Fraction(60_000),
        running_cost=Fraction(24_000),
    )
    found = roi(given_)
    assert (found.admin_saving, found.error_saving, found.cash_released) == (24_000, 6_000, 100_000)
    assert found.financing_benefit == 8_000
    assert (found.net_annual_benefit, found.net_monthly_benefit, found.payback_months) == (24_000, 2_000, 30)
