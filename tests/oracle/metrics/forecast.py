"""Cash forecast with a spread, and how good it was (metrics.md 3.8).

The text asks for a bootstrap. Its draws are taken from a digest of item and draw number, so that any language can
repeat them. There is no feed of promises: only disputes override. Unbilled goods are no part of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction

from oracle.book import ZERO, Book, Item
from oracle.dates import DAY, Window, add_months
from oracle.metrics.payment import payments
from oracle.result import MEDIAN, P90, Result, percentile, ratio

P10 = Fraction(1, 10)
HORIZONS = (1, 2, 4, 13)  # weeks
SHRINKAGE = 5  # k of the text: how many payments the segment mean is worth
DRAWS = 200

_History = list[tuple[int, Fraction]]  # days late, amount


@dataclass(frozen=True)
class Expectation:
    """One open line: the day its money is expected, and the lateness it may have, in days."""

    item: Item
    amount: Fraction
    expected_on: date
    outcomes: tuple[int, ...]


def history(book: Book, months: int = 12) -> dict[str, _History]:
    """How late each customer paid in the months before as-of."""
    as_of = book.parameters.as_of
    found: dict[str, _History] = {}
    for invoice, part in payments(book, Window(add_months(as_of, -months) + DAY, as_of)):
        weight = book.weight(invoice, invoice["posted_on"])
        if weight:
            late = (part.day - part.item.due_on).days
            found.setdefault(invoice["customer_id"], []).append((late, part.amount * weight))
    return found


def _mean(past: _History) -> Fraction:
    whole = sum((amount for _, amount in past), ZERO)
    return sum((late * amount for late, amount in past), ZERO) / whole if whole else ZERO


def _shrunk(own: _History, segment: _History) -> Fraction:
    return (len(own) * _mean(own) + SHRINKAGE * _mean(segment)) / (len(own) + SHRINKAGE)


def expectations(book: Book) -> list[Expectation]:
    """Open lines less what is disputed; lateness given that the line is as late as it already is.

    The mean is rounded half-even to a day. Nobody in the segment was ever that late: tomorrow.
    """
    as_of, past, found = book.parameters.as_of, history(book), []
    for item in book.items(as_of):
        amount = item.open - (item.disputed if book.parameters.disputed == "incl" else ZERO)
        if amount <= 0:
            continue
        late = item.late(as_of)
        own = [entry for entry in past.get(item.customer_id, []) if entry[0] > late]
        segment = book.segment(item.customer_id)
        peers = [e for name, rows in sorted(past.items()) if book.segment(name) == segment for e in rows if e[0] > late]
        days = round(_shrunk(own, peers)) if peers else late + 1
        expected = max(item.due_on + timedelta(days=days), as_of + DAY)
        outcomes = tuple(sorted(entry[0] for entry in own or peers)) or (late + 1,)
        found.append(Expectation(item, amount, expected, outcomes))
    return found


def _draw(expectation: Expectation, number: int) -> date:
    """The outcome that a digest of the line and the number of the draw points at."""
    item = expectation.item
    digest = hashlib.md5(f"{item.invoice_id}:{item.line}:{number}".encode(), usedforsecurity=False).hexdigest()
    late = expectation.outcomes[int(digest[:8], 16) % len(expectation.outcomes)]
    return item.due_on + timedelta(days=late)


@dataclass(frozen=True)
class Inflow:
    """Money expected within a window."""

    window: Window
    expected: Fraction
    p10: Fraction
    p50: Fraction
    p90: Fraction


def inflow(book: Book, windows: Iterable[Window], draws: int = DRAWS) -> list[Inflow]:
    """By window: the sum at the expected days, and percentiles over the draws."""
    lines = expectations(book)
    drawn = [[(_draw(line, number), line.amount) for line in lines] for number in range(draws)]
    found = []
    for window in windows:
        sums = [sum((amount for day, amount in one if day in window), ZERO) for one in drawn]
        spread = [percentile(sums, share) or ZERO for share in (P10, MEDIAN, P90)]
        expected = sum((line.amount for line in lines if line.expected_on in window), ZERO)
        found.append(Inflow(window, expected, *spread))
    return found


def weeks(as_of: date, count: int = 13) -> list[Window]:
    return [Window(as_of + timedelta(days=7 * n + 1), as_of + timedelta(days=7 * n + 7)) for n in range(count)]


def horizon(as_of: date, count: int) -> Window:
    return Window(as_of + DAY, as_of + timedelta(days=7 * count))


def naive(book: Book, window: Window) -> Fraction:
    """Everything on its due date; what is past due, on the first day."""
    first = book.parameters.as_of + DAY
    return sum((item.open for item in book.items(book.parameters.as_of) if max(item.due_on, first) in window), ZERO)


def actual(origin: Book, later: Book, window: Window) -> Fraction:
    """Cash that came in the window, by application date, for the invoices that were open at the origin.

    Applications still in force at the end of the window, as known later: rules known later change no forecast.
    """
    keys = {item.invoice_id for item in origin.items(origin.parameters.as_of)}
    seen, total = later.with_(as_of=window.end), ZERO
    for invoice, part in payments(seen, window):
        if invoice["invoice_id"] in keys:
            total += part.amount * (seen.factor(invoice, "closing", window.end) or ZERO)
    return total


@dataclass(frozen=True)
class Accuracy:
    """Of one horizon over all origins. Errors in percent of the actual money."""

    weeks: int
    wape: Result
    naive_wape: Result
    bias: Result
    coverage: Result  # share of origins whose actual lay within p10..p90


def accuracy(
    book: Book, origins: Sequence[tuple[date, date | datetime]], horizons: Sequence[int] = HORIZONS
) -> list[Accuracy]:
    """Forecasts made at (as_of, as_known) of each origin, against what book knows now; only windows that are over."""
    found = []
    for count in horizons:
        sums, made = dict.fromkeys(("error", "naive", "bias", "actual", "inside"), ZERO), 0
        for as_of, known in origins:
            window = horizon(as_of, count)
            if window.end > book.parameters.as_of:
                continue
            made += 1
            origin = book.with_(as_of=as_of, as_known=known)
            (flow,) = inflow(origin, [window])
            came = actual(origin, book, window)
            sums["error"] += abs(flow.expected - came)
            sums["naive"] += abs(naive(origin, window) - came)
            sums["bias"] += flow.expected - came
            sums["actual"] += came
            sums["inside"] += flow.p10 <= came <= flow.p90
        names = {"wape": "error", "naive_wape": "naive", "bias": "bias"}
        results = {n: ratio(n, sums[s], sums["actual"], book.parameters, scale=100) for n, s in names.items()}
        covered = ratio("coverage", sums["inside"], made, book.parameters, scale=100)
        found.append(Accuracy(count, results["wape"], results["naive_wape"], results["bias"], covered))
    return found
