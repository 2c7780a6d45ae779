"""Exact amounts at the minor units of their currency, rounded half to even."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

CURRENCIES = ("EUR", "GBP", "JPY", "KWD", "USD")
QUANTUM = {
    "EUR": Decimal("0.01"),
    "GBP": Decimal("0.01"),
    "JPY": Decimal("1"),
    "KWD": Decimal("0.001"),
    "USD": Decimal("0.01"),
}
PER_EURO = {
    "EUR": Decimal("1"),
    "GBP": Decimal("0.85"),
    "JPY": Decimal("160"),
    "KWD": Decimal("0.33"),
    "USD": Decimal("1.08"),
}
"""Rough units of each currency for one euro: what prices start from."""
SHORT_PAYMENT_FLOOR = {
    "EUR": Decimal("1.00"),
    "GBP": Decimal("1.00"),
    "JPY": Decimal("100"),
    "KWD": Decimal("0.500"),
    "USD": Decimal("1.00"),
}
"""Residuals up to this amount are bank charges, not short payments."""
ZERO = Decimal(0)


def rounded(amount: Decimal, currency: str) -> Decimal:
    """``amount`` at the currency's minor units."""
    return amount.quantize(QUANTUM[currency], ROUND_HALF_EVEN)


def from_euro(amount: Decimal, currency: str) -> Decimal:
    """A price level in euro, expressed in the currency and rounded."""
    return rounded(amount * PER_EURO[currency], currency)


def share(amount: Decimal, percent: Decimal | int | str, currency: str) -> Decimal:
    """``percent`` of ``amount``, rounded."""
    return rounded(amount * Decimal(percent) / 100, currency)
