from __future__ import annotations

from collections import defaultdict
from datetime import date
from decimal import Decimal

import pytest

from demo.company.model import Company, Record

NAMES = """
partial_shipment_staged_invoices over_delivery multi_warehouse_split backorder blanket_order prepaid_order consignment
kit return_with_late_credit cancel_and_rebill credit_hold_released_late hold_bypass early_payment_discount_earned
early_payment_discount_unearned insufficient_funds parent_pays_for_child one_payment_for_forty_invoices
short_pay_with_reason short_pay_without_reason duplicate_payment equal_instalments subscription_pause
subscription_proration subscription_uplift subscription_lapse milestone_with_retention partial_capture_and_fx_refund
chargeback_won chargeback_lost chargeback_ignored payout_in_transit negative_payout two_payouts_in_one_bank_line
missing_fx_rate jpy_amount kwd_amount duplicate_customer intercompany_sale backdated_application
late_arriving_credit_memo write_off_reversed
""".split()


def by_id(company: Company, table: str) -> dict[str, Record]:
    return {row["id"]: row for row in company.erp[table]}


def only(company: Company, name: str) -> Record:
    (case,) = company.truth["cases"][name]
    return dict(case)


@pytest.mark.parametrize("name", NAMES)
def test_the_case_exists(any_company: Company, name: str) -> None:
    assert any_company.truth["cases"][name]


def test_keys_of_the_cases_exist(any_company: Company) -> None:
    tables = {
        "order_id": "so_header", "invoice_id": "bill_header", "invoice_ids": "bill_header",
        "receipt_id": "cash_receipt", "receipt_ids": "cash_receipt", "hold_id": "order_block",
        "credit_memo_id": "credit_header",
        "dispute_id": "claim", "subscription_id": "abo", "application_id": "cash_match",
    }  # fmt: skip
    known = {name: set(by_id(any_company, table)) for name, table in tables.items()}
    for name, cases in any_company.truth["cases"].items():
        for case in cases:
            for column, value in case.items():
                if column in known:
                    assert set([value] if isinstance(value, str) else value) <= known[column], name


def test_forty_invoices_are_paid_by_one_receipt(company: Company) -> None:
    case = only(company, "one_payment_for_forty_invoices")
    matches = [row for row in company.erp["cash_match"] if row["receipt_id"] == case["receipt_id"]]
    assert {row["bill_id"] for row in matches} == set(case["invoice_ids"])
    assert len(matches) == 40
    assert sum(row["amt"] for row in matches) == by_id(company, "cash_receipt")[case["receipt_id"]]["amt"]


def test_bounced_receipt_opens_its_invoice_again(company: Company) -> None:
    receipt = by_id(company, "cash_receipt")[only(company, "insufficient_funds")["receipt_id"]]
    assert receipt["reversal_cd"] == "NSF"
    assert receipt["reversed_day"] > receipt["acct_day"]


def test_hold_bypass_ships_under_an_open_hold(company: Company) -> None:
    case = only(company, "hold_bypass")
    assert by_id(company, "order_block")[case["hold_id"]]["freed_ts"] is None
    items = {row["id"] for row in company.erp["so_item"] if row["so_id"] == case["order_id"]}
    assert [row for row in company.erp["ship_item"] if row["so_item_id"] in items]


def test_cancelled_invoice_is_billed_anew(company: Company) -> None:
    case, bills = only(company, "cancel_and_rebill"), by_id(company, "bill_header")
    assert bills[case["cancelled_invoice_id"]]["state"] == "X"
    assert bills[case["invoice_id"]]["rebill_of"] == case["cancelled_invoice_id"]


def test_lapsed_subscription_is_not_billed_any_more(company: Company) -> None:
    key = only(company, "subscription_lapse")["subscription_id"]
    periods = [row for row in company.erp["abo_period"] if row["abo_id"] == key]
    assert [row["bill_item_id"] is None for row in periods[:4]] == [False, False, False, True]
    assert by_id(company, "abo")[key]["state"] == "L"


def test_uplift_raises_the_thirteenth_month(company: Company) -> None:
    lines = by_id(company, "bill_item")
    raised = 0
    for abo in company.erp["abo"]:
        periods = [row for row in company.erp["abo_period"] if row["abo_id"] == abo["id"] and row["bill_item_id"]]
        prices = {lines[row["bill_item_id"]]["price"] for row in periods}
        raised += len(prices) == 2
    assert raised >= 6


def test_payouts_are_the_sum_of_their_movements(any_company: Company) -> None:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    payouts: dict[str, Decimal] = {}
    for records in any_company.settlements.values():
        for record in records:
            if record["type"] == "payout":
                payouts[record["payout_id"]] = record["net"]
            elif record["payout_id"]:
                sums[record["payout_id"]] += record["net"]
    assert payouts == dict(sums)


def test_payouts_reach_the_bank_except_the_one_in_transit(any_company: Company) -> None:
    booked = [entry for statement in any_company.statements for entry in statement.entries]
    texts = " ".join(entry.text for entry in booked)
    in_transit = {case["payout_id"] for case in any_company.truth["cases"]["payout_in_transit"]}
    for records in any_company.settlements.values():
        for record in records:
            if record["type"] == "payout":
                assert (record["payout_id"] in texts) != (record["payout_id"] in in_transit)


def test_two_payouts_share_one_bank_line(company: Company) -> None:
    case = only(company, "two_payouts_in_one_bank_line")
    entries = [entry for statement in company.statements for entry in statement.entries]
    (line,) = [entry for entry in entries if entry.reference == case["bank_reference"]]
    amounts = {
        record["payout_id"]: record["net"]
        for records in company.settlements.values()
        for record in records
        if record["type"] == "payout"
    }
    assert line.amount == sum(amounts[key] for key in case["payout_ids"])


def test_receipts_by_transfer_stand_on_a_statement(any_company: Company) -> None:
    entries = {entry.reference: entry.amount for statement in any_company.statements for entry in statement.entries}
    for receipt in any_company.erp["cash_receipt"]:
        if receipt["bank_ref"]:
            assert entries[receipt["bank_ref"]] == receipt["amt"]


def test_late_credit_memo_is_dated_in_a_closed_month(company: Company) -> None:
    case = only(company, "late_arriving_credit_memo")
    memo = by_id(company, "credit_header")[case["credit_memo_id"]]
    assert memo["updated_at"].date().replace(day=1) > memo["acct_day"].replace(day=1)


def test_amounts_follow_their_currency(company: Company) -> None:
    yen, dinar = only(company, "jpy_amount")["total"], only(company, "kwd_amount")["total"]
    assert "." not in yen
    assert len(dinar.split(".")[1]) == 3


def test_crm_knows_some_customers_twice(company: Company) -> None:
    by_tax: dict[str, int] = defaultdict(int)
    for account in company.crm["Account"]:
        by_tax[account["TaxId__c"]] += 1
    assert sum(count == 2 for count in by_tax.values()) >= 3
    assert 60 <= sum(account["ErpCustomerId__c"] is not None for account in company.crm["Account"]) < 130
    assert company.today > date(2026, 1, 1)
