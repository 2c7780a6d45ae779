"""The golden vectors, to the last digit that is printed."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from oracle.book import Book, Parameters
from oracle.build import day, golden, golden_ledger
from oracle.dates import DAY, Window
from oracle.metrics import ageing, collection, dso, payment
from oracle.result import Result, rounded

VECTORS = golden()
AS_OF = day(VECTORS["as_of"])
QUARTER = Window(*(day(text) for text in VECTORS["period"]))


def book(**changes: Any) -> Book:
    return Book(golden_ledger(), Parameters(AS_OF, date(2026, 12, 31), **changes))


NET, GROSS = book(), book(ar_basis="gross_invoices")


def printed(result: Result, vector: str) -> tuple[Decimal | None, Decimal]:
    return result.shown(4), Decimal(VECTORS[vector]).quantize(Decimal("0.0001"))


@pytest.mark.parametrize(
    ("vector", "result"),
    [
        ("dso_simple_net", dso.simple(NET)),
        ("dso_simple_gross", dso.simple(GROSS)),
        ("dso_countback_net", dso.countback(NET)),
        ("bpdso_gross", dso.best_possible(GROSS)),
        ("add_gross", dso.delinquent(GROSS)),
        ("bpdso_net_sales", dso.best_possible(NET)),
        ("cei_gross", collection.cei_window(GROSS)),
        ("cei_net", collection.cei_window(NET)),
        ("ar_turnover_net", collection.turnover(NET)),
        ("wtd_days_to_pay", payment.days_to_pay(NET)),
        ("wtd_days_late_signed", payment.days_late(NET)),
        ("wtd_days_late_floor0", payment.days_late(NET, floored=True)),
    ],
)
def test_a_golden_ratio(vector: str, result: Result) -> None:
    shown, expected = printed(result, vector)
    assert shown == expected


@pytest.mark.parametrize(
    ("what", "result", "expected"),
    [
        ("A22/W1: monthly CEI, summed, gross", collection.cei_summed(GROSS), "41.67"),
        ("W1: net", collection.cei_summed(NET), "46.07"),
        ("W2: month ends", collection.turnover(NET, points="month_ends"), "2.27"),
        ("W2: days of the window", collection.turnover_days(NET), "31.4"),
        ("W3", dso.age_weighted_exposure(NET), "179.75"),
        ("W5: past due over net sales", dso.delinquent(NET), "21.69"),
        ("W5: third term", dso.unapplied_effect(NET), "-8.67"),
        ("W6", dso.gross_on_sales_less_applied_credits(GROSS), "60.70"),
        ("W13: with the bounced receipt", payment.days_to_pay(NET, bounced=True), "38.80"),
    ],
)
def test_a_figure_of_the_decisions(what: str, result: Result, expected: str) -> None:
    assert result.shown(len(expected.split(".")[1])) == Decimal(expected), what


@pytest.mark.parametrize(("moment", "vector"), [(AS_OF, "snapshot"), (QUARTER.start - DAY, "opening")])
def test_open_items_and_buckets(moment: date, vector: str) -> None:
    expected = VECTORS[vector]
    assert {document[1]: left for document, left in NET.open_documents(moment).items()} == expected["open"]
    balance = NET.balance(moment)
    assert (balance.gross, balance.unapplied, balance.net) == tuple(
        expected[name] for name in ("gross", "unapplied", "net")
    )
    for basis, name in (("due", "by_due"), ("invoice", "by_invoice_date")):
        found = ageing.ageing(NET, moment, basis=basis).buckets
        assert {bucket: left for bucket, left in found.items() if left} == expected[name]


def test_sales_and_cash() -> None:
    assert NET.gross_sales(QUARTER) == VECTORS["gross_sales"]
    assert NET.credit_memos(QUARTER) == VECTORS["credit_memos"]
    assert NET.net_sales(QUARTER) == VECTORS["net_sales"]
    assert collection.cash_applied(NET, QUARTER) == VECTORS["cash_applied_in_period"]
    assert QUARTER.days == VECTORS["days"]


def test_the_roll_forward() -> None:
    found, expected = ageing.roll_forward(NET, QUARTER), VECTORS["roll_forward"]
    assert found["opening"] == expected["opening_net"]
    assert found["credit_sales"] + found["credit_memos"] == expected["net_sales"]
    assert found["cash_received"] == -expected["cash_received"]
    assert found["discounts"] == -expected["discounts"]
    assert found["closing"] == expected["closing_net"]
    assert [found[name] for name in ("fx", "transfers", "refunds", "write_offs", "deposits_applied")] == [0] * 5


def test_count_back_of_a_vendor_is_wrong_and_ours_is_not() -> None:
    example = VECTORS["oracle_hfm_example"]
    found = dso.exhaust(example["ar"], [tuple(period) for period in example["periods"]])
    assert found.days is not None
    assert rounded(found.days, 4) == example["correct_total"]
    # The documented total takes the wrong fraction of the last month: 2000/2250 instead of 1000/2250.
    wrong = found.days + (Fraction(2000, 2250) - Fraction(1000, 2250)) * 30
    assert rounded(wrong, 1) == example["documented_total"]


def test_mixed_bases_differ() -> None:
    mixed = dso.simple(NET).value - dso.best_possible(NET).value  # type: ignore[operator]
    assert rounded(mixed, 3) == VECTORS["add_mixed_basis_WRONG"]
    assert mixed not in (dso.delinquent(NET).value, dso.delinquent(GROSS).value)


def test_cei_over_n_differs() -> None:
    """A month's sales and a quarter's (net) balances give 614 %."""
    begin, end = NET.receivables(QUARTER.start - DAY), NET.receivables(AS_OF)
    a_month = NET.net_sales(QUARTER) / 3
    top, bottom = collection.cei_of(begin, a_month, end, ageing.current(NET))
    assert rounded(top / bottom * 100, 4) == VECTORS["cei_oracle_div_N_quarter"]
    assert rounded(top / bottom * 100, 2) == Decimal("614.29")
    assert collection.cei_window(NET).value != top / bottom * 100 != collection.cei_summed(NET).value
