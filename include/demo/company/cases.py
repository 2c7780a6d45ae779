"""The named cases: each shows one situation of order to cash, with its keys in the truth."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal

from demo.company import documents as doc
from demo.company import order_to_cash as flow
from demo.company import recurring
from demo.company.calendar import business_day
from demo.company.card_processor import charge, dispute, pay_out, transaction
from demo.company.documents import Item
from demo.company.leaks import unpaid_invoice
from demo.company.model import Customer, Invoice, Order
from demo.company.money import rounded, share
from demo.company.recurring import Period
from demo.company.world import World

Case = Callable[[World, Customer, date], None]


def plan_cases(world: World) -> None:
    """Put every named case on the agenda."""
    for case, entity_code, ago in _CASES:
        _plan_one(world, case, entity_code, world.days_ago(entity_code, ago))


def _plan_one(world: World, case: Case, entity_code: str, day: date) -> None:
    currency = world.entities[entity_code].currency
    world.plan(day, lambda: case(world, world.fresh_customer(entity_code, currency), day))


def _order(world: World, customer: Customer, day: date, quantity: int, *, kind: str = "S", rule: str = "G") -> Order:
    return doc.add_order(world, day, customer, [Item(customer.agreed_products[0], quantity)], kind=kind, rule=rule)


def partial_shipment(world: World, customer: Customer, day: date) -> None:
    """Three shipments of one line, each with its own invoice."""
    order = _order(world, customer, day, 90)
    invoices = [
        flow.ship_and_bill(world, order, world.after(order.entity, day, wait), [(order.lines[0], 30)])
        for wait in (2, 9, 16)
    ]
    keys = [invoice.id for invoice in invoices]
    world.truth.case("partial_shipment_staged_invoices", day, order_id=order.id, invoice_ids=keys)


def over_delivery(world: World, customer: Customer, day: date) -> None:
    """Two percent more than ordered were shipped, accepted and billed."""
    order = _order(world, customer, day, 50)
    invoice = flow.ship_and_bill(world, order, world.after(order.entity, day, 2), [(order.lines[0], 51)])
    world.truth.case("over_delivery", day, order_id=order.id, invoice_id=invoice.id)


def multi_warehouse(world: World, customer: Customer, day: date) -> None:
    """One line leaves from two warehouses on the same day and is billed together."""
    order, ship_on = _order(world, customer, day, 40), world.after(customer.entity, day, 2)
    shipped = [
        part
        for warehouse, quantity in ((0, 25), (1, 15))
        for part in doc.ship(world, order, ship_on, [(order.lines[0], quantity)], warehouse=warehouse)
    ]
    invoice = doc.bill_shipment(world, order, world.after(order.entity, ship_on, 1), shipped)
    flow.collect(world, invoice)
    world.truth.case("multi_warehouse_split", day, order_id=order.id, delivery_line_ids=[part.id for part in shipped])


def backorder(world: World, customer: Customer, day: date) -> None:
    """A part is out of stock for a month."""
    order = _order(world, customer, day, 40)
    flow.ship_and_bill(world, order, world.after(order.entity, day, 2), [(order.lines[0], 10)])
    flow.ship_and_bill(world, order, world.after(order.entity, day, 24), [(order.lines[0], 30)])
    world.truth.case("backorder", day, order_id=order.id)


def blanket(world: World, customer: Customer, day: date) -> None:
    """A frame order with call-offs; most of it is not called yet."""
    order = _order(world, customer, day, 400, kind="B")
    for wait in (5, 25, 45):
        flow.ship_and_bill(world, order, world.after(order.entity, day, wait), [(order.lines[0], 60)])
    world.truth.case("blanket_order", day, order_id=order.id)


def prepaid(world: World, customer: Customer, day: date) -> None:
    """A deposit comes first; ordinary business has more of them."""
    flow.prepaid_order(world, customer, day)


def late_credit(world: World, customer: Customer, day: date) -> None:
    """Goods came back, the credit memo took seven weeks and stays on account."""
    order, ship_on = _order(world, customer, day, 12), world.after(customer.entity, day, 2)
    shipped = doc.ship(world, order, ship_on, [(order.lines[0], 12)])
    invoice = doc.bill_shipment(world, order, ship_on, shipped)
    flow.pay(world, invoice, business_day(order.entity.code, invoice.due_on), invoice.total)
    return_on = world.after(order.entity, ship_on, 9)
    key = doc.return_goods(world, order, shipped[0], return_on, 1, "damaged")
    line = invoice.lines[0]
    credit_on = business_day(order.entity.code, return_on + timedelta(days=49))
    note = doc.credit(world, invoice, credit_on, [(line, 1, line.price)], "RET", return_id=key)
    world.truth.case("return_with_late_credit", credit_on, credit_memo_id=note.id, return_line_id=key)


def cancel_and_rebill(world: World, customer: Customer, day: date) -> None:
    """Billed too high, cancelled, billed anew."""
    order, ship_on = _order(world, customer, day, 12), world.after(customer.entity, day, 2)
    line = order.lines[0]
    shipped = doc.ship(world, order, ship_on, [(line, 12)])
    parts = [(line, shipped[0], 12)]
    high = rounded(line.price * Decimal("1.1"), order.currency)
    wrong = doc.bill(world, order, ship_on, parts, prices={line.id: high})
    again_on = world.after(order.entity, ship_on, 5)
    doc.cancel_invoice(world, wrong, again_on)
    right = doc.bill(world, order, again_on, parts, replaces=wrong.id)
    flow.collect(world, right)
    world.truth.case("cancel_and_rebill", again_on, cancelled_invoice_id=wrong.id, invoice_id=right.id)


def hold_released_late(world: World, customer: Customer, day: date) -> None:
    """Credit cleared the order days after it had to leave."""
    order = _order(world, customer, day, 20)
    released = world.after(order.entity, day, 12)
    key = doc.hold(world, order, day, released_on=released)
    flow.ship_and_bill(world, order, world.after(order.entity, released, 1), [(order.lines[0], 20)])
    world.truth.case("credit_hold_released_late", released, order_id=order.id, hold_id=key)


def hold_bypass(world: World, customer: Customer, day: date) -> None:
    """Shipped although the hold was never released."""
    order = _order(world, customer, day, 20)
    key = doc.hold(world, order, day)
    flow.ship_and_bill(world, order, world.after(order.entity, day, 2), [(order.lines[0], 20)])
    world.truth.case("hold_bypass", day, order_id=order.id, hold_id=key)


def unearned_discount(world: World, customer: Customer, day: date) -> None:
    """Paid late and took the discount all the same."""
    _, invoice = unpaid_invoice(world, customer, day)
    discount = share(invoice.total, 2, invoice.currency)
    paid_on = business_day(invoice.entity.code, invoice.due_on + timedelta(days=5))
    receipt = flow.pay(world, invoice, paid_on, invoice.total - discount, discount=discount, discount_kind="U", lag=0)
    world.truth.case("early_payment_discount_unearned", paid_on, invoice_id=invoice.id, receipt_id=receipt.id)


def insufficient_funds(world: World, customer: Customer, day: date) -> None:
    """A direct debit with discount bounces; invoice and discount are open again until a transfer comes."""
    _, invoice = unpaid_invoice(world, customer, day)
    entity, discount = invoice.entity, share(invoice.total, 2, invoice.currency)
    first_on = world.after(entity, invoice.posted_on, 6)
    receipt = doc.receive(
        world, customer, invoice.currency, first_on, invoice.total - discount, f"DD {invoice.number}", method="D"
    )
    doc.match(world, receipt, invoice, first_on, invoice.total - discount, discount=discount, discount_kind="E")
    bounced_on = world.after(entity, first_on, 4)
    doc.reverse(world, receipt, bounced_on, "NSF")
    flow.pay(world, invoice, business_day(entity.code, invoice.due_on + timedelta(days=8)), invoice.total)
    world.truth.case("insufficient_funds", bounced_on, receipt_id=receipt.id, invoice_id=invoice.id)


def parent_pays(world: World, customer: Customer, day: date) -> None:
    """The holding pays an invoice of its daughter."""
    child, parent = world.special["child"], world.special["parent"]
    _, invoice = unpaid_invoice(world, child, day)
    paid_on = business_day(invoice.entity.code, invoice.due_on)
    text = f"For Hallmann Werk {invoice.number}"
    receipt = doc.receive(world, parent, invoice.currency, paid_on, invoice.total, text)
    doc.match(world, receipt, invoice, paid_on, invoice.total, auto=False)
    world.truth.case("parent_pays_for_child", paid_on, receipt_id=receipt.id, invoice_id=invoice.id)


def one_payment_for_forty(world: World, customer: Customer, day: date) -> None:
    """Forty small invoices, one transfer, a list in the remittance text."""
    invoices: list[Invoice] = []
    for index in range(40):
        booked = world.after(customer.entity, day, index // 3)
        _, invoice = unpaid_invoice(world, customer, booked, lines=1)
        invoices.append(invoice)
    paid_on = business_day(customer.entity.code, max(invoice.due_on for invoice in invoices))
    total = sum((invoice.total for invoice in invoices), Decimal(0))
    text = " ".join(["INV", *(invoice.number.split("-", 1)[1] for invoice in invoices)])[:140]
    receipt = doc.receive(world, customer, invoices[0].currency, paid_on, total, text)
    for invoice in invoices:
        doc.match(world, receipt, invoice, paid_on, invoice.total, auto=False)
    keys = [invoice.id for invoice in invoices]
    world.truth.case("one_payment_for_forty_invoices", paid_on, receipt_id=receipt.id, invoice_ids=keys)


def duplicate_payment(world: World, customer: Customer, day: date) -> None:
    """The same invoice is paid twice; the second money goes back."""
    _, invoice = unpaid_invoice(world, customer, day)
    paid_on = business_day(invoice.entity.code, invoice.due_on)
    flow.pay(world, invoice, paid_on, invoice.total)
    again_on = world.after(invoice.entity, paid_on, 2)
    second = doc.receive(world, customer, invoice.currency, again_on, invoice.total, f"INV {invoice.number}")
    doc.adjust(world, "RF", world.after(invoice.entity, again_on, 20), second.amount, "paid twice", receipt=second)
    world.truth.case("duplicate_payment", again_on, receipt_id=second.id, invoice_id=invoice.id)


def equal_instalments(world: World, customer: Customer, day: date) -> None:
    """Three equal payments that are three instalments, not a payment made twice."""
    order = doc.add_order(world, day, customer, [Item(customer.agreed_products[0], 30)])
    shipped = doc.ship(world, order, world.after(order.entity, day, 2), [(order.lines[0], 30)])
    invoice = doc.bill_shipment(world, order, world.after(order.entity, day, 3), shipped)
    part = rounded(invoice.total / 3, invoice.currency)
    amounts = [part, part, invoice.total - part - part]
    dues = [invoice.posted_on + timedelta(days=14 * number) for number in (1, 2, 3)]
    doc.schedule(world, invoice, [(due, amount, False) for due, amount in zip(dues, amounts, strict=True)])
    # Paid in time: between the second and the third the invoice is not past due.
    receipts = [
        flow.pay(world, invoice, world.after(invoice.entity, due - timedelta(days=4), 0), amount, lag=0)
        for due, amount in zip(dues, amounts, strict=True)
    ]
    keys = [receipt.id for receipt in receipts]
    world.truth.case("equal_instalments", dues[-1], invoice_id=invoice.id, receipt_ids=keys)


def write_off_reversed(world: World, customer: Customer, day: date) -> None:
    """Given up, then paid after all."""
    _, invoice = unpaid_invoice(world, customer, day)
    lost_on = world.after(invoice.entity, invoice.due_on, 40)
    first = doc.adjust(world, "WO", lost_on, invoice.total, "insolvency", invoice=invoice)
    back_on = world.after(invoice.entity, lost_on, 12)
    second = doc.adjust(world, "WR", back_on, invoice.total, "paid after all", invoice=invoice)
    flow.pay(world, invoice, back_on, invoice.total, lag=0)
    world.truth.case("write_off_reversed", back_on, invoice_id=invoice.id, adjustment_ids=[first, second])


def subscription_pause(world: World, customer: Customer, day: date) -> None:
    """One month rests."""
    found = recurring.subscribe(world, customer, day, script=lambda number: Period("H" if number == 2 else "R"))
    world.truth.case("subscription_pause", day, subscription_id=found.id)


def subscription_proration(world: World, customer: Customer, day: date) -> None:
    """The first period is half a month."""
    found = recurring.subscribe(
        world, customer, day, script=lambda number: Period() if number else Period("P", Decimal("0.5"))
    )
    world.truth.case("subscription_proration", day, subscription_id=found.id)


def subscription_lapse(world: World, customer: Customer, day: date) -> None:
    """Service goes on, but after three periods nobody bills."""
    found = recurring.subscribe(world, customer, day, script=lambda number: Period(is_billed=number < 3))
    found.row.change(world.at(customer.entity, world.after(customer.entity, day, 80), "correct"), state="L")
    world.truth.case("subscription_lapse", day, subscription_id=found.id)


def subscription_uplift(world: World, customer: Customer, day: date) -> None:
    """Yearly increase; visible from the thirteenth month of service."""
    found = recurring.subscribe(world, customer, day, uplift=Decimal(7))
    world.truth.case("subscription_uplift", day, subscription_id=found.id)


def backdated_application(world: World, customer: Customer, day: date) -> None:
    """Applied with the date of the receipt, but entered five weeks later."""
    _, invoice = unpaid_invoice(world, customer, day)
    paid_on = business_day(invoice.entity.code, invoice.due_on)
    receipt = doc.receive(world, customer, invoice.currency, paid_on, invoice.total, "THANK YOU")
    entered = world.after(invoice.entity, paid_on + timedelta(days=35), 0)
    found = doc.match(
        world, receipt, invoice, world.after(invoice.entity, paid_on, 1), invoice.total, recorded_on=entered, auto=False
    )
    world.truth.case("backdated_application", entered, application_id=found.row.values["id"], receipt_id=receipt.id)


def late_arriving_credit(world: World, customer: Customer, day: date) -> None:
    """A credit memo with an accounting date in a month that was already over when it was entered."""
    _, invoice = unpaid_invoice(world, customer, day)
    line = invoice.lines[0]
    dated = world.after(invoice.entity, invoice.posted_on, 2)
    entered = world.after(invoice.entity, dated + timedelta(days=45), 0)
    amount = share(line.net, 10, invoice.currency)
    note = doc.credit(world, invoice, dated, [(line, line.quantity, amount)], "PRI", recorded_on=entered)
    doc.apply_credit(world, note, invoice, entered, note.total)
    flow.pay(world, invoice, world.after(invoice.entity, max(entered, invoice.due_on), 3), invoice.total - note.total)
    world.truth.case("late_arriving_credit_memo", entered, credit_memo_id=note.id, invoice_id=invoice.id)


def intercompany_sale(world: World, customer: Customer, day: date) -> None:
    """The German company sells to the one in Kuwait."""
    buyer = world.special["intercompany_KW01"]
    order = doc.add_order(world, day, buyer, flow.pick_items(world, buyer))
    invoice = flow.ship_and_bill(
        world, order, world.after(order.entity, day, 2), [(line, line.quantity) for line in order.lines]
    )
    world.truth.case("intercompany_sale", day, order_id=order.id, invoice_id=invoice.id, customer_id=buyer.id)


def amounts_without_cents(world: World, customer: Customer, day: date) -> None:
    """Amounts in yen have no decimals, in dinar three."""
    _, invoice = unpaid_invoice(world, customer, day)
    flow.collect(world, invoice)
    name = "jpy_amount" if invoice.currency == "JPY" else "kwd_amount"
    world.truth.case(name, invoice.posted_on, invoice_id=invoice.id, total=format(invoice.total, "f"))


def _card_customer(world: World, entity_code: str) -> Customer:
    return world.customer_of(entity_code, segment="online")


def _chargeback(world: World, day: date, name: str, outcome: str, *, is_contested: bool) -> None:
    """A card payment is charged back; when it is won the money is posted again, else written off."""
    invoice, receipt = flow.card_order(world, _card_customer(world, "DE01"), day)
    customer, entity = invoice.customer, invoice.entity
    disputed_on = world.after(entity, invoice.posted_on, 12)
    decided_on = world.after(entity, disputed_on, 15)
    charge_id = str(receipt.row.values["charge_ref"])
    key = dispute(
        world, customer, disputed_on, invoice.total, charge_id, decided_on=decided_on, outcome=outcome,
        evidence_on=world.after(entity, disputed_on, 3) if is_contested else None,
    )  # fmt: skip
    doc.reverse(world, receipt, disputed_on, "CB")
    if outcome == "won":
        again = doc.receive(
            world, customer, invoice.currency, decided_on, invoice.total, f"REINSTATED {invoice.number}", method="C",
            charge_id=charge_id,
        )  # fmt: skip
        doc.match(world, again, invoice, decided_on, invoice.total, auto=False)
    else:
        doc.adjust(world, "WO", world.after(entity, decided_on, 5), invoice.total, "chargeback", invoice=invoice)
    world.truth.case(name, disputed_on, transaction_id=key, charge_id=charge_id, invoice_id=invoice.id)


def chargeback_won(world: World, customer: Customer, day: date) -> None:
    """Evidence was sent and accepted."""
    _chargeback(world, day, "chargeback_won", "won", is_contested=True)


def chargeback_lost(world: World, customer: Customer, day: date) -> None:
    """Evidence was sent and not accepted."""
    _chargeback(world, day, "chargeback_lost", "lost", is_contested=True)


def chargeback_ignored(world: World, customer: Customer, day: date) -> None:
    """Nobody answered."""
    _chargeback(world, day, "chargeback_ignored", "lost", is_contested=False)


def partial_capture(world: World, customer: Customer, day: date) -> None:
    """A dollar order of which one line was never shipped is captured in part and refunded at another rate."""
    buyer = _card_customer(world, "DE01")
    items = [Item(product, 6) for product in buyer.agreed_products[:2]]
    order = doc.add_order(world, day, buyer, items, channel="W", currency="USD", terms=0)
    ship_on = world.after(order.entity, day, 1)
    shipped = doc.ship(world, order, ship_on, [(order.lines[0], 6)])
    dropped = world.book.tables["so_item"][order.lines[1].id]
    dropped.change(world.at(order.entity, ship_on, "correct"), cancel_day=ship_on)
    invoice = doc.bill_shipment(world, order, ship_on, shipped, sale="B")
    captured = rounded(invoice.total * Decimal("0.921"), "EUR")
    charge_id = charge(world, buyer, ship_on, captured, invoice.number)
    receipt = doc.receive(world, buyer, "USD", ship_on, invoice.total, invoice.number, method="C", charge_id=charge_id)
    first = doc.match(world, receipt, invoice, ship_on, invoice.total)
    refund_on = world.after(order.entity, ship_on, 15)
    line = invoice.lines[0]
    note = doc.credit(world, invoice, refund_on, [(line, 2, line.price * 2)], "GOO")
    doc.unmatch(world, receipt, first, refund_on)
    doc.match(world, receipt, invoice, refund_on, invoice.total - note.total, auto=False)
    doc.apply_credit(world, note, invoice, refund_on, note.total)
    doc.adjust(world, "RF", refund_on, note.total, "goodwill", receipt=receipt)
    refunded = rounded(note.total * Decimal("0.934"), "EUR")
    key, _ = transaction(world, "refund", buyer, refund_on, -refunded, reference=invoice.number, charge_id=charge_id)
    keys = {"charge_id": charge_id, "refund_transaction_id": key, "invoice_id": invoice.id}
    world.truth.case("partial_capture_and_fx_refund", refund_on, **keys)


def negative_payout(world: World, customer: Customer, day: date) -> None:
    """A large card sale is refunded in a week with little else: the processor collects."""
    buyer = _card_customer(world, "GB01")
    items = [Item(buyer.agreed_products[0], 300), Item(buyer.agreed_products[1], 250)]
    order = doc.add_order(world, day, buyer, items, channel="W", terms=0)
    shipped = doc.ship(world, order, day, [(line, line.quantity) for line in order.lines])
    invoice = doc.bill_shipment(world, order, day, shipped, sale="B")
    receipt = flow.pay_by_card(world, invoice, day)
    refund_on = world.after(order.entity, day, 16)
    for part in shipped:
        doc.return_goods(world, order, part, world.after(order.entity, day, 12), part.quantity, "refused")
    note = doc.credit(world, invoice, refund_on, [(line, line.quantity, line.net) for line in invoice.lines], "RET")
    doc.unmatch(world, receipt, receipt.matches[0], refund_on)
    doc.apply_credit(world, note, invoice, refund_on, note.total)
    doc.adjust(world, "RF", refund_on, receipt.amount, "returned in full", receipt=receipt)
    charge_id = str(receipt.row.values["charge_ref"])
    transaction(world, "refund", buyer, refund_on, -receipt.amount, reference=invoice.number, charge_id=charge_id)


def two_payouts_in_one_line(world: World, customer: Customer, day: date) -> None:
    """The bank books two weekly payouts in one entry."""
    world.payouts_held["DE01"] = None
    for wait in (0, 5):
        booked = world.after(world.entities["DE01"], day, wait)
        flow.card_order(world, _card_customer(world, "DE01"), booked)


def payout_in_transit(world: World, customer: Customer, day: date) -> None:
    """A payout leaves the processor on the last day of the history and is not at the bank yet."""
    eve = world.base_today - timedelta(days=1)
    flow.card_order(world, _card_customer(world, "DE01"), day, ship_on=eve)
    world.plan(world.base_today, lambda: pay_out(world, world.base_today, is_extra=True))


_CASES: tuple[tuple[Case, str, int], ...] = (
    (partial_shipment, "DE01", 90), (over_delivery, "GB01", 80), (multi_warehouse, "JP01", 75), (backorder, "DE01", 95),
    (blanket, "KW01", 100), (prepaid, "GB01", 60), (late_credit, "DE01", 130), (cancel_and_rebill, "JP01", 66),
    (hold_released_late, "DE01", 70), (hold_bypass, "KW01", 58), (unearned_discount, "GB01", 120),
    (insufficient_funds, "DE01", 110), (parent_pays, "DE01", 92), (one_payment_for_forty, "DE01", 118),
    (duplicate_payment, "JP01", 125), (equal_instalments, "KW01", 105), (write_off_reversed, "GB01", 150),
    (subscription_pause, "DE01", 160), (subscription_proration, "JP01", 150), (subscription_lapse, "GB01", 165),
    (subscription_uplift, "DE01", 170), (backdated_application, "DE01", 135), (late_arriving_credit, "KW01", 115),
    (intercompany_sale, "DE01", 85), (amounts_without_cents, "JP01", 64), (amounts_without_cents, "KW01", 62),
    (chargeback_won, "DE01", 88), (chargeback_lost, "DE01", 98), (chargeback_ignored, "DE01", 108),
    (partial_capture, "DE01", 77), (negative_payout, "GB01", 72), (two_payouts_in_one_line, "DE01", 40),
    (payout_in_transit, "DE01", 6),
)  # fmt: skip
"""Every case with the entity it happens in and the number of days before the end at which it starts."""
