"""What publishing takes and gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from o2c.contracts.flow import Flow
from o2c.warehouse.evidence import Head
from o2c.warehouse.ledger import Load

KINDS = ("published", "quarantined", "duplicate")


@dataclass
class Published:
    """Rows and exact sums by currency of one published load, by what became of them.

    ``head`` is the publication's event, to be anchored when it has been committed.
    """

    load_id: str
    flow: str
    source_rows: int
    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    amounts: dict[str, dict[str, Decimal]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    head: Head | None = field(default=None, compare=False)

    def add(self, kind: str, counted: list[tuple[str, int, Decimal]]) -> None:
        """Add rows of one kind, as (currency, rows, amount)."""
        for currency, rows, amount in counted:
            self.rows[kind] += rows
            self.amounts[kind][currency] = self.amounts[kind].get(currency, Decimal(0)) + amount


@dataclass(frozen=True)
class PublishRequest:
    """What the gate hands over: the load, its manifest, and how many rows broke each rule.

    ``published_at`` is the server's clock when left out; a rebuild gives the time that the ledger has.
    """

    load: Load
    flow: Flow
    manifest: Mapping[str, Any]
    cursor_to: tuple[str, ...] | None
    unexpected: Mapping[str, int]
    code_version: str
    published_at: datetime | None = None
