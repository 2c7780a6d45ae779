"""The ordinary business: orders, shipments, invoices within three days, and customers who pay as they always do.

Nothing in here may look like a leak: every shipment is billed in time at the agreed price, part payments stay well
below three quarters of the invoice until they are settled, and a won deal gets its order.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

from demo.company import documents as doc
from demo.company.calendar import business_day, is_business_day
from demo.company.card_processor import charge
from demo.company.crm import add_deal, add_quote, hand_back
from demo.company.documents import Item
from demo.company.master_data import goods
from demo.company.model import Customer, Entity, Invoice, Order, OrderLine, Receipt, ShipLine
from demo.company.money import ZERO, share
from demo.company.world import World

ORDERS_PER_MONTH = {"DE01": 47, "GB01": 23, "JP01": 21, "KW01": 15}
_BUSINESS_DAYS_PER_MONTH = 21.7
_CHANNELS = ("D", "D", "E", "E", "P", "R")


def daily_business(world: World, day: date) -> None:
    """Book the day's ordinary orders and deals of every entity."""
    for entity in world.entities.values():
        if not is_business_day(entity.code, day):
            continue
        expected = ORDERS_PER_MONTH[entity.code] / _BUSINESS_DAYS_PER_MONTH * world.profile.scale
        # Business grows a little, so that trends are visible.
        expected *= 0.9 + 0.2 * min((day - world.first).days / 540, 1.0)
        for _ in range(int(expected + world.rng.random())):
            _business(world, entity, day)


def _business(world: World, entity: Entity, day: date) -> None:
    customer = world.customer_of(entity.code)
    draw = world.rng.random()
    if customer.segment == "online":
        card_order(world, customer, day)
    elif draw < 0.22:
        _deal(world, customer, day)
    elif draw < 0.25:
        prepaid_order(world, customer, day)
    else:
        standard_order(world, customer, day)


def pick_items(world: World, customer: Customer, *, lines: int = 0, largest: int = 60) -> list[Item]:
    """Positions a customer would order: mostly agreed products, some from the list with a discount."""
    rng = world.rng
    wanted: dict[str, Item] = {}
    for _ in range(lines or rng.choice((1, 1, 2, 2, 3, 4))):
        agreed = rng.random() < 0.8
        product = rng.choice(customer.agreed_products if agreed else goods(world))
        quantity = rng.randint(2, largest) if rng.random() < 0.9 else rng.randint(100, 160)
        contracted = any(known.id == product.id for known in customer.agreed_products)
        wanted[product.id] = Item(product, quantity, discount_percent=0 if contracted else rng.choice((0, 0, 5, 8)))
    return list(wanted.values())


def _deal(world: World, customer: Customer, day: date) -> None:
    """A deal that is decided in some weeks; when it is won its order follows within days."""
    rng, currency = world.rng, customer.currency
    items = pick_items(world, customer)
    outcome = rng.choices(("won", "lost", "open"), (70, 22, 8))[0]
    closes = world.after(customer.entity, day + timedelta(days=rng.randint(6, 40)), 0)
    amount = doc.order_total(items, customer, currency, day)
    kind = rng.choice(("New Business", "Existing Business"))
    key, row = add_deal(world, customer, day, closes, amount, kind=kind, outcome=outcome)
    if rng.random() < 0.7:
        add_quote(world, customer, key, day, items, currency)
    if outcome != "won":
        return

    def book_order() -> None:
        order = standard_order(world, customer, booked, items=items, opportunity_id=key)
        if world.rng.random() < 0.6:
            hand_back(world, row, order)

    booked = world.after(customer.entity, closes, rng.randint(0, 4))
    world.plan(booked, book_order)


def standard_order(
    world: World,
    customer: Customer,
    day: date,
    *,
    items: Sequence[Item] | None = None,
    opportunity_id: str | None = None,
) -> Order:
    """An order that is shipped, billed and paid in the ordinary way."""
    rng = world.rng
    items = list(items or pick_items(world, customer))
    if rng.random() < 0.03:
        items.append(Item(world.products[-1], rng.randint(1, 5), is_free=True))
    rule = "D" if customer.proof_needed else "G"
    order = doc.add_order(
        world, day, customer, items, rule=rule, channel=rng.choice(_CHANNELS), opportunity_id=opportunity_id
    )
    if opportunity_id is None and rng.random() < 0.02:
        doc.cancel_order(world, order, world.after(order.entity, day, 1))
        return order
    ship_on = world.after(order.entity, day, rng.randint(1, 6))
    if rng.random() < 0.04:
        doc.hold(world, order, day, released_on=ship_on)
        ship_on = world.after(order.entity, ship_on, 1)
    fulfil(world, order, ship_on)
    return order


