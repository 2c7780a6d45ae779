"""Figures drawn from the facts: headline tiles, DSO trends, ageing by entity, debtors, leaks, loads.

Sums are taken in the reporting currency as the marts converted them; a row without a rate is left out of the sum and
named in ``exclusions``. Ratios are never averaged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from o2c.reports.facts import BUCKETS, Facts, Row, Rows, total

RULE_NAMES: Mapping[str, str] = {
    "L01": "Shipped, not billed",
    "L03": "Won deal without order",
    "L05": "Billed below contract price",
    "L13": "Paid short",
}
BUCKET_NAMES: Mapping[str, str] = {
    "current": "Not due",
    "days_1_30": "1–30 days",
    "days_31_60": "31–60 days",
    "days_61_90": "61–90 days",
    "days_over_90": "Over 90 days",
}
RECOVERABLE = "recoverable"
METRICS: Mapping[str, str] = {"dso_simple": "Simple", "dso_rolling_3": "Rolling 3 months"}
NULL_REASONS: Mapping[str, str] = {
    "insufficient_history": "sales do not reach back over the whole window",
    "exchange_rate_missing": "an exchange rate is missing",
    "denominator_not_positive": "no net credit sales in the window",
}


@dataclass(frozen=True)
class Dso:
    """One DSO with what it is made of, and the figure of the month end before. ``row`` is None without any figure."""

    row: Row | None
    prior: Row | None

    @property
    def value(self) -> Decimal | None:
        """Days; None when not computable."""
        return self.row["dso_days"] if self.row else None

    @property
    def change(self) -> Decimal | None:
        """Days more than at the month end before."""
        if self.value is None or self.prior is None or self.prior["dso_days"] is None:
            return None
        return self.value - Decimal(self.prior["dso_days"])

    @property
    def why_missing(self) -> str:
        """Why there is no figure, in words."""
        if self.row is None:
            return "nothing has been built yet"
        return NULL_REASONS.get(self.row["null_reason"] or "", self.row["null_reason"] or "unknown")


@dataclass(frozen=True)
class Ageing:
    """Receivables in the reporting currency at the newest date, of one entity or of all."""

    buckets: dict[str, Decimal]
    unapplied_cash: Decimal
    unapplied_credits: Decimal
    net: Decimal

    @property
    def gross(self) -> Decimal:
        """All open invoices."""
        return sum(self.buckets.values(), Decimal(0))

    @property
    def past_due(self) -> Decimal:
        """Open invoices whose due date has passed."""
        return self.gross - self.buckets["current"]


@dataclass(frozen=True)
class Debtor:
    """What one customer of one entity owes, in the reporting currency."""

    name: str
    key: str
    entity_code: str
    currencies: str
    gross: Decimal
    past_due: Decimal
    over_90: Decimal


@dataclass(frozen=True)
class RuleTotal:
    """Findings of one leak rule in one state; ``amount`` in the reporting currency."""

    rule_id: str
    name: str
    state: str
    findings: int
    amount: Decimal


def dso_series(facts: Facts, metric: str, entity_code: str = "ALL") -> Rows:
    """DSO net of unapplied by date, of the group ('ALL') or of an entity in its own currency."""
    scope = "group" if entity_code == "ALL" else "entity"
    wanted = {"metric_name": metric, "scope": scope, "entity_code": entity_code, "ar_basis": "net_of_unapplied"}
    return [row for row in facts.dso if all(row[key] == value for key, value in wanted.items())]


def dso_now(facts: Facts, metric: str, entity_code: str = "ALL") -> Dso:
    """The newest DSO and the one before it."""
    series = dso_series(facts, metric, entity_code)
    return Dso(series[-1] if series else None, series[-2] if len(series) > 1 else None)


def dso_entities(facts: Facts) -> list[str]:
    """Entities that have a DSO of their own, in order."""
    return sorted({row["entity_code"] for row in facts.dso if row["scope"] == "entity"})


def ageing_of(rows: Rows) -> Ageing:
    """Sum ageing rows in the reporting currency."""
    return Ageing(
        buckets={bucket: total(rows, f"{bucket}_amount_reporting") for bucket in BUCKETS},
        unapplied_cash=total(rows, "unapplied_cash_amount_reporting"),
        unapplied_credits=total(rows, "unapplied_credits_amount_reporting"),
        net=total(rows, "net_receivables_amount_reporting"),
    )


def ageing_by_entity(facts: Facts) -> dict[str, Ageing]:
    """Ageing per entity at the newest date."""
    codes = sorted({row["entity_code"] for row in facts.ageing_now})
    return {code: ageing_of([row for row in facts.ageing_now if row["entity_code"] == code]) for code in codes}


def ageing_by_date(facts: Facts, last: int = 13) -> dict[date, Ageing]:
    """Ageing of the group at the last dates, oldest first."""
    dates = sorted({row["as_of_date"] for row in facts.ageing})[-last:]
    return {day: ageing_of([row for row in facts.ageing if row["as_of_date"] == day]) for day in dates}


def top_debtors(facts: Facts, count: int = 10) -> list[Debtor]:
    """Customers who owe most, by open invoices; credit balances are not netted against others."""
    groups: dict[tuple[str, str, str], Rows] = {}
    for row in facts.debtors:
        if row["closing_rate"] is not None:
            groups.setdefault((row["entity_code"], row["source_system"], row["customer_id"]), []).append(row)
    debtors = sorted((_debtor(rows) for rows in groups.values()), key=lambda d: (-d.gross, d.entity_code, d.key))
    return [debtor for debtor in debtors[:count] if debtor.gross > 0]


def _debtor(rows: Rows) -> Debtor:
    def converted(column: str) -> Decimal:
        return sum((row[column] * row["closing_rate"] for row in rows), Decimal(0))

    first = rows[0]
    return Debtor(
        name=first["customer_name"] or first["customer_id"],
        key=first["customer_id"],
        entity_code=first["entity_code"],
        currencies=", ".join(sorted({row["currency_code"] for row in rows})),
        gross=converted("gross_receivables_amount"),
        past_due=converted("past_due_amount"),
        over_90=converted("days_over_90_amount"),
    )


def leak_totals(facts: Facts) -> list[RuleTotal]:
    """Findings by rule and state; states are never added up."""
    pairs = sorted({(leak["rule_id"], leak["state"]) for leak in facts.leaks})
    return [_rule_total(rule, state, _leaks_of(facts, rule, state)) for rule, state in pairs]


def _leaks_of(facts: Facts, rule: str, state: str) -> Rows:
    return [leak for leak in facts.leaks if leak["rule_id"] == rule and leak["state"] == state]


def _rule_total(rule: str, state: str, leaks: Rows) -> RuleTotal:
    return RuleTotal(rule, RULE_NAMES.get(rule, rule), state, len(leaks), total(leaks, "amount_reporting"))


def recoverable(facts: Facts) -> Decimal:
    """Headline of the leaks: what can still be billed or collected, without findings of low confidence."""
    counted = [leak for leak in facts.leaks if leak["state"] == RECOVERABLE and leak["confidence"] != "low"]
    return total(counted, "amount_reporting")


def untied(rows: Rows) -> Rows:
    """Tie-outs that do not hold: a difference, or a ledger that did not report."""
    return [row for row in rows if not row["is_tied_out"] or row["difference_amount"] != 0]


def oldest_success(facts: Facts) -> datetime | None:
    """Publication time of the stalest feed."""
    return min((row["published_at"] for row in facts.loads if row["published_at"]), default=None)


def held_back(facts: Facts) -> Rows:
    """Flows whose newest load did not publish."""
    return [row for row in facts.loads if row["state"] != "published"]


def broken_rules(facts: Facts) -> Rows:
    """Gate results that found rows, most rows first."""
    broken = [row for row in facts.gates if row["unexpected_rows"]]
    return sorted(broken, key=lambda row: (-row["unexpected_rows"], row["flow"], row["rule"]))


def load_money(facts: Facts, load_id: str | None) -> Rows:
    """Money of one load, a row per currency."""
    return [row for row in facts.ledger if row["load_id"] == load_id and row["currency_code"] is not None]


def quarantined_rows(facts: Facts) -> int:
    """Rows held back and not yet released."""
    return sum(row["records"] for row in facts.quarantine)
