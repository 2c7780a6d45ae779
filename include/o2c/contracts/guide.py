"""The mapping guide: one page for people, written from the flows and entities as they are."""

from __future__ import annotations

from collections.abc import Iterator

from o2c.contracts.catalogue import Catalogue
from o2c.contracts.entity import Column, Rule
from o2c.contracts.flow import FieldMapping, Flow

_HEAD = """# Mapping guide

Written by `./o2c flow guide` from `include/flows` and `include/entities`; a test keeps it in step. Every flow runs the
rules of its entity and its own. A row that breaks a rule goes to quarantine with its amount, unless the rule stops the
load.

*Personal* columns are for those who work with the records: auditors and reports do without them. Digits in a *long
number* column are not taken for a card number; see [data protection](data-protection.md).
"""


def mapping_guide(catalogue: Catalogue) -> str:
    """The whole guide as Markdown, flows in order of source and name."""
    return "\n".join([_HEAD, *(line for flow in catalogue.flows.values() for line in _flow(flow))]) + "\n"


def _flow(flow: Flow) -> Iterator[str]:
    yield f"## {flow.name} → `raw.{flow.entity.name}`"
    yield f"\n{flow.entity.description}\n"
    yield f"{_source(flow)} Owner: {flow.monitoring.owner}. Fresh within {flow.monitoring.freshness}.\n"
    yield "| canonical column | type | from | meaning |"
    yield "|---|---|---|---|"
    for column in flow.entity.columns.values():
        yield f"| {_name(column)} | {_type(column)} | {_origin(flow.mapping.get(column.name))} | {column.description} |"
    stated = [rule for rule in flow.all_rules if ":" not in rule.name.split(" ")[0]]
    yield (
        "\nRules beside type, presence, code lists and minor units: "
        + "; ".join(_rule(rule) for rule in stated)
        + ".\n"
    )


def _source(flow: Flow) -> str:
    source = flow.source
    place = source.get("query") or source.get("object") or f"{source.get('path')}/{source.get('pattern', '')}"
    cursor = f", cursor {' + '.join(flow.cursor)} with {source.get('overlap', 'no')} overlap" if flow.cursor else ""
    where = f", only rows where `{source['where']}`" if source.get("where") else ""
    deletes = f", deletes found by a {source['deletes']['scan']} scan of all keys" if flow.scans_deletes else ""
    return f"Read from {flow.system} by {source['connector']}: `{place}`{cursor}{where}; mode {flow.run_mode}{deletes}."


def _name(column: Column) -> str:
    return (
        f"`{column.name}`"
        + (" *" if column.required else "")
        + (" (personal)" if column.pii else "")
        + (" (long number)" if column.long_number else "")
    )


def _type(column: Column) -> str:
    if column.currency:
        return f"{column.type} in `{column.currency}`"
    return column.type


def _origin(field: FieldMapping | None) -> str:
    if field is None:
        return "—"
    if field.constant is not None:
        return f"always `{field.constant}`"
    sources = iter(field.sources)
    text = " + ".join(f"`{next(sources)}`" if part is None else f"'{part}'" for part in field.literals)
    if field.values:
        text += ": " + ", ".join(f"{key} → {value}" for key, value in field.values.items())
    return f"{text} as {field.date_format}" if field.date_format else text


def _rule(rule: Rule) -> str:
    return f"`{rule.name}` ({rule.on_fail})"
