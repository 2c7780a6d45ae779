"""Planted leaks: what really went wrong, written into the truth at the moment it is decided.

The same policy that the leak rules state is written here a second time on purpose: tolerances are constants of this
module, so that a rule and its test cannot share a mistake.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

from demo.company import documents as doc
from demo.company import order_to_cash as flow
from demo.company.calendar import business_day
from demo.company.crm import add_deal
from demo.company.documents import Item
from demo.company.master_data import contract_price, missing_rate_day
from demo.company.model import Customer, Invoice, Order
from demo.company.money import rounded, share
from demo.company.world import World

BILLING_TOLERANCE_DAYS = 5
ORDER_TOLERANCE_DAYS = 14
SHORT_PAYMENT_QUIET_DAYS = 10
LEAKS_PER_RULE = 9
_SPOTS = (
    ("DE01", "EUR"), ("JP01", "JPY"), ("KW01", "KWD"), ("GB01", "GBP"), ("DE01", "USD"), ("JP01", "JPY"),
    ("KW01", "KWD"), ("DE01", "EUR"), ("GB01", "GBP"),
)  # fmt: skip
_CLOSED_INDEX, _CLOSED_LATER_INDEX, _FOUND_LATER_INDEX = 4, 7, 8

Planter = Callable[[World, Customer, date, int, date | None], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How the leaks of one rule are spread: ``latest`` days before the end all of them can be found."""

    plant: Planter
    earliest: int
    latest: int
    found_later: int
    closes_after: int
    is_lost_deal: bool = False


def plan_leaks(world: World) -> None:
    """Put every planted leak on the agenda, spread over entities, currencies and months."""
    plans = (
        Plan(plant_unbilled_shipment, 165, 25, 4, 45),
        Plan(plant_won_without_order, 150, 42, 20, 95, is_lost_deal=True),
        Plan(plant_price_below_contract, 160, 20, 12, 60),
        Plan(plant_short_payment, 172, 100, 50, 110),
    )
    for plan in plans:
        _spread(world, plan)


def _spread(world: World, plan: Plan) -> None:
    count = LEAKS_PER_RULE * max(1, round(world.profile.scale))
    history = (world.base_today - world.first).days
    earliest = max(plan.earliest, history - 40) if history > 250 else plan.earliest
    for index in range(count):
        entity_code, currency = _SPOTS[index % len(_SPOTS)]
        ago = earliest - (earliest - plan.latest) * index // max(1, count - 1)
        kind = index % LEAKS_PER_RULE
        closes_on = None
        if kind == _CLOSED_INDEX:
            ago = max(ago, plan.closes_after + 20)
            closes_on = world.days_ago(entity_code, ago - plan.closes_after)
        elif kind == _CLOSED_LATER_INDEX:
            closes_on = world.days_ago(entity_code, -4)
        elif kind == _FOUND_LATER_INDEX:
            ago = plan.found_later
        day = world.days_ago(entity_code, ago)
        if abs((day - missing_rate_day(world)).days) < 16:
            # Rates of one day are missing on purpose; a leak there could not be expressed in the group's currency.
            day = business_day(entity_code, day - timedelta(days=35))
        _plan_one(world, plan, (entity_code, currency), day, kind, closes_on)


def _plan_one(world: World, plan: Plan, spot: tuple[str, str], day: date, kind: int, closes_on: date | None) -> None:
    def act() -> None:
        customer = world.fresh_customer(*spot, for_lost_deal=plan.is_lost_deal)
        plan.plant(world, customer, day, kind, closes_on)

    world.plan(day, act)


def plant_unbilled_shipment(world: World, customer: Customer, day: date, kind: int, closes_on: date | None) -> None:
    """L01: a delivery line that nobody bills; odd kinds bill the rest of the order."""
    items = flow.pick_items(world, customer, lines=5)[: 1 + kind % 2]
    needs_proof = kind == 2
    order = doc.add_order(world, day, customer, items, rule="D" if needs_proof else "G")
    ship_on = world.after(order.entity, day, 2)
    proof = world.after(order.entity, ship_on, 3) if needs_proof else None
    shipped = doc.ship(world, order, ship_on, [(line, line.quantity) for line in order.lines], proof_on=proof)
    lost, rest = shipped[0], shipped[1:]
    quantity = lost.quantity
    if kind == 0:
        quantity -= 1
        doc.return_goods(world, order, lost, world.after(order.entity, ship_on, 3), 1, "damaged")
    if rest:
        flow.collect(world, doc.bill_shipment(world, order, world.after(order.entity, ship_on, 1), rest))
    trigger = proof or ship_on
    leak = world.truth.leak(
        "L01", lost.id, customer, rounded(lost.line.price * quantity, order.currency), currency=order.currency,
        event_on=trigger, from_=trigger + timedelta(days=BILLING_TOLERANCE_DAYS + 1),
    )  # fmt: skip
    if closes_on is not None:
        leak.closed_on = closes_on
        world.plan(closes_on, lambda: flow.collect(world, doc.bill_shipment(world, order, closes_on, [lost])))


