"""The evidence block: what a report shows, where it comes from, what it leaves out, and a hash to prove it by.

The hash covers the rows, not the layout: the JSON of every row with sorted keys, amounts without trailing zeros, the
rows in the order of their text, joined by line feeds; SHA-256. Whoever asks the same tables gets the same hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from o2c.reports.facts import Facts, Rows, total, totals_by
from o2c.reports.figures import quarantined_rows


@dataclass(frozen=True)
class Part:
    """One body of rows in a report. ``sums`` by currency of ``summed`` (empty when nothing adds up)."""

    name: str
    purpose: str
    source: str
    rows: int
    summed: str
    sums: Mapping[str, Decimal]
    sha256: str


@dataclass(frozen=True)
class Exclusion:
    """Something the figures leave out, with its money by currency."""

    name: str
    why: str
    rows: int
    amounts: Mapping[str, Decimal]


@dataclass(frozen=True)
class Check:
    """The same money taken from two tables."""

    name: str
    currency: str
    left: Decimal
    right: Decimal

    @property
    def difference(self) -> Decimal:
        """Zero when both agree."""
        return self.left - self.right


@dataclass(frozen=True)
class Evidence:
    """The block itself. Times are UTC."""

    as_of: date | None
    reporting_currency: str
    known_at: datetime | None
    code_version: str
    parts: list[Part]
    exclusions: list[Exclusion]
    checks: list[Check]

    @property
    def rows(self) -> int:
        """Rows of all parts."""
        return sum(part.rows for part in self.parts)

    @property
    def sha256(self) -> str:
        """One hash over the hashes of the parts, in their order."""
        return hashlib.sha256("\n".join(part.sha256 for part in self.parts).encode()).hexdigest()


def gather(facts: Facts) -> Evidence:
    """The evidence of a report that shows all of ``facts``."""
    return Evidence(
        as_of=facts.as_of,
        reporting_currency=facts.reporting_currency,
        known_at=facts.known_at,
        code_version=facts.code_version,
        parts=_parts(facts),
        exclusions=_exclusions(facts),
        checks=_checks(facts),
    )


def _parts(facts: Facts) -> list[Part]:
    ageing, tie_outs = "marts_receivables.rpt_ageing_monthly", "marts_receivables.rpt_control_account_tie_out"
    described: list[tuple[str, str, str, Rows, str]] = [
        ("Ageing", "open receivables by due date, all dates", ageing, facts.ageing, "net_receivables_amount"),
        (
            "Debtors",
            "open receivables by customer",
            "marts_receivables.rpt_ageing_by_customer",
            facts.debtors,
            "net_receivables_amount",
        ),
        ("DSO", "days sales outstanding, all dates and bases", "marts_receivables.rpt_dso_monthly", facts.dso, ""),
        ("Control account", "sub-ledger against general ledger", tie_outs, facts.tie_outs, "subledger_amount"),
        ("Leaks", "revenue earned and not received", "marts_leakage.fct_leak_finding", facts.leaks, "amount_txn"),
        ("Load ledger", "what was loaded", "ops.load_ledger, ops.load_ledger_total", facts.ledger, "published_amount"),
        ("Gates", "rules of the newest gate of each flow", "ops.gate_result", facts.gates, ""),
        ("Quarantine", "rows held back, still open", "quarantine.record", facts.quarantine, "amount"),
    ]
    return [
        Part(name, purpose, source, len(rows), column, totals_by(rows, column) if column else {}, hash_rows(rows))
        for name, purpose, source, rows, column in described
    ]


def _exclusions(facts: Facts) -> list[Exclusion]:
    now = facts.ageing_now
    unconverted = [row for row in now if row["closing_rate"] is None]
    intercompany = [row for row in now if row["intercompany_amount"]]
    unpriced = [leak for leak in facts.leaks if leak["amount_reporting"] is None]
    return [
        Exclusion(
            "Intercompany",
            "receivables from companies of the own group; in the control account, not in the figures above",
            len(intercompany),
            totals_by(intercompany, "intercompany_amount"),
        ),
        Exclusion(
            "No exchange rate",
            f"net receivables that could not be converted into {facts.reporting_currency}",
            len(unconverted),
            totals_by(unconverted, "net_receivables_amount"),
        ),
        Exclusion(
            "Leaks without a rate",
            f"findings that could not be converted into {facts.reporting_currency}",
            len(unpriced),
            totals_by(unpriced, "amount_txn"),
        ),
        Exclusion(
            "Quarantine",
            "rows that broke a rule and wait for correction; not in any figure",
            quarantined_rows(facts),
            totals_by(facts.quarantine, "amount"),
        ),
    ]


def _checks(facts: Facts) -> list[Check]:
    by_customer = totals_by(facts.debtors, "net_receivables_amount")
    checks = [
        Check("Ageing by entity = ageing by customer", currency, amount, by_customer.get(currency, Decimal(0)))
        for currency, amount in totals_by(facts.ageing_now, "net_receivables_amount").items()
    ]
    for currency, amount in totals_by(facts.tie_outs_now, "subledger_amount").items():
        rows = [row for row in facts.ageing_now if row["currency_code"] == currency]
        aged = total(rows, "net_receivables_amount") + total(rows, "intercompany_amount")
        checks.append(Check("Ageing + intercompany = sub-ledger", currency, aged, amount))
    return checks


def hash_rows(rows: Rows) -> str:
    """SHA-256 of the rows, whatever their order."""
    texts = sorted(
        json.dumps({key: _canonical(value) for key, value in row.items()}, sort_keys=True, ensure_ascii=False)
        for row in rows
    )
    return hashlib.sha256("\n".join(texts).encode("utf-8", "surrogatepass")).hexdigest()


def _canonical(value: Any) -> Any:
    if isinstance(value, Decimal):
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return value
