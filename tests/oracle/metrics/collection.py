"""Collection effectiveness, turnover, concentration (metrics.md 3.4; W1, W2, W11, A17, A20, A21, A24)."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from oracle.book import ZERO, Book
from oracle.dates import DAY, Window, calendar_window, months_of
from oracle.metrics import ageing
from oracle.result import NO_HISTORY, Result, ratio, summed

_Sides = tuple[Fraction, Fraction]


def cei_of(begin: Fraction, sales: Fraction, end_total: Fraction, end_current: Fraction) -> _Sides:
    return begin + sales - end_total, begin + sales - end_current


def _cei(book: Book, window: Window, *, cash: bool = False) -> Result:
    begin, end = book.receivables(window.start - DAY), book.receivables(window.end)
    top, bottom = cei_of(begin, book.sales(window), end, ageing.current(book, window.end))
    if cash:
        top = cash_applied(book, window)
    name = "cash_cei" if cash else "cei"
    reason = None if book.has_history(window) else NO_HISTORY
    return ratio(name, top, bottom, book.parameters, scale=100, reason=reason, window=window)


def cei_window(book: Book, months: int = 3, *, cash: bool = False) -> Result:
    """One window over the whole period (golden)."""
    return _cei(book, calendar_window(book.parameters.as_of, months), cash=cash)


def cei_monthly(book: Book, months: int = 3, *, cash: bool = False) -> list[Result]:
    return [_cei(book, month, cash=cash) for month in months_of(calendar_window(book.parameters.as_of, months))]


def cei_summed(book: Book, months: int = 3, *, cash: bool = False) -> Result:
    """The headline: numerators of the months over their denominators, each month counted, also a negative one."""
    parts = cei_monthly(book, months, cash=cash)
    return summed("cash_cei_summed" if cash else "cei_summed", parts, book.parameters, scale=100)


def cash_applied(book: Book, window: Window) -> Fraction:
    """Cash set against invoices, net of what was taken back or bounced in the window (A20); deposits are cash too."""
    return -book.flow(
        event
        for event in book.events
        if event.document[0] == "invoice"
        and event.event_type in ("apply", "unapply")
        and event.apply_to is not None
        and event.apply_to[0] == "receipt"
        and event.effective_date in window
    )


def turnover(book: Book, months: int = 3, *, points: str = "two_point") -> Result:
    """Credit sales over mean receivables; the mean of two ends, or of all month ends with the opening (W2)."""
    window = calendar_window(book.parameters.as_of, months)
    ends = [window.start - DAY, window.end]
    if points == "month_ends":
        ends = [window.start - DAY, *(month.end for month in months_of(window))]
    mean = sum((book.receivables(day) for day in ends), ZERO) / len(ends)
    reason = None if book.has_history(window) else NO_HISTORY
    return ratio(f"turnover_{points}", book.sales(window), mean, book.parameters, reason=reason, window=window)


def turnover_days(book: Book, months: int = 3, *, points: str = "two_point") -> Result:
    """Days of the window over the turnover, not 365 (W2)."""
    found = turnover(book, months, points=points)
    window: Window = found.extra["window"]
    top, bottom = found.denominator or ZERO, found.numerator or ZERO
    reason = found.reason if found.reason == NO_HISTORY or (found.denominator or ZERO) <= 0 else None
    name = f"turnover_days_{points}"
    return ratio(name, top, bottom, book.parameters, scale=window.days, reason=reason, window=window)


def concentration(book: Book, top: int = 10, *, of: str = "open") -> Result:
    """Share of the largest customers of gross receivables, or of what is past due, ranked anew (A24)."""
    day = book.parameters.as_of
    owed: dict[str, Fraction] = {}
    for item in book.items(day):
        if of == "open" or ageing.is_past_due(item, day):
            owed[item.customer_id] = owed.get(item.customer_id, ZERO) + item.open
    return ratio(f"top_{top}_{of}", _largest(owed.values(), top), sum(owed.values(), ZERO), book.parameters, scale=100)


def _largest(amounts: Iterable[Fraction], count: int) -> Fraction:
    return sum(sorted(amounts, reverse=True)[:count], ZERO)
