from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from o2c.reports import numbers

NB, MINUS = "\N{NO-BREAK SPACE}", "\N{MINUS SIGN}"


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [
        ("1234567.891", "EUR", f"EUR{NB}1,234,567.89"),
        ("-1234.5", "USD", f"USD{NB}{MINUS}1,234.50"),
        ("1234.5", "JPY", f"JPY{NB}1,234"),
        ("1235.5", "JPY", f"JPY{NB}1,236"),
        ("0.1255", "KWD", f"KWD{NB}0.126"),
        ("2.345", "EUR", f"EUR{NB}2.34"),
        ("-0.001", "EUR", f"EUR{NB}0.00"),
        ("1", "XXX", f"XXX{NB}1.00"),
        ("1", None, f"no currency{NB}1.00"),
    ],
)
def test_money_carries_its_currency_and_minor_units_rounded_half_even(
    amount: str, currency: str | None, expected: str
) -> None:
    assert numbers.money(Decimal(amount), currency) == expected


def test_a_missing_figure_is_a_dash_and_never_zero() -> None:
    missing = [
        numbers.money(None, "EUR"),
        numbers.short_money(None, "EUR"),
        numbers.days(None),
        numbers.number(None),
        numbers.day(None),
        numbers.moment(None),
        numbers.share(Decimal(1), None),
        numbers.share(Decimal(1), Decimal(0)),
    ]
    assert missing == ["–"] * 8


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ("999", "999"),
        ("1500", f"1.5{NB}k"),
        ("123456", f"123{NB}k"),
        ("-2500000", f"{MINUS}2.5{NB}M"),
        ("3e9", f"3.0{NB}bn"),
    ],
)
def test_short_numbers(amount: str, expected: str) -> None:
    assert numbers.short_number(Decimal(amount)) == expected


def test_days_and_shares_have_one_decimal() -> None:
    assert numbers.days(Decimal("54.2169")) == f"54.2{NB}days"
    assert numbers.share(Decimal(1), Decimal(3)) == f"33.3{NB}%"


def test_dates_are_the_same_in_every_locale_and_moments_are_in_utc() -> None:
    east = timezone(timedelta(hours=9))
    assert numbers.day(date(2026, 3, 1)) == "1 Mar 2026"
    assert numbers.month(date(2026, 12, 31)) == "Dec 26"
    assert numbers.moment(datetime(2026, 4, 1, 1, 30, tzinfo=east)) == "2026-03-31 16:30 UTC"
    assert numbers.moment(datetime(2026, 4, 1, 1, 30, tzinfo=UTC)) == "2026-04-01 01:30 UTC"
