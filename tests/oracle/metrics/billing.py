"""Invoice cycle times and billing errors (metrics.md 3.5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction

from oracle.book import ZERO, Book
from oracle.dates import Window, add_months, calendar_window
from oracle.ledger import Row
from oracle.result import MEDIAN, P90, Result, percentile, ratio

# Returns, rebates and goodwill are no errors of billing; of disputes only what a bill can get wrong.
ERROR_REASONS = frozenset({"price", "quantity", "cancel_and_rebill", "tax"})
ERROR_DISPUTES = frozenset({"price", "quantity", "tax"})


@dataclass(frozen=True)
class Lag:
    """Hours of one line from a start to the invoice; negative where it was billed first."""

    line: str
    hours: Fraction
    quantity: Fraction


@dataclass(frozen=True)
class LagSummary:
    mean: Result  # weighted by quantity, negative ones apart
    median: Fraction | None
    p90: Fraction | None
    negative: int


def summary(book: Book, metric: str, lags: list[Lag]) -> LagSummary:
    """Lines that were billed before they were shipped (or ordered) are counted, not mixed in."""
    late = [lag for lag in lags if lag.hours >= 0]
    weighted = sum((lag.hours * lag.quantity for lag in late), ZERO)
    mean = ratio(metric, weighted, sum((lag.quantity for lag in late), ZERO), book.parameters)
    hours = [lag.hours for lag in late]
    return LagSummary(mean, percentile(hours, MEDIAN), percentile(hours, P90), len(lags) - len(late))


def _hours(start: datetime, end: datetime) -> Fraction:
    between = end - start
    return Fraction(between // timedelta(microseconds=1), 3_600_000_000)


def _billed_lines(book: Book, window: Window) -> Iterator[tuple[Row, Row]]:
    """Invoice lines of invoices sent in the window and not cancelled by as-of."""
    for line in book.known.all("invoice_line"):
        invoice = book.known.get("invoice", line["invoice_id"])
        if not invoice or not invoice.get("sent_at") or not book.covers(invoice) or cancelled(invoice, book):
            continue
        if book.local_day(invoice, invoice["sent_at"]) in window:
            yield invoice, line


def cancelled(invoice: Row, book: Book) -> bool:
    day = invoice.get("cancelled_on") or invoice["posted_on"]
    return invoice["status"] == "cancelled" and day <= book.parameters.as_of


def order_to_invoice(book: Book, window: Window | None = None) -> LagSummary:
    """Sent less booked, by invoice line; of a blanket order, less the day promised for the line."""
    lags = []
    for invoice, line in _billed_lines(book, window or calendar_window(book.parameters.as_of, 3)):
        order_line = book.known.get("sales_order_line", line.get("order_line_id"))
        order = book.known.get("sales_order", order_line["order_id"]) if order_line else None
        if not order or not order_line:
            continue
        start = order["booked_at"]
        if order["order_type"] == "blanket":
            if not order_line.get("promised_on"):
                continue  # a blanket order without a schedule date has no start
            start = datetime.combine(order_line["promised_on"], time.min, UTC)
        lags.append(Lag(line["invoice_line_id"], _hours(start, invoice["sent_at"]), Fraction(line["quantity"])))
    return summary(book, "order_to_invoice", lags)


def shipment_to_invoice(book: Book, window: Window | None = None) -> LagSummary:
    """First invoice that covers a delivery line less its goods issue."""
    first: dict[str, Row] = {}
    everything = Window(datetime.min.date(), datetime.max.date())
    for invoice, line in _billed_lines(book, everything):
        key = line.get("delivery_line_id")
        if key and (key not in first or invoice["sent_at"] < first[key]["sent_at"]):
            first[key] = invoice
    window, lags = window or calendar_window(book.parameters.as_of, 3), []
    for key, invoice in sorted(first.items()):
        shipped = book.known.get("delivery_line", key)
        delivery = book.known.get("delivery", shipped["delivery_id"]) if shipped else None
        if not shipped or not delivery or not delivery.get("goods_issue_at"):
            continue
        if book.local_day(invoice, invoice["sent_at"]) in window:
            hours = _hours(delivery["goods_issue_at"], invoice["sent_at"])
            lags.append(Lag(key, hours, Fraction(shipped["shipped_quantity"])))
    return summary(book, "shipment_to_invoice", lags)


def mature_cohort(book: Book, days: int = 90, months: int = 3) -> Window:
    """Invoices old enough that every correction within W days has had its time."""
    end = book.parameters.as_of - timedelta(days=days)
    return Window(add_months(end, -months) + timedelta(days=1), end)


def error_rate(book: Book, cohort: Window | None = None, *, days: int = 90, by: str = "count") -> Result:
    """Invoices with a correcting document or a billing dispute within W days, over the invoices of a mature cohort.

    A billing dispute counts whatever its outcome: the text asks for disputes, not for disputes that were right.
    """
    cohort = cohort or mature_cohort(book, days)
    memos, replaced = _corrections(book)
    top = bottom = ZERO
    for invoice in book.invoices():
        limit = invoice["issued_on"] + timedelta(days=days)
        if invoice["issued_on"] not in cohort or limit > book.parameters.as_of:
            continue
        key = invoice["invoice_id"]
        dates = [*memos.get(key, []), *replaced.get(key, [])]
        dates += [d["opened_on"] for d in book.disputes(key) if d["dispute_type"] in ERROR_DISPUTES]
        if invoice["status"] == "cancelled":
            dates.append(invoice.get("cancelled_on") or invoice["posted_on"])
        factor = book.factor(invoice, "spot", invoice["posted_on"])
        weight = Fraction(1) if by == "count" else Fraction(invoice["total_amount"]) * (factor or ZERO)
        bottom += weight
        top += weight if any(day <= limit for day in dates) else ZERO
    return ratio(f"billing_error_rate_{by}", top, bottom, book.parameters, scale=100, window=cohort)


def _corrections(book: Book) -> tuple[dict[str, list[date]], dict[str, list[date]]]:
    memos: dict[str, list[date]] = {}
    for memo in book.known.all("credit_memo"):
        if memo.get("invoice_id") and memo["reason"] in ERROR_REASONS:
            memos.setdefault(memo["invoice_id"], []).append(memo["issued_on"])
    replaced: dict[str, list[date]] = {}
    for invoice in book.known.all("invoice"):
        if invoice.get("replaces_invoice_id"):
            replaced.setdefault(invoice["replaces_invoice_id"], []).append(invoice["issued_on"])
    return memos, replaced
