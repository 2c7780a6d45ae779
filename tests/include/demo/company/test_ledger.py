from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import date
from decimal import Decimal
from types import ModuleType

import pytest

from demo.company.model import Company


def control_account(company: Company, day: date) -> dict[tuple[str, str], Decimal]:
    return {
        (row["company_id"], row["ccy"]): row["bal"]
        for row in company.erp["gl_balance"]
        if row["day"] == day and row["ar_control"]
    }


def differences(naive_rules: ModuleType, company: Company) -> list[tuple[date, tuple[str, str]]]:
    found = []
    for day in sorted({row["day"] for row in company.erp["gl_balance"]}):
        documents, ledger = naive_rules.receivables(company, day), control_account(company, day)
        keys = set(documents) | set(ledger)
        found += [(day, key) for key in keys if documents.get(key, 0) != ledger.get(key, 0)]
    return found


def test_control_account_is_the_sum_of_the_documents(naive_rules: ModuleType, any_company: Company) -> None:
    days = {row["day"] for row in any_company.erp["gl_balance"]}
    assert len(days) == 18
    assert differences(naive_rules, any_company) == []


def test_control_account_ties_after_time_moved_on(naive_rules: ModuleType, moved_on: Company) -> None:
    assert differences(naive_rules, moved_on) == []
    assert max(row["day"] for row in moved_on.erp["gl_balance"]) == moved_on.today


def test_a_lost_receipt_would_be_seen(naive_rules: ModuleType, company: Company) -> None:
    *rest, receipt = company.erp["cash_receipt"]
    broken = replace(company, erp={**company.erp, "cash_receipt": rest})
    assert (company.today, (receipt["company_id"], receipt["ccy"])) in differences(naive_rules, broken)


def test_no_invoice_and_no_receipt_is_overdrawn(naive_rules: ModuleType, any_company: Company) -> None:
    erp, today = any_company.erp, any_company.today
    receipts = naive_rules.by_id(erp["cash_receipt"])
    used: dict[str, Decimal] = defaultdict(Decimal)
    for match in erp["cash_match"]:
        if naive_rules._is_live(match, receipts, today):
            used[match["bill_id"]] += match["amt"] + match["disc_amt"]
            used[match["receipt_id"] or match["credit_id"]] += match["amt"]
    for row in erp["ar_correction"]:
        used[row["bill_id"] or row["receipt_id"]] += -row["amt"] if row["kind"] == "WR" else row["amt"]
    limits = {row["id"]: row["gross"] for row in (*erp["bill_header"], *erp["credit_header"])}
    limits |= {key: row["amt"] for key, row in receipts.items()}
    assert {key for key, amount in used.items() if amount > limits[key]} == set()


def test_applications_never_precede_their_documents(naive_rules: ModuleType, any_company: Company) -> None:
    erp = any_company.erp
    bills, receipts = naive_rules.by_id(erp["bill_header"]), naive_rules.by_id(erp["cash_receipt"])
    credits = naive_rules.by_id(erp["credit_header"])
    for match in erp["cash_match"]:
        source = receipts[match["receipt_id"]] if match["receipt_id"] else credits[match["credit_id"]]
        assert match["match_day"] >= max(source["acct_day"], bills[match["bill_id"]]["acct_day"])
        assert (match["ccy"], match["company_id"]) == (source["ccy"], source["company_id"])


def test_receivables_are_aged_like_a_real_business(naive_rules: ModuleType, company: Company) -> None:
    receipts = naive_rules.by_id(company.erp["cash_receipt"])
    paid: dict[str, Decimal] = defaultdict(Decimal)
    for match in company.erp["cash_match"]:
        if naive_rules._is_live(match, receipts, company.today):
            paid[match["bill_id"]] += match["amt"] + match["disc_amt"]
    buckets = set()
    for bill in company.erp["bill_header"]:
        if bill["ccy"] == "EUR" and bill["state"] == "P" and bill["gross"] > paid[bill["id"]]:
            buckets.add(min(max((company.today - bill["due_day"]).days + 29, 0) // 30, 4))
    assert buckets == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("account", ["1200", "2150"])
def test_deposits_are_a_liability_of_their_own(company: Company, account: str) -> None:
    flags = {row["ar_control"] for row in company.erp["gl_balance"] if row["account"] == account}
    assert flags == {account == "1200"}
