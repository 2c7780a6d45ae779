"""Roll rates, provision matrix, bad debt (metrics.md 3.4, 3.7; W4, A25)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction

from oracle.book import ZERO, Book, Item
from oracle.dates import DAY, calendar_window, months_of, trailing_window
from oracle.metrics.ageing import CURRENT, EDGES, RETENTION, bucket, labels
from oracle.result import NO_HISTORY, Result, ratio

PAID, LOST = "settled", "written_off"


@dataclass
class Transitions:
    """Amounts that moved from a bucket at one month end to a bucket, a settlement or a write-off by the next."""

    edges: Sequence[int] = EDGES
    amounts: dict[tuple[str, str], Fraction] = field(default_factory=dict)

    def add(self, start: str, end: str, amount: Fraction) -> None:
        if amount:
            self.amounts[start, end] = self.amounts.get((start, end), ZERO) + amount

    def start(self, name: str) -> Fraction:
        return sum((amount for (start, _), amount in self.amounts.items() if start == name), ZERO)

    def share(self, start: str, end: str) -> Fraction | None:
        whole = self.start(start)
        return self.amounts.get((start, end), ZERO) / whole if whole else None


def _bucket(item: Item, day: date, edges: Sequence[int]) -> str:
    """Retention before its date rolls with what is current: it is not past due (A13)."""
    found = bucket(item, day, edges)
    return CURRENT if found == RETENTION else found


def transitions(book: Book, ends: Iterable[date], edges: Sequence[int] = EDGES) -> Transitions:
    """Line by line; what moves is capped at what is still open (A25)."""
    found, days = Transitions(edges), list(ends)
    for before, after in zip(days, days[1:], strict=False):
        later = {(item.invoice_id, item.line): item for item in book.items(after)}
        lost = _written_off(book, before, after)
        for item in book.items(before):
            start, key = _bucket(item, before, edges), (item.invoice_id, item.line)
            left = item.open
            if key in later:
                moved = min(left, later[key].open)
                found.add(start, _bucket(later[key], after, edges), moved)
                left -= moved
            write_off = min(left, lost.get(key, ZERO))
            found.add(start, LOST, write_off)
            found.add(start, PAID, left - write_off)
    return found


def _written_off(book: Book, before: date, after: date) -> dict[tuple[str, str], Fraction]:
    """By line: write-offs dated between the two ends that still stand at the second."""
    found: dict[tuple[str, str], Fraction] = {}
    for invoice in book.invoices():
        for part in book.settlements(invoice, after):
            if part.kind == "write_off" and before < part.day <= after:
                key = (invoice["invoice_id"], part.item.line)
                # The same rate as the balance it comes from, so that both are one money.
                factor = book.factor(invoice, "closing", before) or ZERO
                found[key] = found.get(key, ZERO) + part.amount * factor
    return found


def roll_rates(book: Book, months: int = 1, edges: Sequence[int] = EDGES) -> dict[str, dict[str, Result]]:
    """By starting bucket: to exactly the next bucket, and to any worse one (a loss is worse than any)."""
    moved = transitions(book, month_ends(book, months), edges)
    names, found = labels(edges), {}
    for number, name in enumerate(names):
        worse = [*names[number + 1 :], LOST]
        whole = moved.start(name)
        # Beyond the last bucket comes the write-off.
        following, further = moved.amounts.get((name, worse[0]), ZERO), ZERO
        for other in worse:
            further += moved.amounts.get((name, other), ZERO)
        found[name] = {
            "next_bucket": ratio("roll_next_bucket", following, whole, book.parameters, scale=100),
            "any_worse": ratio("roll_any_worse", further, whole, book.parameters, scale=100),
        }
    return found


def month_ends(book: Book, months: int) -> list[date]:
    window = calendar_window(book.parameters.as_of, months)
    return [window.start - DAY, *(month.end for month in months_of(window))]


def loss_rates(moved: Transitions) -> dict[str, Fraction | None]:
    """The chance that money of a bucket is written off in the end: the full matrix, solved from the worst bucket.

    Lines only grow older, so the matrix is triangular. A bucket without a way out in the window has no rate.
    """
    names = labels(moved.edges)
    rates: dict[str, Fraction | None] = {}
    for number in range(len(names) - 1, -1, -1):
        name = names[number]
        stays, risk = moved.share(name, name), moved.share(name, LOST)
        if stays is None or risk is None or stays == 1:
            rates[name] = None
            continue
        whole: Fraction | None = risk
        for worse in names[number + 1 :]:
            step = moved.share(name, worse)
            if step and whole is not None:
                rate = rates[worse]
                whole = None if rate is None else whole + step * rate
        rates[name] = None if whole is None else whole / (1 - stays)
    return {name: rates[name] for name in names}


@dataclass(frozen=True)
class PoolTerms:
    """What is taken out of the pool, and the outlook."""

    forward_factor: Fraction = Fraction(1)
    specific: Mapping[str, Fraction] = field(default_factory=dict)  # provided one by one: invoice -> provision
    insured_share: Mapping[str, Fraction] = field(default_factory=dict)  # customer -> share that is covered
    financing: frozenset[str] = frozenset()  # invoices with a significant financing part


def provision(
    book: Book,
    rates: Mapping[str, Fraction | None],
    pool: PoolTerms | None = None,
    edges: Sequence[int] = EDGES,
) -> Result:
    """Pool by bucket times loss rate times outlook, at most the pool; disputed and specific parts beside it.

    Unapplied credits lower no bucket. A bucket with money and no rate gives no figure, but the reason.
    """
    pool = pool or PoolTerms()
    day, buckets = book.parameters.as_of, dict.fromkeys(labels(edges), ZERO)
    disputed = ZERO
    for item in book.items(day):
        if item.invoice_id in pool.specific or item.invoice_id in pool.financing:
            continue
        share = 1 - pool.insured_share.get(item.customer_id, ZERO)
        counted = item.open - (item.disputed if book.parameters.disputed == "incl" else ZERO)
        buckets[_bucket(item, day, edges)] += counted * share
        disputed += item.disputed
    lines, unknown = {}, []
    for name, amount in buckets.items():
        rate = rates.get(name)
        if rate is None:
            unknown += [name] if amount else []
            continue
        lines[name] = amount * min(rate * pool.forward_factor, Fraction(1))
    total = sum(lines.values(), ZERO) + sum(pool.specific.values(), ZERO)
    extra = {"buckets": buckets, "lines": lines, "disputed": disputed, "no_rate": unknown}
    reason = NO_HISTORY if unknown else None
    value = None if unknown else total
    return Result("provision", total, None, value, reason, book.parameters, extra=extra)


def provision_from_history(book: Book, months: int = 12, pool: PoolTerms | None = None) -> dict[str, Result]:
    """By segment, with the loss rates of its own history."""
    from oracle.metrics.dso import groups

    found = {}
    for name in groups(book, "segment"):
        own = book.with_(segment=name) if name is not None else book
        if name is not None:
            found[name] = provision(own, loss_rates(transitions(own, month_ends(own, months))), pool)
    return found


def bad_debt(book: Book, months: int = 12) -> Result:
    """Write-offs less their reversals over net credit sales, trailing; a provision is not a write-off."""
    window = trailing_window(book.parameters.as_of, months)
    lost = -book.flow(
        event
        for event in book.events
        if event.event_type in ("write_off", "write_off_reversal") and event.effective_date in window
    )
    reason = None if book.has_history(window) else NO_HISTORY
    return ratio(
        "bad_debt_rate", lost, book.net_sales(window), book.parameters, scale=100, reason=reason, window=window
    )
