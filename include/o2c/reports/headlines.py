"""The top of a report: trust strip, headline tiles, and the three sentences that sum them up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from o2c.reports import figures, numbers
from o2c.reports.facts import Facts, totals_by

TROUBLE, FINE = "trouble", "fine"


@dataclass(frozen=True)
class Headline:
    """One figure: what it is, its value, what stands behind it. ``anchor`` names its definition on the page."""

    label: str
    value: str
    note: str
    anchor: str = ""
    tone: str = ""


def trust(facts: Facts) -> list[Headline]:
    """What tells a reader whether to believe the rest."""
    return [_freshness(facts), _loads(facts), _gates(facts), _tie_out(facts), _quarantine(facts)]


def tiles(facts: Facts) -> list[Headline]:
    """The headline figures."""
    found = [
        _net_receivables(facts),
        _past_due(facts),
        _dso(facts, "dso_simple", "DSO, simple"),
        _dso(facts, "dso_rolling_3", "DSO, rolling 3 months"),
        _leaks(facts),
        _unapplied(facts),
    ]
    if facts.ageing_now:
        return found
    balances = ("net-receivables", "past-due", "unapplied-cash")
    nothing = "no receivables at this date"
    return [replace(tile, value=numbers.MISSING, note=nothing) if tile.anchor in balances else tile for tile in found]


def lead(facts: Facts) -> list[str]:
    """The page in a few sentences."""
    if not facts.ageing_now:
        return ["The marts hold no receivables yet: load the sources and build, then write this report again."]
    currency, ageing = facts.reporting_currency, figures.ageing_of(facts.ageing_now)
    dso = figures.dso_now(facts, "dso_rolling_3")
    customers = f"Customers owe the group {numbers.short_money(ageing.net, currency)} net"
    past_due = f"{numbers.share(ageing.past_due, ageing.gross)} of the open invoices is past due."
    sentences = [f"{customers}; {past_due}"]
    if dso.value is not None:
        sentences.append(f"DSO over three months is {numbers.days(dso.value)}{_change(dso)}.")
    recoverable = figures.recoverable(facts)
    if recoverable:
        leaked = numbers.short_money(recoverable, currency)
        sentences.append(f"{leaked} was earned and not received, and can still be recovered.")
    return sentences


def amounts_in_words(amounts: dict[str, Decimal]) -> str:
    """``EUR 1.00, JPY 5``; 'none' when there is nothing."""
    return ", ".join(numbers.money(value, code) for code, value in amounts.items()) or "none"


def _net_receivables(facts: Facts) -> Headline:
    ageing = figures.ageing_of(facts.ageing_now)
    currency = facts.reporting_currency
    note = f"{numbers.money(ageing.net, currency)}: open invoices less unapplied cash and credits"
    value = numbers.short_money(ageing.net, currency)
    return Headline("Net receivables", value, note, "net-receivables")


def _past_due(facts: Facts) -> Headline:
    ageing = figures.ageing_of(facts.ageing_now)
    currency = facts.reporting_currency
    whole = numbers.short_money(ageing.gross, currency)
    note = f"{numbers.short_money(ageing.past_due, currency)} of {whole} open invoices"
    return Headline("Past due", numbers.share(ageing.past_due, ageing.gross), note, "past-due")


def _dso(facts: Facts, metric: str, label: str) -> Headline:
    dso = figures.dso_now(facts, metric)
    if dso.row is None or dso.value is None:
        return Headline(label, numbers.MISSING, f"Not computed: {dso.why_missing}", "dso")
    receivables = numbers.short_money(dso.row["numerator_amount"], dso.row["currency_code"])
    sales = numbers.short_money(dso.row["denominator_amount"], dso.row["currency_code"])
    note = f"{receivables} ÷ {sales} net credit sales × {dso.row['days_in_window']} days{_change(dso)}"
    return Headline(label, numbers.days(dso.value), note, "dso")


def _change(dso: figures.Dso) -> str:
    if dso.change is None or dso.prior is None:
        return ""
    before = f"{numbers.day(dso.prior['as_of_date'])} ({numbers.number(dso.prior['dso_days'], 1)})"
    if not numbers.rounded(dso.change, 1):
        return f", as on {before}"
    word = "more" if dso.change > 0 else "fewer"
    return f", {numbers.days(abs(dso.change))} {word} than on {before}"


def _leaks(facts: Facts) -> Headline:
    found = [leak for leak in facts.leaks if leak["state"] == figures.RECOVERABLE]
    by_rule = totals_by(found, "amount_reporting", "rule_id")
    currency = facts.reporting_currency
    parts = " · ".join(f"{rule} {numbers.short_money(amount, currency)}" for rule, amount in by_rule.items())
    value = numbers.short_money(figures.recoverable(facts), currency)
    return Headline("Leaks, recoverable", value, parts or "none found", "leaks")


def _unapplied(facts: Facts) -> Headline:
    ageing = figures.ageing_of(facts.ageing_now)
    currency = facts.reporting_currency
    credits = numbers.short_money(ageing.unapplied_credits, currency)
    note = f"received, not yet matched to invoices; credits not applied {credits}"
    value = numbers.short_money(ageing.unapplied_cash, currency)
    return Headline("Unapplied cash", value, note, "unapplied-cash")


def _freshness(facts: Facts) -> Headline:
    oldest = figures.oldest_success(facts)
    note = f"newest {numbers.moment(facts.known_at)}"
    return Headline("Oldest feed", numbers.moment(oldest), note, "loads", FINE if oldest else TROUBLE)


def _loads(facts: Facts) -> Headline:
    held = figures.held_back(facts)
    last = max((row["load_id"] for row in facts.ledger), default=numbers.MISSING)
    published = f"{len(facts.loads) - len(held)} of {len(facts.loads)} flows published"
    tone = FINE if facts.loads and not held else TROUBLE
    return Headline("Loads", published, f"last load {last}", "loads", tone)


def _gates(facts: Facts) -> Headline:
    broken = figures.broken_rules(facts)
    rows = sum(row["unexpected_rows"] for row in broken)
    stopped = any(row["on_fail"] == "stop" for row in broken)
    value = f"{numbers.number(len(facts.gates) - len(broken))} of {numbers.number(len(facts.gates))} rules hold"
    found = f"{numbers.number(rows)} rows broke {len(broken)} rules and were held back"
    note = found if broken else "no row broke a rule"
    return Headline("Gates", value, note, "gates", TROUBLE if stopped or not facts.gates else FINE)


def _tie_out(facts: Facts) -> Headline:
    rows, currency = facts.tie_outs_now, facts.reporting_currency
    untied = figures.untied(rows)
    differences = totals_by(untied, "difference_amount")
    value = numbers.money(Decimal(0), currency) if not untied else amounts_in_words(differences)
    note = f"{len(rows) - len(untied)} of {len(rows)} entity-currency pairs agree with the control account"
    tone = FINE if rows and not untied else TROUBLE
    return Headline("Tie-out difference", value if rows else numbers.MISSING, note, "control-account", tone)


def _quarantine(facts: Facts) -> Headline:
    count = figures.quarantined_rows(facts)
    money = amounts_in_words(totals_by([row for row in facts.quarantine if row["currency_code"]], "amount"))
    value, note = f"{numbers.number(count)} rows", money if count else "nothing is held back"
    return Headline("Quarantine", value, note, "quarantine", FINE)
