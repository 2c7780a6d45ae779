"""Several currencies: the golden case, missing rates, rounding."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

from oracle.book import Book, Parameters
from oracle.build import application, customer, entity, golden, invoice, ledger, rate, receipt
from oracle.dates import Window
from oracle.metrics import ageing, currency, dso
from oracle.rates import Rates

GOLDEN = golden()["fx"]
MARCH, APRIL = Window(date(2026, 3, 1), date(2026, 3, 31)), Window(date(2026, 4, 1), date(2026, 4, 30))
CASE = (
    invoice("I1", "2026-03-01", "2026-04-01", 1000, currency_code="USD"),
    receipt("R1", "2026-04-10", 1000, currency_code="USD"),
    application("A1", "R1", "I1", "2026-04-10", 1000, currency_code="USD"),
    rate("USD", "EUR", "spot", "2026-03-01", "0.92"),
    rate("USD", "EUR", "closing", "2026-03-31", "0.90"),
    rate("USD", "EUR", "spot", "2026-04-10", "0.89"),
)


def book(*versions: Any, as_of: str = "2026-03-31", known: date = date(2030, 1, 1), **changes: Any) -> Book:
    changes = {"fx_basis": "historical", "currency": "EUR", **changes}
    found = ledger(entity(), customer(), versions)
    return Book(found, Parameters(date.fromisoformat(as_of), known, **changes))


def test_the_golden_case() -> None:
    found = book(*CASE)
    assert found.gross_sales(MARCH) == GOLDEN["sales_eur"]
    assert found.with_(fx_basis="constant").gross_sales(MARCH) == 900  # W10: both are published
    assert found.receivables(MARCH.end) == GOLDEN["ar_eur_as_of"]
    assert currency.unrealised(found, MARCH.end) == (Fraction(GOLDEN["unrealised_fx"]), [])
    assert currency.realised(found, APRIL) == (Fraction(GOLDEN["realised_fx_total"]), 0)
    assert currency.total_effect(found, APRIL, MARCH.end) == GOLDEN["realised_in_april"]


def test_the_fx_effect_of_dso_is_historical_less_constant() -> None:
    effect = currency.fx_effect(book(*CASE), lambda one: dso.simple(one, 1))
    assert effect.historical.value == Fraction(900, 920) * 31
    assert effect.constant.value == 31
    assert effect.value == Fraction(900, 920) * 31 - 31


def test_a_missing_rate_is_left_out_on_both_sides_and_shown() -> None:
    more = invoice("I2", "2026-03-07", "2026-04-01", 500, currency_code="USD")  # no rate on that Saturday (A30)
    yen = invoice("I3", "2026-03-01", "2026-04-01", 700, currency_code="JPY")
    found = book(*CASE, more, yen)
    assert found.gross_sales(MARCH) == 920
    assert ("USD", "spot", date(2026, 3, 7)) in found.missing_rates
    effect = currency.fx_effect(found, lambda one: dso.simple(one, 1))
    assert effect.excluded == {("invoice", "I2"): "spot", ("invoice", "I3"): "closing"}
    assert effect.constant.numerator == effect.historical.numerator == 900
    assert currency.excluded_balance(found, MARCH.end) == {"JPY": 700}
    assert ageing.ageing(found).total == found.balance(MARCH.end).net == 1350


def test_rates_obey_as_known() -> None:
    late = rate("USD", "EUR", "closing", "2026-03-31", "0.80", recorded=date(2026, 4, 20))
    assert book(*CASE, late).receivables(MARCH.end) == 800
    assert book(*CASE, late, known=date(2026, 4, 19)).receivables(MARCH.end) == 900


def test_rates_are_not_inverted_and_pass_the_pivot_as_quoted() -> None:
    rows = rate("KWD", "USD", "spot", "2026-03-01", "3.25"), rate("EUR", "GBP", "spot", "2026-03-01", "0.8")
    known = ledger(CASE, rows).known(date(2030, 1, 1))
    day = date(2026, 3, 1)
    assert Rates(known, "USD").rate("KWD", "EUR", "spot", day) == Fraction("2.99")
    assert Rates(known).rate("KWD", "EUR", "spot", day) is None
    assert Rates(known, "USD").rate("GBP", "EUR", "spot", day) is None
    assert Rates(known, "USD").rate("EUR", "EUR", "spot", day) == 1


def test_a_bounce_takes_the_realised_effect_back() -> None:
    bounced = receipt("R1", "2026-04-10", 1000, reversed_on="2026-05-04", currency_code="USD")
    found = book(*CASE[:1], bounced, *CASE[2:])
    assert currency.realised(found, APRIL)[0] == -30
    assert currency.realised(found, Window(date(2026, 5, 1), date(2026, 5, 31)))[0] == 30


def test_lines_are_rounded_and_the_residual_lies_on_the_largest() -> None:
    third = Fraction(100, 3)
    assert currency.round_lines({"b": third, "a": third, "c": third}, "EUR") == {
        "b": Decimal("33.33"), "a": Decimal("33.34"), "c": Decimal("33.33"),
    }  # fmt: skip
    assert currency.round_lines({"a": Fraction(5, 2), "b": Fraction(7, 2), "c": Fraction(1, 2)}, "JPY") == {
        "a": 2, "b": 4, "c": 0,
    }  # fmt: skip
    assert currency.round_lines({"a": Fraction("-1.0005")}, "KWD") == {"a": Decimal("-1.000")}
    assert currency.round_lines({}, "KWD") == {}
