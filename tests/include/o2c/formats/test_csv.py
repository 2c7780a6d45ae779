from __future__ import annotations

import csv as python_csv
import io
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from o2c.errors import FatalSourceError
from o2c.formats import csv
from o2c.formats.base import csv_blocks


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return iter([data[start : start + size] for start in range(0, len(data), size)])


def read(data: bytes, size: int = 7, **options: Any) -> tuple[list[str], bytes]:
    stream = csv.read(pieces(data, size), options, "shop/receivables: a.csv")
    return list(stream.columns), b"".join(stream.blocks)


def records(body: bytes, delimiter: str = ",") -> list[list[str]]:
    return list(python_csv.reader(io.StringIO(body.decode(), newline=""), delimiter=delimiter))


def refused(data: bytes, size: int = 7, **options: Any) -> FatalSourceError:
    with pytest.raises(FatalSourceError) as caught:
        read(data, size, **options)
    assert caught.value.where == "shop/receivables: a.csv" and caught.value.next_step
    return caught.value


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_a_byte_order_mark_is_dropped_whatever_the_blocks(size: int) -> None:
    assert read(b"\xef\xbb\xbfid,name\n1,x\n", size) == (["id", "name"], b"1,x\n")


@pytest.mark.parametrize("size", [1, 4, 100])
def test_windows_line_ends_stay_as_they_are(size: int) -> None:
    assert read(b"id,name\r\n1,x\r\n2,y\r\n", size) == (["id", "name"], b"1,x\r\n2,y\r\n")


@pytest.mark.parametrize("size", [1, 4, 100])
def test_a_last_line_without_end_gets_the_end_of_the_others(size: int) -> None:
    assert read(b"id,name\n1,x\n2,y", size)[1] == b"1,x\n2,y\n"
    # COPY refuses a file that mixes line ends.
    assert read(b"id,name\r\n1,x\r\n2,y", size)[1] == b"1,x\r\n2,y\r\n"


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("latin-1", "id;name\n1;Käse £\n".encode("latin-1")),
        ("cp1252", "id;name\n1;Käse £\n".encode("cp1252")),
        ("utf-16", "id;name\n1;Käse £\n".encode("utf-16")),
        ("utf-8", "id;name\n1;Käse £\n".encode()),
        ("utf-8-sig", "id;name\n1;Käse £\n".encode("utf-8-sig")),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 100])
def test_encodings_become_utf_8(encoding: str, data: bytes, size: int) -> None:
    columns, body = read(data, size, encoding=encoding, delimiter=";")
    assert columns == ["id", "name"] and body == "1;Käse £\n".encode()


def test_the_euro_sign_of_cp1252() -> None:
    assert read(b"a\n\x80\n", encoding="cp1252") == (["a"], "€\n".encode())


def test_bytes_that_are_not_of_the_encoding_are_refused() -> None:
    error = refused(b"a,b\n1,\x81\n", encoding="cp1252")
    assert error.reason == "malformed_file" and "cp1252" in error.what
    assert refused(b"a,b\n1,x"[:-1] + b"\x00", encoding="utf-16").reason == "malformed_file"


def test_an_unknown_encoding_is_refused() -> None:
    assert "no encoding 'utf-9'" in refused(b"a\n1\n", encoding="utf-9").what


def test_a_header_that_is_no_utf_8_names_the_way_out() -> None:
    error = refused("Fälligkeit,b\n1,2\n".encode("latin-1"))
    assert "not UTF-8" in error.what and "encoding" in error.next_step


@pytest.mark.parametrize("size", [1, 2, 3, 8, 100])
def test_line_ends_inside_quotes_belong_to_the_field(size: int) -> None:
    columns, body = read(b'id,note\n1,"two\nlines"\n2,"a ""quote""\n\n,"\n', size)
    assert columns == ["id", "note"]
    assert records(body) == [["1", "two\nlines"], ["2", 'a "quote"\n\n,']]


