"""The documents of order to cash: each function records one, in ERP, ledger and bank, with all that it changes.

Dates are the entity's business days, amounts exact decimals in the document currency. Nothing here decides what
happens; it only keeps the books right. Codes are the ERP's own (see the flow files for their meaning).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal

from demo.company.ledger import DEPOSITS, DISCOUNTS, RECEIVABLES, WRITE_OFFS
from demo.company.master_data import contract_price
from demo.company.model import (
    Credit,
    Customer,
    Invoice,
    InvoiceLine,
    Match,
    Order,
    OrderLine,
    Product,
    Receipt,
    Row,
    ShipLine,
)
from demo.company.money import PER_EURO, ZERO, from_euro, rounded, share
from demo.company.world import World

BillPart = tuple[OrderLine, ShipLine | None, int]


@dataclass(frozen=True, slots=True)
class Item:
    """A wanted position; without ``price`` the contract or list price holds."""

    product: Product
    quantity: int
    price: Decimal | None = None
    unit: str = ""
    is_free: bool = False
    discount_percent: int = 0
    is_component: bool = False


def item_price(item: Item, customer: Customer, currency: str, day: date) -> tuple[Decimal, Decimal]:
    """List price and net price of an item on its order day."""
    listed = from_euro(item.product.base_price, currency)
    if item.is_free or item.is_component:
        return listed, ZERO
    if item.price is not None:
        return listed, item.price
    agreed = contract_price(customer, item.product, currency, item.unit or item.product.unit, item.quantity, day)
    if agreed is not None:
        return listed, agreed
    return listed, rounded(listed * (100 - item.discount_percent) / 100, currency)


def order_total(items: Sequence[Item], customer: Customer, currency: str, day: date) -> Decimal:
    """Net value the items would have on ``day``."""
    prices = (item_price(item, customer, currency, day)[1] * item.quantity for item in items)
    return sum((rounded(price, currency) for price in prices), ZERO)


def tax_percent(customer: Customer, currency: str) -> Decimal:
    """Home sales carry the entity's rate; group companies and dollar (export) sales none."""
    is_home_sale = currency == customer.entity.currency and not customer.is_intercompany
    return customer.entity.tax_percent if is_home_sale else ZERO


def add_order(
    world: World, day: date, customer: Customer, items: Sequence[Item], *, kind: str = "S", rule: str = "G",
    channel: str = "D", opportunity_id: str | None = None, currency: str | None = None, terms: int | None = None,
) -> Order:  # fmt: skip
    """Book an order with its lines."""
    currency = currency or customer.currency
    if opportunity_id is None:
        items = _clear_of_reserved(world, day, customer, items, currency)
    at = world.at(customer.entity, day, "order")
    key, number = world.new_id("SO"), world.number(f"SO{customer.entity.country}", day)
    lines: list[OrderLine] = []
    row = Row(at, {})
    order = Order(key, number, customer, currency, day, ZERO, lines, row, terms or customer.terms)
    for item in items:
        lines.append(_order_line(world, order, item, at))
    order.net = sum((line.net for line in lines), ZERO)
    row = world.book.add(
        "so_header", key, at, id=key, so_no=number, company_id=customer.entity.code, debtor_id=customer.id,
        crm_ref=opportunity_id, chan=channel, kind=kind, bill_rule=rule, booked_ts=at, booked_day=day,
        wanted_day=day + timedelta(days=7), pay_days=order.terms, ccy=currency, net_total=order.net, state="O",
        block_text=None, cancel_day=None,
    )  # fmt: skip
    order.row = row
    if opportunity_id is None:
        world.booked[customer.id, currency].append((day, order.net))
    return order


def _clear_of_reserved(
    world: World, day: date, customer: Customer, items: Sequence[Item], currency: str
) -> Sequence[Item]:
    """Order one more while the total could be taken for a deal that must stay without an order."""
    reserved = [amount for first, last, amount in world.reserved[customer.id, currency] if first <= day <= last]
    while any(is_near(order_total(items, customer, currency, day), amount) for amount in reserved):
        items = [replace(items[0], quantity=items[0].quantity + 1), *items[1:]]
    return items


def is_near(amount: Decimal, other: Decimal) -> bool:
    """Whether two amounts lie close enough to be taken for the same deal."""
    return abs(amount - other) <= other * Decimal("0.04")


