from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal

from o2c.reports import figures
from o2c.reports.facts import Facts


def test_ageing_sums_the_converted_amounts(facts: Facts) -> None:
    ageing = figures.ageing_by_entity(facts)["DE01"]
    # EUR as it stands, USD at 0.9.
    assert ageing.buckets["current"] == Decimal("1840200.50") + Decimal("378000.00")
    assert ageing.past_due == Decimal("310400.25") + 92000 + Decimal("41000.10") + 25600 + Decimal("45450.00")
    assert ageing.unapplied_cash == Decimal("-48200.00")
    assert ageing.net == ageing.gross + ageing.unapplied_cash + ageing.unapplied_credits


def test_an_amount_without_a_rate_is_left_out_of_the_sum(broken: Callable[..., Facts], facts: Facts) -> None:
    last = len(facts.ageing) - 1
    without = broken("ageing", last, net_receivables_amount_reporting=None)
    difference = figures.ageing_of(facts.ageing_now).net - figures.ageing_of(without.ageing_now).net
    assert difference == facts.ageing[last]["net_receivables_amount_reporting"]


def test_dso_comes_with_the_month_end_before(facts: Facts) -> None:
    dso = figures.dso_now(facts, "dso_rolling_3")
    assert dso.row is not None and dso.prior is not None
    assert (dso.row["as_of_date"], dso.prior["as_of_date"]) == (date(2026, 3, 31), date(2026, 2, 28))
    assert dso.value is not None and dso.change == dso.value - dso.prior["dso_days"]


def test_a_dso_that_is_not_computed_says_why(facts: Facts) -> None:
    first = replace(facts, dso=[row for row in facts.dso if row["as_of_date"] == date(2025, 2, 28)])
    assert figures.dso_now(first, "dso_rolling_3").why_missing == "sales do not reach back over the whole window"
    assert figures.dso_now(replace(facts, dso=[]), "dso_simple").why_missing == "nothing has been built yet"


def test_the_largest_debtors_are_summed_over_currencies(facts: Facts) -> None:
    first, *_ = figures.top_debtors(facts, 3)
    assert (first.key, first.currencies) == ("DE01-C2", "EUR, USD")
    assert first.gross == Decimal("1840200.50") + Decimal("378000.00")
    assert first.past_due == 0


def test_a_credit_balance_is_no_debtor(facts: Facts) -> None:
    owing = [row | {"gross_receivables_amount": Decimal(-1)} for row in facts.debtors]
    assert figures.top_debtors(replace(facts, debtors=owing)) == []


def test_leaks_are_summed_by_rule_and_state(broken: Callable[..., Facts]) -> None:
    facts = broken("leaks", 1, state="timing")
    totals = {(entry.rule_id, entry.state): (entry.findings, entry.amount) for entry in figures.leak_totals(facts)}
    assert totals[("L01", "recoverable")] == (1, Decimal("4203.00"))
    assert totals[("L01", "timing")] == (1, Decimal("3901.50"))


def test_low_confidence_stays_out_of_the_headline(facts: Facts, broken: Callable[..., Facts]) -> None:
    whole = Decimal("4203.00") + Decimal("3901.50") + 22500 + Decimal("56.25") + 120
    assert figures.recoverable(facts) == whole
    assert figures.recoverable(broken("leaks", 2, confidence="low")) == whole - 22500


def test_a_ledger_that_did_not_report_is_not_tied_out(broken: Callable[..., Facts]) -> None:
    facts = broken("tie_outs", 0, control_account_amount=None, difference_amount=None, is_tied_out=None)
    assert figures.untied(facts.tie_outs) == [facts.tie_outs[0]]


def test_rules_that_held_rows_back_come_first(facts: Facts) -> None:
    assert [row["unexpected_rows"] for row in figures.broken_rules(facts)] == [2, 1]
