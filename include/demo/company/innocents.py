"""Look-alikes: business that resembles a leak and is none. Every trap of the four rules occurs here."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal

from demo.company import documents as doc
from demo.company import order_to_cash as flow
from demo.company.calendar import business_day
from demo.company.crm import add_deal, hand_back
from demo.company.documents import Item
from demo.company.leaks import unpaid_invoice
from demo.company.master_data import agree, contract_goods, contract_price, goods, product_of_kind
from demo.company.model import Customer, Invoice, Order, Product, ShipLine
from demo.company.money import from_euro, rounded, share
from demo.company.world import World

Innocent = Callable[[World, Customer, date], None]
_SPOTS = (("DE01", "EUR"), ("JP01", "JPY"), ("KW01", "KWD"), ("GB01", "GBP"))


def plan_innocents(world: World) -> None:
    """Put the look-alikes on the agenda, each in every currency area."""
    for index, (planter, latest) in enumerate(_PLANTERS):
        for place, (entity_code, currency) in enumerate(_SPOTS):
            ago = latest if latest < 15 else latest + 7 * place + index % 5
            day = world.days_ago(entity_code, ago)
            _plan_one(world, planter, (entity_code, currency), day)


def _plan_one(world: World, planter: Innocent, spot: tuple[str, str], day: date) -> None:
    world.plan(day, lambda: planter(world, world.fresh_customer(*spot), day))


def _shipped(
    world: World, customer: Customer, day: date, why: str, items: list[Item] | None = None, *, kind: str = "S",
    rule: str = "G",
) -> tuple[Order, list[ShipLine]]:  # fmt: skip
    """An order that is shipped; its delivery lines are innocents of L01."""
    order = doc.add_order(world, day, customer, items or flow.pick_items(world, customer), kind=kind, rule=rule)
    ship_on = world.after(order.entity, day, 2)
    shipped = doc.ship(world, order, ship_on, [(line, line.quantity) for line in order.lines])
    for part in shipped:
        world.truth.innocent("L01", part.id, why, ship_on)
    return order, shipped


def proof_pending(world: World, customer: Customer, day: date) -> None:
    """Billed on proof of delivery, which has not come yet."""
    _shipped(world, customer, day, "proof of delivery pending", rule="D")


def consignment(world: World, customer: Customer, day: date) -> None:
    """Goods in the customer's consignment stock, billed as they are used."""
    order, shipped = _shipped(world, customer, day, "consignment", kind="K", rule="C")
    line = order.lines[0]
    used_on = world.after(order.entity, day, 15)
    invoice = doc.bill(world, order, used_on, [(line, None, max(1, line.quantity // 2))])
    flow.collect(world, invoice)
    world.truth.case("consignment", day, order_id=order.id, delivery_line_id=shipped[0].id, invoice_id=invoice.id)


def free_goods(world: World, customer: Customer, day: date) -> None:
    """Samples and products that are never billed."""
    sample = Item(world.products[-1], 4, price=from_euro(Decimal(5), customer.currency))
    items = [Item(goods(world)[3], 2, is_free=True), sample]
    _shipped(world, customer, day, "free of charge or not billable", items)


def billed_without_delivery_reference(world: World, customer: Customer, day: date) -> None:
    """The invoice names the order line only."""
    order, _ = _shipped(world, customer, day, "invoice names the order line only")
    billed_on = world.after(order.entity, day, 3)
    invoice = doc.bill(world, order, billed_on, [(line, None, line.quantity) for line in order.lines])
    flow.collect(world, invoice)


def shipped_just_now(world: World, customer: Customer, day: date) -> None:
    """Shipped in the last days; the invoice comes inside the tolerance."""
    order = doc.add_order(world, day, customer, flow.pick_items(world, customer))
    ship_on = world.days_ago(order.entity.code, 3)
    shipped = doc.ship(world, order, ship_on, [(line, line.quantity) for line in order.lines])
    for part in shipped:
        world.truth.innocent("L01", part.id, "inside the tolerance", ship_on)
    billed_on = business_day(order.entity.code, ship_on + timedelta(days=4))
    world.plan(billed_on, lambda: flow.collect(world, doc.bill_shipment(world, order, billed_on, shipped)))


def returned_in_full(world: World, customer: Customer, day: date) -> None:
    """Everything came back before it was billed."""
    order, shipped = _shipped(world, customer, day, "returned in full")
    for part in shipped:
        doc.return_goods(world, order, part, world.after(order.entity, day, 5), part.quantity, "refused")


def kit(world: World, customer: Customer, day: date) -> None:
    """A kit is priced at its own line; the components are shipped and carry no price."""
    parts = [product for product in goods(world) if product not in customer.agreed_products][:1]
    parts.append(customer.agreed_products[0])
    items = [Item(product_of_kind(world, "K"), 5)] + [Item(product, 5, is_component=True) for product in parts]
    order = doc.add_order(world, day, customer, items)
    ship_on = world.after(order.entity, day, 2)
    shipped = doc.ship(world, order, ship_on, [(line, line.quantity) for line in order.lines[1:]])
    invoice = doc.bill(
        world, order, ship_on, [(order.lines[0], None, 5)] + [(part.line, part, part.quantity) for part in shipped[1:]]
    )
    world.truth.innocent("L01", shipped[0].id, "component of a kit", ship_on)
    world.truth.innocent("L05", invoice.lines[1].id, "component of a kit", ship_on)
    flow.collect(world, invoice)
    world.truth.case("kit", day, order_id=order.id, invoice_id=invoice.id)


def renewal(world: World, customer: Customer, day: date) -> None:
    """A renewal runs on in billing and needs no order."""
    closes = world.after(customer.entity, day, 8)
    key, _ = add_deal(world, customer, day, closes, _deal_amount(world, customer, day), kind="Renewal")
    world.truth.innocent("L03", key, "renewal", closes)


def _deal_amount(world: World, customer: Customer, day: date) -> Decimal:
    return doc.order_total(flow.pick_items(world, customer), customer, customer.currency, day)


def split_deal(world: World, customer: Customer, day: date) -> None:
    """One deal, two orders: neither has its amount, both name it."""
    items = flow.pick_items(world, customer)
    closes = world.after(customer.entity, day, 8)
    amount = doc.order_total(items, customer, customer.currency, day) * 2
    key, _ = add_deal(world, customer, day, closes, amount)
    world.truth.innocent("L03", key, "split into several orders", closes)
    for wait in (1, 6):
        booked = world.after(customer.entity, closes, wait)
        _plan_order(world, customer, booked, items, key)


def _plan_order(world: World, customer: Customer, day: date, items: list[Item], opportunity_id: str | None) -> None:
    def book() -> None:
        flow.standard_order(world, customer, day, items=items, opportunity_id=opportunity_id)

    world.plan(day, book)


def purchase_order_pending(world: World, customer: Customer, day: date) -> None:
    """The customer agreed but has not sent its purchase order."""
    closes = world.after(customer.entity, day, 8)
    key, _ = add_deal(world, customer, day, closes, _deal_amount(world, customer, day), order_pending=True)
    world.truth.innocent("L03", key, "purchase order pending", closes)


def duplicate_deal(world: World, customer: Customer, day: date) -> None:
    """Two sales people entered the same deal; one of them got the order."""
    items = flow.pick_items(world, customer)
    closes = world.after(customer.entity, day, 8)
    amount = doc.order_total(items, customer, customer.currency, day)
    first, _ = add_deal(world, customer, day, closes, amount)
    second, _ = add_deal(world, customer, day, closes, amount, duplicate_of=first, name=f"{customer.name} (again)")
    world.truth.innocent("L03", second, "duplicate deal", closes)
    _plan_order(world, customer, world.after(customer.entity, closes, 2), items, first)


def number_only(world: World, customer: Customer, day: date) -> None:
    """The order does not name the deal, but the deal names the order; the amounts differ."""
    items = flow.pick_items(world, customer)
    closes = world.after(customer.entity, day, 8)
    amount = doc.order_total(items, customer, customer.currency, day)
    key, row = add_deal(world, customer, day, closes, amount * 3)
    booked = world.after(customer.entity, closes, 3)

    def book() -> None:
        order = doc.add_order(world, booked, customer, items)
        flow.fulfil(world, order, world.after(order.entity, booked, 2))
        hand_back(world, row, order)

    world.truth.innocent("L03", key, "order known by its number only", closes)
    world.plan(booked, book)


def amount_and_date(world: World, customer: Customer, day: date, *, account_id: str | None = None) -> None:
    """Nothing links deal and order but the customer, the amount (within 2 %) and the days."""
    closes = world.after(customer.entity, day, 8)
    booked = world.after(customer.entity, closes, 6)
    items = flow.pick_items(world, customer)
    total = doc.order_total(items, customer, customer.currency, booked)
    key, _ = add_deal(
        world, customer, day, closes, rounded(total * Decimal("1.012"), customer.currency), account_id=account_id
    )

    def book() -> None:
        order = doc.add_order(world, booked, customer, items)
        flow.fulfil(world, order, world.after(order.entity, booked, 2))

    world.truth.innocent("L03", key, "order found by customer, amount and date", closes)
    world.plan(booked, book)


def second_account(world: World, customer: Customer, day: date) -> None:
    """The deal hangs on a second CRM account of the customer that only shares its tax number."""
    twins = {world.customers[2].id: world.customers[2], world.customers[50].id: world.customers[50]}
    known = next((twin for twin in twins.values() if twin.entity is customer.entity), None)
    if known is None:
        return
    accounts = world.book.tables["Account"].values()
    key = next(row.values["Id"] for row in accounts if row.values["Name"] == known.name.upper())
    amount_and_date(world, known, day, account_id=str(key))


def won_just_now(world: World, customer: Customer, day: date) -> None:
    """Won some days ago; the order comes inside the tolerance."""
    items = flow.pick_items(world, customer)
    closes = world.days_ago(customer.entity.code, 6)
    key, _ = add_deal(world, customer, day, closes, doc.order_total(items, customer, customer.currency, day))
    world.truth.innocent("L03", key, "inside the tolerance", closes)
    _plan_order(world, customer, business_day(customer.entity.code, closes + timedelta(days=10)), items, key)


def _price_trap(
    world: World, customer: Customer, day: date, item: Item, why: str, *, approval: str | None = None,
    currency: str | None = None, wait: int = 2,
) -> Invoice:  # fmt: skip
    """An order for one item whose invoice line is an innocent of L05."""
    order = doc.add_order(world, day, customer, [item], currency=currency)
    line, ship_on = order.lines[0], world.after(customer.entity, day, wait)
    shipped = doc.ship(world, order, ship_on, [(line, line.quantity)])
    invoice = doc.bill(world, order, ship_on, [(line, shipped[0], line.quantity)], approval=approval)
    world.truth.innocent("L05", invoice.lines[0].id, why, ship_on)
    flow.collect(world, invoice)
    return invoice


def _dearest(customer: Customer) -> Product:
    return max(customer.agreed_products, key=lambda product: product.base_price)


def _agreed(customer: Customer, quantity: int, day: date) -> Decimal:
    product = _dearest(customer)
    price = contract_price(customer, product, customer.currency, product.unit, quantity, day)
    if price is None:
        raise ValueError(f"{customer.id} has no price for {product.sku} on {day}")
    return price


def _unagreed(world: World, customer: Customer) -> Product:
    """A product of which the customer has no contract price yet."""
    known = {agreement.product_id for agreement in customer.agreements}
    return next(product for product in contract_goods(world) if product.id not in known)


def special_price(world: World, customer: Customer, day: date) -> None:
    """Below contract with an approval."""
    price = rounded(_agreed(customer, 20, day) * Decimal("0.9"), customer.currency)
    _price_trap(world, customer, day, Item(_dearest(customer), 20, price), "special price approved", approval="SP-2041")


def tier_reached(world: World, customer: Customer, day: date) -> None:
    """The lower price of a quantity tier that was reached."""
    product, price = _unagreed(world, customer), from_euro(Decimal(90), customer.currency)
    agree(world, customer, product, 1, price, day, None, at=world.at(customer.entity, day, "early"))
    low = rounded(price * Decimal("0.9"), customer.currency)
    agree(world, customer, product, 50, low, day, None, at=world.at(customer.entity, day, "early"))
    _price_trap(world, customer, day, Item(product, 80, low), "price of the tier reached")


def tier_not_reached(world: World, customer: Customer, day: date) -> None:
    """The only contract price holds from a quantity that was not ordered."""
    product, price = _unagreed(world, customer), from_euro(Decimal(120), customer.currency)
    agree(world, customer, product, 100, price, day, None, at=world.at(customer.entity, day, "early"))
    low = rounded(price * Decimal("0.8"), customer.currency)
    _price_trap(world, customer, day, Item(product, 20, low), "tier not reached")


def price_rose_before_shipment(world: World, customer: Customer, day: date) -> None:
    """Ordered at the old price, shipped when the new one held."""
    product, price = _unagreed(world, customer), from_euro(Decimal(75), customer.currency)
    at, last = world.at(customer.entity, day, "early"), day + timedelta(days=1)
    agree(world, customer, product, 1, price, day, last, at=at)
    risen = rounded(price * Decimal("1.08"), customer.currency)
    agree(world, customer, product, 1, risen, last + timedelta(days=1), None, at=at)
    _price_trap(world, customer, day, Item(product, 15, price), "old price held on the order date", wait=4)


def other_unit(world: World, customer: Customer, day: date) -> None:
    """The contract price is for a box of ten."""
    product, price = _unagreed(world, customer), from_euro(Decimal(300), customer.currency)
    at = world.at(customer.entity, day, "early")
    agree(world, customer, product, 1, price, day, None, unit="BOX", at=at)
    _price_trap(world, customer, day, Item(product, 30, rounded(price / 9, customer.currency)), "other unit of measure")


def other_currency(world: World, customer: Customer, day: date) -> None:
    """The contract price is in another currency than the order."""
    product = _unagreed(world, customer)
    price, other = Decimal(500), "USD"
    at = world.at(customer.entity, day, "early")
    agree(world, customer, product, 1, from_euro(price * 3, customer.currency), day, None, at=at)
    item = Item(product, 6, rounded(Decimal("0.9") * price, other))
    _price_trap(world, customer, day, item, "other currency", currency=other)


def rounding(world: World, customer: Customer, day: date) -> None:
    """Less than half a percent below contract."""
    product, price = _unagreed(world, customer), from_euro(Decimal(400), customer.currency)
    agree(world, customer, product, 1, price, day, None, at=world.at(customer.entity, day, "early"))
    low = rounded(price * Decimal("0.997"), customer.currency)
    _price_trap(world, customer, day, Item(product, 10, low), "rounding inside the tolerance")


def _short(
    world: World, customer: Customer, day: date, why: str, percent: int | Decimal
) -> tuple[Invoice, date, Decimal]:
    """An invoice of which ``percent`` is paid when due; returns it with the payment day and what stays open."""
    _, invoice = unpaid_invoice(world, customer, day)
    paid = share(invoice.total, percent, invoice.currency)
    paid_on = business_day(invoice.entity.code, invoice.due_on)
    flow.pay(world, invoice, paid_on, paid, lag=0)
    world.truth.innocent("L13", invoice.id, why, paid_on)
    return invoice, paid_on, invoice.total - paid


def early_payment_discount(world: World, customer: Customer, day: date) -> None:
    """Two percent less, as agreed, inside the discount days."""
    _, invoice = unpaid_invoice(world, customer, day)
    discount = share(invoice.total, 2, invoice.currency)
    paid_on = world.after(invoice.entity, invoice.posted_on, 4)
    receipt = flow.pay(world, invoice, paid_on, invoice.total - discount, discount=discount, lag=0)
    world.truth.innocent("L13", invoice.id, "early-payment discount", paid_on)
    world.truth.case("early_payment_discount_earned", paid_on, invoice_id=invoice.id, receipt_id=receipt.id)


def withholding_tax(world: World, customer: Customer, day: date) -> None:
    """The customer keeps a withholding tax that was accepted."""
    invoice, paid_on, rest = _short(world, customer, day, "withholding tax approved", 90)
    settled = world.after(invoice.entity, paid_on, 6)
    key = doc.claim(world, invoice, paid_on, "WH", rest, closed_on=settled, result="A")
    world.truth.case("short_pay_with_reason", paid_on, invoice_id=invoice.id, dispute_id=key)


def bank_charges(world: World, customer: Customer, day: date) -> None:
    """A bank kept its charge; the rest is inside the tolerance."""
    _short(world, customer, day, "bank charges inside the tolerance", Decimal("99.7"))


def trade_promotion(world: World, customer: Customer, day: date) -> None:
    """An agreed promotion was deducted and approved."""
    invoice, paid_on, rest = _short(world, customer, day, "trade promotion approved", 88)
    doc.claim(world, invoice, paid_on, "TP", rest, closed_on=world.after(invoice.entity, paid_on, 10), result="A")


def dispute_open(world: World, customer: Customer, day: date) -> None:
    """The deduction is disputed and not decided."""
    invoice, paid_on, rest = _short(world, customer, day, "dispute still open", 85)
    doc.claim(world, invoice, world.after(invoice.entity, paid_on, 1), "QL", rest)


def instalments(world: World, customer: Customer, day: date) -> None:
    """Four fifths are paid; the last instalment is due next year."""
    _, invoice = unpaid_invoice(world, customer, day)
    first, part = invoice.posted_on, share(invoice.total, 40, invoice.currency)
    dues = [first + timedelta(days=20), first + timedelta(days=40), world.base_today + timedelta(days=240)]
    parts = [(dues[0], part, False), (dues[1], part, False), (dues[2], invoice.total - part - part, False)]
    doc.schedule(world, invoice, parts)
    for due in dues[:2]:
        flow.pay(world, invoice, business_day(invoice.entity.code, due), part, lag=0)
    world.truth.innocent("L13", invoice.id, "instalment not due", dues[1])


def part_payment(world: World, customer: Customer, day: date) -> None:
    """Only seven tenths are paid: a part payment, not a short one."""
    _short(world, customer, day, "part payment below three quarters", 70)


def residual_written_off(world: World, customer: Customer, day: date) -> None:
    """The small rest was written off."""
    invoice, paid_on, rest = _short(world, customer, day, "rest written off", 96)
    doc.adjust(world, "WO", world.after(invoice.entity, paid_on, 3), rest, "small balance", invoice=invoice)


def second_payment(world: World, customer: Customer, day: date) -> None:
    """The rest came with a second payment."""
    invoice, paid_on, rest = _short(world, customer, day, "settled by a second payment", 86)
    flow.pay(world, invoice, world.after(invoice.entity, paid_on, 7), rest, lag=0)


def plan_house_customers(world: World) -> None:
    """Group companies and the test account: shipped, won and never billed, but not a leak."""
    for name in ("intercompany_KW01", "intercompany_JP01", "test"):
        customer = world.special[name]
        why = "test account" if customer.is_test else "group company"
        day = world.days_ago(customer.entity.code, 75)

        def act(customer: Customer = customer, day: date = day, why: str = why) -> None:
            _shipped(world, customer, day, why, kind="S" if customer.is_test else "I")
            closes = world.after(customer.entity, day, 5)
            key, _ = add_deal(world, customer, day, closes, _deal_amount(world, customer, day))
            world.truth.innocent("L03", key, why, closes)

        world.plan(day, act)


_PLANTERS: tuple[tuple[Innocent, int], ...] = (
    (proof_pending, 20), (consignment, 60), (free_goods, 55), (billed_without_delivery_reference, 50),
    (shipped_just_now, 7), (returned_in_full, 45), (kit, 70), (renewal, 65), (split_deal, 80),
    (purchase_order_pending, 58), (duplicate_deal, 72), (number_only, 90), (amount_and_date, 85), (second_account, 88),
    (won_just_now, 14), (special_price, 40), (tier_reached, 42), (tier_not_reached, 44),
    (price_rose_before_shipment, 46), (other_unit, 48), (other_currency, 52), (rounding, 54),
    (early_payment_discount, 50), (withholding_tax, 120), (bank_charges, 118), (trade_promotion, 116),
    (dispute_open, 114), (instalments, 100), (part_payment, 112), (residual_written_off, 110), (second_payment, 108),
)  # fmt: skip
"""Each look-alike with the number of days before the end at which the last of its kind starts."""