def _order_line(world: World, order: Order, item: Item, at: datetime) -> OrderLine:
    listed, price = item_price(item, order.customer, order.currency, order.booked_on)
    parent = next((line.id for line in order.lines if line.product.kind == "K"), None) if item.is_component else None
    line = OrderLine(
        world.new_id("SI"), item.product, item.quantity, item.unit or item.product.unit, price,
        rounded(price * item.quantity, order.currency), tax_percent(order.customer, order.currency), item.is_free,
        parent,
    )  # fmt: skip
    world.book.add(
        "so_item", line.id, at, id=line.id, so_id=order.id, pos=len(order.lines) + 1, parent_item_id=parent,
        article_id=item.product.id, qty=item.quantity, unit=line.unit, list_price=listed,
        disc_pct=Decimal(item.discount_percent), price=price, net=line.net, tax_pct=line.tax_percent,
        promised_day=order.booked_on + timedelta(days=7), free_flag=item.is_free, cancel_day=None,
    )  # fmt: skip
    return line


def cancel_order(world: World, order: Order, day: date) -> None:
    """Cancel an order before anything was shipped."""
    at = world.at(order.entity, day, "correct")
    order.row.change(at, state="X", cancel_day=day)
    for line in order.lines:
        world.book.tables["so_item"][line.id].change(at, cancel_day=day)


def ship(
    world: World, order: Order, day: date, parts: Sequence[tuple[OrderLine, int]], *, warehouse: int = 0,
    proof_on: date | None = None,
) -> list[ShipLine]:  # fmt: skip
    """Post goods issue of quantities of order lines; ``proof_on`` is the day the customer confirms receipt."""
    at = world.at(order.entity, day, "ship")
    key = world.new_id("SH")
    header = world.book.add(
        "ship_header", key, at, id=key, ship_no=world.number(f"DN{order.entity.country}", day),
        company_id=order.entity.code, debtor_id=order.customer.id, whs=order.entity.warehouses[warehouse],
        picked_ts=at - timedelta(hours=2), gi_ts=at, gi_day=day, pod_day=None,
    )  # fmt: skip
    shipped = [ShipLine(world.new_id("SL"), line, quantity, day) for line, quantity in parts]
    rows = [
        world.book.add(
            "ship_item", part.id, at, id=part.id, ship_id=key, so_item_id=part.line.id, qty_shipped=part.quantity,
            qty_confirmed=None,
        )
        for part in shipped
    ]  # fmt: skip
    if proof_on is not None:
        confirmed = world.at(order.entity, proof_on, "match")
        header.change(confirmed, pod_day=proof_on)
        for row, part in zip(rows, shipped, strict=True):
            row.change(confirmed, qty_confirmed=part.quantity)
    return shipped


def bill(
    world: World, order: Order, day: date, parts: Sequence[BillPart], *, sale: str = "C",
    prices: dict[str, Decimal] | None = None, approval: str | None = None, nets: dict[str, Decimal] | None = None,
    replaces: str | None = None, terms: int | None = None,
) -> Invoice:  # fmt: skip
    """Post an invoice over quantities of order lines; ``prices`` overrides unit prices by order line."""
    at = world.at(order.entity, day, "bill")
    days = order.terms if terms is None else terms
    invoice = Invoice(
        world.new_id("BI"), world.number(f"RE{order.entity.country}", day), order.customer, order.currency, day,
        day + timedelta(days=days), ZERO, [], Row(at, {}),
    )  # fmt: skip
    for line, shipped, quantity in parts:
        price = (prices or {}).get(line.id, line.price)
        net = (nets or {}).get(line.id, rounded(price * quantity, order.currency))
        invoice.lines.append(_invoice_line(world, invoice, (line, shipped, quantity), price, net, at, approval))
        line.billed += quantity
    net = sum((line.net for line in invoice.lines), ZERO)
    tax = sum((line.tax for line in invoice.lines), ZERO)
    invoice.total = net + tax
    invoice.row = world.book.add(
        "bill_header", invoice.id, at, id=invoice.id, bill_no=invoice.number, company_id=order.entity.code,
        debtor_id=order.customer.id, doc_kind="I", sale_kind=sale, doc_day=day, acct_day=day,
        sent_ts=at + timedelta(minutes=30), due_day=invoice.due_on, first_due_day=None, pay_days=days,
        ccy=order.currency, net=net, tax=tax, gross=invoice.total, state="P", cancel_day=None, rebill_of=replaces,
    )  # fmt: skip
    world.ledger.post(at, day, order.entity.code, RECEIVABLES, order.currency, invoice.total)
    is_shipped = order.row.values["bill_rule"] in ("G", "D", "O")
    if is_shipped and all(line.billed >= line.quantity or line.price == 0 for line in order.lines):
        order.row.change(at, state="C")
    return invoice


