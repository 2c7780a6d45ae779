"""Exchange rates as known at a moment: by pair, type and exact date (A28, A30, A31)."""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oracle.ledger import Snapshot

MINOR_UNITS = {"JPY": 0, "KRW": 0, "KWD": 3, "BHD": 3, "TND": 3, "JOD": 3, "OMR": 3}


def minor_units(currency: str) -> int:
    return MINOR_UNITS.get(currency, 2)


class Rates:
    """``spot`` for flows, ``closing`` for balances (A50). No rate on the day is a missing rate; none is inverted."""

    def __init__(self, known: Snapshot, pivot: str | None = None) -> None:
        self._known = known
        self._pivot = pivot

    def rate(self, source: str, target: str, kind: str, day: date) -> Fraction | None:
        """Units of the target currency for one of the source; through the declared pivot with both legs as quoted."""
        if source == target:
            return Fraction(1)
        direct = self._quoted(source, target, kind, day)
        if direct is not None or self._pivot is None:
            return direct
        legs = [self._quoted(source, self._pivot, kind, day), self._quoted(self._pivot, target, kind, day)]
        return legs[0] * legs[1] if legs[0] is not None and legs[1] is not None else None

    def _quoted(self, source: str, target: str, kind: str, day: date) -> Fraction | None:
        if source == target:
            return Fraction(1)
        row = self._known.get("exchange_rate", source, target, kind, str(day))
        return None if row is None else Fraction(row["rate"])