def fulfil(world: World, order: Order, ship_on: date) -> None:
    """Ship everything, sometimes in two parts, and bill and collect each shipment."""
    first: list[tuple[OrderLine, int]] = [(line, line.quantity) for line in order.lines]
    second: list[tuple[OrderLine, int]] = []
    if world.rng.random() < 0.09 and order.lines[0].quantity > 3:
        line, later = order.lines[0], order.lines[0].quantity // 3
        first[0] = (line, line.quantity - later)
        second = [(line, later)]
    ship_and_bill(world, order, ship_on, first)
    if second:
        ship_and_bill(world, order, world.after(order.entity, ship_on, world.rng.randint(2, 8)), second)


def ship_and_bill(world: World, order: Order, day: date, parts: Sequence[tuple[OrderLine, int]]) -> Invoice:
    """Ship, bill on the billing trigger's day or the next, and let the customer pay."""
    rng, proof = world.rng, None
    if order.row.values["bill_rule"] == "D":
        proof = world.after(order.entity, day, rng.randint(1, 4))
    shipped = doc.ship(world, order, day, parts, warehouse=rng.choice((0, 0, 1)), proof_on=proof)
    invoice = doc.bill_shipment(world, order, world.after(order.entity, proof or day, rng.choice((0, 0, 1))), shipped)
    if rng.random() < 0.025:
        _return_and_credit(world, order, shipped[0], invoice)
    else:
        collect(world, invoice)
    return invoice


