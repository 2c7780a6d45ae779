"""Cash application: how fast, how much without a hand, how much wrongly (metrics.md 3.5)."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

from oracle.book import ZERO, Book
from oracle.dates import DAY, Window, calendar_window, next_business_day
from oracle.events import Application
from oracle.result import Result, ratio


def _applications(book: Book, window: Window | None, *, still: bool) -> list[tuple[Application, Fraction]]:
    """Of payments (deposits wait for an invoice by intention), applied in the window; ``still`` in force at as-of."""
    window = window or calendar_window(book.parameters.as_of, 3)
    found = []
    for application in book.facts.applications:
        receipt = application.receipt
        if receipt is None or receipt["receipt_type"] == "deposit" or application.start not in window:
            continue
        if not book.covers(application.invoice) or application.start > book.parameters.as_of:
            continue
        weight = book.weight(application.invoice, application.invoice["posted_on"])
        if weight is not None and (not still or application.holds_at(book.parameters.as_of)):
            found.append((application, Fraction(application.row["applied_amount"]) * weight))
    return found


def _days(application: Application) -> int:
    assert application.receipt is not None
    return (application.start - _money_in(application)).days


def _money_in(application: Application) -> date:
    receipt = application.receipt
    assert receipt is not None
    return receipt.get("value_on") or receipt["received_on"]


LEVELS = ("payment", "line", "amount")


def application_time(book: Book, window: Window | None = None) -> Result:
    """Days from bank value date to application, weighted by amount."""
    rows = _applications(book, window, still=True)
    top = sum((_days(application) * amount for application, amount in rows), ZERO)
    return ratio("cash_application_days", top, sum((amount for _, amount in rows), ZERO), book.parameters)


def applied_within(book: Book, window: Window | None = None, *, next_day: bool = False) -> Result:
    """Share of the amount applied on the value date, or by the next business day (weekends; holidays given)."""
    rows, top = _applications(book, window, still=True), ZERO
    for application, amount in rows:
        limit = _money_in(application)
        if next_day:
            limit = next_business_day(limit + DAY, book.parameters.holidays)
        top += amount if application.start <= limit else ZERO
    name = "applied_by_next_business_day" if next_day else "applied_same_day"
    return ratio(name, top, sum((amount for _, amount in rows), ZERO), book.parameters, scale=100)


def auto_match(book: Book, window: Window | None = None, *, level: str = "line") -> Result:
    """Applied without a hand and not taken back by as-of, over all: by receipt, application or amount.

    A receipt counts when all its applications of the window do. Bounced ones were matched right: they stay, on both
    sides; only an unapplication before any bounce is a touch.
    """
    rows = _applications(book, window, still=False)
    good = [not _taken_back(book, a) and bool(a.row["is_automatic"]) for a, _ in rows]
    if level == "payment":
        receipts: dict[str, bool] = {}
        for (application, _), right in zip(rows, good, strict=True):
            key = application.row["receipt_id"]
            receipts[key] = receipts.get(key, True) and right
        top, bottom = Fraction(sum(receipts.values())), Fraction(len(receipts))
    else:
        weights = [amount if level == "amount" else Fraction(1) for _, amount in rows]
        top = sum((weight for weight, right in zip(weights, good, strict=True) if right), ZERO)
        bottom = sum(weights, ZERO)
    return ratio(f"auto_match_{level}", top, bottom, book.parameters, scale=100)


def _taken_back(book: Book, application: Application) -> bool:
    ended = application.end is not None and application.end <= book.parameters.as_of
    return ended and not application.bounced


def false_application(book: Book, window: Window | None = None) -> Result:
    """Applied without a hand and taken back, over applied without a hand."""
    rows = [a for a, _ in _applications(book, window, still=False) if a.row["is_automatic"]]
    return ratio(
        "false_application_rate", sum(_taken_back(book, a) for a in rows), len(rows), book.parameters, scale=100
    )
