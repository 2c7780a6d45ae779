"""Files that mean harm, or are broken: refused or held back with a word, never executed, never half loaded."""

from __future__ import annotations

import gzip
import os
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from o2c.errors import FatalSourceError

if TYPE_CHECKING:
    from conftest import Warehouse

COLUMNS = ("receipt_id", "entity_code", "receipt_type", "received_on", "amount", "currency_code", "payment_method")
HEADER = ",".join(COLUMNS)
FREE = {**{name: name for name in COLUMNS}, "remittance_text": "text"}


def line(key: Any, amount: Any = 10, text: str | None = None) -> str:
    return f"{key},DE01,payment,2026-02-28,{amount},EUR,card{'' if text is None else ',' + text}\n"


@pytest.fixture
def receipts(warehouse: Warehouse) -> Any:
    return warehouse.flows.csv("shop/receipts", "receipt", COLUMNS)


@pytest.fixture
def texts(warehouse: Warehouse) -> Any:
    return warehouse.flows.csv("shop/receipts", "receipt", FREE)


@pytest.fixture
def unchanged(warehouse: Warehouse) -> Iterator[None]:
    """Nothing is published, nothing staged and no file kept by what the test does."""
    before = warehouse.everything()
    yield
    assert warehouse.everything() == before
    assert warehouse.rows("select tablename from pg_tables where schemaname = 'landing'") == []
    assert [path for path in warehouse.settings.landing_dir.rglob("*") if path.is_file()] == []


def bomb() -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("receipts.csv", bytes(50_000_000))
    return buffer.getvalue()


PACKED = gzip.compress((HEADER + "\n" + line(1)).encode(), mtime=0)


@pytest.mark.parametrize("content", [PACKED, PACKED[:-9], bomb()], ids=["gzip", "cut gzip", "zip bomb"])
def test_packed_files_are_refused(warehouse: Warehouse, receipts: Any, unchanged: None, content: bytes) -> None:
    warehouse.flows.put("shop/receipts.csv", content)
    error = warehouse.refused(receipts)
    assert isinstance(error, FatalSourceError) and "packed" in error.what and "receipts.csv" in error.where


def test_a_header_cannot_speak_sql(warehouse: Warehouse, texts: Any) -> None:
    hostile = ['x"); drop table raw.receipt; --', "y'); drop table ops.load; --", "%s {} \\"]
    header = ",".join([HEADER, "text", *('"' + name.replace('"', '""') + '"' for name in hostile)])
    warehouse.flows.put(
        "shop/receipts.csv", header + "\n" + line(1, -1, "t,1,2,4111111111111111") + line(2, 1, "t,1,2,3")
    )
    assert warehouse.load(texts).rows == {"published": 1, "quarantined": 1, "duplicate": 0}
    ((payload, reason),) = warehouse.rows("select payload, reason from quarantine.record")
    assert set(hostile) <= set(payload) and hostile[2] in reason


def test_values_cannot_speak_sql(warehouse: Warehouse, texts: Any) -> None:
    hostile = "'); drop table raw.receipt; -- \\' $$ {} %s =cmd()"
    warehouse.flows.put(
        "shop/receipts.csv", f"{HEADER},text\n" + line(1, text=f'"{hostile}"') + line(2, -1, f'"{hostile}"')
    )
    warehouse.load(texts)
    assert warehouse.rows("select remittance_text from raw.receipt") == [(hostile,)]
    assert warehouse.rows("select payload ->> 'text' from quarantine.record") == [(hostile,)]


@pytest.mark.parametrize("value", ["shop'; drop table raw.receipt; --", 'a"b', "%s"])
def test_names_in_a_flow_file_cannot_speak_sql(warehouse: Warehouse, value: str) -> None:
    flow = warehouse.flows.csv(
        "shop/receipts",
        "receipt",
        {**{name: name for name in COLUMNS}, "bank_reference": value, "payer_name": {"constant": value}},
    )
    header = '"' + value.replace('"', '""') + '"'
    warehouse.flows.put("shop/receipts.csv", f"{HEADER},{header}\n" + line(1, text="R"))
    warehouse.load(flow)
    assert warehouse.rows("select bank_reference, payer_name from raw.receipt") == [("R", value)]


