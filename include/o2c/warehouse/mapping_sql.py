"""From source text to canonical, typed columns: the SQL of a flow's mapping.

Each canonical column has a *text* (what the source says, after constants, joins and code lists) and a *value* (the
text as the column's type, NULL where it is no such value). Nothing here depends on the clock: words such as
``today`` are no dates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from o2c.contracts.entity import Column
from o2c.contracts.flow import FieldMapping, Flow

# Postgres also reads 0x1F, 0b1 and 1_000 as numbers; no source writes an amount like this and means it.
_NO_PLAIN_NUMBER = "[^-+.0-9eE[:space:]]"
_DIRECTIVES = {"%Y": r"(\d{4})", "%m": r"(\d{1,2})", "%d": r"(\d{1,2})"}


@dataclass(frozen=True)
class TypedColumn:
    """SQL of one canonical column.

    ``invalid`` is true for a text that is there but is no value. ``strict`` gives the same values as ``value`` but
    makes the statement fail on the first invalid text; it costs half, and most files have none.
    """

    name: str
    text: str
    value: str
    invalid: str | None
    finite: str = ""
    strict: str = ""

    @property
    def counted(self) -> str:
        """SQL that counts the values; NaN and Infinity are numeric to Postgres, but no amount."""
        return f'count("{self.name}"){self.finite}'


def typed_columns(flow: Flow, landed: Mapping[str, str]) -> list[TypedColumn]:
    """The SQL of every canonical column of the flow's entity.

    Args:
        flow: the flow.
        landed: source column name to the column of the landing table.
    """
    style = flow.source.get("format") or {}
    columns = []
    for column in flow.entity.columns.values():
        field = flow.mapping.get(column.name)
        if field is None:
            columns.append(
                TypedColumn(
                    column.name, "null::text", f"null::{column.sql_type}", None, strict=f"null::{column.sql_type}"
                )
            )
            continue
        text = _text(field, landed)
        # A constant stands in the flow file, written as everywhere, not as this source writes.
        written = {} if field.constant is not None else style
        columns.append(_typed(column, text, field.date_format or written.get("date"), written))
    return columns


def literal(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def _text(field: FieldMapping, landed: Mapping[str, str]) -> str:
    if field.constant is not None:
        return literal(field.constant)
    sources = iter(field.sources)
    parts = [landed[next(sources)] if part is None else literal(part) for part in field.literals]
    text = parts[0] if len(parts) == 1 else f"({' || '.join(parts)})"
    if field.values:
        cases = " ".join(f"when {literal(key)} then {literal(value)}" for key, value in field.values.items())
        return f"case {text} {cases} else {text} end"
    return text


def _typed(column: Column, text: str, date_format: str | None, style: Mapping[str, str]) -> TypedColumn:
    kind = column.sql_type
    if kind == "text":
        return TypedColumn(column.name, text, text, None, strict=text)
    strict = ""
    if kind == "boolean":
        valid = f"lower({text}) in ('t', 'true', 'y', 'yes', '1', 'f', 'false', 'n', 'no', '0')"
        source = text
    elif kind == "date" and date_format:
        source = _iso_date(text, date_format)
        valid = f"{text} ~ {literal(_date_pattern(date_format))} and pg_input_is_valid({source}, 'date')"
    elif kind in ("date", "timestamptz"):
        pattern = "____-__-__" if kind == "date" else "____-%"
        source = text
        valid = f"{text} like '{pattern}' and pg_input_is_valid({text}, '{kind}')"
        strict = f"case when {text} like '{pattern}' then {text} else 'not a date: ' || {text} end::{kind}"
    else:
        source = _number(text, style)
        valid = f"pg_input_is_valid({source}, '{kind}')"
        if source == text:
            valid = f"{text} !~ {literal(_NO_PLAIN_NUMBER)} and {valid}"
            failing = f"'not a {kind}: ' || {text}"
            strict = f"(case when {text} ~ {literal(_NO_PLAIN_NUMBER)} then {failing} else {text} end)::{kind}"
        else:
            pattern = number_pattern(style.get("decimal", "."), style.get("thousands", ""))
            valid = f"{text} ~ {literal(f'^{pattern}$')} and {valid}"
    value = f"case when {valid} then ({source})::{kind} end"
    invalid = f"({text} is not null and not ({valid}))"
    strict = strict or _failing(text, source, valid, kind)
    if kind != "numeric":
        return TypedColumn(column.name, text, value, invalid, strict=strict)
    endless = f"({value}) in ('NaN', 'Infinity', '-Infinity')"
    finite = f" filter (where abs(\"{column.name}\") < 'Infinity')"
    return TypedColumn(column.name, text, value, f"({invalid} or {endless})", finite, strict)


def number_pattern(decimal: str, thousands: str) -> str:
    """A regular expression, for Python and Postgres alike, of numbers written with these separators.

    Dropping separators alone would read ``1.50`` as 150 where the point groups thousands.
    """
    group = re.escape(thousands)
    grouped = f"[0-9]{{1,3}}({group}[0-9]{{2,3}})*{group}[0-9]{{3}}|" if thousands else ""
    return f" *[-+]?({grouped}[0-9]+)({re.escape(decimal)}[0-9]*)? *"


def _failing(text: str, source: str, valid: str, kind: str) -> str:
    return f"case when {valid} then ({source})::{kind} else ('not a {kind}: ' || {text})::{kind} end"


def _number(text: str, style: Mapping[str, str]) -> str:
    if thousands := style.get("thousands"):
        text = f"replace({text}, {literal(thousands)}, '')"
    decimal = style.get("decimal", ".")
    return text if decimal == "." else f"replace({text}, {literal(decimal)}, '.')"


def _date_pattern(date_format: str) -> str:
    pattern = re.escape(date_format)
    for directive, group in _DIRECTIVES.items():
        pattern = pattern.replace(re.escape(directive), group)
    return f"^{pattern}$"


def _iso_date(text: str, date_format: str) -> str:
    order = sorted(_DIRECTIVES, key=date_format.index)
    iso = "-".join(f"\\{order.index(directive) + 1}" for directive in ("%Y", "%m", "%d"))
    return f"regexp_replace({text}, {literal(_date_pattern(date_format))}, {literal(iso)})"
