"""Source rows that no gate may let pass, each written down with the rule that has to stop it.

None of them is carried by the control account: refusing them must not break the tie-out.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from demo.company.card_processor import transaction
from demo.company.crm import add_deal
from demo.company.master_data import crm_id, founding_moment
from demo.company.model import Customer, Row
from demo.company.world import World


def plan_faults(world: World) -> None:
    """Put the bad rows on the agenda."""
    day = world.days_ago("DE01", 48)
    world.plan(day, lambda: _bad_master_data(world))
    world.plan(day, lambda: _bad_documents(world, day))
    world.plan(day, lambda: _bad_deals(world, day))
    world.plan(day, lambda: _bad_fee(world, day))


def _copy(world: World, table: str, source: Row, key: str, **values: Any) -> Row:
    """A row like ``source`` under its own key, with the given values broken."""
    record = {**source.values, "id": key, **values}
    return world.book.add(table, key, founding_moment(world) + timedelta(hours=1), **record)


def _bad_master_data(world: World) -> None:
    tables, test = world.book.tables, world.special["test"]
    _copy(world, "debtor", tables["debtor"][test.id], "D00990", name="ZZ Test account 2", limit_amt=Decimal("-5000.00"))
    world.truth.refuse("erp/customers", "D00990", "credit_limit_amount >= 0")
    account = next(iter(tables["debtor_bank"].values()))
    _copy(world, "debtor_bank", account, "DB9000001", debtor_id=test.id, iban="NOT AN IBAN")
    pattern = "iban ~ '^[A-Z]{2}[0-9]{2}[A-Z0-9]{8,30}$'"
    world.truth.refuse("erp/customer_bank_accounts", f"{test.id}/NOT AN IBAN", pattern)
    price = next(iter(tables["price_agreement"].values()))
    _copy(world, "price_agreement", price, "PA9000001", debtor_id=test.id, end_day=world.first - timedelta(days=30))
    world.truth.refuse("erp/contract_prices", "PA9000001", "valid_to >= valid_from")


def _bad_documents(world: World, day: date) -> None:
    tables, test = world.book.tables, world.special["test"]
    at = world.at(test.entity, day, "correct")
    invoice = next(row for row in tables["bill_header"].values() if row.values["company_id"] == "DE01")
    # Left over from a test of the billing interface: never posted to the ledger.
    world.book.add(
        "bill_header", "BI9000001", at,
        **{
            **invoice.values, "id": "BI9000001", "bill_no": "REDE-TEST-001", "debtor_id": test.id, "doc_day": day,
            "acct_day": day, "due_day": day - timedelta(days=3), "net": Decimal("1050.00"), "tax": Decimal("199.50"),
            "gross": Decimal("1249.50"), "ccy": "EUR", "pay_days": -3, "rebill_of": None,
        },
    )  # fmt: skip
    world.truth.refuse("erp/invoices", "BI9000001", "due_on >= issued_on")
    world.book.add(
        "claim", "CP9000001", at, id="CP9000001", bill_id=invoice.values["id"], kind="OT", amt=Decimal("75.00"),
        opened_day=day, closed_day=day - timedelta(days=9), result="R", handler="collections.desk",
    )  # fmt: skip
    world.truth.refuse("erp/disputes", "CP9000001", "closed_on >= opened_on")
    order = next(row for row in tables["so_header"].values() if row.values["company_id"] == "DE01")
    world.book.add(
        "order_block", "OB9000001", at, id="OB9000001", so_id=order.values["id"], kind="D", set_ts=at,
        set_by="export.check", freed_ts=at - timedelta(days=2), freed_by="export.check", why="export check",
    )  # fmt: skip
    world.truth.refuse("erp/credit_holds", "OB9000001", "released_at >= set_at")


def _bad_deals(world: World, day: date) -> None:
    customer: Customer = world.customers[0]
    closes = world.base_today + timedelta(days=30)
    foreign, _ = add_deal(world, customer, day, closes, Decimal("18400.00"), currency="EUX", outcome="open")
    world.truth.refuse("crm/opportunities", foreign, "currency:currency_code")
    broken, row = add_deal(world, customer, day, closes, Decimal("2750.505"), currency="EUR", outcome="open")
    row.values["Name"] = "Half a cent"
    world.truth.refuse("crm/opportunities", broken, "minor_units:amount")
    at, quote, line = world.at(customer.entity, day, "ship"), crm_id(world, "0Q0"), crm_id(world, "0QL")
    world.book.add(
        "Quote", quote, at, Id=quote, Name="Quote TEST", QuoteNumber="Q-TEST-001", OpportunityId=foreign,
        CurrencyIsoCode="EUR", Status="Draft", ExpirationDate=day - timedelta(days=1), GrandTotal=Decimal("-18400.00"),
    )  # fmt: skip
    world.truth.refuse("crm/quotes", quote, "total_amount >= 0")
    world.book.add(
        "QuoteLineItem", line, at, Id=line, QuoteId=quote, CurrencyIsoCode="EUR", ProductCode="NW-001", Quantity=0,
        ListPrice=Decimal("18.50"), UnitPrice=Decimal("18.50"), Discount=Decimal(0), ApprovedDiscount__c=Decimal(0),
        ApprovedBy__c=None, ApprovedOn__c=None,
    )  # fmt: skip
    world.truth.refuse("crm/quote_lines", line, "quantity > 0")


def _bad_fee(world: World, day: date) -> None:
    payer = world.customers[0]
    key, row = transaction(world, "fee", payer, day, Decimal("-25.00"), reference="TERMINAL", settles=False)
    row.values["net"] = Decimal("-24.00")
    world.truth.refuse("payments/card_transactions", key, "net_amount = gross_amount - fee_amount")
