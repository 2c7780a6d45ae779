"""Credit utilisation and holds (metrics.md 3.7)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from fractions import Fraction

from oracle.book import ZERO, Book
from oracle.metrics.billing import cancelled
from oracle.metrics.fulfilment import orders
from oracle.result import MEDIAN, P90, Result, percentile, ratio


def head_of(book: Book, customer_id: str) -> str:
    """The account at the top of the credit group; a circle of parents ends where it began."""
    seen = [customer_id]
    while True:
        row = book.known.get("customer", seen[-1])
        parent = row.get("parent_customer_id") if row else None
        if not parent or parent in seen:
            return seen[-1]
        seen.append(parent)


def utilisation(book: Book, head: str, *, unapplied_counts: bool = True) -> Result:
    """Open, shipped and not billed, ordered and not shipped, less unapplied, over the limit of the group's head.

    No limit is a status, not an unlimited one. Everything at closing rates of as-of in the limit's currency; orders
    carry no tax, as the source has none for them. Money without a customer belongs to no group. A deposit is no
    unapplied cash here unless it is a receivable of its entity.
    """
    row = book.known.get("customer", head)
    if row is None or row.get("credit_limit_amount") is None or not row.get("credit_limit_currency_code"):
        return Result("credit_utilisation", None, None, None, "no_limit", book.parameters)
    scope = {"fx_basis": "constant", "currency": row["credit_limit_currency_code"]}
    members = sorted(c["customer_id"] for c in book.known.all("customer") if head_of(book, c["customer_id"]) == head)
    parts = {"open": ZERO, "unbilled": ZERO, "ordered": ZERO, "unapplied": ZERO}
    for member in members:
        own = book.with_(customer=member, **scope)
        balance = own.balance(book.parameters.as_of)
        parts["open"] += balance.gross
        parts["unapplied"] += balance.unapplied if unapplied_counts else ZERO
        unbilled, ordered = _orders(own)
        parts["unbilled"] += unbilled
        parts["ordered"] += ordered
    limit = Fraction(row["credit_limit_amount"])
    return ratio("credit_utilisation", sum(parts.values(), ZERO), limit, book.parameters, scale=100, parts=parts)


def _orders(book: Book) -> tuple[Fraction, Fraction]:
    """Value shipped and not billed; value ordered and neither shipped nor billed, unless the order is complete."""
    as_of = book.parameters.as_of
    billed = _billed(book)
    unbilled = ordered = ZERO
    for order, lines in orders(book):
        factor = book.factor(order, "closing", as_of) or ZERO
        for line in lines:
            shipped = _shipped(book, line.row["order_line_id"], as_of)
            invoiced = billed.get(line.row["order_line_id"], ZERO)
            price = Fraction(line.row["unit_price"]) * factor
            unbilled += max(ZERO, shipped - invoiced) * price
            if order["status"] in ("open", "blocked"):
                ordered += max(ZERO, line.ordered - max(shipped, invoiced)) * price
    return unbilled, ordered


def _billed(book: Book) -> dict[str, Fraction]:
    found: dict[str, Fraction] = {}
    for line in book.known.all("invoice_line"):
        invoice = book.known.get("invoice", line["invoice_id"])
        if invoice and invoice["posted_on"] <= book.parameters.as_of and not cancelled(invoice, book):
            key = line.get("order_line_id")
            if key:
                found[key] = found.get(key, ZERO) + Fraction(line["quantity"])
    return found


def _shipped(book: Book, order_line_id: str, as_of: date) -> Fraction:
    total = ZERO
    for line in book.known.all("delivery_line"):
        delivery = book.known.get("delivery", line["delivery_id"])
        if line["order_line_id"] == order_line_id and delivery and delivery.get("goods_issue_on"):
            total += Fraction(line["shipped_quantity"]) if delivery["goods_issue_on"] <= as_of else ZERO
    return total


@dataclass(frozen=True)
class Holds:
    """Holds open at the end of the as-of day, their ages in days, and orders that were held again."""

    open_count: int
    median: Fraction | None
    p90: Fraction | None
    re_held_orders: int
    re_holds: int
    skipped: int  # holds of orders that are not known yet


def holds(book: Book, hold_type: str = "credit") -> Holds:
    """In whole days of the calendar of the order's entity."""
    as_of, ages, skipped = book.parameters.as_of, [], 0
    times: dict[str, int] = {}
    for row in book.known.all("credit_hold"):
        order = book.known.get("sales_order", row["order_id"])
        if row["hold_type"] != hold_type:
            continue
        if order is None:
            skipped += 1
            continue
        start = book.local_day(order, row["set_at"])
        if book.covers(order) and start <= as_of:
            times[row["order_id"]] = times.get(row["order_id"], 0) + 1
            if row.get("released_at") is None or book.local_day(order, row["released_at"]) > as_of:
                ages.append((as_of - start).days)
    again = [count - 1 for count in times.values() if count > 1]
    return Holds(len(ages), percentile(ages, MEDIAN), percentile(ages, P90), len(again), sum(again), skipped)
