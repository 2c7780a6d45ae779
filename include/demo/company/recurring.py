"""Subscriptions and projects: billed by period or by milestone, never by shipment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from demo.company import documents as doc
from demo.company import order_to_cash as flow
from demo.company.calendar import add_months, business_day
from demo.company.documents import Item
from demo.company.master_data import product_of_kind
from demo.company.model import Customer, Invoice, Order, OrderLine, Row
from demo.company.money import from_euro, rounded, share
from demo.company.world import World

_ORDINARY = (("DE01", "EUR"), ("GB01", "GBP"), ("JP01", "JPY"), ("KW01", "KWD"), ("DE01", "EUR"), ("DE01", "USD"))
RETENTION_PERCENT = Decimal(10)


@dataclass(slots=True)
class Subscription:
    """A running subscription; ``price`` is for one seat and period."""

    id: str
    order: Order
    line: OrderLine
    row: Row
    interval: int
    price: Decimal
    started_on: date

    @property
    def customer(self) -> Customer:
        """Who is billed."""
        return self.order.customer


@dataclass(frozen=True, slots=True)
class Period:
    """What happens in one billing period: R regular, P prorated, H paused (held), F free."""

    kind: str = "R"
    fraction: Decimal = Decimal(1)
    is_billed: bool = True


Script = Callable[[int], Period]


def plan_recurring(world: World) -> None:
    """Put the ordinary subscriptions and projects on the agenda."""
    for index, (entity_code, currency) in enumerate(_ORDINARY * 3):
        day = business_day(entity_code, world.first + timedelta(days=4 + index * 5))
        interval = 3 if index % 4 == 3 else 1

        def start(code: str = entity_code, currency: str = currency, day: date = day, interval: int = interval) -> None:
            subscribe(world, world.fresh_customer(code, currency), day, interval)

        world.plan(day, start)
    for index, (entity_code, currency) in enumerate(_ORDINARY[:4]):
        day = business_day(entity_code, world.first + timedelta(days=20 + index * 9))

        def launch(code: str = entity_code, currency: str = currency, day: date = day) -> None:
            run_project(world, world.fresh_customer(code, currency), day, [Decimal(30), Decimal(40), Decimal(30)])

        world.plan(day, launch)


def subscribe(
    world: World, customer: Customer, day: date, interval: int = 1, *, seats: int = 0, uplift: Decimal = Decimal(5),
    script: Script = lambda number: Period(), ends_on: date | None = None, opportunity_id: str | None = None,
) -> Subscription:  # fmt: skip
    """Start a subscription on the first of the next month; ``script`` says what happens in its n-th period (from 0)."""
    product = product_of_kind(world, "A")
    price = from_euro(product.base_price, customer.currency) * interval
    item = Item(product, seats or world.rng.randint(5, 40), price=price)
    order = doc.add_order(world, day, customer, [item], kind="A", rule="T", opportunity_id=opportunity_id)
    start = add_months(day.replace(day=1), 1)
    at, key = world.at(order.entity, day, "ship"), world.new_id("AB")
    line = order.lines[0]
    row = world.book.add(
        "abo", key, at, id=key, company_id=order.entity.code, debtor_id=customer.id, so_item_id=line.id,
        article_id=product.id, start_day=start, end_day=ends_on, months=interval, qty=line.quantity, price=price,
        ccy=order.currency, uplift_pct=uplift, state="A",
    )  # fmt: skip
    subscription = Subscription(key, order, line, row, interval, price, start)
    world.plan(start, lambda: _run_period(world, subscription, 0, script))
    return subscription


def _run_period(world: World, subscription: Subscription, number: int, script: Script) -> None:
    order, line = subscription.order, subscription.line
    first = add_months(subscription.started_on, number * subscription.interval)
    following = add_months(first, subscription.interval)
    ends_on = subscription.row.values["end_day"]
    if ends_on is not None and first > ends_on:
        return
    period, price = script(number), subscription.price
    if number * subscription.interval >= 12:
        price = rounded(price * (100 + subscription.row.values["uplift_pct"]) / 100, order.currency)
    amount = rounded(price * line.quantity * period.fraction, order.currency)
    bill_on = business_day(order.entity.code, first)
    key = world.new_id("AP")
    row = world.book.add(
        "abo_period", key, world.at(order.entity, bill_on, "early"), id=key, abo_id=subscription.id, from_day=first,
        to_day=following - timedelta(days=1), bill_day=bill_on, amt=amount, kind=period.kind, bill_item_id=None,
    )  # fmt: skip
    if period.is_billed and period.kind in "RP":
        invoice = doc.bill(
            world, order, bill_on, [(line, None, line.quantity)], prices={line.id: price}, nets={line.id: amount}
        )
        row.change(invoice.row.created_at, bill_item_id=invoice.lines[0].id)
        flow.collect(world, invoice)
    world.plan(following, lambda: _run_period(world, subscription, number + 1, script))


def run_project(
    world: World, customer: Customer, day: date, shares: Sequence[Decimal], *, retention_days: int = 120
) -> Order:
    """A project billed by accepted milestones; a tenth of each invoice is held back until ``retention_days`` later."""
    product = product_of_kind(world, "S")
    price = from_euro(product.base_price * Decimal(world.rng.randint(8, 22)) / 10, customer.currency)
    order = doc.add_order(world, day, customer, [Item(product, 1, price=price)], kind="P", rule="M")
    rest = order.net
    for number, percent in enumerate(shares, start=1):
        is_last = number == len(shares)
        value = rest if is_last else share(order.net, percent, order.currency)
        rest -= value
        _plan_milestone(world, order, day, number, value, retention_days)
    return order


def _plan_milestone(world: World, order: Order, day: date, number: int, value: Decimal, retention_days: int) -> None:
    key, entity = world.new_id("MS"), order.entity
    planned = business_day(entity.code, day + timedelta(days=28 * number))
    done = world.after(entity, planned, world.rng.randint(0, 5))
    accepted = world.after(entity, done, 3)
    row = world.book.add(
        "milestone", key, world.at(entity, day, "ship"), id=key, so_item_id=order.lines[0].id, name=f"Stage {number}",
        plan_day=planned, done_day=None, accept_day=None, net=value, holdback_pct=RETENTION_PERCENT, bill_item_id=None,
    )  # fmt: skip
    row.change(world.at(entity, done, "match"), done_day=done)
    row.change(world.at(entity, accepted, "match"), accept_day=accepted)

    def bill_milestone() -> None:
        invoice = doc.bill(
            world, order, billed_on, [(order.lines[0], None, 1)], prices={order.lines[0].id: value},
            nets={order.lines[0].id: value},
        )  # fmt: skip
        row.change(invoice.row.created_at, bill_item_id=invoice.lines[0].id)
        _collect_with_retention(world, order, invoice, retention_days)

    billed_on = world.after(entity, accepted, 2)
    world.plan(billed_on, bill_milestone)


def _collect_with_retention(world: World, order: Order, invoice: Invoice, retention_days: int) -> None:
    held_back = share(invoice.total, RETENTION_PERCENT, invoice.currency)
    due, retention_due = invoice.due_on, invoice.due_on + timedelta(days=retention_days)
    doc.schedule(world, invoice, [(due, invoice.total - held_back, False), (retention_due, held_back, True)])
    paid_on = business_day(invoice.entity.code, due + timedelta(days=world.rng.randint(0, 6)))
    flow.pay(world, invoice, paid_on, invoice.total - held_back)
    # Retention comes back a little before it is due: it never looks like an overdue rest.
    released = business_day(invoice.entity.code, retention_due - timedelta(days=8))
    flow.pay(world, invoice, released, held_back, text=f"RETENTION {invoice.number}", lag=0)
    world.truth.innocent("L13", invoice.id, "retention not due", invoice.posted_on)
    world.truth.case("milestone_with_retention", invoice.posted_on, invoice_id=invoice.id, order_id=order.id)
