from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from o2c.contracts.currencies import MINOR_UNITS
from o2c.contracts.entity import SQL_TYPES, Entity, load_entities, load_entity
from o2c.errors import UsageError

GOOD: dict[str, Any] = {
    "entity": "parcel",
    "description": "A parcel. One row per parcel.",
    "owner": "logistics",
    "key": ["parcel_id"],
    "version": "updated_at",
    "money": {"amount": "amount", "currency": "currency_code"},
    "columns": {
        "parcel_id": {"type": "text", "required": True, "description": "Key."},
        "amount": {"type": "money", "required": True, "description": "Value."},
        "currency_code": {"type": "currency", "required": True, "description": "Currency."},
        "kind": {"type": "enum", "values": ["small", "large"], "description": "Kind."},
        "country_code": {"type": "country", "description": "Country."},
        "weight": {"type": "quantity", "description": "Kilograms."},
        "updated_at": {"type": "timestamp", "description": "Last change."},
    },
    "rules": [{"rule": "weight > 0", "on_fail": "stop", "reason": "A parcel weighs something."}],
}
Write = Callable[[Any], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_entity(document: Any) -> Path:
        path = tmp_path / "parcel.yml"
        path.write_text(document if isinstance(document, str) else yaml.safe_dump(document, sort_keys=False))
        return path

    return write_entity


def changed(at: str, value: Any) -> dict[str, Any]:
    document = copy.deepcopy(GOOD)
    *parents, last = at.split(".")
    place: Any = document
    for name in parents:
        place = place[name]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return document


def test_a_good_contract_is_read(write: Write) -> None:
    entity = load_entity(write(GOOD))
    assert (entity.name, entity.key, entity.version, entity.amount, entity.currency) == (
        "parcel",
        ("parcel_id",),
        "updated_at",
        "amount",
        "currency_code",
    )
    assert entity.columns["amount"].currency == "currency_code" and entity.columns["weight"].currency is None
    assert [column.sql_type for column in entity.columns.values()] == [
        "text",
        "numeric",
        "text",
        "text",
        "text",
        "numeric",
        "timestamptz",
    ]


def test_rules_are_derived_from_columns(write: Write) -> None:
    rules = {rule.name: rule for rule in load_entity(write(GOOD)).rules}
    assert list(rules) == [
        "required:parcel_id",
        "type:amount",
        "required:amount",
        "minor_units:amount",
        "required:currency_code",
        "currency:currency_code",
        "values:kind",
        "country:country_code",
        "type:weight",
        "type:updated_at",
        "no_card_number",
        "unique_key",
        "weight > 0",
    ]
    assert rules["values:kind"].predicate == "\"kind\" in ('small', 'large')"
    assert rules["required:amount"].predicate == '"amount" is not null'
    assert rules["weight > 0"].on_fail == "stop" and rules["type:weight"].on_fail == "quarantine"
    assert rules["weight > 0"].reason == "A parcel weighs something."


WRONG: list[tuple[str, Any, str, str]] = [
    ("colour", "red", "colour", "'colour' is not known"),
    *((key, ..., "(file)", f"'{key}' is missing") for key in ("entity", "description", "owner", "key", "columns")),
    ("entity", "box", "entity", "not called like its file"),
    ("key", ["box_id"], "key", "'box_id' is no column"),
    ("key", "parcel_id", "key", "list"),
    ("key", [], "key", "list"),
    ("version", "changed_at", "version", "'changed_at' is no column"),
    ("money", {"amount": "value", "currency": "currency_code"}, "money", "'value' is no column"),
    ("money", {"amount": "amount"}, "money", "amount"),
    ("money", ["amount", "currency_code"], "money", "amount"),
    ("columns", ["parcel_id"], "columns", "column"),
    ("columns.weight", "number", "columns.weight", "a type and a description"),
    ("columns.weight.type", ..., "columns.weight", "'type' is missing"),
    ("columns.weight.description", ..., "columns.weight", "'description' is missing"),
    ("columns.weight.type", "float", "columns.weight.type", "'float' is not a type"),
    ("columns.weight.unit", "kg", "columns.weight.unit", "'unit' is not known"),
    ("columns.kind.values", ..., "columns.kind", "An enum lists its values"),
    ("columns.weight.values", ["a"], "columns.weight", "An enum lists its values"),
    ("columns.amount.currency", "money_code", "columns.amount", "needs its currency"),
    ("rules", [{"rule": "size > 0", "on_fail": "stop"}], "rules.0.rule", "'size' is not a column"),
    ("rules", [{"rule": "weight > 0", "on_fail": "drop"}], "rules.0.on_fail", "quarantines or stops"),
]


@pytest.mark.parametrize(("at", "value", "named", "word"), WRONG, ids=[f"{w[0]}={w[1]}" for w in WRONG])
def test_a_broken_contract_says_file_line_key_and_what_is_expected(
    write: Write, at: str, value: Any, named: str, word: str
) -> None:
    path = write(changed(at, value))
    with pytest.raises(UsageError) as caught:
        load_entity(path)
    error = caught.value
    assert word in error.what + error.next_step, str(error)
    assert error.where.startswith(f"{path}:") and error.where.endswith(f": {named}"), str(error)


def test_a_money_column_without_any_currency_is_refused(write: Write) -> None:
    document = changed("money", ...)
    document["columns"]["second_code"] = {"type": "currency", "description": "Two currencies: which one is it?"}
    with pytest.raises(UsageError, match="needs its currency beside it"):
        load_entity(write(document))


def test_values_cannot_carry_sql(write: Write) -> None:
    entity = load_entity(write(changed("columns.kind.values", ["it's", "x') or ('1'='1"])))
    (rule,) = [rule for rule in entity.rules if rule.name == "values:kind"]
    assert rule.predicate == "\"kind\" in ('it''s', 'x'') or (''1''=''1')"


def test_a_folder_without_contracts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No entity contract found"):
        load_entities(tmp_path)


def test_the_shipped_contracts_load(entities: Mapping[str, Entity]) -> None:
    assert len(entities) == 32
    for entity in entities.values():
        assert entity.description.rstrip(".").rpartition(". ")[2].startswith("One row per"), entity.name
        assert all(entity.columns[name].required for name in entity.key), entity.name
        names = [rule.name for rule in entity.rules]
        assert len(names) == len(set(names)), entity.name
        for column in entity.columns.values():
            assert (column.type in SQL_TYPES) and (column.currency is not None) == (column.type == "money")


def test_every_kind_of_derived_rule_is_in_use(entities: Mapping[str, Entity]) -> None:
    kinds = {rule.name.split(":")[0] for entity in entities.values() for rule in entity.rules if ":" in rule.name}
    assert kinds >= {"type", "required", "values", "currency", "country", "minor_units"}


def test_minor_units_of_known_currencies() -> None:
    expected = {"EUR": 2, "USD": 2, "JPY": 0, "KRW": 0, "KWD": 3, "BHD": 3, "CLP": 0, "ISK": 0, "TND": 3, "HUF": 2}
    assert {code: MINOR_UNITS[code] for code in expected} == expected
    assert all(len(code) == 3 and code.isupper() for code in MINOR_UNITS)
    assert not {"XXX", "XTS", "DEM", "HRK", "EUr"} & set(MINOR_UNITS)
