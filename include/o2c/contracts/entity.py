"""Entity contracts: what a thing is, in canonical columns, whatever source it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from o2c.contracts import source_text
from o2c.contracts.currencies import MINOR_UNITS
from o2c.contracts.expressions import compile_condition
from o2c.errors import UsageError

OnFail = Literal["quarantine", "stop"]

SQL_TYPES: dict[str, str] = {
    "text": "text",
    "integer": "bigint",
    "quantity": "numeric",
    "money": "numeric",
    "price": "numeric",
    "percent": "numeric",
    "rate": "numeric",
    "date": "date",
    "timestamp": "timestamptz",
    "boolean": "boolean",
    "currency": "text",
    "country": "text",
    "enum": "text",
}
_ENTITY_KEYS = {"entity", "description", "owner", "key", "version", "money", "continuity", "columns", "rules"}
_CONTINUITY_KEYS = {"account", "number", "opening", "closing", "date"}
_COLUMN_KEYS = {"type", "required", "description", "values", "on_unknown", "currency", "pii", "long_number"}


@dataclass(frozen=True)
class Rule:
    """One gate rule: a row breaks it when ``predicate`` is false (NULL keeps it, as in a SQL CHECK).

    ``reason_sql`` words the reason row by row, where the row knows more than the rule.
    """

    name: str
    predicate: str
    on_fail: OnFail
    reason: str
    reason_sql: str | None = None


_NO_CARD_NUMBER = Rule(
    "no_card_number",
    "_masked is null",
    "quarantine",
    "A card number was in the row; only the last four digits and a keyed hash are kept.",
    "format('A card number was in column %s; only the last four digits and a keyed hash are kept.',"
    " array_to_string(s._masked, ', '))",
)


@dataclass(frozen=True)
class Column:
    """One canonical column. ``currency`` names the column that holds the currency of a money column.

    ``pii`` marks what says something of a person; ``long_number`` what holds long numbers by nature, such as a bank's
    references, where digits that look like a card number are none.
    """

    name: str
    type: str
    description: str
    required: bool = False
    pii: bool = False
    long_number: bool = False
    values: tuple[str, ...] = ()
    on_unknown: OnFail = "quarantine"
    currency: str | None = None

    @property
    def sql_type(self) -> str:
        """The Postgres type."""
        return SQL_TYPES[self.type]


@dataclass(frozen=True)
class Entity:
    """A canonical entity. ``key`` leaves out ``source_system``, which is always its first part.

    ``text`` is its contract file as it was read. ``continuity`` names the columns by which records follow each other
    per account without a gap: ``account``, ``number``, ``opening``, ``closing`` and ``date``, the day that orders them.
    """

    name: str
    description: str
    owner: str
    key: tuple[str, ...]
    columns: Mapping[str, Column]
    version: str | None = None
    amount: str | None = None
    currency: str | None = None
    rules: tuple[Rule, ...] = field(default=())
    text: str = field(default="", repr=False)
    continuity: Mapping[str, str] | None = None

    @property
    def personal_columns(self) -> tuple[str, ...]:
        """Columns marked ``pii``: for those who work with the records, not for auditors or reports."""
        return tuple(column.name for column in self.columns.values() if column.pii)


def load_entity(path: Path) -> Entity:
    """Read one contract.

    Raises:
        UsageError: naming file, line, key and what was expected.
    """
    document = source_text.read(path)
    _check_keys(
        document, (), document.data, _ENTITY_KEYS, required={"entity", "description", "owner", "key", "columns"}
    )
    data = document.data
    _check_shapes(document)
    if data["entity"] != path.stem:
        raise document.wrong("The entity is not called like its file.", "entity", expected=path.stem)
    money = data.get("money") or {}
    columns = {name: _column(document, name, spec, money.get("currency")) for name, spec in data["columns"].items()}
    for section, names in (
        ("key", data["key"]),
        ("version", [data.get("version")]),
        ("money", list(money.values())),
        ("continuity", list((data.get("continuity") or {}).values())),
    ):
        for name in filter(None, names):
            if name not in columns:
                raise document.wrong(f"'{name}' is no column of this entity.", section, expected="a name under columns")
    rules = [*_derived_rules(columns, data["key"]), *stated_rules(document, "rules", data.get("rules") or [], columns)]
    return Entity(
        name=data["entity"],
        description=data["description"],
        owner=data["owner"],
        key=tuple(data["key"]),
        columns=columns,
        version=data.get("version"),
        amount=money.get("amount"),
        currency=money.get("currency"),
        rules=tuple(rules),
        text=document.text,
        continuity=data.get("continuity"),
    )


def _check_shapes(document: source_text.Document) -> None:
    data = document.data
    if not (isinstance(data["columns"], dict) and data["columns"]):
        raise document.wrong("The columns have names.", "columns", expected="<column>: {type: ..., description: ...}")
    if not (isinstance(data["key"], list) and data["key"]):
        raise document.wrong("The key is a list of columns.", "key", expected="[<column>, ...]")
    continuity = data.get("continuity")
    if continuity is not None and not (isinstance(continuity, dict) and set(continuity) == _CONTINUITY_KEYS):
        expected = "{account: ..., number: ..., opening: ..., closing: ..., date: ...}, all columns"
        raise document.wrong("Continuity names five columns.", "continuity", expected=expected)
    money = data.get("money")
    if money is not None and not (isinstance(money, dict) and set(money) == {"amount", "currency"}):
        expected = "{amount: <column>, currency: <column>}"
        raise document.wrong("Money is an amount and its currency.", "money", expected=expected)


def load_entities(directory: Path) -> dict[str, Entity]:
    """Read every contract in ``directory``; raises :class:`UsageError` when there is none."""
    entities = {path.stem: load_entity(path) for path in sorted(directory.glob("*.yml"))}
    if not entities:
        raise UsageError(
            "No entity contract found.", where=str(directory), next_step="Set O2C_ENTITIES to their folder."
        )
    return entities


def stated_rules(
    document: source_text.Document, section: str, items: list[Any], columns: Mapping[str, Column]
) -> list[Rule]:
    """The rules written out in a contract or flow file."""
    rules = []
    if not isinstance(items, list):
        raise document.wrong("Rules are a list.", section, expected="[{rule: ..., on_fail: ...}]")
    for index, item in enumerate(items):
        keys = item if isinstance(item, dict) else {}
        _check_keys(document, (section, index), keys, {"rule", "on_fail", "reason"}, required={"rule", "on_fail"})
        if item["on_fail"] not in ("quarantine", "stop"):
            raise document.wrong(
                "A rule quarantines or stops.", section, index, "on_fail", expected="quarantine or stop"
            )
        if not isinstance(item["rule"], str):
            raise document.wrong("A rule is text.", section, index, "rule", expected="text: a condition over columns")
        try:
            predicate = compile_condition(item["rule"], columns)
        except UsageError as error:
            raise document.wrong(
                error.what, section, index, "rule", expected=error.next_step or "a condition"
            ) from None
        reason = item.get("reason") or f"The rule '{item['rule']}' does not hold."
        rules.append(Rule(item["rule"], predicate, item["on_fail"], reason))
    return rules


def _check_keys(
    document: source_text.Document,
    at: source_text.KeyPath,
    data: Mapping[str, Any],
    allowed: set[str],
    required: set[str],
) -> None:
    if missing := sorted(required - set(data)):
        raise document.wrong(f"The key '{missing[0]}' is missing.", *at, expected=", ".join(sorted(allowed)))
    if extra := sorted(set(data) - allowed):
        raise document.wrong(f"The key '{extra[0]}' is not known.", *at, extra[0], expected=", ".join(sorted(allowed)))


def _column(document: source_text.Document, name: str, spec: Any, default_currency: str | None) -> Column:
    at = ("columns", name)
    if not isinstance(spec, dict):
        raise document.wrong("A column needs a type and a description.", *at, expected="{type: ..., description: ...}")
    _check_keys(document, at, spec, _COLUMN_KEYS, required={"type", "description"})
    if spec["type"] not in SQL_TYPES:
        raise document.wrong(f"'{spec['type']}' is not a type.", *at, "type", expected=", ".join(SQL_TYPES))
    if (spec["type"] == "enum") != bool(spec.get("values")):
        raise document.wrong("An enum lists its values, other types do not.", *at, expected="type: enum, values: [...]")
    if "on_unknown" in spec and (spec["type"] != "enum" or spec["on_unknown"] not in ("quarantine", "stop")):
        expected = "quarantine or stop, for an enum"
        raise document.wrong(
            "An unknown value quarantines its row or stops the load.", *at, "on_unknown", expected=expected
        )
    currency = spec.get("currency") or (default_currency or _only_currency(document))
    if spec["type"] == "money" and currency not in document.data["columns"]:
        raise document.wrong("A money column needs its currency beside it.", *at, expected="currency: <column>")
    return Column(
        name=name,
        type=spec["type"],
        description=spec["description"],
        required=bool(spec.get("required")),
        pii=bool(spec.get("pii")),
        long_number=bool(spec.get("long_number")),
        values=tuple(map(str, spec.get("values") or ())),
        on_unknown=spec.get("on_unknown", "quarantine"),
        currency=currency if spec["type"] == "money" else None,
    )


def _only_currency(document: source_text.Document) -> str | None:
    names = [name for name, spec in document.data["columns"].items() if spec.get("type") == "currency"]
    return names[0] if len(names) == 1 else None


def _derived_rules(columns: Mapping[str, Column], key: list[str]) -> list[Rule]:
    rules: list[Rule] = []
    for column in columns.values():
        rules.extend(_column_rules(column))
    rules.append(_NO_CARD_NUMBER)
    shown = ", ".join(key)
    rules.append(
        Rule("unique_key", "_repeat is distinct from 'conflict'", "quarantine", f"Two rows share the key {shown}.")
    )
    return rules


def _column_rules(column: Column) -> list[Rule]:
    name, quoted, rules = column.name, f'"{column.name}"', []

    def add(kind: str, predicate: str, reason: str, on_fail: OnFail = "quarantine") -> None:
        rules.append(Rule(f"{kind}:{name}", predicate, on_fail, reason))

    if column.sql_type != "text":
        add("type", f"not ('{name}' = any (_unparsed))", f"The value of {name} is no {column.type}.")
    if column.required:
        add("required", f"{quoted} is not null", f"{name} is empty.")
    if column.type == "enum":
        allowed = ", ".join("'" + value.replace("'", "''") + "'" for value in column.values)
        add("values", f"{quoted} in ({allowed})", f"{name} is none of: {', '.join(column.values)}.", column.on_unknown)
    if column.type == "currency":
        codes = ",".join(sorted(MINOR_UNITS))
        add("currency", f"{quoted} = any ('{{{codes}}}'::text[])", f"{name} is not a currency of ISO 4217.")
    if column.type == "country":
        add("country", f"{quoted} ~ '^[A-Z]{{2}}$'", f"{name} is not a two-letter country code.")
    if column.type == "money":
        digits = _minor_units_case(f'"{column.currency}"')
        add("minor_units", f"min_scale({quoted}) <= {digits}", f"{name} has more decimals than its currency.")
    return rules


def _minor_units_case(currency: str) -> str:
    by_digits = {0: [code for code, digits in MINOR_UNITS.items() if digits == 0]}
    by_digits[3] = [code for code, digits in MINOR_UNITS.items() if digits == 3]
    cases = " ".join(
        f"when {currency} = any ('{{{','.join(sorted(codes))}}}'::text[]) then {digits}"
        for digits, codes in by_digits.items()
    )
    return f"case {cases} else 2 end"
