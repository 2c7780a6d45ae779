"""Which column, field or element a byte of a file belongs to; None where that is not certain."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Protocol

_KEY = re.compile(rb'"((?:[^"\\]|\\.){1,200})"\s*:\s*(?:"(?:[^"\\]|\\.)*|-?)$')
_BARE = re.compile(rb'"\s*:\s*-?$')
_ELEMENT = re.compile(rb"<(?:[A-Za-z0-9_]+:)?([A-Za-z0-9_]+)(?:\s[^<>]*)?>[^<>]*$")
# How far back the beginning of a record, a key or an element is looked for.
REACH = 8192


class Place(Protocol):
    """Finds names in the bytes around a number."""

    def begin(self, first: bytes) -> None:
        """See the first bytes of the file."""

    def name(self, data: bytes, start: int, end: int) -> str | None:
        """The column of ``data[start:end]``."""


class CsvPlace:
    """Columns of a CSV file by position; the header names them unless they are given.

    Where they are given, the bytes are blocks of whole records.
    """

    def __init__(self, delimiter: str = ",", columns: Sequence[str] | None = None) -> None:
        self._delimiter = delimiter
        self._columns = columns
        self._begins_with_record = columns is not None

    def begin(self, first: bytes) -> None:
        """Read the names from the header."""
        if self._columns is None:
            header, end, _ = first.partition(b"\n")
            self._columns = self._fields(header) if end else ()

    def name(self, data: bytes, start: int, end: int) -> str | None:
        """Certain only when the line is a whole record: as many fields as columns, every quote closed."""
        columns = self._columns or ()
        before = data.rfind(b"\n", 0, start)
        behind = data.find(b"\n", end)
        line = data[before + 1 : behind if behind >= 0 else len(data)]
        is_start = before >= 0 or self._begins_with_record
        if not is_start or line.count(b'"') % 2 or len(self._fields(line)) != len(columns):
            return None
        position = len(self._fields(data[before + 1 : start]) or [""]) - 1
        return columns[position]

    def _fields(self, line: bytes) -> list[str]:
        text = line.replace(b"\x00", b"").decode("utf-8", "replace").lstrip("\ufeff").rstrip("\r\n")
        try:
            fields = next(csv.reader(io.StringIO(text), delimiter=self._delimiter), [])
        except csv.Error:
            return []
        return [field.strip() for field in fields]


class JsonPlace:
    """The key before a value."""

    def begin(self, first: bytes) -> None:
        """There is no header."""

    def name(self, data: bytes, start: int, end: int) -> str | None:
        """The key of the member that the bytes belong to."""
        match = _KEY.search(data, max(0, start - REACH), start)
        return match[1].decode("utf-8", "replace") if match else None

    def is_bare(self, data: bytes, start: int) -> bool:
        """Does the value stand without quotes?"""
        return _BARE.search(data, max(0, start - 64), start) is not None


class XmlPlace:
    """The element around a text."""

    def begin(self, first: bytes) -> None:
        """There is no header."""

    def name(self, data: bytes, start: int, end: int) -> str | None:
        """The local name of the innermost element."""
        match = _ELEMENT.search(data, max(0, start - REACH), start)
        return match[1].decode() if match else None