def plant_won_without_order(world: World, customer: Customer, day: date, kind: int, closes_on: date | None) -> None:
    """L03: a won deal that never becomes an order (or only much later)."""
    closes = world.after(customer.entity, day, 8)
    items = flow.pick_items(world, customer)
    amount = doc.order_total(items, customer, customer.currency, day)
    # Other orders of this customer keep clear of the amount while they could be taken for this deal.
    window = (closes - timedelta(days=14), closes + timedelta(days=50), amount)
    world.reserved[customer.id, customer.currency].append(window)
    deal_kind = "Existing Business" if kind % 3 == 1 else "New Business"
    key, _ = add_deal(world, customer, day, closes, amount, kind=deal_kind)
    leak = world.truth.leak(
        "L03", key, customer, amount, currency=customer.currency, event_on=closes,
        from_=closes + timedelta(days=ORDER_TOLERANCE_DAYS + 1),
    )  # fmt: skip
    if closes_on is not None:
        leak.closed_on = closes_on
        world.plan(
            closes_on,
            lambda: _ignore(flow.standard_order(world, customer, closes_on, items=items, opportunity_id=key)),
        )


def _ignore(_: object) -> None:
    """Agenda actions return nothing."""


def plant_price_below_contract(world: World, customer: Customer, day: date, kind: int, closes_on: date | None) -> None:
    """L05: an invoice line below the contract price; in odd kinds only the invoice is wrong, not the order."""
    product = max(customer.agreed_products, key=lambda known: known.base_price)
    quantity = world.rng.randint(5, 60)
    agreed = contract_price(customer, product, customer.currency, product.unit, quantity, day)
    if agreed is None:
        raise ValueError(f"{customer.id} has no price for {product.sku} on {day}")
    low = rounded(agreed * (100 - world.rng.randint(3, 12)) / 100, customer.currency)
    order = doc.add_order(world, day, customer, [Item(product, quantity, price=agreed if kind % 2 else low)])
    line = order.lines[0]
    ship_on = world.after(order.entity, day, 2)
    shipped = doc.ship(world, order, ship_on, [(line, line.quantity)])
    invoice = doc.bill(
        world, order, world.after(order.entity, ship_on, 1), [(line, shipped[0], line.quantity)], prices={line.id: low}
    )
    flow.collect(world, invoice)
    amount = rounded((agreed - low) * line.quantity, order.currency)
    world.truth.leak(
        "L05", invoice.lines[0].id, customer, amount, currency=order.currency, event_on=invoice.posted_on,
        from_=invoice.posted_on,
    )  # fmt: skip


def unpaid_invoice(world: World, customer: Customer, day: date, *, lines: int = 2) -> tuple[Order, Invoice]:
    """An order that is shipped and billed; how it is paid is up to the caller."""
    order = doc.add_order(world, day, customer, flow.pick_items(world, customer, lines=lines))
    ship_on = world.after(order.entity, day, 2)
    shipped = doc.ship(world, order, ship_on, [(line, line.quantity) for line in order.lines])
    return order, doc.bill_shipment(world, order, world.after(order.entity, ship_on, 1), shipped)


def plant_short_payment(world: World, customer: Customer, day: date, kind: int, closes_on: date | None) -> None:
    """L13: a payment that leaves 5 to 18 percent open, without a reason and without a second payment."""
    _, invoice = unpaid_invoice(world, customer, day)
    if kind == _FOUND_LATER_INDEX:
        invoice.due_on = invoice.posted_on + timedelta(days=14)
        invoice.row.values.update(due_day=invoice.due_on, pay_days=14)
    paid = share(invoice.total, world.rng.randint(82, 95), invoice.currency)
    paid_on = business_day(invoice.entity.code, invoice.due_on + timedelta(days=world.rng.randint(-2, 6)))
    if kind == _FOUND_LATER_INDEX:
        paid_on = world.days_ago(invoice.entity.code, 7)
    residual = invoice.total - paid
    receipt = flow.pay(world, invoice, paid_on, paid, lag=1)
    matched_on = receipt.matches[0].row.values["match_day"]
    leak = world.truth.leak(
        "L13", invoice.id, customer, residual, currency=invoice.currency, event_on=matched_on,
        from_=max(invoice.due_on + timedelta(days=1), matched_on + timedelta(days=SHORT_PAYMENT_QUIET_DAYS + 1)),
    )  # fmt: skip
    world.truth.case("short_pay_without_reason", matched_on, invoice_id=invoice.id, receipt_id=receipt.id)
    if closes_on is not None:
        leak.closed_on = closes_on
        world.plan(closes_on, lambda: _ignore(flow.pay(world, invoice, closes_on, residual, lag=0)))
