"""What a report shows, read once from the warehouse: marts, load ledger, gates and quarantine.

Nothing here knows how a report looks. Rows are dictionaries by column name; money is ``Decimal`` beside its currency.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from o2c.errors import UsageError
from o2c.settings import Settings
from o2c.warehouse.query import ask

Row = dict[str, Any]
Rows = list[Row]

QUERIES = Path(__file__).parent / "queries"
BUCKETS = ("current", "days_1_30", "days_31_60", "days_61_90", "days_over_90")
"""Stems of the ageing columns, youngest first; all but the first are past due."""


@dataclass(frozen=True)
class Facts:
    """Everything the reports show. Empty lists where the warehouse holds nothing yet."""

    reporting_currency: str
    ageing: Rows = field(default_factory=list)
    debtors: Rows = field(default_factory=list)
    dso: Rows = field(default_factory=list)
    tie_outs: Rows = field(default_factory=list)
    leaks: Rows = field(default_factory=list)
    entities: Rows = field(default_factory=list)
    loads: Rows = field(default_factory=list)
    ledger: Rows = field(default_factory=list)
    gates: Rows = field(default_factory=list)
    quarantine: Rows = field(default_factory=list)
    quarantine_records: Rows = field(default_factory=list)

    @property
    def as_of(self) -> date | None:
        """Business date of the newest figures; None before the first build with receivables."""
        return max((row["as_of_date"] for part in (self.ageing, self.dso) for row in part), default=None)

    @property
    def known_at(self) -> datetime | None:
        """When the newest load was published, UTC. Stands in for the clock, so that reports are repeatable."""
        return max((row["published_at"] for row in self.ledger), default=None)

    @property
    def code_version(self) -> str:
        """Code of the newest load."""
        newest = max(self.ledger, key=lambda row: (row["published_at"], row["load_id"]), default=None)
        return newest["code_version"] if newest else "unknown"

    @property
    def ageing_now(self) -> Rows:
        """Ageing rows of the newest date."""
        return [row for row in self.ageing if row["as_of_date"] == self.as_of]

    @property
    def tie_outs_now(self) -> Rows:
        """Tie-out rows of the newest date."""
        return [row for row in self.tie_outs if row["as_of_date"] == self.as_of]

    def entity_name(self, code: str) -> str:
        """Registered name of a legal entity; its code when it is not known."""
        return next((row["legal_name"] for row in self.entities if row["entity_code"] == code), code)


def read_facts(settings: Settings) -> Facts:
    """Read all parts.

    Raises:
        UsageError: the warehouse has not been prepared or built.
        WarehouseError: it cannot be reached.
    """
    _check_tables(settings)
    rows = {part.name: read_rows(settings, part.name) for part in fields(Facts) if part.name != "reporting_currency"}
    for leak in rows["leaks"]:
        # Parsed here, because the driver would read the numbers of JSON as floats.
        leak["evidence"] = json.loads(leak["evidence"] or "{}", parse_float=Decimal)
    # The marts say which currency they were built with; the setting may have changed since.
    built_with = next((row["reporting_currency_code"] for row in rows["ageing"]), settings.reporting_currency)
    return Facts(reporting_currency=built_with, **rows)


def read_rows(settings: Settings, name: str) -> Rows:
    """Run ``queries/<name>.sql``, read only."""
    columns, rows = ask(settings, (QUERIES / f"{name}.sql").read_text(encoding="utf-8"))
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _check_tables(settings: Settings) -> None:
    missing = [row["name"] for row in read_rows(settings, "missing")]
    if not missing:
        return
    unprepared = any(name.startswith(("ops.", "quarantine.")) for name in missing)
    raise UsageError(
        "The warehouse holds no figures to report yet.",
        where=f"missing: {', '.join(missing)}",
        next_step="Run 'o2c init' first, then load and build." if unprepared else "Run 'o2c build --as-of YYYY-MM-DD'.",
    )


def total(rows: Rows, column: str) -> Decimal:
    """Sum of a column, exact; empty cells count as nothing (see ``exclusions`` for what that leaves out)."""
    return sum((row[column] for row in rows if row[column] is not None), Decimal(0))


def totals_by(rows: Rows, column: str, key: str = "currency_code") -> dict[str, Decimal]:
    """Sums of a column by a key, in the key's order; rows without the key stand under ''."""
    sums: dict[str, Decimal] = {}
    for row in rows:
        if row[column] is not None:
            name = row[key] or ""
            sums[name] = sums.get(name, Decimal(0)) + row[column]
    return dict(sorted(sums.items()))
