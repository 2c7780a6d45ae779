from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import pytest

from o2c.errors import FatalSourceError, UsageError
from o2c.formats import json_records


def read(text: str | bytes, *fields: str, size: int = 7) -> str:
    data = text.encode() if isinstance(text, str) else text
    blocks: Iterator[bytes] = (data[start : start + size] for start in range(0, len(data), size))
    stream = json_records.read(blocks, {"fields": list(fields)}, "flow crm/x, Account.pages.jsonl")
    assert stream.columns == fields and stream.delimiter == ","
    return b"".join(stream.blocks).decode()


def test_records_of_all_pages_become_rows() -> None:
    pages = '{"records": [{"Id": "1", "Name": "Ü, \\"x\\"\\n"}]}\n\n{"records": []}\n'
    pages += '{"records": [{"Id": "2", "Name": ""}]}\n'
    rows = list(csv.reader(io.StringIO(read(pages, "Id", "Name"), newline="")))
    assert rows == [["1", 'Ü, "x"\n'], ["2", ""]]


def test_null_differs_from_empty() -> None:
    assert read('{"records": [{"A": null, "B": ""}]}', "A", "B") == ',""\n'


@pytest.mark.parametrize(
    "number", ["0.10", "1.0000000000000000001", "123456789012345678901234567890", "1.5E7", "-0", "100"]
)
def test_numbers_keep_their_digits(number: str) -> None:
    assert read(f'{{"records": [{{"A": {number}}}]}}', "A") == f'"{number}"\n'


def test_booleans_are_words() -> None:
    assert read('{"records": [{"A": true, "B": false}]}', "A", "B") == '"true","false"\n'


def test_a_parents_field_is_found_by_its_path() -> None:
    pages = '{"records": [{"Account": {"Owner": {"Name": "Ada"}}}, {"Account": null}, {"Account": {"Owner": null}}]}'
    assert read(pages, "Account.Owner.Name") == '"Ada"\n\n\n'


@pytest.mark.parametrize("record", ['{"Id": "1"}', '"text"', '{"Name": {"First": "A"}}', '{"Name": ["A"]}'])
def test_a_record_without_the_field_is_drift(record: str) -> None:
    with pytest.raises(FatalSourceError, match="'Name'") as drifted:
        read(f'{{"records": [{{"Name": "ok"}}]}}\n{{"records": [{record}]}}', "Name")
    assert drifted.value.reason == "schema_drift" and "line 2" in drifted.value.where


@pytest.mark.parametrize(
    "line",
    [
        "<html>",
        '{"records": [',
        "[]",
        '{"rows": []}',
        '{"records": {"a": 1}}',
        '{"records": [{"Id": NaN}]}',
        "[" * 100_000,
        '{"records": [{"Id": "a\\u0000b"}]}',
        '{"records": [{"Id": "\\ud800"}]}',
        b'{"records": [{"Id": "\xff"}]}',
    ],
)
def test_what_is_no_page_is_refused_with_its_line(line: Any) -> None:
    data = line if isinstance(line, bytes) else line.encode()
    with pytest.raises(FatalSourceError) as refused:
        read(b'{"records": []}\n' + data, "Id", size=1_000_000)
    assert refused.value.reason == "malformed_file" and "line 2" in refused.value.where


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_records, "_LARGEST_LINE", 10)
    with pytest.raises(FatalSourceError, match="longer than 10 bytes"):
        read('{"records": [{"Id": "1"}]}', "Id")


def test_no_field_is_wrong_use() -> None:
    with pytest.raises(UsageError):
        json_records.read(iter([]), {}, "here")