@pytest.mark.parametrize("size", [1, 2, 3, 8, 100])
def test_every_block_holds_whole_records(size: int) -> None:
    stream = csv.read(pieces(b'id,note\n1,"two\nlines"\n2,"x\n\ny"\n3,z', size), {}, "x")
    for block in stream.blocks:
        assert block.endswith(b"\n") and block.count(b'"') % 2 == 0


def test_a_header_may_hold_quotes_and_line_ends() -> None:
    assert read(b'"in\nvoice","a,b" , c\n1,2,3\n')[0] == ["in\nvoice", "a,b", "c"]


@pytest.mark.parametrize("size", [3, 100])
def test_a_file_that_ends_inside_quotes_is_refused(size: int) -> None:
    error = refused(b'id,note\n1,"open\n2,x\n3,y\n', size)
    assert error.reason == "malformed_file" and "inside a quoted field" in error.what


def test_an_open_quote_does_not_gather_the_whole_file() -> None:
    endless = (b"x" * 1_000_000 + b"\n" for _ in range(1_000))
    stream = csv.read((block for blocks in ([b'id,note\n1,x\n2,"open\n'], endless) for block in blocks), {}, "x")
    with pytest.raises(FatalSourceError, match="longer than") as caught:
        for _ in stream.blocks:
            pass
    assert caught.value.reason == "malformed_file"
    assert sum(1 for _ in endless) > 900


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"\xef\xbb\xbf", b"\r\n", b"a,b,a\n1,2,3\n", b"a,,b\n1,2,3\n", b"a, ,b\n", b"a,b,\n1,2,3\n"]
)
def test_a_header_names_every_column_once(data: bytes) -> None:
    assert refused(data).reason == "schema_drift"


def test_a_header_alone_is_an_empty_table() -> None:
    assert read(b"id,name\n") == read(b"id,name") == read(b"id,name\r\n") == (["id", "name"], b"")


def test_old_line_ends_are_refused_not_misread() -> None:
    assert refused(b"id,name\r1,x\r2,y\r").reason in ("schema_drift", "malformed_file")


def test_a_wrong_delimiter_shows_in_the_columns() -> None:
    assert read(b"id;name\n1;x\n")[0] == ["id;name"]
    assert read(b"id\tname\n1\tx\n", delimiter="\t") == (["id", "name"], b"1\tx\n")


def test_a_line_of_backslash_and_dot_is_passed_on() -> None:
    assert read(b"id\n1\n\\.\n2\n")[1] == b"1\n\\.\n2\n"


TEXT = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12) | st.sampled_from(
    ["", '"', '""', "\n", "\r\n", ",", ";", '"\n"', "\\.", " ", "ä€😀", '\n"']
)
TABLES = st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(TEXT, min_size=width, max_size=width), max_size=12))


@given(
    table=TABLES,
    size=st.integers(1, 40),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    crlf=st.booleans(),
    ended=st.booleans(),
    bom=st.booleans(),
)
def test_any_table_reads_as_python_reads_it(
    table: list[list[str]], size: int, delimiter: str, crlf: bool, ended: bool, bom: bool
) -> None:
    width = len(table[0]) if table else 2
    text = io.StringIO(newline="")
    end = "\r\n" if crlf else "\n"
    writer = python_csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=python_csv.QUOTE_ALL)
    writer.writerows([[f"c{index}" for index in range(width)], *table])
    content = text.getvalue() if ended else text.getvalue().removesuffix(end)
    data = (b"\xef\xbb\xbf" if bom else b"") + content.encode()
    columns, body = read(data, size, delimiter=delimiter)
    assert columns == [f"c{index}" for index in range(width)]
    assert records(body, delimiter) == table
    assert all(
        block.count(b'"') % 2 == 0 for block in csv.read(pieces(data, size), {"delimiter": delimiter}, "x").blocks
    )


@given(TABLES)
def test_blocks_for_copy_read_back(table: list[list[str]]) -> None:
    body = b"".join(csv_blocks(table, block_rows=3))
    assert records(body) == table


def test_nothing_and_empty_text_stay_apart_in_blocks() -> None:
    assert b"".join(csv_blocks([(None, ""), ("a", None)])) == b',""\n"a",\n'
