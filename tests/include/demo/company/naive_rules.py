"""The four leak rules and the receivables balance, written a second time and as plainly as possible.

They work on the generated ERP and CRM rows and know nothing of what the generator planted: what they find must be
the truth and nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from demo.company.model import Company

Row = dict[str, Any]
Found = dict[str, Decimal]

DIGITS = {"EUR": 2, "GBP": 2, "USD": 2, "JPY": 0, "KWD": 3}
FLOOR = {"EUR": Decimal(1), "GBP": Decimal(1), "USD": Decimal(1), "JPY": Decimal(100), "KWD": Decimal("0.5")}


def to_minor_units(amount: Decimal, currency: str) -> Decimal:
    return amount.quantize(Decimal(1).scaleb(-DIGITS[currency]), ROUND_HALF_EVEN)


def by_id(rows: list[Row]) -> dict[str, Row]:
    return {row["id"]: row for row in rows}


def grouped(rows: list[Row], column: str) -> dict[Any, list[Row]]:
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row[column]].append(row)
    return groups


def outsiders(company: Company) -> set[str]:
    """Debtors that are neither group companies nor test accounts."""
    return {row["id"] for row in company.erp["debtor"] if not row["is_interco"] and not row["is_test"]}


def refused(company: Company, flow: str) -> set[str]:
    return {row["key"] for row in company.truth["expected_quarantine"].get(flow, [])}


def unbilled_shipments(company: Company, as_of: date) -> Found:
    """L01 by delivery line."""
    erp = company.erp
    orders, items, headers = by_id(erp["so_header"]), by_id(erp["so_item"]), by_id(erp["ship_header"])
    articles, returned = by_id(erp["article"]), grouped(erp["rma_item"], "ship_item_id")
    live = {row["id"] for row in erp["bill_header"] if row["state"] == "P"}
    billed = [row for row in erp["bill_item"] if row["bill_id"] in live]
    by_delivery = {row["ship_item_id"] for row in billed}
    in_advance = {row["so_item_id"] for row in billed if row["ship_item_id"] is None}
    found: Found = {}
    for part in erp["ship_item"]:
        item, header = items[part["so_item_id"]], headers[part["ship_id"]]
        order = orders[item["so_id"]]
        trigger = {"G": header["gi_day"], "D": header["pod_day"]}.get(order["bill_rule"])
        if trigger is None or trigger >= as_of - timedelta(days=5) or order["kind"] in "IK":
            continue
        if order["debtor_id"] not in outsiders(company) or not articles[item["article_id"]]["billable"]:
            continue
        if item["free_flag"] or item["parent_item_id"] or part["id"] in by_delivery or item["id"] in in_advance:
            continue
        quantity = part["qty_shipped"] - sum(row["qty"] for row in returned[part["id"]] if row["arrived_day"] <= as_of)
        if quantity > 0:
            found[part["id"]] = to_minor_units(quantity * item["price"], order["ccy"])
    return found


def won_without_order(company: Company, as_of: date) -> Found:
    """L03 by opportunity."""
    orders = company.erp["so_header"]
    linked, numbers = {row["crm_ref"] for row in orders}, {row["so_no"] for row in orders}
    debtors = company.erp["debtor"]
    by_tax = grouped(debtors, "vat_no")
    accounts = {row["Id"]: row for row in company.crm["Account"]}
    handed_back = {deal["ErpOrderNumber__c"] for deal in company.crm["Opportunity"]}
    free = [row for row in orders if row["crm_ref"] is None and row["so_no"] not in handed_back]
    unlinked = grouped(free, "debtor_id")
    found: Found = {}
    answers: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for deal in company.crm["Opportunity"]:
        account = accounts[deal["AccountId"]]
        if not deal["IsWon"] or deal["CloseDate"] >= as_of - timedelta(days=14) or deal["Type"] == "Renewal":
            continue
        if deal["DuplicateOf__c"] or deal["PurchaseOrderPending__c"]:
            continue
        if account["IsTest__c"] or account["IsIntercompany__c"]:
            continue
        if deal["Id"] in linked or deal["ErpOrderNumber__c"] in numbers:
            continue
        found[deal["Id"]] = deal["Amount"]
        known = {account["ErpCustomerId__c"], *(row["id"] for row in by_tax[account["TaxId__c"]])}
        for order in (order for key in known for order in unlinked[key] if _fits(deal, order)):
            answers[order["id"]].append((abs((order["booked_day"] - deal["CloseDate"]).days), deal["Id"]))
    # An order answers one deal only: the nearest.
    for candidates in answers.values():
        found.pop(min(candidates)[1], None)
    return found


def _fits(deal: Row, order: Row) -> bool:
    days = (order["booked_day"] - deal["CloseDate"]).days
    near = abs(order["net_total"] - deal["Amount"]) <= deal["Amount"] * Decimal("0.02")
    return -7 <= days <= 45 and near and order["ccy"] == deal["CurrencyIsoCode"]


def prices_below_contract(company: Company, as_of: date) -> Found:
    """L05 by invoice line."""
    erp, bad = company.erp, refused(company, "erp/contract_prices")
    orders, items, bills = by_id(erp["so_header"]), by_id(erp["so_item"]), by_id(erp["bill_header"])
    prices: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in erp["price_agreement"]:
        if row["id"] not in bad:
            prices[row["debtor_id"], row["article_id"], row["ccy"], row["unit"]].append(row)
    found: Found = {}
    for line in erp["bill_item"]:
        bill, item = bills[line["bill_id"]], items[line["so_item_id"]]
        order = orders[item["so_id"]]
        if bill["state"] == "X" or line["price_approval"] or item["parent_item_id"] or item["free_flag"]:
            continue
        if bill["debtor_id"] not in outsiders(company) or bill["acct_day"] > as_of:
            continue
        key = (order["debtor_id"], item["article_id"], order["ccy"], item["unit"])
        valid = [
            row
            for row in prices[key]
            if row["from_qty"] <= item["qty"]
            and row["start_day"] <= order["booked_day"] <= (row["end_day"] or date.max)
        ]
        if valid:
            agreed = max(valid, key=lambda row: row["from_qty"])["price"]
            if line["price"] < agreed * Decimal("0.995"):
                found[line["id"]] = to_minor_units((agreed - line["price"]) * line["qty"], order["ccy"])
    return found


def short_payments(company: Company, as_of: date) -> Found:
    """L13 by invoice."""
    erp = company.erp
    receipts = by_id(erp["cash_receipt"])
    matches, schedules = grouped(erp["cash_match"], "bill_id"), grouped(erp["bill_schedule"], "bill_id")
    claims, corrections = grouped(erp["claim"], "bill_id"), grouped(erp["ar_correction"], "bill_id")
    bad = refused(company, "erp/disputes") | refused(company, "erp/invoices")
    found: Found = {}
    for bill in erp["bill_header"]:
        if bill["id"] in bad or bill["state"] == "X" or bill["debtor_id"] not in outsiders(company):
            continue
        held_back = sum((row["amt"] for row in schedules[bill["id"]] if row["holdback"]), Decimal(0))
        due = max([row["due_day"] for row in schedules[bill["id"]] if not row["holdback"]] or [bill["due_day"]])
        live = [row for row in matches[bill["id"]] if _is_live(row, receipts, as_of)]
        cash = sum((row["amt"] for row in live if row["receipt_id"]), Decimal(0))
        rest = bill["gross"] - sum((row["amt"] + row["disc_amt"] for row in live), Decimal(0))
        for row in corrections[bill["id"]]:
            rest += row["amt"] if row["kind"] == "WR" else -row["amt"]
        rest -= min(held_back, max(rest, Decimal(0)))
        if due >= as_of or cash < bill["gross"] * Decimal("0.75"):
            continue
        if rest <= max(bill["gross"] * Decimal("0.005"), FLOOR[bill["ccy"]]):
            continue
        if max(row["match_day"] for row in live) >= as_of - timedelta(days=10):
            continue
        covered = [row for row in claims[bill["id"]] if row["result"] in "OA" and row["amt"] >= rest]
        if not [row for row in covered if row["id"] not in bad]:
            found[bill["id"]] = rest
    return found


def _is_live(match: Row, receipts: dict[str, Row], as_of: date) -> bool:
    reversed_day = receipts[match["receipt_id"]]["reversed_day"] if match["receipt_id"] else None
    ends = [day for day in (match["undone_day"], reversed_day) if day is not None]
    return match["match_day"] <= as_of and not any(day <= as_of for day in ends)


RULES = {
    "L01": unbilled_shipments,
    "L03": won_without_order,
    "L05": prices_below_contract,
    "L13": short_payments,
}


def receivables(company: Company, as_of: date) -> dict[tuple[str, str], Decimal]:
    """Open receivables by entity and currency, from the documents."""
    erp, total = company.erp, defaultdict(Decimal)
    bad = refused(company, "erp/invoices")

    def add(row: Row, amount: Decimal, day: date | None) -> None:
        if day is not None and day <= as_of:
            total[row["company_id"], row["ccy"]] += amount

    for row in erp["bill_header"]:
        if row["id"] not in bad:
            add(row, row["gross"], row["acct_day"])
            add(row, -row["gross"], row["cancel_day"])
    for row in erp["credit_header"]:
        add(row, -row["gross"], row["acct_day"])
    receipts = by_id(erp["cash_receipt"])
    for row in receipts.values():
        if row["kind"] == "P":
            add(row, -row["amt"], row["acct_day"])
            add(row, row["amt"], row["reversed_day"])
    for row in erp["cash_match"]:
        source = receipts.get(row["receipt_id"])
        cash = row["amt"] if source and source["kind"] == "D" else Decimal(0)
        ends = [day for day in (row["undone_day"], source and source["reversed_day"]) if day]
        add(row, -cash - row["disc_amt"], row["match_day"])
        add(row, cash + row["disc_amt"], min(ends) if ends else None)
    for row in erp["ar_correction"]:
        add(row, -row["amt"] if row["kind"] == "WO" else row["amt"], row["acct_day"])
    return dict(total)
