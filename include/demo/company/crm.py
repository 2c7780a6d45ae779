"""Deals and quotations in the CRM: what leads to an order, what is lost, what is still open."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

from demo.company.documents import Item, item_price, order_total
from demo.company.master_data import crm_id
from demo.company.model import Customer, Order, Row
from demo.company.world import World

_REPS = ("A. Lindqvist", "M. Okafor", "S. Tanaka", "F. Haddad", "J. Weber")
_STAGES = {"won": ("Closed Won", True, True), "lost": ("Closed Lost", True, False)}


def add_deal(
    world: World, customer: Customer, created_on: date, close_on: date, amount: Decimal, *, kind: str = "New Business",
    currency: str | None = None, name: str = "", outcome: str = "won", duplicate_of: str | None = None,
    order_pending: bool = False, account_id: str | None = None,
) -> tuple[str, Row]:  # fmt: skip
    """Add an opportunity on ``created_on`` that is decided on ``close_on`` (outcome won, lost or open)."""
    entity, key = customer.entity, crm_id(world, "006")
    row = world.book.add(
        "Opportunity", key, world.at(entity, created_on, "order"), Id=key,
        Name=name or f"{customer.name} {created_on:%Y-%m}", AccountId=account_id or customer.account_id,
        CurrencyIsoCode=currency or customer.currency, LegalEntity__c=entity.code, StageName="Negotiation",
        IsClosed=False, IsWon=False, CloseDate=close_on, Amount=amount, Type=kind, ErpOrderNumber__c=None,
        DuplicateOf__c=None, PurchaseOrderPending__c=False, SalesRep__c=world.rng.choice(_REPS),
    )  # fmt: skip
    if outcome != "open":
        stage, is_closed, is_won = _STAGES[outcome]
        row.change(
            world.at(entity, close_on, "early"), StageName=stage, IsClosed=is_closed, IsWon=is_won,
            DuplicateOf__c=duplicate_of, PurchaseOrderPending__c=order_pending,
        )  # fmt: skip
    return key, row


def hand_back(world: World, row: Row, order: Order) -> None:
    """Write the order number back to the deal."""
    row.change(world.at(order.entity, order.booked_on, "match"), ErpOrderNumber__c=order.number)


def add_quote(
    world: World, customer: Customer, opportunity_id: str, day: date, items: Sequence[Item], currency: str
) -> str:
    """Add a quotation with its lines."""
    at, key = world.at(customer.entity, day, "ship"), crm_id(world, "0Q0")
    number = world.number("Q", day)
    world.book.add(
        "Quote", key, at, Id=key, Name=f"Quote {number}", QuoteNumber=number, OpportunityId=opportunity_id,
        CurrencyIsoCode=currency, Status="Accepted", ExpirationDate=day + timedelta(days=60),
        GrandTotal=order_total(items, customer, currency, day),
    )  # fmt: skip
    for item in items:
        listed, price = item_price(item, customer, currency, day)
        discount = round((listed - price) / listed * 100, 2) if listed else Decimal(0)
        line = crm_id(world, "0QL")
        world.book.add(
            "QuoteLineItem", line, at, Id=line, QuoteId=key, CurrencyIsoCode=currency, ProductCode=item.product.sku,
            Quantity=item.quantity, ListPrice=listed, UnitPrice=price, Discount=discount,
            ApprovedDiscount__c=discount, ApprovedBy__c="sales.lead", ApprovedOn__c=day,
        )  # fmt: skip
    return key
