from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import date
from decimal import Decimal
from types import ModuleType

import pytest

from demo.company.model import Company

RULES = ("L01", "L03", "L05", "L13")


def planted(company: Company, rule_id: str) -> dict[str, Decimal]:
    return {
        leak["business_key"]: Decimal(leak["amount"])
        for leak in company.truth["leaks"]
        if leak["rule_id"] == rule_id
        and date.fromisoformat(leak["detectable_from"]) <= company.today
        and leak["closed_on"] is None
    }


@pytest.mark.parametrize("rule_id", RULES)
def test_the_rule_finds_the_plants_and_nothing_else(
    naive_rules: ModuleType, any_company: Company, rule_id: str
) -> None:
    assert naive_rules.RULES[rule_id](any_company, any_company.today) == planted(any_company, rule_id)


@pytest.mark.parametrize("rule_id", RULES)
def test_the_rule_holds_after_time_moved_on(naive_rules: ModuleType, moved_on: Company, rule_id: str) -> None:
    assert naive_rules.RULES[rule_id](moved_on, moved_on.today) == planted(moved_on, rule_id)


@pytest.mark.parametrize("rule_id", RULES)
def test_enough_plants_in_every_kind_of_currency(company: Company, rule_id: str) -> None:
    leaks = [leak for leak in company.truth["leaks"] if leak["rule_id"] == rule_id]
    assert len(planted(company, rule_id)) >= 6
    assert {leak["currency_code"] for leak in leaks} == {"EUR", "GBP", "JPY", "KWD", "USD"}
    assert {leak["entity_code"] for leak in leaks} == {"DE01", "GB01", "JP01", "KW01"}


@pytest.mark.parametrize("rule_id", ["L01", "L03", "L13"])
def test_moving_on_closes_one_plant_and_reveals_another(company: Company, moved_on: Company, rule_id: str) -> None:
    before, after = planted(company, rule_id), planted(moved_on, rule_id)
    assert len(before.keys() - after.keys()) == 1
    assert len(after.keys() - before.keys()) == 1


def test_no_plant_is_an_innocent_and_none_is_planted_twice(any_company: Company) -> None:
    leaks = [leak["business_key"] for leak in any_company.truth["leaks"]]
    innocents = {row["business_key"] for row in any_company.truth["innocents"]}
    assert not innocents & set(leaks)
    assert max(Counter(leaks).values()) == 1


@pytest.mark.parametrize(
    ("rule_id", "traps"),
    [
        ("L01", {"proof of delivery pending", "consignment", "group company", "prepaid, billed before",
                 "free of charge or not billable", "invoice names the order line only", "inside the tolerance",
                 "component of a kit", "returned in full", "test account"}),
        ("L03", {"renewal", "split into several orders", "purchase order pending", "duplicate deal",
                 "order known by its number only", "order found by customer, amount and date", "inside the tolerance",
                 "group company", "test account"}),
        ("L05", {"special price approved", "tier not reached", "price of the tier reached", "other unit of measure",
                 "old price held on the order date", "other currency", "rounding inside the tolerance",
                 "component of a kit"}),
        ("L13", {"early-payment discount", "withholding tax approved", "bank charges inside the tolerance",
                 "retention not due", "trade promotion approved", "dispute still open", "instalment not due",
                 "part payment below three quarters", "rest written off", "settled by a second payment"}),
    ],
)  # fmt: skip
def test_every_trap_is_set(any_company: Company, rule_id: str, traps: set[str]) -> None:
    found = {row["why"] for row in any_company.truth["innocents"] if row["rule_id"] == rule_id}
    assert found == traps


def test_a_trap_without_its_excuse_would_be_found(naive_rules: ModuleType, company: Company) -> None:
    """The innocents are real traps: take away what excuses them, and the plain rule reports them."""
    unapproved = [{**row, "price_approval": None} for row in company.erp["bill_item"]]
    deals = [{**row, "PurchaseOrderPending__c": None, "DuplicateOf__c": None} for row in company.crm["Opportunity"]]
    broken = replace(
        company,
        erp={**company.erp, "claim": [], "bill_item": unapproved},
        crm={**company.crm, "Opportunity": deals},
    )
    for rule_id, why in (
        ("L05", "special price approved"), ("L13", "withholding tax approved"), ("L03", "purchase order pending"),
        ("L03", "duplicate deal"),
    ):  # fmt: skip
        found = naive_rules.RULES[rule_id](broken, broken.today)
        keys = {row["business_key"] for row in broken.truth["innocents"] if row["why"] == why}
        assert keys and keys <= set(found), why


def test_leak_amounts_can_be_expressed_in_the_group_currency(any_company: Company) -> None:
    missing = any_company.truth["cases"]["missing_fx_rate"][0]["rate_date"]
    assert not [
        leak for leak in any_company.truth["leaks"] if leak["currency_code"] == "KWD" and leak["event_on"] == missing
    ]
