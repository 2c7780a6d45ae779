"""Reads pages of an API as they were landed: one JSON document per line, its records under ``records``.

Option ``fields``: the columns to give, a parent's field by its dotted path (``Account.Name``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from o2c.errors import FatalSourceError, UsageError
from o2c.formats.base import TableStream, csv_blocks

# Postgres keeps neither the zero character nor half of a surrogate pair.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_LARGEST_LINE = 128 * 1024 * 1024


def read(blocks: Iterator[bytes], options: Mapping[str, Any], where: str) -> TableStream:
    """Give the records of all pages; numbers keep the digits they were written with, booleans are true and false.

    Args:
        blocks: the part's bytes.
        options: ``fields``, the wanted columns.
        where: file and flow, for error messages.

    Raises:
        UsageError: no field is named.
        FatalSourceError: a line is no such page (``malformed_file``), or a record lacks a field (``schema_drift``).
    """
    fields = tuple(map(str, options.get("fields") or ()))
    if not fields:
        raise UsageError("No field of the records is named.", where=where, next_step="Map at least one source column.")
    return TableStream(fields, csv_blocks(_rows(blocks, fields, where)))


def _rows(blocks: Iterator[bytes], fields: Sequence[str], where: str) -> Iterator[list[str | None]]:
    paths = [(field, tuple(field.split("."))) for field in fields]
    for number, line in enumerate(_lines(blocks, where), start=1):
        if not line.strip():
            continue
        position = f"{where}, line {number}"
        for record in _records(line, position):
            yield [_text(_value(record, path, field, position), field, position) for field, path in paths]


def _lines(blocks: Iterator[bytes], where: str) -> Iterator[bytes]:
    pieces: list[bytes] = []
    size = 0
    for block in blocks:
        *whole, rest = block.split(b"\n")
        for line in whole:
            yield b"".join([*pieces, line])
            pieces, size = [], 0
        pieces.append(rest)
        size += len(rest)
        if size > _LARGEST_LINE:
            raise _malformed(f"A line is longer than {_LARGEST_LINE:,} bytes", where)
    yield b"".join(pieces)


def _records(line: bytes, where: str) -> list[Any]:
    try:
        # Numbers stay text: not one digit changes on the way to the warehouse.
        page = json.loads(line, parse_float=_Number, parse_int=_Number, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise _malformed("The line is not a JSON document", where) from None
    if not isinstance(page, dict) or not isinstance(page.get("records"), list):
        raise _malformed("The line is not a page of records", where)
    return list(page["records"])


class _Number(str):
    """A number as it was written."""


def _refuse(name: str) -> None:
    raise ValueError(name)


def _value(record: Any, path: Sequence[str], field: str, where: str) -> Any:
    value = record
    for name in path:
        if value is None:
            return None
        if not isinstance(value, dict) or name not in value:
            raise FatalSourceError(
                f"A record lacks the field '{field}'.",
                reason="schema_drift",
                where=where,
                next_step="Compare the flow's mapping with the source's fields.",
            )
        value = value[name]
    return value


def _text(value: Any, field: str, where: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        raise FatalSourceError(
            f"The field '{field}' holds a structure, not a value.",
            reason="schema_drift",
            where=where,
            next_step=f"Map one of its fields, as '{field}.<name>'.",
        )
    if (not value.isascii() or "\x00" in value) and _UNSTORABLE.search(value):
        raise _malformed(f"The field '{field}' holds a character that cannot be stored", where)
    return value


def _malformed(what: str, where: str) -> FatalSourceError:
    return FatalSourceError(
        f"{what}.",
        reason="malformed_file",
        where=where,
        next_step="Nothing was loaded; read the window again, and ask the source's owner if it stays so.",
    )
