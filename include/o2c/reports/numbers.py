"""How figures are written for people: one format each for money, counts, days, shares, dates and moments.

A missing figure is written as a dash, never as zero. Money always carries its ISO 4217 code and as many decimals as
the currency has; it is rounded half to even, for display only.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal

from o2c.contracts.currencies import MINOR_UNITS

MISSING = "–"
MINUS = "\N{MINUS SIGN}"
NO_BREAK = "\N{NO-BREAK SPACE}"
_STEPS = ((Decimal(10) ** 9, "bn"), (Decimal(10) ** 6, "M"), (Decimal(10) ** 3, "k"))


def decimals(currency: str | None) -> int:
    """Minor units of a currency; two for a code that is not listed."""
    return MINOR_UNITS.get(currency or "", 2)


def rounded(value: Decimal, digits: int) -> Decimal:
    """Half to even at a number of digits; never a negative zero."""
    result = value.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_EVEN)
    return abs(result) if result == 0 else result


def number(value: Decimal | int | None, digits: int = 0) -> str:
    """``1,234.50`` with a true minus sign."""
    if value is None:
        return MISSING
    return f"{rounded(Decimal(value), digits):,}".replace("-", MINUS)


def amount(value: Decimal | None, currency: str | None) -> str:
    """An amount without its code, for a table that has the code in a column or heading beside it."""
    return number(value, decimals(currency))


def money(value: Decimal | None, currency: str | None) -> str:
    """``EUR 1,234.50``; the code and the number do not part at a line's end."""
    if value is None:
        return MISSING
    return f"{currency or 'no currency'}{NO_BREAK}{amount(value, currency)}"


def short_money(value: Decimal | None, currency: str) -> str:
    """``EUR 12.3 M``: three figures or so, for headlines and axes."""
    return MISSING if value is None else f"{currency}{NO_BREAK}{short_number(value)}"


def short_number(value: Decimal) -> str:
    """``12.3 M``, ``840 k``, ``12``."""
    for step, word in _STEPS:
        if abs(value) >= step:
            scaled = value / step
            return f"{number(scaled, 0 if abs(scaled) >= 100 else 1)}{NO_BREAK}{word}"
    return number(value)


def days(value: Decimal | None) -> str:
    """``54.2 days``."""
    return MISSING if value is None else f"{number(value, 1)}{NO_BREAK}days"


def share(part: Decimal | None, whole: Decimal | None) -> str:
    """``23.4 %`` of a whole; a dash when there is no whole to share."""
    if part is None or not whole:
        return MISSING
    return f"{number(part / whole * 100, 1)}{NO_BREAK}%"


def day(value: date | None) -> str:
    """``31 Mar 2026``, the same in every locale."""
    return MISSING if value is None else f"{value.day} {_month(value)} {value.year}"


def month(value: date) -> str:
    """``Mar 26``."""
    return f"{_month(value)} {value:%y}"


def moment(value: datetime | None) -> str:
    """``2026-03-31 06:12 UTC``."""
    return MISSING if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _month(value: date) -> str:
    return "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()[value.month - 1]
