"""Days sales outstanding and its relatives (metrics.md 3.2; A1, A14-A19, W3, W5, W6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

from oracle.book import ZERO, Book
from oracle.dates import DAY, Window, calendar_window, first_of_month, last_of_month, months_back, trailing_window
from oracle.metrics import ageing
from oracle.result import NO_HISTORY, NOT_POSITIVE, Result, ratio

MONTHS = 3


def _days_of(book: Book, metric: str, numerator: Fraction, window: Window, sales: Fraction | None = None) -> Result:
    """Receivables over the sales of a window, times its days."""
    denominator = book.sales(window) if sales is None else sales
    reason = None if book.has_history(window) else NO_HISTORY
    return ratio(metric, numerator, denominator, book.parameters, scale=window.days, reason=reason, window=window)


def simple(book: Book, months: int = MONTHS) -> Result:
    window = calendar_window(book.parameters.as_of, months)
    return _days_of(book, "dso_simple", book.receivables(window.end), window)


def gross_on_sales_less_applied_credits(book: Book, months: int = MONTHS) -> Result:
    """Gross receivables are already less what credit memos took off invoices; this takes them off sales too (W6)."""
    window = calendar_window(book.parameters.as_of, months)
    sales = book.gross_sales(window) - book.applied_credit_memos(window)
    return _days_of(book, "dso_gross_less_applied_credits", book.balance(window.end).gross, window, sales)


def average(book: Book, months: int = MONTHS) -> Result:
    """Mean of opening and closing receivables: a name of its own."""
    window = calendar_window(book.parameters.as_of, months)
    mean = (book.receivables(window.start - DAY) + book.receivables(window.end)) / 2
    return _days_of(book, "dso_average", mean, window)


def rolling(book: Book, months: int) -> Result:
    """Trailing to the day, over the actual days (A16)."""
    window = trailing_window(book.parameters.as_of, months)
    return _days_of(book, f"dso_rolling_{months}", book.receivables(window.end), window)


def best_possible(book: Book, months: int = MONTHS) -> Result:
    """What is not past due, over the same sales as the DSO it belongs to."""
    window = calendar_window(book.parameters.as_of, months)
    return _days_of(book, "bpdso", ageing.current(book), window)


def delinquent(book: Book, months: int = MONTHS) -> Result:
    """Average days delinquent: past-due receivables over the same sales."""
    window = calendar_window(book.parameters.as_of, months)
    return _days_of(book, "add", ageing.past_due(book), window)


def unapplied_effect(book: Book, months: int = MONTHS) -> Result:
    """The third term on the net basis: BPDSO + ADD + this = DSO (W5)."""
    window = calendar_window(book.parameters.as_of, months)
    return _days_of(book, "unapplied_effect", book.balance(window.end).unapplied, window)


def without_not_yet_due(book: Book, months: int = MONTHS) -> Result:
    """DSO less what is not yet due, on the basis of the parameters."""
    window = calendar_window(book.parameters.as_of, months)
    return _days_of(book, "dso_ex_not_yet_due", book.receivables(window.end) - ageing.current(book), window)


def without_disputes(book: Book, months: int = MONTHS) -> Result:
    window = calendar_window(book.parameters.as_of, months)
    return _days_of(book, "dso_ex_disputes", book.with_(disputed="excl").receivables(window.end), window)


@dataclass(frozen=True)
class Countback:
    """Days until sales use up the receivables; ``remaining`` where they do not."""

    days: Fraction | None
    reason: str | None
    remaining: Fraction
    nonpositive_months: int


def exhaust(receivables: Fraction | int, periods: Iterable[tuple[Fraction | int, int]]) -> Countback:
    """Walk back over (sales, days): whole months count their days, the last one its share (A18).

    A month without sales adds its days and uses up nothing.
    """
    left, days, empty = Fraction(receivables), ZERO, 0
    if left <= 0:
        return Countback(None if left < 0 else ZERO, "ar_negative" if left < 0 else None, left, 0)
    for sold, length in periods:
        sales = Fraction(sold)
        if sales <= 0:
            empty += 1
            days += length
        elif left <= sales:
            return Countback(days + left / sales * length, None, ZERO, empty)
        else:
            left -= sales
            days += length
    return Countback(None, "not_exhausted", left, empty)


def countback(book: Book, months: int = 24) -> Result:
    """24 months with the current one, which counts its elapsed days; months before the first sale add days (A46)."""
    receivables = book.receivables(book.parameters.as_of)
    windows = months_back(book.parameters.as_of, months)
    # Lazily: months that are not needed are not asked for.
    found = exhaust(receivables, ((book.sales(window), window.days) for window in windows))
    extra = {"remaining": found.remaining, "nonpositive_month": found.nonpositive_months}
    return Result("dso_countback", receivables, None, found.days, found.reason, book.parameters, extra=extra)


def age_weighted_exposure(book: Book, *, of: str = "invoice") -> Result:
    """ "True DSO" by invoice: age times amount over the net credit sales of the month of sale (W3, A19).

    Documents of credit sales only: cash sales have no part in the denominator (A5). The month is that of the
    accounting date, the age counts from the document date (A3). A month of sale without positive sales gives no
    figure at all rather than one that silently lacks an invoice.
    """
    as_of, total = book.parameters.as_of, ZERO
    for row_id, amounts in _open_invoices(book, of).items():
        row = book.document(("invoice", row_id))
        if row["sale_type"] != "credit":
            continue
        start = first_of_month(row["posted_on"])
        sales = book.net_sales(Window(start, min(last_of_month(start), as_of)))
        if sales <= 0:
            return Result("age_weighted_exposure", None, None, None, NOT_POSITIVE, book.parameters)
        total += (as_of - row["issued_on"]).days * amounts / sales
    return Result("age_weighted_exposure", total, None, total, None, book.parameters)


def _open_invoices(book: Book, of: str) -> dict[str, Fraction]:
    as_of, found = book.parameters.as_of, {}
    for document, left in book.open_documents(as_of).items():
        if document[0] == "invoice" and left > 0:
            row = book.document(document)
            factor = book.factor(row, "closing", as_of)
            if factor is not None:
                found[document[1]] = (Fraction(row["total_amount"]) if of == "invoice" else left) * factor
    return found


def groups(book: Book, group: str) -> list[str | None]:
    """The values of entity, customer, segment or document_currency that have an event in scope."""
    rows = [book.document(document) for document in {event.document for event in book.events}]
    pick: dict[str, Callable[..., str | None]] = {
        "entity": lambda row: row["entity_code"],
        "customer": lambda row: row.get("customer_id"),
        "segment": lambda row: book.segment(row.get("customer_id")),
        "document_currency": lambda row: row["currency_code"],
    }
    return sorted({pick[group](row) for row in rows}, key=lambda value: (value is None, value or ""))


def by(book: Book, group: str, metric: Callable[[Book], Result]) -> dict[str, Result]:
    """A metric for each value of a group; documents without one (unidentified money) are in no row."""
    return {name: metric(book.with_(**{group: name})) for name in groups(book, group) if name is not None}


def on_days(book: Book, days: Iterable[date], metric: Callable[[Book], Result]) -> dict[date, Result]:
    """A metric at several days, with today's knowledge."""
    return {day: metric(book.with_(as_of=day)) for day in days}
