"""Findings in words: which documents, and what they prove."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from o2c.reports import numbers
from o2c.reports.facts import Row

_DOCUMENTS = {
    "opportunity_id": "opportunity",
    "order_id": "order",
    "order_line_id": "order line",
    "delivery_line_id": "delivery line",
    "invoice_id": "invoice",
    "invoice_line_id": "invoice line",
    "receipt_id": "receipt",
}


@dataclass(frozen=True)
class Told:
    """One record of the evidence. Each method reads a field and raises ``KeyError`` where it is missing or empty."""

    record: Mapping[str, Any]
    currency: str

    def text(self, key: str) -> str:
        """A key or a name."""
        if self.record[key] is None:
            raise KeyError(key)
        return str(self.record[key])

    def plain(self, key: str) -> str:
        """A quantity."""
        return _plain(Decimal(self.text(key)))

    def price(self, key: str) -> str:
        """A price per unit, with all the decimals it has and at least those of its currency."""
        price = Decimal(self.text(key))
        places = len(self.plain(key).partition(".")[2])
        return f"{self.currency}{numbers.NO_BREAK}{numbers.number(price, max(places, numbers.decimals(self.currency)))}"

    def money(self, key: str) -> str:
        """An amount in the document's currency."""
        return numbers.money(Decimal(self.text(key)), self.currency)

    def day(self, key: str) -> str:
        """A calendar day."""
        return numbers.day(date.fromisoformat(self.text(key)))


def documents(leak: Row) -> str:
    """The chain of documents of a finding: ``order 17, delivery line 93``."""
    named = [f"{word} {leak[key]}" for key, word in _DOCUMENTS.items() if leak.get(key)]
    return ", ".join(named) or str(leak["business_key"])


def evidence(leak: Row) -> str:
    """What the finding rests on, as a sentence; field by field for a rule that has none of its own."""
    record, sentence = _SENTENCES.get(leak["rule_id"], ("", _nothing))
    try:
        return sentence(Told(leak["evidence"][record], leak["currency_code"]))
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return _fields(leak["evidence"])


def _unbilled(told: Told) -> str:
    delivered = f"{told.plain('open_quantity')} of {told.text('product_id')} at {told.price('unit_price')} each"
    since = f"billable since {told.day('billable_on')}"
    return f"Delivery {told.text('delivery_number')}: {delivered}, {since}; no invoice line."


def _unordered(told: Told) -> str:
    won = f"Won on {told.day('closed_on')} for {told.money('amount')}"
    return f"{won}; no order names it, and no other order of the customer fits by amount and date."


def _underbilled(told: Told) -> str:
    billed = f"{told.plain('quantity')} billed at {told.price('unit_price')} each"
    contract = f"contract price {told.text('contract_price_id')} is {told.price('contract_unit_price')}"
    return f"{billed}; {contract} from {told.plain('tier_from_quantity')} {told.text('unit_of_measure')}."


def _short_paid(told: Told) -> str:
    paid = f"{told.money('cash_amount')} of {told.money('total_amount')} paid, last on {told.day('last_applied_on')}"
    return f"{paid}; {told.money('residual_amount')} open, and no claim covers it."


def _nothing(told: Told) -> str:
    raise KeyError


_SENTENCES: Mapping[str, tuple[str, Callable[[Told], str]]] = {
    "L01": ("delivery_line", _unbilled),
    "L03": ("opportunity", _unordered),
    "L05": ("priced_line", _underbilled),
    "L13": ("invoice", _short_paid),
}


def _fields(record: Mapping[str, Any]) -> str:
    told = [f"{_name(key)} {_value(value)}" for key, value in record.items() if value not in (None, "", [])]
    return "; ".join(told) or "no evidence kept"


def _name(key: str) -> str:
    return key.removesuffix("_id").removeprefix("is_").replace("_", " ")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | Decimal):
        return _plain(Decimal(value))
    if isinstance(value, list):
        return ", ".join(_value(item) for item in value)
    if isinstance(value, Mapping):
        return f"({_fields(value)})"
    return str(value)


def _plain(value: Decimal) -> str:
    """A number with the decimals it has."""
    text = f"{value:,f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", numbers.MINUS)