def _invoice_line(
    world: World, invoice: Invoice, part: BillPart, price: Decimal, net: Decimal, at: datetime, approval: str | None
) -> InvoiceLine:
    line, shipped, quantity = part
    key = world.new_id("BL")
    tax = share(net, line.tax_percent, invoice.currency)
    row = world.book.add(
        "bill_item", key, at, id=key, bill_id=invoice.id, pos=len(invoice.lines) + 1, so_item_id=line.id,
        ship_item_id=shipped.id if shipped else None, article_id=line.product.id, qty=quantity, price=price, net=net,
        tax=tax, price_approval=approval,
    )  # fmt: skip
    return InvoiceLine(key, line, quantity, price, net, tax, row)


def bill_shipment(world: World, order: Order, day: date, shipped: Sequence[ShipLine], *, sale: str = "C") -> Invoice:
    """Invoice everything billable of a shipment."""
    parts = [(part.line, part, part.quantity) for part in shipped if not part.line.is_free and not part.line.parent_id]
    return bill(world, order, day, parts, sale=sale)


def schedule(world: World, invoice: Invoice, parts: Sequence[tuple[date, Decimal, bool]]) -> None:
    """Split an invoice into instalments (due date, amount, held back); the invoice falls due with the last of them."""
    for number, (due, amount, held_back) in enumerate(parts, start=1):
        key = world.new_id("BS")
        world.book.add(
            "bill_schedule", key, invoice.row.created_at, id=key, bill_id=invoice.id, part_no=number, due_day=due,
            amt=amount, holdback=held_back,
        )  # fmt: skip
    invoice.due_on = max(due for due, _, held_back in parts if not held_back)
    invoice.row.values["due_day"] = invoice.due_on


def cancel_invoice(world: World, invoice: Invoice, day: date) -> None:
    """Cancel an unpaid invoice; it leaves receivables on ``day``."""
    at = world.at(invoice.entity, day, "correct")
    invoice.row.change(at, state="X", cancel_day=day)
    world.ledger.post(at, day, invoice.entity.code, RECEIVABLES, invoice.currency, -invoice.total)


def credit(
    world: World, invoice: Invoice, day: date, parts: Sequence[tuple[InvoiceLine, int, Decimal]], reason: str, *,
    return_id: str | None = None, recorded_on: date | None = None,
) -> Credit:  # fmt: skip
    """Post a credit memo over (invoice line, quantity, net) with accounting date ``day``."""
    at = world.at(invoice.entity, recorded_on or day, "correct")
    key = world.new_id("CN")
    lines = []
    for line, quantity, net in parts:
        percent = line.order_line.tax_percent if line.order_line else ZERO
        # The whole line comes back with the very tax it was billed with.
        tax = line.tax if net == line.net else share(net, percent, invoice.currency)
        lines.append((line, quantity, net, tax))
    net_total = sum((net for _, _, net, _ in lines), ZERO)
    tax_total = sum((tax for _, _, _, tax in lines), ZERO)
    row = world.book.add(
        "credit_header", key, at, id=key, credit_no=world.number(f"GS{invoice.entity.country}", recorded_on or day),
        company_id=invoice.entity.code, debtor_id=invoice.customer.id, bill_id=invoice.id, reason_cd=reason,
        doc_day=day, acct_day=day, ccy=invoice.currency, net=net_total, tax=tax_total, gross=net_total + tax_total,
        entered_by="ar.clerk", approved_by="ar.lead",
    )  # fmt: skip
    for position, (line, quantity, net, tax) in enumerate(lines, start=1):
        line_key = world.new_id("CL")
        world.book.add(
            "credit_item", line_key, at, id=line_key, credit_id=key, pos=position, bill_item_id=line.id,
            rma_id=return_id, qty=quantity, net=net, tax=tax,
        )  # fmt: skip
    world.ledger.post(at, day, invoice.entity.code, RECEIVABLES, invoice.currency, -(net_total + tax_total))
    return Credit(key, str(row.values["credit_no"]), invoice.customer, invoice.currency, net_total + tax_total, row)