def _return_and_credit(world: World, order: Order, part: ShipLine, invoice: Invoice) -> None:
    """Some goods come back; the credit memo reduces what the customer pays."""
    line, quantity = invoice.lines[0], max(1, part.quantity // 4)
    back_on = world.after(order.entity, invoice.posted_on, world.rng.randint(3, 8))
    return_id = doc.return_goods(world, order, part, back_on, quantity, "opened")
    credit_on = world.after(order.entity, back_on, world.rng.randint(1, 5))
    amount = share(line.net, Decimal(quantity * 100) / line.quantity, invoice.currency)
    note = doc.credit(world, invoice, credit_on, [(line, quantity, amount)], "RET", return_id=return_id)
    doc.apply_credit(world, note, invoice, credit_on, note.total)
    pay_on = world.after(order.entity, max(credit_on, invoice.due_on), world.rng.randint(0, 6))
    if invoice.total > note.total:
        pay(world, invoice, pay_on, invoice.total - note.total)


def card_order(world: World, customer: Customer, day: date, *, ship_on: date | None = None) -> tuple[Invoice, Receipt]:
    """A web shop order: shipped (the next day, if nothing else is said), billed and paid by card at once."""
    order = doc.add_order(world, day, customer, pick_items(world, customer, largest=12), channel="W", terms=0)
    ship_on = ship_on or world.after(order.entity, day, 1)
    shipped = doc.ship(world, order, ship_on, [(line, line.quantity) for line in order.lines])
    invoice = doc.bill_shipment(world, order, ship_on, shipped, sale="B")
    return invoice, pay_by_card(world, invoice, ship_on)


def pay_by_card(world: World, invoice: Invoice, day: date) -> Receipt:
    """Charge the card for the whole invoice."""
    charge_id = charge(world, invoice.customer, day, invoice.total, invoice.number)
    receipt = doc.receive(
        world, invoice.customer, invoice.currency, day, invoice.total, invoice.number, method="C", charge_id=charge_id
    )
    doc.match(world, receipt, invoice, day, invoice.total)
    return receipt


def prepaid_order(world: World, customer: Customer, day: date) -> Order:
    """Billed when booked, paid by a deposit, shipped afterwards; the invoice names no delivery."""
    order = doc.add_order(world, day, customer, pick_items(world, customer), kind="V", rule="O", terms=0)
    billed_on = world.after(order.entity, day, 3)
    deposit_on = world.after(order.entity, day, 2)
    invoice = doc.bill(world, order, billed_on, [(line, None, line.quantity) for line in order.lines], sale="V")
    text = f"DEPOSIT {order.number}"
    deposit = doc.receive(world, customer, order.currency, deposit_on, invoice.total, text, kind="D")
    doc.match(world, deposit, invoice, billed_on, invoice.total)
    ship_on = world.after(order.entity, billed_on, world.rng.randint(1, 3))
    for part in doc.ship(world, order, ship_on, [(line, line.quantity) for line in order.lines]):
        world.truth.innocent("L01", part.id, "prepaid, billed before", ship_on)
    world.truth.case(
        "prepaid_order", billed_on, order_id=order.id, invoice_id=invoice.id, deposit_receipt_id=deposit.id
    )
    return order


def days_late(world: World, pace: str) -> int:
    """How many days after the due date a customer of that pace pays; negative is early."""
    rng = world.rng
    if pace == "prompt":
        return rng.randint(-6, 3)
    if pace == "normal":
        return int(rng.triangular(-3, 26, 6))
    if pace == "slow":
        return rng.randint(12, 60)
    return rng.randint(40, 150)


def collect(world: World, invoice: Invoice) -> None:
    """Plan how an ordinary invoice is paid, or written off in the end."""
    rng, customer, entity = world.rng, invoice.customer, invoice.entity
    draw = rng.random()
    if customer.discount_percent is not None and draw < 0.6:
        discount = share(invoice.total, customer.discount_percent, invoice.currency)
        wait = timedelta(days=rng.randint(3, customer.discount_days - 2))
        pay_on = business_day(entity.code, invoice.posted_on + wait)
        pay(world, invoice, pay_on, invoice.total - discount, discount=discount, lag=0)
        return
    earliest = world.after(entity, invoice.posted_on, 1)
    pay_on = max(earliest, business_day(entity.code, invoice.due_on + timedelta(days=days_late(world, customer.pace))))
    if customer.pace == "bad" and draw < 0.15:
        written_off = world.after(entity, invoice.due_on + timedelta(days=rng.randint(150, 210)), 0)
        doc.adjust(world, "WO", written_off, invoice.total, "uncollectable", invoice=invoice)
    elif customer.pace != "prompt" and draw < 0.21:
        _pay_in_parts(world, invoice, pay_on)
    elif draw < 0.23:
        _disputed(world, invoice, pay_on)
    else:
        pay(world, invoice, pay_on, invoice.total)


def _pay_in_parts(world: World, invoice: Invoice, day: date) -> None:
    """Roughly half now and the rest some weeks later: never near the three quarters of a short payment."""
    part = share(invoice.total, world.rng.randint(35, 60), invoice.currency)
    rest_on = world.after(invoice.entity, day, world.rng.randint(8, 30))
    pay(world, invoice, day, part)
    pay(world, invoice, rest_on, invoice.total - part)


def _disputed(world: World, invoice: Invoice, day: date) -> None:
    """The customer complains and pays once the claim is rejected."""
    opened = world.after(invoice.entity, invoice.posted_on, 5)
    closed = world.after(invoice.entity, max(opened, day), 2)
    kind = world.rng.choice(("PR", "QU", "DE"))
    doc.claim(world, invoice, opened, kind, share(invoice.total, 30, invoice.currency), closed_on=closed, result="R")
    pay(world, invoice, world.after(invoice.entity, closed, 4), invoice.total)


def pay(
    world: World, invoice: Invoice, day: date, amount: Decimal, *, discount: Decimal = ZERO, lag: int | None = None,
    text: str | None = None, discount_kind: str = "E",
) -> Receipt:  # fmt: skip
    """Receive a transfer for one invoice and apply it, usually the same day; some payers must be found out first."""
    rng, entity = world.rng, invoice.entity
    known = rng.random() >= 0.03
    wait = lag if lag is not None else rng.choice((0, 0, 0, 1, 2)) if known else rng.randint(3, 20)
    receipt = doc.receive(
        world, invoice.customer, invoice.currency, day, amount, text or f"INV {invoice.number}", known=known
    )
    matched_on = world.after(entity, day, wait)
    found = doc.match(
        world, receipt, invoice, matched_on, amount, discount=discount, auto=known,
        discount_kind=discount_kind if discount else None,
    )  # fmt: skip
    if not known:
        receipt.row.change(found.row.created_at, debtor_id=invoice.customer.id)
    return receipt
