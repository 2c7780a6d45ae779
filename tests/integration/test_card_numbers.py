"""Card numbers never land: planted in every feed and dress, then looked for in all files and all tables."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

if TYPE_CHECKING:
    from conftest import Warehouse

PROJECT = Path(__file__).resolve().parents[2]
# Numbers that the networks and processors publish for tests.
CARDS = (
    "4111111111111111", "4012888888881881", "4000056655665556", "4222222222222", "5555555555554444",
    "5105105105105100", "5200828282828210", "2223003122003222", "2720994326581252", "378282246310005",
    "371449635398431", "6011111111111117", "6011000990139424", "6445644564456445", "30569309025904",
    "38520000023237", "36227206271667", "3056930009020004", "3566002020360505", "3530111333300000",
    "6200000000000005", "6759649826438453", "6205500000000000004",
)  # fmt: skip
CORPUS = random.Random(20260305)


def four(digits: str, separator: str = " ") -> str:
    return separator.join(digits[at : at + 4] for at in range(0, len(digits), 4))


def wide(digits: str) -> str:
    return "".join(chr(0xFF10 + int(digit)) for digit in digits)


DRESSES: tuple[Callable[[str], str], ...] = (
    lambda digits: digits,
    four,
    lambda digits: four(digits, "-"),
    lambda digits: four(digits, "\u00a0"),
    lambda digits: four(digits, "\u2013"),
    lambda digits: four(digits, "."),
    wide,
    lambda digits: four(wide(digits)),
    lambda digits: f"card {digits} exp 12/27",
    lambda digits: f"PAN:{digits};",
    lambda digits: f"%B{digits}^NAME/A^2712",
    lambda digits: " ".join(digits),
)


def at_rest(warehouse: Warehouse) -> Iterator[tuple[str, str]]:
    """Every byte kept below O2C_HOME and every value of every table, as text without separators."""
    for path in sorted(warehouse.settings.home.rglob("*")):
        if path.is_file():
            yield str(path), path.read_bytes().decode("utf-8", "replace")
    names = (
        "select format('%I.%I', schemaname, tablename) from pg_tables"
        " where schemaname not in ('pg_catalog', 'information_schema')"
    )
    for (table,) in warehouse.rows(names):
        for (row,) in warehouse.rows(f"select t::text from {table} as t"):
            yield table, row


def bare(text: str) -> str:
    narrow = str.maketrans({chr(0xFF10 + digit): str(digit) for digit in range(10)})
    return "".join(character for character in text.translate(narrow) if character not in " -._\u00a0\u2013")


def leaks(warehouse: Warehouse) -> list[str]:
    texts = [(place, bare(text)) for place, text in at_rest(warehouse)]
    assert len(texts) > 50
    return [f"{card} in {place}" for place, text in texts for card in CARDS if card in text]


def products(number: int) -> list[str]:
    """One product a line, each with one card number in one of its fields; the price tells them apart."""
    rows = []
    for index in range(number):
        card, dress = CARDS[index % len(CARDS)], DRESSES[index // len(CARDS) % len(DRESSES)]
        fields = [f"P{index}", f"SKU{index}", "Widget", "goods", "EA", "", "true", "2026-03-05 10:00:00+00", "note"]
        fields[(1, 2, 5, 8)[index % 4]] = dress(card)
        rows.append(",".join(fields))
    return rows


HEADER = "id,sku,name,type,unit,tax,billable,changed,comment"
MAPPING = {
    "product_id": "id", "sku": "sku", "product_name": "name", "product_type": "type",
    "base_unit_of_measure": "unit", "tax_class": "tax", "is_billable": "billable", "updated_at": "changed",
}  # fmt: skip


@pytest.fixture
def loaded(warehouse: Warehouse) -> tuple[Warehouse, Any]:
    flow = warehouse.flows.csv("shop/products", "product", MAPPING)
    good = [f"G{index},S{index},Widget,goods,EA,,true,2026-03-05 10:00:00+00,fine" for index in range(100)]
    bad = products(len(CARDS) * len(DRESSES))
    warehouse.flows.put("shop/products.csv", "\n".join([HEADER, *good, *bad]) + "\n")
    return warehouse, warehouse.load(flow)


def test_no_card_number_is_at_rest(loaded: tuple[Warehouse, Any]) -> None:
    warehouse, published = loaded
    planted = len(CARDS) * len(DRESSES)
    assert published.rows == {"published": 100, "quarantined": planted, "duplicate": 0}
    assert leaks(warehouse) == []


def test_what_is_kept_of_a_card_number(loaded: tuple[Warehouse, Any]) -> None:
    warehouse, published = loaded
    planted = len(CARDS) * len(DRESSES)
    hits = "select count(*), count(distinct keyed_hash), array_agg(distinct last_four order by last_four) from"
    count, hashes, endings = warehouse.rows(f"{hits} quarantine.card_number_hit")[0]
    assert (count, hashes) == (planted, len(CARDS))
    assert endings == sorted({card[-4:] for card in CARDS})
    assert warehouse.value("select rules::text || reason from quarantine.record where source_key = 'P0'") == (
        "{no_card_number}A card number was in column sku; only the last four digits and a keyed hash are kept."
    )
    (folder,) = warehouse.settings.landing_dir.glob("shop/products/L*")
    (file,) = json.loads((folder / "manifest.json").read_text())["files"]
    assert file["masked"] == planted
    assert len(file["received_sha256"]) == 64 != file["sha256"]
    key = warehouse.settings.home / "keys" / "masking.key"
    assert key.stat().st_mode & 0o777 == 0o600


def test_hits_are_never_changed(loaded: tuple[Warehouse, Any]) -> None:
    warehouse, _ = loaded
    for change in (
        "update quarantine.card_number_hit set last_four = '0000'",
        "delete from quarantine.card_number_hit",
    ):
        with (
            psycopg.connect(warehouse.settings.warehouse_url) as connection,
            pytest.raises(psycopg.Error, match="refused"),
        ):
            connection.execute(change)  # type: ignore[call-overload]
