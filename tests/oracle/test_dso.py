"""Days sales outstanding: windows, reasons, and the cases the golden ledger is too small for (W14)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from oracle.book import Book, Parameters
from oracle.build import application, customer, entity, invoice, ledger, memo, receipt
from oracle.dates import Window, add_months, calendar_window, trailing_window
from oracle.metrics import bridge, collection, dso
from oracle.result import rounded


def book(*versions: Any, as_of: str = "2026-03-31", **changes: Any) -> Book:
    found = ledger(entity(), entity("E2"), customer(), versions)
    return Book(found, Parameters(date.fromisoformat(as_of), date(2030, 1, 1), **changes))


def monthly(amounts: dict[str, int], **more: Any) -> list[Any]:
    return [
        invoice(f"{more.get('customer_id', 'I')}{month}", f"{month}-15", f"{month}-25", amount, **more)
        for month, amount in amounts.items()
    ]


def test_windows() -> None:
    assert calendar_window(date(2026, 5, 12), 3) == Window(date(2026, 3, 1), date(2026, 5, 12))
    assert trailing_window(date(2026, 5, 12), 3) == Window(date(2026, 2, 13), date(2026, 5, 12))
    for end in (date(2026, 2, 28), date(2026, 4, 30), date(2024, 2, 29), date(2026, 3, 31)):
        assert trailing_window(end, 3) == calendar_window(end, 3)
    assert trailing_window(date(2026, 2, 28), 12).days == 365
    assert add_months(date(2026, 3, 31), -1) == date(2026, 2, 28)


def test_rolling_twelve_uses_actual_days() -> None:
    """100 a month from January 2024 on, all open for the last two months: 200 / 1,200 x 366 in a leap year."""
    months = {f"2024-{month:02}": 100 for month in range(1, 13)}
    rows = monthly(months)
    for number, month in enumerate(list(months)[:10]):
        day = f"{month}-28"
        rows += [receipt(f"R{number}", day, 100), application(f"A{number}", f"R{number}", f"I{month}", day, 100)]
    found = dso.rolling(book(*rows, as_of="2024-12-31"), 12)
    assert found.value == 61  # with 12 x 30 days it would be 60
    assert found.extra["window"].days == 366


def test_history_counts_by_month_and_by_entity() -> None:
    rows = [
        invoice("I1", "2026-01-31", "2026-02-15", 100),
        invoice("I2", "2026-02-10", "2026-03-15", 50, entity_code="E2"),
    ]
    assert dso.simple(book(*rows)).value == 90
    assert dso.simple(book(*rows, entity="E2")).reason == "insufficient_history"
    assert dso.simple(book(*rows, customer="C1", entity="E1")).value == 90
    assert dso.rolling(book(*rows), 12).reason == "insufficient_history"
    cash = invoice("I3", "2026-01-10", "2026-01-10", 70, entity_code="E2", sale_type="cash")
    assert dso.simple(book(*rows, cash, entity="E2")).reason == "insufficient_history", "a cash sale is no first sale"


def test_no_sales_in_the_window_is_no_figure() -> None:
    rows = [
        invoice("I1", "2025-06-01", "2025-07-01", 100),
        invoice("I2", "2026-01-05", "2026-02-01", 40, customer_id="C2"),
    ]
    found = dso.simple(book(*rows, customer="C1"))
    assert (found.value, found.reason, found.numerator, found.denominator) == (None, "denominator_not_positive", 100, 0)
    more_credit = [*rows, memo("CM1", "2026-02-01", 60, customer_id="C2")]
    assert dso.simple(book(*more_credit, customer="C2")).reason == "denominator_not_positive"


def test_cash_sales_count_in_receivables_only() -> None:
    rows = [
        invoice("I1", "2026-01-05", "2026-02-01", 100),
        invoice("I2", "2026-01-06", "2026-02-01", 50, sale_type="cash"),
    ]
    assert dso.simple(book(*rows)).value == Fraction(150, 100) * 90


def test_average_receivables() -> None:
    rows = [invoice("I0", "2025-12-01", "2026-01-01", 100), invoice("I1", "2026-01-05", "2026-02-01", 200)]
    assert dso.average(book(*rows)).value == Fraction(200, 200) * 90  # (100 + 300) / 2


@pytest.mark.parametrize(
    ("receivables", "expected"),
    [
        (0, (0, None)),
        (-5, (None, "ar_negative")),
        (100, (31, None)),
        (150, (45, None)),
        (300, (90, None)),
        (301, (None, "not_exhausted")),
    ],
)
def test_count_back(receivables: int, expected: tuple[int | None, str | None]) -> None:
    found = dso.exhaust(receivables, [(100, 31), (100, 28), (100, 31)])
    assert (found.days, found.reason) == expected


def test_count_back_passes_over_months_without_sales() -> None:
    """The month adds its days and uses up nothing; a partial month counts its elapsed days."""
    rows = monthly({"2025-12": 100, "2026-01": 100, "2026-03": 50}) + [memo("CM1", "2026-02-10", 20)]
    assert dso.exhaust(220, [(50, 10), (-20, 28), (100, 31), (100, 31)]).days == 10 + 28 + 31 + Fraction(70, 100) * 31
    found = dso.countback(book(*rows, as_of="2026-03-20"))  # 230: 50, nothing, 100, 80 of 100
    assert (found.value, found.extra["nonpositive_month"]) == (20 + 28 + 31 + Fraction(80, 100) * 31, 1)
    rows.append(invoice("X", "2025-12-15", "2026-01-15", 100, sale_type="cash"))  # receivables that were never sales
    found = dso.countback(book(*rows, as_of="2026-03-20"))
    assert (found.value, found.reason, found.extra["remaining"]) == (None, "not_exhausted", 80)
    assert found.extra["nonpositive_month"] == 24 - 3


def test_age_weighted_exposure_grows_with_the_square_of_the_delay() -> None:
    """W3: customers who pay after 30, 60, 90, 120 days, daily sales of 1: about 14, 61, 134, 235."""
    shown = []
    for delay in (30, 60, 90, 120):
        first = date(2026, 3, 31).toordinal()
        open_days = [date.fromordinal(first - age) for age in range(delay)]
        rows = [invoice(f"I{day}", day, day, 1) for day in open_days]
        start = min(open_days).replace(day=1)
        earlier = [date.fromordinal(number) for number in range(start.toordinal(), min(open_days).toordinal())]
        for day in earlier:  # the rest of the first month was sold and paid
            rows += [invoice(f"I{day}", day, day, 1), receipt(f"R{day}", day, 1)]
            rows.append(application(f"A{day}", f"R{day}", f"I{day}", day, 1))
        found = dso.age_weighted_exposure(book(*rows)).value
        assert found is not None
        shown.append(int(rounded(found, 0)))
    assert shown == [14, 61, 134, 235]


def test_net_of_allowance_and_without_disputes() -> None:
    rows = [invoice("I1", "2026-01-05", "2026-02-01", 100)]
    assert dso.simple(book(*rows, ar_basis="net_of_allowance", allowance=Fraction(10))).value == 81
    assert dso.without_not_yet_due(book(*rows, as_of="2026-01-31")).reason == "insufficient_history"
    assert dso.without_not_yet_due(book(*rows)).value == 90


def test_a_tax_basis_is_the_same_on_both_sides() -> None:
    rows = [
        invoice("I1", "2026-01-05", "2026-02-01", 119, tax_amount=19),
        invoice("I2", "2026-01-05", "2026-02-01", 50),
    ]
    found = dso.simple(book(*rows, tax_basis="excl"))
    assert (found.numerator, found.denominator) == (150, 150)


def test_the_bridge_by_customer() -> None:
    """C1 pays later on the same sales; C2 appears once. Worked by hand: 90 days of 100 and 200 of sales."""
    rows = [
        *monthly({"2025-10": 100, "2026-01": 100}),
        receipt("R1", "2025-12-01", 80),
        application("A1", "R1", "I2025-10", "2025-12-01", 80),
        receipt("R2", "2026-02-01", 60),
        application("A2", "R2", "I2026-01", "2026-02-01", 60),
        invoice("X", "2026-02-05", "2026-03-05", 100, customer_id="C2"),
    ]
    after = book(*rows)
    before = after.with_(as_of=date(2025, 12, 31))
    found = bridge.by_customer(before, after)
    old, new = Fraction(20, 100) * 92, Fraction(160, 200) * 90
    assert (dso.simple(before).value, dso.simple(after).value) == (old, new)
    # Own DSO 18.4 and 54 at shares 1 and 0.5; half of the joint term each.
    assert found["C1"].rate == (54 - Fraction("18.4")) * Fraction(3, 4)
    assert found["C1"].total == 27 - Fraction("18.4")
    assert (found["C2"].one_off, found["C2"].mix) == (True, 45)
    parts = bridge.by_component(before, after)
    assert sum(parts.values()) == new - old
    assert parts["unapplied"] == parts["past_due_disputed"] == 0
    too_early = after.with_(as_of=date(2025, 9, 30))
    assert bridge.by_customer(too_early, after) == bridge.by_component(too_early, after) == {}


def test_turnover_and_cei_without_a_denominator() -> None:
    rows = [*monthly({"2025-12": 100, "2026-01": 100}), receipt("R1", "2026-01-20", 900)]
    assert collection.turnover(book(*rows)).reason == "denominator_not_positive"
    assert collection.turnover_days(book(*rows)).value is None
    quiet = monthly({"2025-12": 100})
    gone = [receipt("R1", "2025-12-28", 100), application("A1", "R1", "I2025-12", "2025-12-28", 100)]
    assert collection.cei_window(book(*quiet, *gone)).reason == "denominator_not_positive"


def test_only_the_net_basis_of_cei_exceeds_one_hundred() -> None:
    """W11: money paid in advance counts as collected."""
    rows = [*monthly({"2025-12": 100, "2026-01": 100}), receipt("R1", "2026-01-20", 250)]
    assert collection.cei_window(book(*rows)).shown(2) == Decimal("125.00")
    assert collection.cei_window(book(*rows, ar_basis="gross_invoices")).value == 0


def test_cash_cei_counts_cash_only() -> None:
    rows = [
        *monthly({"2025-12": 100, "2026-01": 100}),
        memo("CM1", "2026-01-20", 30),
        application("A0", "CM1", "I2025-12", "2026-01-20", 30),
        receipt("R1", "2026-02-01", 60),
        application("A1", "R1", "I2025-12", "2026-02-01", 60),
    ]
    gross = book(*rows, ar_basis="gross_invoices")
    assert collection.cei_window(gross).value == Fraction(90, 200) * 100
    assert collection.cei_window(gross, cash=True).value == Fraction(60, 200) * 100
