"""Disputes: how many, how much, how long (metrics.md 3.5)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from oracle.book import ZERO, Book, is_open
from oracle.dates import Window, calendar_window
from oracle.ledger import Row
from oracle.result import MEDIAN, P90, Result, percentile, ratio


def dispute_rate(book: Book, window: Window | None = None, *, by: str = "count") -> Result:
    """Invoices issued in the window with a dispute opened by as-of; by amount the disputed part."""
    window = window or calendar_window(book.parameters.as_of, 3)
    top = bottom = ZERO
    for invoice in book.invoices():
        if invoice["issued_on"] not in window or invoice["posted_on"] > book.parameters.as_of:
            continue
        opened = [d for d in book.disputes(invoice["invoice_id"]) if d["opened_on"] <= book.parameters.as_of]
        if by == "count":
            top, bottom = top + bool(opened), bottom + 1
            continue
        factor = book.factor(invoice, "spot", invoice["posted_on"]) or ZERO
        total = Fraction(invoice["total_amount"])
        bottom += total * factor
        top += min(total, sum((Fraction(d["amount"]) for d in opened), ZERO)) * factor
    return ratio(f"dispute_rate_{by}", top, bottom, book.parameters, scale=100, window=window)


@dataclass(frozen=True)
class DisputeTime:
    """Days from opening to closing of those closed in the window; days of those still open."""

    mean: Result
    median: Fraction | None
    p90: Fraction | None
    open_count: int
    open_median: Fraction | None
    open_p90: Fraction | None


def dispute_time(book: Book, window: Window | None = None) -> DisputeTime:
    as_of = book.parameters.as_of
    window = window or calendar_window(as_of, 3)
    rows = [row for row in book.known.all("dispute") if _covered(book, row)]
    closed = [
        (row["closed_on"] - row["opened_on"]).days
        for row in rows
        if row.get("closed_on") and row["closed_on"] in window and row["closed_on"] <= as_of
    ]
    ages = [(as_of - row["opened_on"]).days for row in rows if is_open(row, as_of)]
    mean = ratio("dispute_resolution_days", sum(closed), len(closed), book.parameters, window=window)
    return DisputeTime(
        mean,
        percentile(closed, MEDIAN),
        percentile(closed, P90),
        len(ages),
        percentile(ages, MEDIAN),
        percentile(ages, P90),
    )


def _covered(book: Book, row: Row) -> bool:
    invoice = book.known.get("invoice", row["invoice_id"])
    return invoice is not None and book.covers(invoice)
