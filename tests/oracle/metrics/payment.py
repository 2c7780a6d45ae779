"""How long customers take: days to pay, terms, days late (metrics.md 3.2; W8, W13, A20, A22)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from fractions import Fraction

from oracle.book import ZERO, Book, Part
from oracle.dates import Window, calendar_window
from oracle.ledger import Row
from oracle.result import Result, ratio


def payments(book: Book, window: Window) -> Iterator[tuple[Row, Part]]:
    """Cash on invoices by effective application date, as it still stands at as-of (W13); no credits, no discounts."""
    for invoice in book.invoices():
        for part in book.settlements(invoice, book.parameters.as_of):
            if part.kind == "cash" and part.day in window:
                yield invoice, part


def _window(book: Book) -> Window:
    return calendar_window(book.parameters.as_of, 3)


def days_to_pay(
    book: Book, window: Window | None = None, *, until: str = "application", bounced: bool = False
) -> Result:
    """Weighted by cash. ``until="receipt"`` leaves out our own posting delay; the difference is cash application."""
    window = window or _window(book)
    top = bottom = ZERO
    for invoice, part in payments(book, window):
        weight = book.weight(invoice, invoice["posted_on"])
        if weight is not None:
            top += part.amount * weight * (_paid_on(part, until) - invoice["issued_on"]).days
            bottom += part.amount * weight
    if bounced:
        for invoice, day, amount in _bounced(book, window):
            top += amount * (day - invoice["issued_on"]).days
            bottom += amount
    return ratio(f"days_to_pay_{until}", top, bottom, book.parameters, window=window)


def _paid_on(part: Part, until: str) -> date:
    return part.receipt["received_on"] if until == "receipt" and part.receipt else part.day


def _bounced(book: Book, window: Window) -> Iterator[tuple[Row, date, Fraction]]:
    """Applications of receipts that bounced: only to show what leaving them out changes (38.80)."""
    for application in book.facts.applications:
        gone = application.end is not None and application.end <= book.parameters.as_of
        if application.bounced and gone and application.start in window and book.covers(application.invoice):
            yield application.invoice, application.start, Fraction(application.row["applied_amount"])


def days_late(book: Book, window: Window | None = None, *, floored: bool = False) -> Result:
    """Days beyond terms, by schedule line: early payers offset late ones, unless floored at 0."""
    window = window or _window(book)
    top = bottom = ZERO
    for invoice, part in payments(book, window):
        weight = book.weight(invoice, invoice["posted_on"])
        if weight is None:
            continue
        late = (part.day - part.item.due_on).days
        top += part.amount * weight * (max(late, 0) if floored else late)
        bottom += part.amount * weight
    return ratio("days_late_floored" if floored else "days_late_signed", top, bottom, book.parameters, window=window)


def terms(book: Book, window: Window | None = None, *, population: str = "issued") -> Result:
    """Weighted days from invoice to due date. ``settled``: days to pay = terms + signed days late (A22).

    Issued: credit sales with an accounting date in the window, whole amount by schedule line, cancelled ones out.
    """
    window = window or _window(book)
    if population == "settled":
        pairs = [(invoice, part.item, part.amount) for invoice, part in payments(book, window)]
    else:
        pairs = [
            (invoice, item, item.amount)
            for invoice in book.invoices()
            if invoice["posted_on"] in window and invoice["sale_type"] == "credit" and invoice["status"] != "cancelled"
            for item in book.schedule(invoice)
        ]
    top = bottom = ZERO
    for invoice, item, amount in pairs:
        weight = book.weight(invoice, invoice["posted_on"])
        if weight is not None:
            top += amount * weight * (item.due_on - invoice["issued_on"]).days
            bottom += amount * weight
    return ratio(f"terms_{population}", top, bottom, book.parameters, window=window)


def on_time(
    book: Book, window: Window | None = None, *, by: str = "amount", grace: int = 0, disputed: str = "incl"
) -> Result:
    """Schedule lines due in the window and matured, paid by due + grace (A23).

    The base is the line less credit and cancellation as of the as-of date; nothing left of it: out. Cash with its
    discount pays; a write-off does not, a payment that bounced does not. ``disputed="excl"`` leaves out invoices
    with a dispute open on the as-of date.
    """
    as_of = book.parameters.as_of
    window = window or _window(book)
    top = bottom = ZERO
    for invoice in book.invoices():
        if invoice["posted_on"] > as_of or (disputed == "excl" and _is_disputed(book, invoice)):
            continue
        weight = book.factor(invoice, "spot", invoice["posted_on"])
        for item in book.schedule(invoice):
            limit = item.due_on + timedelta(days=grace)
            if item.due_on not in window or limit > as_of or weight is None:
                continue
            parts = [part for part in book.settlements(invoice, as_of) if part.item.line == item.line]
            base = item.amount - sum((p.amount for p in parts if p.kind in ("credit", "cancel")), ZERO)
            if base <= 0:
                continue
            paid = sum((p.amount for p in parts if p.kind in ("cash", "discount") and p.day <= limit), ZERO)
            bottom += base * weight if by == "amount" else 1
            top += min(paid, base) * weight if by == "amount" else int(paid >= base)
    return ratio(f"on_time_{by}", top, bottom, book.parameters, scale=100, window=window)


def _is_disputed(book: Book, invoice: Row) -> bool:
    from oracle.book import is_open

    return any(is_open(dispute, book.parameters.as_of) for dispute in book.disputes(invoice["invoice_id"]))
