"""CSV files of any common make: separator, encoding, and blocks cut at record ends for COPY.

The bytes of a UTF-8 file are passed on as they are. Options: ``delimiter`` (default ``,``), ``encoding`` (default
``utf-8``; a byte order mark is dropped). ``decimal``, ``thousands`` and ``date`` are read by the warehouse when it
types the fields.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from o2c.errors import FatalSourceError
from o2c.formats.base import TableStream

_BOM = b"\xef\xbb\xbf"
# An unclosed quote would otherwise gather the whole file in memory.
_LONGEST_RECORD = 16 * 1024 * 1024


def read(blocks: Iterator[bytes], options: Mapping[str, Any], where: str) -> TableStream:
    """Read the header line, then pass the records on; see :mod:`o2c.formats.base` for the errors."""
    delimiter = str(options.get("delimiter", ","))
    text = _as_utf8(blocks, str(options.get("encoding", "utf-8")), where)
    records = _whole_records(_without_bom(text), where)
    first = next(records, b"")
    header, rest = _split_header(first)
    columns = _columns(header, delimiter, where)
    return TableStream(columns, _chain(rest, records), delimiter)


def _as_utf8(blocks: Iterable[bytes], encoding: str, where: str) -> Iterator[bytes]:
    try:
        codec = codecs.lookup(encoding)
    except LookupError:
        raise FatalSourceError(
            f"There is no encoding '{encoding}'.",
            reason="malformed_file",
            where=where,
            next_step="Set source.format.encoding to utf-8, latin-1, cp1252 ...",
        ) from None
    if codec.name in ("utf-8", "utf-8-sig", "ascii"):
        yield from blocks
        return
    decoder = codec.incrementaldecoder()
    try:
        for block in blocks:
            yield decoder.decode(block).encode()
        yield decoder.decode(b"", True).encode()
    except UnicodeError as error:
        raise FatalSourceError(
            f"The file is not {encoding} text: {getattr(error, 'reason', error)}.",
            reason="malformed_file",
            where=where,
            next_step="Set source.format.encoding to the encoding the file has, or ask for it again.",
        ) from None


def _without_bom(blocks: Iterable[bytes]) -> Iterator[bytes]:
    iterator = iter(blocks)
    first = b""
    for block in iterator:
        first += block
        if len(first) >= len(_BOM):
            break
    yield first.removeprefix(_BOM)
    yield from iterator


def _whole_records(blocks: Iterable[bytes], where: str) -> Iterator[bytes]:
    """Cut blocks behind the last line end that stands outside quotes; end the last record with a line end."""
    carry, end = b"", b"\n"
    for block in blocks:
        data = carry + block
        cut = _last_record_end(data)
        if cut:
            end = b"\r\n" if data.endswith(b"\r\n", 0, cut) else b"\n"
            yield data[:cut]
        carry = data[cut:]
        if len(carry) > _LONGEST_RECORD:
            raise FatalSourceError(
                f"A record is longer than {_LONGEST_RECORD >> 20} MB.",
                reason="malformed_file",
                where=where,
                next_step="Look for a quote that is never closed, or for line ends of another system.",
            )
    if carry.count(b'"') % 2:
        raise FatalSourceError(
            "The file ends inside a quoted field.", reason="malformed_file", where=where, next_step="Ask for it again."
        )
    if carry.strip(b"\r\n"):
        yield carry.rstrip(b"\r\n") + end


def _last_record_end(data: bytes) -> int:
    end = data.rfind(b"\n")
    quotes = data.count(b'"', 0, end + 1)
    while end >= 0 and quotes % 2:
        before = data.rfind(b"\n", 0, end)
        quotes -= data.count(b'"', before + 1, end + 1)
        end = before
    return end + 1


def _split_header(first: bytes) -> tuple[bytes, bytes]:
    end = first.find(b"\n")
    while end >= 0 and first.count(b'"', 0, end) % 2:
        end = first.find(b"\n", end + 1)
    return (first, b"") if end < 0 else (first[:end], first[end + 1 :])


def _columns(header: bytes, delimiter: str, where: str) -> list[str]:
    try:
        names = next(csv.reader(io.StringIO(header.decode().rstrip("\r")), delimiter=delimiter), [])
    except UnicodeDecodeError:
        raise FatalSourceError(
            "The header is not UTF-8 text.",
            reason="malformed_file",
            where=where,
            next_step="Set source.format.encoding, for example to cp1252.",
        ) from None
    except csv.Error as error:
        raise FatalSourceError(
            f"The header cannot be read: {error}.",
            reason="malformed_file",
            where=where,
            next_step="End lines with LF or CRLF, and check the quoting of the first line.",
        ) from None
    names = [name.strip() for name in names]
    if not names or "" in names or len(set(names)) != len(names):
        raise FatalSourceError(
            f"The header does not name every column once: {names}.",
            reason="schema_drift",
            where=where,
            next_step="Check source.format.delimiter and the first line of the file.",
        )
    return names


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest
