"""Ageing of open items by due date and by invoice date (metrics.md 3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from fractions import Fraction

from oracle.book import ZERO, Book, Item
from oracle.dates import DAY, Window
from oracle.result import Result, ratio

EDGES = (30, 60, 90)
RETENTION = "retention"
CURRENT = "current"


def labels(edges: Sequence[int] = EDGES, basis: str = "due") -> list[str]:
    """Closed intervals, right edge included: exactly 90 days is 61-90."""
    starts = [0 if basis == "invoice" else 1, *(edge + 1 for edge in edges[:-1])]
    names = [f"{start}-{edge}" for start, edge in zip(starts, edges, strict=True)]
    return [*([CURRENT] if basis == "due" else []), *names, f"{edges[-1]}+"]


def place(days: int, edges: Sequence[int] = EDGES, basis: str = "due") -> str:
    names = labels(edges, basis)
    if basis == "due" and days <= 0:
        return CURRENT
    ages = names[1:] if basis == "due" else names
    return next((name for name, edge in zip(ages, edges, strict=False) if days <= edge), names[-1])


def bucket(item: Item, day: date, edges: Sequence[int] = EDGES, basis: str = "due") -> str:
    """Retention is a class of its own until its date; after it, it ages like the rest (A13)."""
    if item.is_retention and item.late(day) <= 0:
        return RETENTION
    days = item.late(day) if basis == "due" else (day - item.issued_on).days
    return place(days, edges, basis)


@dataclass(frozen=True)
class Ageing:
    """Buckets of one scope on a day, and what stands beside them."""

    buckets: dict[str, Fraction]
    unapplied_cash: Fraction
    unidentified_cash: Fraction
    deposits: Fraction
    unapplied_credits: Fraction
    disputed: dict[str, Fraction]
    marked: Fraction  # due date missing, kept with a fallback

    @property
    def total(self) -> Fraction:
        credits = self.unapplied_cash + self.unidentified_cash + self.deposits + self.unapplied_credits
        return sum(self.buckets.values(), ZERO) + credits


def ageing(
    book: Book,
    day: date | None = None,
    *,
    edges: Sequence[int] = EDGES,
    basis: str = "due",
    age_credits_by_own_date: bool = False,
) -> Ageing:
    """Sum of buckets and unapplied columns is the net receivable."""
    day = day or book.parameters.as_of
    buckets = dict.fromkeys([*labels(edges, basis), RETENTION], ZERO)
    disputed = dict.fromkeys(buckets, ZERO)
    marked = ZERO
    for item in book.items(day):
        name = bucket(item, day, edges, basis)
        buckets[name] += item.open
        disputed[name] += item.disputed
        marked += item.open if item.mark else ZERO
    balance = book.balance(day)
    found = Ageing(
        buckets,
        balance.unapplied_cash,
        balance.unidentified_cash,
        balance.deposits,
        balance.unapplied_credits,
        disputed,
        marked,
    )
    return _age_credits(book, day, found, edges, basis) if age_credits_by_own_date else found


def _age_credits(book: Book, day: date, found: Ageing, edges: Sequence[int], basis: str) -> Ageing:
    """Credit memos on account leave their column for the bucket of their own document date.

    A memo has no due date: on both bases its age counts from its document date. Credit lines of invoices that were
    applied beyond their amount (A7) stay in the column: they have no date of their own.
    """
    buckets, left = dict(found.buckets), found.unapplied_credits
    for document, open_amount in book.open_documents(day).items():
        if document[0] != "credit_memo":
            continue
        row = book.document(document)
        factor = book.factor(row, "closing", day)
        if factor is not None:
            buckets[place((day - row["issued_on"]).days, edges, basis)] += open_amount * factor
            left -= open_amount * factor
    return replace(found, buckets=buckets, unapplied_credits=left)


def is_past_due(item: Item, day: date) -> bool:
    return item.late(day) > 0


def current(book: Book, day: date | None = None) -> Fraction:
    """Not past due, retention before its date included (A13)."""
    day = day or book.parameters.as_of
    return sum((item.open for item in book.items(day) if not is_past_due(item, day)), ZERO)


def past_due(book: Book, day: date | None = None) -> Fraction:
    day = day or book.parameters.as_of
    return sum((item.open for item in book.items(day) if is_past_due(item, day)), ZERO)


def share(book: Book, name: str, *, edges: Sequence[int] = EDGES) -> Result:
    """Percent current, percent 90+: a bucket over gross receivables.

    "current" is all that is not past due: retention before its date is in it, as in BPDSO.
    """
    found = ageing(book, edges=edges).buckets
    part = current(book) if name == CURRENT else found[name]
    return ratio(f"percent_{name}", part, sum(found.values(), ZERO), book.parameters, scale=100)


def re_aged(book: Book, *, edges: Sequence[int] = EDGES) -> tuple[Fraction, list[Item]]:
    """Open amount whose due date was moved later; buckets use the new date as soon as it is known (A9)."""
    items = [item for item in book.items(book.parameters.as_of) if item.due_on > item.original_due_on]
    return sum((item.open for item in items), ZERO), items


def intercompany_excluded(book: Book, day: date | None = None) -> Fraction:
    """Net receivables from companies of the group: left out of every figure, shown beside it (rule 7)."""
    day = day or book.parameters.as_of
    return book.with_(intercompany="incl").balance(day).net - book.balance(day).net


def credit_customers(book: Book, day: date | None = None) -> dict[str, Fraction]:
    """Customers that owe less than nothing: reported by themselves, netted against nobody."""
    day = day or book.parameters.as_of
    customers = {event.customer_id for event in book.events if event.customer_id}
    nets = {customer: book.with_(customer=customer).balance(day).net for customer in sorted(customers)}
    return {customer: net for customer, net in nets.items() if net < 0}


def unapplied_by_age(book: Book, *, edges: Sequence[int] = EDGES) -> dict[str, dict[str, Fraction]]:
    """Unapplied cash by posting date (A48); unidentified money and deposits apart. Positive amounts."""
    day = book.parameters.as_of
    found = {kind: dict.fromkeys(labels(edges, "invoice"), ZERO) for kind in ("identified", "unidentified", "deposit")}
    for (entity, key), left in _unapplied_money(book, day):
        row = book.document((entity, key))
        factor = book.factor(row, "closing", day)
        kind = "deposit" if row["receipt_type"] == "deposit" else "identified" if row["customer_id"] else "unidentified"
        if factor is not None:
            found[kind][place((day - row["received_on"]).days, edges, "invoice")] -= left * factor
    return found


def _unapplied_money(book: Book, day: date) -> Iterable[tuple[tuple[str, str], Fraction]]:
    """Open receipts, deposits that are a liability included."""
    sums: dict[tuple[str, str], Fraction] = {}
    for event in book.facts.events:
        if (
            event.document[0] == "receipt"
            and event.effective_date <= day
            and book.covers(book.document(event.document))
        ):
            sums[event.document] = sums.get(event.document, ZERO) + event.amount
    return [(document, left) for document, left in sorted(sums.items()) if left]


def roll_forward(book: Book, window: Window) -> dict[str, Fraction]:
    """From opening to closing net receivables by name (W7); the parts add up to the closing.

    Signs are those of receivables. W7 writes "- refunds" and "- cash sales"; a refund uses up money on account and
    so *raises* net receivables, and a cash sale that counts in receivables (A5) raises them too: both stand here
    with the sign the sum needs.
    """
    flows = [event for event in book.events if event.effective_date in window]

    def sums(*kinds: str, documents: tuple[str, ...] = ("invoice", "credit_memo", "receipt", "adjustment")) -> Fraction:
        return book.flow(e for e in flows if e.event_type in kinds and e.document[0] in documents)

    deposits = [e for e in flows if e.event_type in ("apply", "unapply") and _from_liability(book, e)]
    opening, closing = book.balance(window.start - DAY).net, book.balance(window.end).net
    parts = {
        "opening": opening,
        "credit_sales": book.gross_sales(window),
        "cash_sales": book.cash_sales(window),
        "credit_memos": sums("issue", documents=("credit_memo",)),
        "cash_received": sums("receive", "reverse"),
        "discounts": sums("discount", "discount_reversal"),
        "write_offs": sums("write_off"),
        "write_off_reversals": sums("write_off_reversal"),
        "refunds": sums("refund"),
        "deposits_applied": book.flow(deposits),
        "transfers": sums("apply", "unapply") - book.flow(deposits),
    }
    fx = closing - sum(parts.values(), ZERO)
    return {**parts, "fx": fx, "closing": closing}


def _from_liability(book: Book, event: object) -> bool:
    """An invoice settled by a deposit that is a liability: only one of the two sides is a receivable."""
    document, other = event.document, event.apply_to  # type: ignore[attr-defined]
    if document[0] != "invoice" or other is None or other[0] != "receipt":
        return False
    row = book.document(other)
    return row["receipt_type"] == "deposit" and row["entity_code"] not in book.ledger.deposits_as_receivables
