"""What a metric gives: its two sides, its value or the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction
from typing import Any

NOT_POSITIVE = "denominator_not_positive"
NO_HISTORY = "insufficient_history"
ZERO = Fraction(0)


@dataclass(frozen=True)
class Result:
    """One figure. ``numerator / denominator * scale = value``, unless ``reason`` says why there is none."""

    metric: str
    numerator: Fraction | None
    denominator: Fraction | None
    value: Fraction | None
    reason: str | None = None
    parameters: Any = None
    scale: Fraction = Fraction(1)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def shown(self, places: int) -> Decimal | None:
        return None if self.value is None else rounded(self.value, places)


def rounded(value: Fraction | int, places: int) -> Decimal:
    """Half-even at a number of decimal places, from the exact value."""
    with localcontext() as context:
        context.prec = 60
        units = round(Fraction(value) * 10**places)  # round() of a fraction is half-even
        return Decimal(units).scaleb(-places).quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)


def ratio(
    metric: str,
    numerator: Fraction | int,
    denominator: Fraction | int,
    parameters: Any = None,
    *,
    scale: Fraction | int = 1,
    reason: str | None = None,
    **extra: Any,
) -> Result:
    """A quotient; a denominator that is not positive gives no value, never 0."""
    top, bottom, factor = Fraction(numerator), Fraction(denominator), Fraction(scale)
    reason = reason or (NOT_POSITIVE if bottom <= 0 else None)
    value = None if reason else top / bottom * factor
    return Result(metric, top, bottom, value, reason, parameters, factor, extra)


def amount(metric: str, value: Fraction | int, parameters: Any = None, **extra: Any) -> Result:
    """A sum: nothing is divided."""
    return Result(metric, Fraction(value), None, Fraction(value), None, parameters, Fraction(1), extra)


def summed(metric: str, parts: Iterable[Result], parameters: Any = None, *, scale: Fraction | int = 1) -> Result:
    """Ratios are never averaged: sides are added, then divided."""
    parts = list(parts)
    return ratio(
        metric,
        sum((part.numerator or ZERO for part in parts), ZERO),
        sum((part.denominator or ZERO for part in parts), ZERO),
        parameters,
        scale=scale,
        reason=next((part.reason for part in parts if part.reason == NO_HISTORY), None),
    )


def percentile(values: Iterable[Fraction | int], share: Fraction) -> Fraction | None:
    """Linear between the two nearest values, as SQL's percentile_cont."""
    ordered = sorted(Fraction(value) for value in values)
    if not ordered:
        return None
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


MEDIAN, P90 = Fraction(1, 2), Fraction(9, 10)
