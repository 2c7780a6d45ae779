"""Orders: fulfilment time, perfect order, on time in full, order to cash (metrics.md 3.5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

from oracle.book import ZERO, Book
from oracle.dates import Window, calendar_window
from oracle.ledger import Row
from oracle.metrics.billing import ERROR_DISPUTES, ERROR_REASONS
from oracle.result import Result, ratio

CONDITION_DISPUTES = frozenset({"quality", "delivery"})


@dataclass(frozen=True)
class OrderedLine:
    """A line with what reached the customer and when, by the as-of date."""

    row: Row
    ordered: Fraction
    arrivals: tuple[tuple[date, Fraction], ...]  # day of proof of delivery, quantity
    deliveries: tuple[Row, ...]

    def by(self, day: date) -> Fraction:
        return sum((quantity for arrived, quantity in self.arrivals if arrived <= day), ZERO)

    @property
    def is_complete(self) -> bool:
        return self.by(date.max) >= self.ordered

    @property
    def completed_on(self) -> date | None:
        reached = ZERO
        for arrived, quantity in sorted(self.arrivals):
            reached += quantity
            if reached >= self.ordered:
                return arrived
        return None


def orders(book: Book) -> Iterator[tuple[Row, list[OrderedLine]]]:
    """Booked by as-of and not cancelled by then; kit components, free goods and cancelled lines are no lines."""
    as_of = book.parameters.as_of
    for order in book.known.all("sales_order"):
        gone = order.get("cancelled_on")
        if book.covers(order) and order["booked_on"] <= as_of and not (gone and gone <= as_of):
            lines = [_line(book, row) for row in _lines(book, order["order_id"], as_of)]
            if lines:
                yield order, lines


def _lines(book: Book, order_id: str, as_of: date) -> list[Row]:
    return [
        row
        for row in book.known.all("sales_order_line")
        if row["order_id"] == order_id
        and not row.get("parent_order_line_id")
        and not row["is_free_of_charge"]
        and not (row.get("cancelled_on") and row["cancelled_on"] <= as_of)
    ]


def _line(book: Book, row: Row) -> OrderedLine:
    arrivals, deliveries = [], []
    for line in book.known.all("delivery_line"):
        delivery = book.known.get("delivery", line["delivery_id"])
        if line["order_line_id"] != row["order_line_id"] or delivery is None:
            continue
        deliveries.append(delivery)
        arrived = delivery.get("proof_of_delivery_on")
        if arrived and arrived <= book.parameters.as_of:
            quantity = (
                line["delivered_quantity"] if line.get("delivered_quantity") is not None else line["shipped_quantity"]
            )
            arrivals.append((arrived, Fraction(quantity)))
    return OrderedLine(row, Fraction(row["ordered_quantity"]), tuple(arrivals), tuple(deliveries))


def fulfilment_time(book: Book, window: Window | None = None, *, net_of_dwell: bool = False) -> Result:
    """Days from booking to the customer's acceptance of the last line, of orders complete in the window.

    Dwell: days the goods were picked and waited for a date the customer had asked for.
    """
    window = window or calendar_window(book.parameters.as_of, 3)
    total = count = 0
    for order, lines in orders(book):
        days = [line.completed_on for line in lines]
        done = [day for day in days if day is not None]
        if len(done) == len(lines) and max(done) in window:
            count += 1
            total += (max(done) - order["booked_on"]).days - (_dwell(book, order, lines) if net_of_dwell else 0)
    name = "fulfilment_days_net" if net_of_dwell else "fulfilment_days_gross"
    return ratio(name, total, count, book.parameters, window=window)


def _dwell(book: Book, order: Row, lines: list[OrderedLine]) -> int:
    waits = [0]
    for line in lines:
        for delivery in line.deliveries:
            if order.get("requested_on") and delivery.get("picked_at") and delivery.get("goods_issue_on"):
                until = min(order["requested_on"], delivery["goods_issue_on"])
                waits.append((until - book.local_day(delivery, delivery["picked_at"])).days)
    return max(waits)


def _promised(lines: list[OrderedLine], window: Window) -> date | None:
    """The commit date of an order: the last of its lines; an order with a line without one has none."""
    days = [line.row.get("promised_on") for line in lines]
    dates = [day for day in days if day is not None]
    return max(dates) if len(dates) == len(days) and max(dates) in window else None


def perfect_order(book: Book, window: Window | None = None) -> Result:
    """Complete and on time and rightly documented and in good condition, over orders promised in the window."""
    window = window or calendar_window(book.parameters.as_of, 3)
    parts = {"in_full": 0, "on_time": 0, "documents": 0, "condition": 0}
    good = count = 0
    for _, lines in orders(book):
        if _promised(lines, window) is None:
            continue
        count += 1
        found = {
            "in_full": all(line.is_complete for line in lines),
            "on_time": all(_on_time(line) for line in lines),
            "documents": not _has_billing_error(book, lines),
            "condition": not _has_damage(book, lines),
        }
        good += all(found.values())
        parts = {name: parts[name] + found[name] for name in parts}
    return ratio("perfect_order", good, count, book.parameters, scale=100, window=window, parts=parts)


def _on_time(line: OrderedLine) -> bool:
    """All that came, came by the date; nothing came: not on time."""
    return bool(line.arrivals) and max(line.arrivals)[0] <= line.row["promised_on"]


def _invoices_of(book: Book, lines: list[OrderedLine]) -> list[Row]:
    keys = {line.row["order_line_id"] for line in lines}
    names = {row["invoice_id"] for row in book.known.all("invoice_line") if row.get("order_line_id") in keys}
    found = (book.known.get("invoice", name) for name in sorted(names))
    return [row for row in found if row is not None]


def _has_billing_error(book: Book, lines: list[OrderedLine]) -> bool:
    as_of = book.parameters.as_of
    invoices = _invoices_of(book, lines)
    keys = {row["invoice_id"] for row in invoices}
    return (
        any(row["status"] == "cancelled" and (row.get("cancelled_on") or row["posted_on"]) <= as_of for row in invoices)
        or any(
            d["opened_on"] <= as_of and d["dispute_type"] in ERROR_DISPUTES for key in keys for d in book.disputes(key)
        )
        or any(
            memo.get("invoice_id") in keys and memo["reason"] in ERROR_REASONS and memo["issued_on"] <= as_of
            for memo in book.known.all("credit_memo")
        )
    )


def _has_damage(book: Book, lines: list[OrderedLine]) -> bool:
    as_of = book.parameters.as_of
    keys = {line.row["order_line_id"] for line in lines}
    returned = any(
        row["order_line_id"] in keys and row["received_on"] <= as_of for row in book.known.all("return_line")
    )
    names = [row["invoice_id"] for row in _invoices_of(book, lines)]
    disputes = [d for name in names for d in book.disputes(name)]
    return returned or any(d["opened_on"] <= as_of and d["dispute_type"] in CONDITION_DISPUTES for d in disputes)


def otif(book: Book, window: Window | None = None, *, level: str = "order") -> Result:
    """In full by the promised date: by line, or orders all of whose lines are."""
    window = window or calendar_window(book.parameters.as_of, 3)
    good = count = 0
    for _, lines in orders(book):
        if level == "order":
            if _promised(lines, window) is not None:
                count, good = count + 1, good + all(_in_full_on_time(line) for line in lines)
            continue
        due = [line for line in lines if line.row.get("promised_on") and line.row["promised_on"] in window]
        count, good = count + len(due), good + sum(_in_full_on_time(line) for line in due)
    return ratio(f"otif_{level}", good, count, book.parameters, scale=100, window=window)


def _in_full_on_time(line: OrderedLine) -> bool:
    return line.by(line.row["promised_on"]) >= line.ordered


def fill_rate(book: Book, window: Window | None = None, *, backorders: bool = False) -> Result:
    """Quantity delivered by the promised date over quantity ordered; backorders: lines that lacked some then."""
    window = window or calendar_window(book.parameters.as_of, 3)
    top = bottom = ZERO
    for _, lines in orders(book):
        for line in lines:
            if not line.row.get("promised_on") or line.row["promised_on"] not in window:
                continue
            arrived = min(line.by(line.row["promised_on"]), line.ordered)
            bottom += 1 if backorders else line.ordered
            top += int(arrived < line.ordered) if backorders else arrived
    name = "backorder_rate" if backorders else "fill_rate"
    return ratio(name, top, bottom, book.parameters, scale=100, window=window)


STAGES = ("order_to_ship", "ship_to_invoice", "invoice_to_due", "due_to_cash", "cash_to_applied")


@dataclass(frozen=True)
class Cycle:
    """Order to cash in days, weighted by amount; the stages add up to the whole. ``untraced``: cash left out."""

    whole: Result
    stages: dict[str, Result]
    untraced: Fraction


def order_to_cash(book: Book, window: Window | None = None) -> Cycle:
    """Cash applied in the window, traced to order and shipment through the invoice lines, by their value.

    Cash on a line without an order or a shipment is left out of all stages, visibly: a stage with a date of its own
    population would not add up.
    """
    from oracle.metrics.payment import payments

    window = window or calendar_window(book.parameters.as_of, 3)
    sums, weight, untraced = dict.fromkeys(STAGES, ZERO), ZERO, ZERO
    traces: dict[str, list[tuple[date, date, Fraction]]] = {}
    for invoice, part in payments(book, window):
        key = invoice["invoice_id"]
        if key not in traces:
            traces[key] = _traces(book, invoice)
        factor = book.weight(invoice, invoice["posted_on"])
        if factor is None or part.receipt is None:
            continue
        amount = part.amount * factor
        untraced += amount * (1 - sum((share for *_, share in traces[key]), ZERO))
        for booked, shipped, share in traces[key]:
            stops = [booked, shipped, invoice["issued_on"], part.item.due_on, part.receipt["received_on"], part.day]
            weight += amount * share
            for name, start, end in zip(STAGES, stops, stops[1:], strict=False):
                sums[name] += amount * share * (end - start).days
    stages = {name: ratio(name, value, weight, book.parameters, window=window) for name, value in sums.items()}
    whole = ratio("order_to_cash", sum(sums.values(), ZERO), weight, book.parameters, window=window)
    return Cycle(whole, stages, untraced)


def _traces(book: Book, invoice: Row) -> list[tuple[date, date, Fraction]]:
    """Booking day, goods issue day and share of the invoice's net value, for lines that have both."""
    lines = [row for row in book.known.all("invoice_line") if row["invoice_id"] == invoice["invoice_id"]]
    whole, found = sum((Fraction(row["net_amount"]) for row in lines), ZERO), []
    for row in lines if whole else []:
        order_line = book.known.get("sales_order_line", row.get("order_line_id"))
        order = book.known.get("sales_order", order_line["order_id"]) if order_line else None
        delivery_line = book.known.get("delivery_line", row.get("delivery_line_id"))
        delivery = book.known.get("delivery", delivery_line["delivery_id"]) if delivery_line else None
        if order and delivery and delivery.get("goods_issue_on"):
            found.append((order["booked_on"], delivery["goods_issue_on"], Fraction(row["net_amount"]) / whole))
    return found
