"""Random ledgers are the same for a seed, keep their contracts, and hold every disorder they promise."""

from __future__ import annotations

from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from oracle.ledger import KEYS, Version
from oracle.random_ledger import Shape, loads, random_ledger, random_versions, rows_by_entity
from oracle.rates import minor_units

CONTRACTS = Path(__file__).resolve().parents[2] / "include" / "entities"
MANY = [version for seed in range(15) for version in random_versions(seed)]


def contract(entity: str) -> dict[str, Any]:
    return yaml.safe_load((CONTRACTS / f"{entity}.yml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("entity", sorted(KEYS))
def test_rows_are_rows_of_the_contract(entity: str) -> None:
    found = contract(entity)
    assert list(KEYS[entity]) == found["key"]
    columns = found["columns"]
    rows = [version.row for version in MANY if version.entity == entity]
    assert rows, "no ledger has one"
    for row in rows:
        assert set(row) <= set(columns)
        for name, column in columns.items():
            value = row.get(name)
            assert value is not None or not column.get("required"), (name, row)
            assert value is None or column["type"] != "enum" or value in column["values"], (name, value)
            if column["type"] in ("money", "quantity", "price", "rate") and value is not None:
                assert isinstance(value, Decimal), name


def test_money_has_the_places_of_its_currency_and_rows_keep_their_rules() -> None:
    for version in MANY:
        row = version.row
        for name in ("total_amount", "net_amount", "tax_amount", "amount", "applied_amount", "discount_amount"):
            if name in row and "currency_code" in row:
                assert -row[name].as_tuple().exponent <= minor_units(row["currency_code"]), (version.entity, row)
                assert row[name] >= 0
        if version.entity in ("invoice", "credit_memo"):
            assert row["total_amount"] == row["net_amount"] + row["tax_amount"]
        for first, second in (("issued_on", "due_on"), ("received_on", "reversed_on"), ("opened_on", "closed_on")):
            if row.get(first) and row.get(second):
                assert row[first] <= row[second], row
        if version.entity in ("receipt", "receivable_adjustment"):
            assert row["amount"] > 0
        if version.entity == "receivable_adjustment":
            assert row["invoice_id"] or row["receipt_id"]


def test_a_seed_is_a_ledger() -> None:
    assert random_versions(7) == random_versions(7) != random_versions(8)


def test_source_versions_never_tie() -> None:
    for seed in range(10):
        versions = random_versions(seed)
        assert len({(v.entity, v.key, v.row["updated_at"]) for v in versions}) == len(versions)


def test_ledgers_hold_what_they_promise() -> None:
    """In fifteen ledgers everything occurs that the figures must stand."""
    kinds: Counter[str] = Counter()
    for seed in range(15):
        ledger = random_ledger(seed)
        facts = ledger.facts(date(2030, 1, 1))
        kinds.update(event.event_type for event in facts.events)
        kinds.update("taken back" for event in ledger.events() if event.takes_back)
        kinds.update("deposit" for event in facts.events if event.document_type == "deposit")
        kinds.update("pending once" for moment in ledger.recorded_times if ledger.facts(moment).pending)
        kinds.update("bounced" for application in facts.applications if application.bounced)
        kinds.update(
            "transfer" for a in facts.applications if a.receipt and a.receipt["customer_id"] != a.invoice["customer_id"]
        )
        kinds.update(_disorder(ledger.versions))
    wanted = "issue cancel receive reverse apply unapply discount discount_reversal write_off write_off_reversal refund"
    for kind in [*wanted.split(), "taken back", "deposit", "pending once", "bounced", "transfer", "deleted"]:
        assert kinds[kind] >= 2, (kind, kinds)
    assert kinds["older arrives later"] >= 5


def _disorder(versions: tuple[Version, ...]) -> list[str]:
    found = ["deleted" for version in versions if version.deleted]
    newest: dict[Any, Any] = {}
    for version in sorted(versions, key=lambda v: (v.recorded_at, v.row["updated_at"])):
        key = (version.entity, version.key)
        if key in newest and newest[key] > version.row["updated_at"]:
            found.append("older arrives later")
        newest[key] = max(newest.get(key, version.row["updated_at"]), version.row["updated_at"])
    return found


def test_rows_and_loads_hold_every_version() -> None:
    versions = random_versions(3, Shape(batches=5))
    rows = rows_by_entity(versions)
    assert sum(len(found) for found in rows.values()) == len(versions)
    assert {"recorded_at", "is_deleted"} <= set(rows["invoice"][0])
    batches = loads(versions)
    assert len(batches) <= 5
    assert [moment for moment, _ in batches] == sorted(moment for moment, _ in batches)
    assert sum(len(found) for _, found in batches) == len(versions)
