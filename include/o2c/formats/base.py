"""What every format takes and gives.

A format is a module with one function ``read(blocks, options, where) -> TableStream``. Fields are text as they
stand in the file; the load engine types them in the warehouse.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

BLOCK_ROWS = 5_000


@dataclass(frozen=True)
class TableStream:
    """Records as CSV bytes, ready for COPY.

    ``columns`` are the file's own column names. Each block holds whole records, UTF-8, fields separated by
    ``delimiter``, quoted by ``"`` doubled inside; an empty field without quotes is NULL. No header line.
    """

    columns: Sequence[str]
    blocks: Iterator[bytes]
    delimiter: str = ","


class Format(Protocol):
    """The function every format module offers."""

    def __call__(self, blocks: Iterator[bytes], options: Mapping[str, Any], where: str, /) -> TableStream:
        """Read the header eagerly, the rest lazily.

        Args:
            blocks: the part's bytes, any block size.
            options: the flow's ``source.format`` block without its ``type``.
            where: file and flow, for error messages.

        Raises:
            FatalSourceError: the bytes are not of this format (reason ``malformed_file``) or lack a column
                (reason ``schema_drift``); the message names the line.
        """
        ...


def csv_blocks(rows: Iterable[Sequence[str | None]], block_rows: int = BLOCK_ROWS) -> Iterator[bytes]:
    """Write rows as blocks of COPY-ready CSV; None becomes NULL and stays apart from the empty string."""
    iterator = iter(rows)
    while batch := list(islice(iterator, block_rows)):
        yield "".join(",".join(map(_field, row)) + "\n" for row in batch).encode()


def _field(value: str | None) -> str:
    return "" if value is None else '"' + value.replace('"', '""') + '"'