def apply_credit(world: World, note: Credit, invoice: Invoice, day: date, amount: Decimal) -> None:
    """Set a credit memo against an invoice."""
    key = world.new_id("CM")
    world.book.add(
        "cash_match", key, world.at(invoice.entity, day, "early"), id=key, company_id=invoice.entity.code,
        receipt_id=None, credit_id=note.id, bill_id=invoice.id, match_day=day, amt=amount, disc_amt=ZERO,
        disc_kind=None, ccy=invoice.currency, undone_day=None, auto=False,
    )  # fmt: skip


def return_goods(world: World, order: Order, part: ShipLine, day: date, quantity: int, condition: str) -> str:
    """Record goods that came back."""
    key = world.new_id("RM")
    world.book.add(
        "rma_item", key, world.at(order.entity, day, "ship"), id=key, so_item_id=part.line.id, ship_item_id=part.id,
        arrived_day=day, qty=quantity, cond=condition,
    )  # fmt: skip
    return key


def receive(
    world: World, customer: Customer, currency: str, day: date, amount: Decimal, text: str, *, kind: str = "P",
    method: str = "T", known: bool = True, charge_id: str | None = None, payer: Customer | None = None,
    value_on: date | None = None,
) -> Receipt:  # fmt: skip
    """Post money received; transfers appear on the bank statement, card money at the processor instead."""
    payer = payer or customer
    entity, key = customer.entity, world.new_id("CR")
    value_day = value_on or day
    reference = None
    if method != "C":
        reference = world.bank.book(
            entity, currency, value_day, amount, text=text, party=(payer.name, payer.iban), end_to_end_id=f"E2E{key}"
        )
    at = world.at(entity, day, "cash")
    row = world.book.add(
        "cash_receipt", key, at, id=key, company_id=entity.code, debtor_id=customer.id if known else None, kind=kind,
        acct_day=day, value_day=value_day, amt=amount, ccy=currency, method=method, ref_text=text, payer=payer.name,
        payer_iban=None if method == "C" else payer.iban, bank_ref=reference, charge_ref=charge_id,
        reversed_day=None, reversal_cd=None,
    )  # fmt: skip
    world.ledger.post(at, day, entity.code, DEPOSITS if kind == "D" else RECEIVABLES, currency, -amount)
    return Receipt(key, customer, currency, amount, day, kind, row)


def match(
    world: World, receipt: Receipt, invoice: Invoice, day: date, amount: Decimal, *, discount: Decimal = ZERO,
    discount_kind: str | None = None, recorded_on: date | None = None, auto: bool = True,
) -> Match:  # fmt: skip
    """Apply a receipt to an invoice with accounting date ``day``; a deposit becomes cash of the invoice."""
    at, key = world.at(invoice.entity, recorded_on or day, "match"), world.new_id("CM")
    row = world.book.add(
        "cash_match", key, at, id=key, company_id=invoice.entity.code, receipt_id=receipt.id, credit_id=None,
        bill_id=invoice.id, match_day=day, amt=amount, disc_amt=discount, disc_kind=discount_kind,
        ccy=invoice.currency, undone_day=None, auto=auto,
    )  # fmt: skip
    _post_match(world, receipt, at, day, amount, discount)
    found = Match(invoice, amount, discount, row)
    receipt.matches.append(found)
    return found


def _post_match(world: World, receipt: Receipt, at: datetime, day: date, amount: Decimal, discount: Decimal) -> None:
    code, currency = receipt.customer.entity.code, receipt.currency
    if receipt.kind == "D":
        world.ledger.post(at, day, code, DEPOSITS, currency, amount)
        world.ledger.post(at, day, code, RECEIVABLES, currency, -amount)
    world.ledger.post(at, day, code, RECEIVABLES, currency, -discount)
    world.ledger.post(at, day, code, DISCOUNTS, currency, discount)


def unmatch(world: World, receipt: Receipt, found: Match, day: date) -> None:
    """Take an application back on ``day``."""
    at = world.at(receipt.customer.entity, day, "correct")
    found.row.change(at, undone_day=day)
    found.is_open = False
    _post_match(world, receipt, at, day, -found.amount, -found.discount)


