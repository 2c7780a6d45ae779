"""Ground truth: what was planted, what only looks like it, and which rows must be refused.

Everything here is written down when the generator decides it; nothing is found by looking at the data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from demo.company.model import Customer


@dataclass(slots=True)
class Leak:
    """A planted leak. ``closed_on`` is the day the money was billed or paid after all."""

    rule_id: str
    business_key: str
    customer: Customer
    currency: str
    amount: Decimal
    event_on: date
    detectable_from: date
    closed_on: date | None = None


@dataclass(slots=True)
class Truth:
    """Collected while the company is simulated."""

    leaks: list[Leak] = field(default_factory=list)
    innocents: list[tuple[date, str, str, str]] = field(default_factory=list)
    cases: dict[str, list[tuple[date, dict[str, Any]]]] = field(default_factory=dict)
    expected_quarantine: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def leak(
        self, rule_id: str, key: str, customer: Customer, amount: Decimal, *, currency: str, event_on: date, from_: date
    ) -> Leak:
        """Write down a planted leak."""
        found = Leak(rule_id, key, customer, currency, amount, event_on, from_)
        self.leaks.append(found)
        return found

    def innocent(self, rule_id: str, key: str, why: str, on: date) -> None:
        """Write down a look-alike that no rule may report."""
        self.innocents.append((on, rule_id, key, why))

    def case(self, name: str, on: date, **keys: Any) -> None:
        """Write down where a named case can be found."""
        self.cases.setdefault(name, []).append((on, keys))

    def refuse(self, flow: str, key: str, rule: str) -> None:
        """Write down a row that the gate has to quarantine."""
        self.expected_quarantine.setdefault(flow, []).append({"key": key, "rule": rule})

    def as_of(self, today: date) -> dict[str, Any]:
        """The truth about everything that happened until ``today``, ready for JSON."""
        return {
            "leaks": [_leak_record(leak, today) for leak in self.leaks if leak.event_on <= today],
            "innocents": [
                {"rule_id": rule_id, "business_key": key, "why": why}
                for on, rule_id, key, why in self.innocents
                if on <= today
            ],
            "cases": {
                name: [keys for on, keys in found if on <= today]
                for name, found in sorted(self.cases.items())
                if any(on <= today for on, _ in found)
            },
            "expected_quarantine": self.expected_quarantine,
        }


def _leak_record(leak: Leak, today: date) -> dict[str, Any]:
    closed = leak.closed_on if leak.closed_on is not None and leak.closed_on <= today else None
    return {
        "rule_id": leak.rule_id,
        "business_key": leak.business_key,
        "entity_code": leak.customer.entity.code,
        "customer_id": leak.customer.id,
        "currency_code": leak.currency,
        "amount": format(leak.amount, "f"),
        "event_on": leak.event_on.isoformat(),
        "detectable_from": leak.detectable_from.isoformat(),
        "closed_on": closed.isoformat() if closed else None,
    }
