"""The receivables page: one file with style and charts inside, no scripts, nothing fetched."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from o2c.reports import charts, figures, headlines, numbers, wording
from o2c.reports.evidence import Evidence
from o2c.reports.facts import BUCKETS, Facts

TEMPLATES = Path(__file__).parent / "templates"
LEAKS_SHOWN = 40


@dataclass(frozen=True)
class Drawing:
    """A chart in both widths, with its legend."""

    wide: Markup
    narrow: Markup
    legend: Markup = Markup("")


def page(facts: Facts, evidence: Evidence) -> str:
    """The page as HTML."""
    trust = headlines.trust(facts)
    template = _environment().get_template("receivables.html.j2")
    return template.render(
        facts=facts,
        evidence=evidence,
        style=Markup((TEMPLATES / "receivables.css").read_text(encoding="utf-8")),
        trust=trust,
        quarantine=trust[-1],
        tiles=headlines.tiles(facts),
        lead=headlines.lead(facts),
        drawings=_drawings(facts),
        buckets=figures.BUCKET_NAMES,
        ageing=figures.ageing_of(facts.ageing_now),
        debtors=figures.top_debtors(facts),
        leak_totals=figures.leak_totals(facts),
        leaks=sorted(facts.leaks, key=_largest_first)[:LEAKS_SHOWN],
        untied=figures.untied(facts.tie_outs),
        broken=figures.broken_rules(facts),
        gates=_gates_by_flow(facts),
        money_of={row["flow"]: figures.load_money(facts, row["load_id"]) for row in facts.loads},
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for name in ("amount", "money", "days", "share", "day", "moment"):
        environment.filters[name] = getattr(numbers, name)
    environment.filters["count"] = numbers.number
    environment.globals.update(
        documents=wording.documents,
        evidence_of=wording.evidence,
        metrics=figures.METRICS,
        null_reasons=figures.NULL_REASONS,
        missing=numbers.MISSING,
    )
    return environment


def _largest_first(leak: dict[str, Any]) -> tuple[Any, ...]:
    return (-(leak["amount_reporting"] or 0), leak["rule_id"], leak["finding_id"])


def _gates_by_flow(facts: Facts) -> dict[str, tuple[int, int]]:
    """Rules run and rules broken, by flow."""
    flows = sorted({row["flow"] for row in facts.gates})
    rules = {flow: [row for row in facts.gates if row["flow"] == flow] for flow in flows}
    return {flow: (len(rows), sum(1 for row in rows if row["unexpected_rows"])) for flow, rows in rules.items()}


def _drawings(facts: Facts) -> dict[str, Drawing]:
    return {
        "dso_group": _lines(_dso_group(facts)),
        "dso_entities": _lines(_dso_entities(facts)),
        "ageing_entities": _bars(_ageing_entities(facts)),
        "ageing_shares": _bars(_ageing_shares(facts)),
        "ageing_trend": _columns(_ageing_trend(facts)),
        "leaks": _bars(_leaks(facts), with_legend=False),
    }


def _lines(chart: charts.Chart) -> Drawing:
    return Drawing(charts.line_chart(chart), charts.line_chart(chart, charts.NARROW, 260))


def _bars(chart: charts.Chart, *, with_legend: bool = True) -> Drawing:
    key = charts.legend(chart) if with_legend and chart.categories else Markup("")
    return Drawing(charts.stacked_bars(chart), charts.stacked_bars(chart, charts.NARROW, 48), key)


def _columns(chart: charts.Chart) -> Drawing:
    key = charts.legend(chart) if chart.categories else Markup("")
    return Drawing(charts.stacked_columns(chart), charts.stacked_columns(chart, charts.NARROW, 260), key)


def _dso_group(facts: Facts) -> charts.Chart:
    lines = []
    for index, (metric, name) in enumerate(figures.METRICS.items()):
        values = [row["dso_days"] for row in figures.dso_series(facts, metric)[-13:]]
        lines.append(charts.Series(name.removesuffix(" months"), values, f"s{index}"))
    if lines[0].values == lines[1].values:
        # At month ends both windows are the same three months; two lines would hide each other.
        lines = [replace(lines[0], name="Both")]
    dates = [row["as_of_date"] for row in figures.dso_series(facts, "dso_simple")[-13:]]
    months = [numbers.month(day) for day in dates]
    return charts.Chart("DSO of the group by month, in days", months, lines, numbers.days, numbers.number, _ends(lines))


def _dso_entities(facts: Facts) -> charts.Chart:
    dates = [row["as_of_date"] for row in figures.dso_series(facts, "dso_rolling_3")[-13:]]
    lines = []
    for index, code in enumerate(figures.dso_entities(facts)):
        by_date = {row["as_of_date"]: row["dso_days"] for row in figures.dso_series(facts, "dso_rolling_3", code)}
        lines.append(charts.Series(code, [by_date.get(day) for day in dates], f"s{index % 6}"))
    months = [numbers.month(day) for day in dates]
    title = "DSO of each entity over three months, in days"
    return charts.Chart(title, months, lines, numbers.days, numbers.number, _ends(lines))


def _ageing_entities(facts: Facts) -> charts.Chart:
    currency = facts.reporting_currency
    entities = figures.ageing_by_entity(facts)
    parts = [
        charts.Series(figures.BUCKET_NAMES[name], [ageing.buckets[name] for ageing in entities.values()], f"b{index}")
        for index, name in enumerate(BUCKETS)
    ]
    unapplied = [ageing.unapplied_cash + ageing.unapplied_credits for ageing in entities.values()]
    parts.append(charts.Series("Unapplied cash and credits", unapplied, "unapplied"))
    return charts.Chart(
        f"Net receivables by entity and age, in {currency}",
        [facts.entity_name(code) for code in entities],
        parts,
        lambda value: numbers.short_money(value, currency),
        numbers.short_number,
    )


def _ageing_shares(facts: Facts) -> charts.Chart:
    entities = {code: ageing for code, ageing in figures.ageing_by_entity(facts).items() if ageing.gross > 0}
    parts = [
        charts.Series(
            figures.BUCKET_NAMES[name],
            [ageing.buckets[name] / ageing.gross * 100 for ageing in entities.values()],
            f"b{index}",
        )
        for index, name in enumerate(BUCKETS)
    ]
    names = [facts.entity_name(code) for code in entities]
    title = "Share of open invoices by entity and age, in percent"
    ends = [f"{numbers.share(ageing.past_due, ageing.gross)} past due" for ageing in entities.values()]
    return charts.Chart(title, names, parts, lambda value: f"{numbers.number(value, 1)} %", _percent, ends)


def _ageing_trend(facts: Facts) -> charts.Chart:
    currency, dates = facts.reporting_currency, figures.ageing_by_date(facts)
    parts = [
        charts.Series(figures.BUCKET_NAMES[name], [ageing.buckets[name] for ageing in dates.values()], f"b{index}")
        for index, name in enumerate(BUCKETS)
    ]
    unapplied = [ageing.unapplied_cash + ageing.unapplied_credits for ageing in dates.values()]
    parts.append(charts.Series("Unapplied cash and credits", unapplied, "unapplied"))
    return charts.Chart(
        f"Net receivables of the group by month and age, in {currency}",
        [numbers.month(day) for day in dates],
        parts,
        lambda value: numbers.money(value, currency),
        numbers.short_number,
    )


def _leaks(facts: Facts) -> charts.Chart:
    currency = facts.reporting_currency
    rules = [entry for entry in figures.leak_totals(facts) if entry.amount and entry.state == figures.RECOVERABLE]
    return charts.Chart(
        f"Recoverable leaks by rule, in {currency}",
        [f"{entry.rule_id} {entry.name}" for entry in rules],
        [charts.Series("Recoverable", [entry.amount for entry in rules], "s0")],
        lambda value: numbers.short_money(value, currency),
        numbers.short_number,
    )


def _ends(lines: list[charts.Series]) -> list[str]:
    last = [next((value for value in reversed(line.values) if value is not None), None) for line in lines]
    return [numbers.number(value, 1) for value in last]


def _percent(value: Any) -> str:
    return f"{numbers.number(value)} %"