def reverse(world: World, receipt: Receipt, day: date, reason: str) -> None:
    """Reverse a receipt: the money goes back, and everything that was applied with it is open again."""
    entity = receipt.customer.entity
    at = world.at(entity, day, "correct")
    receipt.row.change(at, reversed_day=day, reversal_cd=reason)
    world.ledger.post(at, day, entity.code, RECEIVABLES, receipt.currency, receipt.amount)
    for found in receipt.matches:
        if found.is_open:
            found.is_open = False
            world.ledger.post(at, day, entity.code, RECEIVABLES, receipt.currency, found.discount)
            world.ledger.post(at, day, entity.code, DISCOUNTS, receipt.currency, -found.discount)
    if receipt.row.values["method"] != "C":
        world.bank.book(
            entity, receipt.currency, day, -receipt.amount, text=f"RETURN {receipt.row.values['ref_text']}",
            party=(receipt.customer.name, receipt.customer.iban), is_reversal=True,
        )  # fmt: skip


def adjust(
    world: World, kind: str, day: date, amount: Decimal, reason: str, *, invoice: Invoice | None = None,
    receipt: Receipt | None = None,
) -> str:  # fmt: skip
    """Post a write-off (WO), its reversal (WR) or the refund of a receipt (RF)."""
    customer = invoice.customer if invoice else receipt.customer if receipt else None
    if customer is None:
        raise ValueError("an adjustment needs an invoice or a receipt")
    currency = invoice.currency if invoice else receipt.currency if receipt else ""
    at, key = world.at(customer.entity, day, "correct"), world.new_id("AC")
    world.book.add(
        "ar_correction", key, at, id=key, company_id=customer.entity.code, debtor_id=customer.id,
        bill_id=invoice.id if invoice else None, receipt_id=receipt.id if receipt else None, kind=kind, acct_day=day,
        amt=amount, ccy=currency, reason=reason, entered_by="ar.clerk", approved_by="ar.lead",
    )  # fmt: skip
    signed = -amount if kind == "WO" else amount
    world.ledger.post(at, day, customer.entity.code, RECEIVABLES, currency, signed)
    if kind != "RF":
        world.ledger.post(at, day, customer.entity.code, WRITE_OFFS, currency, -signed)
    elif receipt is not None and receipt.row.values["method"] != "C":
        world.bank.book(
            customer.entity, currency, day, -amount, text=f"REFUND {receipt.id}", party=(customer.name, customer.iban)
        )
    return key


def claim(
    world: World, invoice: Invoice, day: date, kind: str, amount: Decimal, *, closed_on: date | None = None,
    result: str = "O",
) -> str:  # fmt: skip
    """Open a dispute about an invoice; with ``closed_on`` it ends that day with ``result``."""
    key = world.new_id("CP")
    row = world.book.add(
        "claim", key, world.at(invoice.entity, day, "early"), id=key, bill_id=invoice.id, kind=kind, amt=amount,
        opened_day=day, closed_day=None, result="O", handler="collections.desk",
    )  # fmt: skip
    if closed_on is not None:
        row.change(world.at(invoice.entity, closed_on, "correct"), closed_day=closed_on, result=result)
    return key


def hold(
    world: World, order: Order, day: date, *, kind: str = "C", released_on: date | None = None,
    why: str = "credit limit", resume: str = "O",
) -> str:  # fmt: skip
    """Put a hold on an order and release it on ``released_on``; the order is in state ``resume`` afterwards."""
    at, key = world.at(order.entity, day, "order"), world.new_id("OB")
    at = max(at, order.row.created_at)
    row = world.book.add(
        "order_block", key, at, id=key, so_id=order.id, kind=kind, set_ts=at, set_by="credit.rule", freed_ts=None,
        freed_by=None, why=why,
    )  # fmt: skip
    order.row.change(at, state="B", block_text=why)
    if released_on is not None:
        freed = max(world.at(order.entity, released_on, "early"), at)
        row.change(freed, freed_ts=freed, freed_by="credit.lead")
        order.row.change(freed, state=resume, block_text=None)
    return key


def floor_amount(customer: Customer, currency: str, euro: str) -> Decimal:
    """A small fixed amount such as a bank charge, at the currency's level."""
    return rounded(Decimal(euro) * PER_EURO[currency], currency)