def test_a_condition_may_speak_of_quoted_names(warehouse: Warehouse) -> None:
    """A text that holds a column's name in double quotes is a text all the same."""
    flow = warehouse.flows.csv(
        "shop/receipts", "receipt", FREE, where="""text = 'the "amount" of it' and amount <> ''"""
    )
    warehouse.flows.put(
        "shop/receipts.csv", f"{HEADER},text\n" + line(1, text='"the ""amount"" of it"') + line(2, text="other")
    )
    assert warehouse.load(flow).rows["published"] == 1
    assert warehouse.rows("select receipt_id from raw.receipt") == [("1",)]


def test_a_field_of_ten_megabytes(warehouse: Warehouse, texts: Any) -> None:
    long = "x" * 10_000_000
    warehouse.flows.put(
        "shop/receipts.csv", f"{HEADER},text\n" + line(1, text=long) + line(2, -1, long) + line(3, text="y")
    )
    before = psutil.Process().memory_info().rss
    assert warehouse.load(texts).rows == {"published": 2, "quarantined": 1, "duplicate": 0}
    assert psutil.Process().memory_info().rss - before < 300_000_000
    assert warehouse.value("select max(length(remittance_text)) from raw.receipt") == 10_000_000


def test_a_record_without_end_is_refused(warehouse: Warehouse, texts: Any, unchanged: None) -> None:
    warehouse.flows.put("shop/receipts.csv", f"{HEADER},text\n" + line(1, text='"' + "x" * 18_000_000 + '"'))
    assert "longer than 16 MB" in warehouse.refused(texts).what


@pytest.mark.parametrize("name", ["..\\receipts.csv", "receipts\n.csv", "receipts;rm.csv", "receipts..csv"])
def test_hostile_file_names_stop_the_flow(warehouse: Warehouse, receipts: Any, unchanged: None, name: str) -> None:
    path = warehouse.flows.put("shop/receipts.csv", HEADER + "\n" + line(1))
    hostile = path.with_name(f"receipts{name}")
    path.rename(hostile)
    error = warehouse.refused(receipts)
    assert isinstance(error, FatalSourceError) and error.reason == "unsafe_file_name"


def test_links_in_a_drop_folder_are_not_followed(warehouse: Warehouse, receipts: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text(HEADER + "\n" + line("secret"))
    path = warehouse.flows.put("shop/receipts1.csv", HEADER + "\n" + line(1))
    os.symlink(secret, path.with_name("receipts2.csv"))
    warehouse.load(receipts)
    assert warehouse.rows("select receipt_id from raw.receipt") == [("1",)]


@pytest.mark.parametrize(
    ("content", "published"),
    [
        (b"\xef\xbb\xbf" + (HEADER + "\r\n" + line(1).replace("\n", "\r\n")).encode(), 1),
        ((HEADER + "\n" + line(1) + line(2).rstrip("\n")).encode(), 2),
        ((HEADER + "\n" + line(1) + '2,"DE01","payment",2026-02-28,"10",EUR,card').encode(), 2),
    ],
    ids=["byte order mark and CRLF", "no end of the last line", "quoted last line"],
)
def test_unusual_files_load_whole(warehouse: Warehouse, receipts: Any, content: bytes, published: int) -> None:
    warehouse.flows.put("shop/receipts.csv", content)
    assert warehouse.load(receipts).rows["published"] == published
    assert warehouse.value("select sum(amount) from raw.receipt") == Decimal(10 * published)


@pytest.mark.parametrize(
    "content",
    [
        (HEADER + "\n" + line(1) + "2,DE01,paym").encode(),
        (HEADER + "\n" + line(1) + line("2\x00")).encode(),
        (HEADER + "\n" + line(1)).encode("utf-16"),
        (HEADER + "\n" + line(1)).encode("utf-8")[:-4].replace(b"DE", b"\xc3\x28"),
        (HEADER + "\r\n" + line(1) + line(2).replace("\n", "\r\n")).encode(),
    ],
    ids=["last line cut", "NUL", "UTF-16", "broken UTF-8", "mixed line ends"],
)
def test_broken_files_are_refused_whole(warehouse: Warehouse, receipts: Any, unchanged: None, content: bytes) -> None:
    warehouse.flows.put("shop/receipts.csv", content)
    error = warehouse.refused(receipts)
    assert isinstance(error, FatalSourceError) and "receipts.csv" in error.where, repr(error)
