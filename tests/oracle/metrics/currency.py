"""Several currencies: effects of rates, what a missing rate leaves out, rounding (metrics.md 3.9; W8-W10, A30-A36)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction

from oracle.book import ZERO, Book
from oracle.dates import Window
from oracle.events import Document
from oracle.ledger import Row
from oracle.rates import minor_units
from oracle.result import Result, rounded


@dataclass(frozen=True)
class FxEffect:
    """Historical less constant over the same documents; what a missing rate left out, in document currency."""

    historical: Result
    constant: Result
    excluded: dict[Document, str]

    @property
    def value(self) -> Fraction | None:
        if self.historical.value is None or self.constant.value is None:
            return None
        return self.historical.value - self.constant.value


def fx_effect(book: Book, metric: Callable[[Book], Result]) -> FxEffect:
    """A document is in on both sides, or on neither (W9)."""
    excluded = without_rate(book)
    sides = [metric(book.with_(fx_basis=basis, without=frozenset(excluded))) for basis in ("historical", "constant")]
    return FxEffect(sides[0], sides[1], excluded)


def without_rate(book: Book) -> dict[Document, str]:
    """Documents whose currency lacks the closing rate, and sales and credits that lack the rate of their day."""
    scope = book.parameters
    found: dict[Document, str] = {}
    assert scope.currency is not None
    for event in book.events:
        if event.effective_date > scope.as_of:
            continue
        closing = book.rates.rate(event.currency, scope.currency, "closing", scope.as_of)
        if closing is None:
            found[event.document] = "closing"
        elif event.event_type not in ("issue", "cancel"):
            continue  # money only counts in balances
        elif book.rates.rate(event.currency, scope.currency, "spot", event.effective_date) is None:
            found.setdefault(event.document, "spot")
    return found


def excluded_balance(book: Book, day: date) -> dict[str, Fraction]:
    """Net receivables that a missing closing rate leaves out, by currency, in that currency: visible, not dropped."""
    scope = book.parameters
    found: dict[str, Fraction] = {}
    for document, left in book.open_documents(day).items():
        row = book.document(document)
        moment = scope.as_of if scope.fx_basis == "constant" else day
        if book.rates.rate(row["currency_code"], scope.currency or "", "closing", moment) is None:
            found[row["currency_code"]] = found.get(row["currency_code"], ZERO) + left
    return found


def unrealised(book: Book, day: date) -> tuple[Fraction, list[Document]]:
    """Open amounts times (closing - rate of their own day), in functional currency; and what has no rate."""
    total, missing = ZERO, []
    for document, left in sorted(book.open_documents(day).items()):
        row = book.document(document)
        target = _functional(book, row)
        closing = book.rates.rate(row["currency_code"], target, "closing", day)
        carried = book.rates.rate(row["currency_code"], target, "spot", _carried_from(document, row))
        if closing is None or carried is None:
            missing.append(document)
        else:
            total += left * (closing - carried)
    return total, missing


def _functional(book: Book, row: Row) -> str:
    entity = book.known.get("legal_entity", row["entity_code"])
    assert entity is not None
    return entity["functional_currency_code"]


def _carried_from(document: Document, row: Row) -> date:
    column = {"receipt": "received_on", "adjustment": "adjusted_on"}.get(document[0], "posted_on")
    return row[column]


def _cash(book: Book, window: Window) -> Iterator[tuple[Row, Row, Fraction]]:
    """Invoice, receipt and amount of cash set against it in the window; what is taken back in it is negative."""
    for application in book.facts.applications:
        if application.receipt is None or not book.covers(application.invoice):
            continue
        amount = Fraction(application.row["applied_amount"])
        if application.start in window:
            yield application.invoice, application.receipt, amount
        if application.end is not None and application.end in window:
            yield application.invoice, application.receipt, -amount


def realised(book: Book, window: Window) -> tuple[Fraction, int]:
    """Cash times (rate of the receipt's posting date - rate of the invoice), cash only (A34); and how many lack a rate.

    It is realised on the application date, which is when the invoice is settled.
    """
    total, missing = ZERO, 0
    for invoice, receipt, amount in _cash(book, window):
        target = _functional(book, invoice)
        settled = book.rates.rate(invoice["currency_code"], target, "spot", receipt["received_on"])
        billed = book.rates.rate(invoice["currency_code"], target, "spot", invoice["posted_on"])
        if settled is None or billed is None:
            missing += 1
        else:
            total += amount * (settled - billed)
    return total, missing


def total_effect(book: Book, window: Window, opening: date) -> Fraction:
    """Realised in the window, less what was unrealised at the opening, plus what is unrealised at its end.

    Of a document that is settled in the window, this is the part of its realised effect that belongs to the window
    (golden: -10 of -30 in April).
    """
    return realised(book, window)[0] - unrealised(book, opening)[0] + unrealised(book, window.end)[0]


def round_lines(lines: Mapping[str, Fraction], currency: str) -> dict[str, Decimal]:
    """Lines in minor units, half-even; the residual to the largest line, of equals the smallest id (A35)."""
    places = minor_units(currency)
    found = {key: rounded(value, places) for key, value in lines.items()}
    if not found:
        return found
    whole = rounded(sum(lines.values(), ZERO), places)
    largest = min(lines, key=lambda key: (-abs(lines[key]), key))
    found[largest] += whole - sum(found.values(), Decimal(0))
    return found
