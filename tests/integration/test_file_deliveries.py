"""Files that come twice, change under their name, or move while they are read."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from o2c.connectors import local_file
from o2c.errors import SourceError

COLUMNS = ["receipt_id", "entity_code", "receipt_type", "received_on", "amount", "currency_code", "payment_method"]
HEADER = ",".join(COLUMNS) + "\n"
DELIVERIES = (
    "select file_name, outcome, related_file_name, related_load_id, load_id from ops.file_delivery"
    " order by load_id, file_name"
)


def line(number: int, amount: str = "10") -> str:
    return f"{number},DE01,payment,2026-03-01,{amount},EUR,card\n"


@pytest.fixture
def files(warehouse: Any) -> Any:
    return warehouse.flows.csv("shop/receipts", "receipt", COLUMNS)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files whose bytes were fetched."""
    names: list[str] = []
    blocks = local_file._blocks
    monkeypatch.setattr(local_file, "_blocks", lambda path, *rest: names.append(path.name) or blocks(path, *rest))
    return names


def test_the_same_bytes_under_a_new_name_are_recorded_and_not_loaded(
    warehouse: Any, files: Any, read: list[str]
) -> None:
    content = HEADER + line(1) + line(2)
    warehouse.flows.put("shop/receipts_a.csv", content)
    first = warehouse.load(files)
    warehouse.flows.put("shop/receipts_a.csv", HEADER + line(1, "11") + line(2, "12"))
    second = warehouse.load(files)
    warehouse.flows.put("shop/receipts_b.csv", content)  # what was true before, under another name
    warehouse.flows.put("shop/receipts_c.csv", HEADER + line(3))
    third = warehouse.load(files)
    assert (third.source_rows, third.rows["published"]) == (1, 1)
    latest = "select distinct on (receipt_id) amount from raw.receipt order by receipt_id, _load_id desc"
    assert [int(amount) for (amount,) in warehouse.rows(latest)] == [11, 12, 10]
    assert warehouse.rows(DELIVERIES) == [
        ("receipts_a.csv", "published", None, None, first.load_id),
        ("receipts_a.csv", "supersedes", "receipts_a.csv", first.load_id, second.load_id),
        ("receipts_b.csv", "duplicate_of", "receipts_a.csv", first.load_id, third.load_id),
        ("receipts_c.csv", "published", None, None, third.load_id),
    ]
    manifest = warehouse.value("select manifest from ops.load_ledger where load_id = %s", third.load_id)
    assert [file["source_name"] for file in manifest["files"]] == ["receipts_c.csv"]
    (duplicate,) = manifest["duplicate_files"]
    assert duplicate["source_name"] == "receipts_b.csv"
    assert duplicate["sha256"] == hashlib.sha256(content.encode()).hexdigest()
    landed = warehouse.settings.landing_dir / "shop/receipts" / third.load_id
    assert {path.name for path in landed.iterdir()} == {"receipts_c.csv", "manifest.json"}
    read.clear()
    assert warehouse.load(files).source_rows == 0 and read == []


def test_a_load_of_duplicates_only_closes(warehouse: Any, files: Any) -> None:
    warehouse.flows.put("shop/receipts_a.csv", HEADER + line(1))
    warehouse.flows.put("shop/receipts_b.csv", HEADER + line(1))
    first = warehouse.load(files)
    assert (first.source_rows, first.rows["published"]) == (1, 1)
    os.utime(warehouse.flows.directory / "shop/in/receipts_a.csv", (1, 1))  # touched: listed as new, the same bytes
    again = warehouse.load(files)
    assert again.source_rows == 0
    assert [row[:4] for row in warehouse.rows(DELIVERIES)] == [
        ("receipts_a.csv", "published", None, None),
        ("receipts_b.csv", "duplicate_of", "receipts_a.csv", first.load_id),
        ("receipts_a.csv", "duplicate_of", "receipts_a.csv", first.load_id),
    ]


def test_a_file_that_returns_to_its_old_content_is_loaded(warehouse: Any, files: Any) -> None:
    for amount in ("1", "2", "1"):
        path = warehouse.flows.put("shop/receipts.csv", HEADER + line(1, amount))
        os.utime(path, (int(amount), len(warehouse.rows(DELIVERIES))))
        assert warehouse.load(files).rows["published"] == 1
    assert [row[1] for row in warehouse.rows(DELIVERIES)] == ["published", "supersedes", "supersedes"]


def test_files_that_are_still_listed_are_seen(warehouse: Any, files: Any) -> None:
    warehouse.flows.put("shop/receipts_a.csv", HEADER + line(1))
    gone = warehouse.flows.put("shop/receipts_b.csv", HEADER + line(2))
    warehouse.load(files)
    gone.unlink()
    warehouse.load(files)
    seen = "select file_name, last_seen_at > first_seen_at from ops.file_delivery order by 1"
    assert warehouse.rows(seen) == [("receipts_a.csv", True), ("receipts_b.csv", False)]


def test_two_flows_over_one_file_take_it_each(warehouse: Any, files: Any) -> None:
    warehouse.flows.put("shop/receipts.csv", HEADER + line(1))
    warehouse.load(files)
    other = warehouse.flows.csv("shop/refunds", "receipt", COLUMNS, path="in/receipts.csv")
    assert warehouse.load(other).source_rows == 1


@pytest.mark.parametrize("fault", ["vanishes", "is renamed", "grows", "is replaced"])
def test_a_file_that_moves_while_it_is_read_loads_nothing(
    warehouse: Any, files: Any, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    path = warehouse.flows.put("shop/receipts.csv", HEADER + line(1) + line(2))
    monkeypatch.setattr(local_file, "BLOCK_SIZE", 16)
    peek = local_file._peek
    looks: list[Path] = []

    def then_move(asked: Path) -> Any:
        looks.append(asked)
        if len(looks) == 3:  # listed, opened, and now compared after the reading
            {
                "vanishes": path.unlink,
                "is renamed": lambda: path.rename(path.with_name("receipts_2.csv")),
                "grows": lambda: path.write_text(path.read_text() + line(3)),
                "is replaced": lambda: path.write_text(HEADER + line(4) + line(5)) and os.utime(path, (1, 1)),
            }[fault]()
        return peek(asked)

    before = warehouse.everything()
    with monkeypatch.context() as patched:
        patched.setattr(local_file, "_peek", then_move)
        error = warehouse.refused(files)
    assert isinstance(error, SourceError) and "changed while it was read" in error.what
    assert warehouse.everything() == before
    assert [found for found in warehouse.settings.landing_dir.rglob("*") if found.is_file()] == []
    assert warehouse.load(files).source_rows == {"vanishes": 0, "grows": 3}.get(fault, 2)
