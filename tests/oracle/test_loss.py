"""Roll rates, provision matrix, bad debt: cases by hand."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

from oracle.book import Book, Parameters
from oracle.build import adjustment, application, customer, dispute, entity, invoice, ledger, receipt
from oracle.metrics import loss
from oracle.metrics.loss import PoolTerms, Transitions

RATES = {"current": Decimal("0.005"), "1-30": Decimal("0.022"), "31-60": Decimal("0.027"), "61-90": Decimal("0.045")}


def book(*versions: Any, as_of: str = "2026-03-31", **changes: Any) -> Book:
    found = ledger(entity(), customer(segment="retail"), customer("C2", segment="retail"), versions)
    return Book(found, Parameters(date.fromisoformat(as_of), date(2030, 1, 1), **changes))


def test_rolling_is_capped_at_what_is_still_open_and_jumps_are_not_lost() -> None:
    rows = (
        invoice("I1", "2026-01-01", "2026-02-20", 100),  # 8 days late in February, 39 in March: next bucket
        receipt("R1", "2026-03-10", 30),
        application("A1", "R1", "I1", "2026-03-10", 30),
        invoice("I2", "2026-02-01", "2026-02-28", 50),  # due on the last day: current, then 31 days late
        invoice("I3", "2026-02-01", "2026-03-15", 50),  # current, then 1-30
    )
    found = loss.roll_rates(book(*rows))
    assert found["1-30"]["next_bucket"].value == 70
    assert found["current"]["next_bucket"].value == 50
    assert found["current"]["any_worse"].value == 100
    moved = loss.transitions(book(*rows), [date(2026, 2, 28), date(2026, 3, 31)])
    assert moved.amounts == {
        ("1-30", "31-60"): 70, ("1-30", "settled"): 30, ("current", "31-60"): 50, ("current", "1-30"): 50,
    }  # fmt: skip


def test_a_write_off_is_a_way_out_of_its_own() -> None:
    rows = (
        invoice("I1", "2026-01-01", "2026-02-20", 100),
        adjustment("W1", "write_off", "2026-03-10", 60, invoice_id="I1"),
        adjustment("W2", "write_off_reversal", "2026-03-20", 20, invoice_id="I1"),
    )
    moved = loss.transitions(book(*rows), [date(2026, 2, 28), date(2026, 3, 31)])
    assert moved.amounts == {("1-30", "31-60"): 60, ("1-30", "written_off"): 40}
    found = loss.roll_rates(book(*rows))["1-30"]
    assert (found["next_bucket"].value, found["any_worse"].value) == (60, 100)


def test_loss_rates_follow_the_whole_matrix() -> None:
    """Half of 1-30 jumps to 61-90, of which a tenth is lost and a fifth stays."""
    moved = Transitions(amounts={})
    for start, end, amount in (
        ("61-90", "written_off", 10), ("61-90", "settled", 70), ("61-90", "61-90", 20),
        ("1-30", "61-90", 50), ("1-30", "settled", 50), ("90+", "90+", 5),
    ):  # fmt: skip
        moved.add(start, end, Fraction(amount))
    rates = loss.loss_rates(moved)
    assert rates["61-90"] == Fraction(1, 8)
    assert rates["1-30"] == Fraction(1, 16)
    assert rates["90+"] is None, "nothing ever left"
    assert rates["current"] is None, "nothing was ever there"


def test_the_provision_matrix() -> None:
    """Rates of a published example; 1,000 current, 400 of 50 days of which 100 disputed, 200 provided one by one."""
    rows = (
        invoice("I1", "2026-03-01", "2026-04-15", 1000),
        invoice("I2", "2026-01-01", "2026-02-09", 400),
        dispute("D1", "I2", "2026-02-01", 100),
        invoice("I3", "2026-01-01", "2026-02-09", 200),
        receipt("R1", "2026-03-01", 500),  # on account: lowers no bucket
    )
    rates = {name: Fraction(value) for name, value in RATES.items()}
    pool = PoolTerms(Fraction(11, 10), specific={"I3": Fraction(150)})
    found = loss.provision(book(*rows), rates, pool)
    assert found.extra["lines"]["current"] == Fraction("5.5")
    assert found.extra["lines"]["31-60"] == Fraction("8.91")
    assert found.value == Fraction("164.41")
    assert found.extra["disputed"] == 100
    insured = loss.provision(book(*rows), rates, PoolTerms(insured_share={"C1": Fraction(1)}))
    assert insured.value == 0
    unknown = loss.provision(book(*rows), {"current": Fraction(0)})
    assert (unknown.value, unknown.reason, unknown.extra["no_rate"]) == (None, "insufficient_history", ["31-60"])


def test_bad_debt_is_net_of_recoveries() -> None:
    rows = (
        invoice("I1", "2025-04-01", "2025-05-01", 1000),
        adjustment("W1", "write_off", "2025-12-01", 30, invoice_id="I1"),
        adjustment("W2", "write_off_reversal", "2026-03-01", 10, invoice_id="I1"),
    )
    assert loss.bad_debt(book(*rows)).value == 2
    assert loss.bad_debt(book(*rows, as_of="2026-02-28")).reason == "insufficient_history"
