"""Why days sales outstanding moved: parts that add up exactly."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from oracle.book import ZERO, Book
from oracle.dates import calendar_window
from oracle.metrics import ageing, dso


@dataclass(frozen=True)
class CustomerEffect:
    """One customer's part of the change. ``rate``: pays otherwise; ``mix``: another share of sales."""

    mix: Fraction
    rate: Fraction
    one_off: bool

    @property
    def total(self) -> Fraction:
        return self.mix + self.rate


def by_customer(before: Book, after: Book, months: int = 3) -> dict[str | None, CustomerEffect]:
    """Midpoint split of the sum of (share of sales x own DSO); a side without sales of its own is all mix.

    The text asks for a sum of mix and rate without saying how the joint term is shared; half each is symmetric.
    Money without a customer is the row None. Empty where one of the two figures has no value.
    """
    if None in (dso.simple(before, months).value, dso.simple(after, months).value):
        return {}
    names = sorted(
        {*dso.groups(before, "customer"), *dso.groups(after, "customer")}, key=lambda n: (n is None, n or "")
    )
    sides = [_contributions(book, names, months) for book in (before, after)]
    found: dict[str | None, CustomerEffect] = {}
    for name in names:
        (old, old_share, old_days), (new, new_share, new_days) = sides[0][name], sides[1][name]
        one_off = not old_share or not new_share
        if one_off:
            found[name] = CustomerEffect(new - old, ZERO, True)
            continue
        rate = (new_days - old_days) * (old_share + new_share) / 2
        found[name] = CustomerEffect(new - old - rate, rate, False)
    return found


def _contributions(
    book: Book, names: list[str | None], months: int
) -> dict[str | None, tuple[Fraction, Fraction, Fraction]]:
    """Days each customer adds to the total, its share of sales, its own DSO."""
    window = calendar_window(book.parameters.as_of, months)
    total, left = book.sales(window), book.receivables(window.end)
    found: dict[str | None, tuple[Fraction, Fraction, Fraction]] = {}
    for name in names:
        if name is None:
            continue
        one = book.with_(customer=name)
        owed, sold = one.receivables(window.end), one.sales(window)
        own = owed / sold * window.days if sold else ZERO
        found[name] = (owed / total * window.days, sold / total, own)
        left -= owed
    found[None] = (left / total * window.days, ZERO, ZERO)
    return found


def by_component(before: Book, after: Book, months: int = 3) -> dict[str, Fraction]:
    """Not yet due, past due without and with a dispute, unapplied: each over the sales of its own window.

    On the gross basis there is no unapplied part. An allowance is a part of its own.
    Empty where one of the two figures has no value.
    """
    if None in (dso.simple(before, months).value, dso.simple(after, months).value):
        return {}
    sides = [_components(book, months) for book in (before, after)]
    return {name: sides[1][name] - sides[0][name] for name in sides[0]}


def _components(book: Book, months: int) -> dict[str, Fraction]:
    as_of = book.parameters.as_of
    window = calendar_window(as_of, months)
    late = [item for item in book.items(as_of) if ageing.is_past_due(item, as_of)]
    counted = book.parameters.disputed == "incl"
    disputed = sum((item.disputed for item in late), ZERO) if counted else ZERO
    gross = book.parameters.ar_basis == "gross_invoices"
    parts = {
        "not_yet_due": ageing.current(book),
        "past_due": ageing.past_due(book) - disputed,
        "past_due_disputed": disputed,
        "unapplied": ZERO if gross else book.balance(as_of).unapplied,
    }
    parts["allowance"] = book.receivables(as_of) - sum(parts.values(), ZERO)
    sales = book.sales(window)
    return {name: part / sales * window.days for name, part in parts.items()}
