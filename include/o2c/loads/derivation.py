"""Make one row of ``raw`` again from the bytes it came from, and compare."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from o2c.connectors.base import Part
from o2c.contracts.flow import Flow
from o2c.formats.base import TableStream
from o2c.loads.extract import stream_of
from o2c.warehouse.mapping_sql import typed_columns
from o2c.warehouse.session import trusted
from o2c.warehouse.stage import typed_select

_BATCH = 500
_BLOCK = 256 * 1024


@dataclass(frozen=True)
class Derived:
    """What the file gives: the number of the record in it (from 1), and the columns in which ``raw`` differs.

    ``row`` is None when no record of the file has the row's hash.
    """

    row: int | None
    differing: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """True when the row in ``raw`` is what the file says."""
        return self.row is not None and not self.differing


def derive(connection: psycopg.Connection, flow: Flow, path: Path, version: Mapping[str, Any]) -> Derived:
    """Read the file again by today's contract and find the record that became ``version``, a row of ``raw``.

    Raises:
        O2CError: the file cannot be read by today's contract.
    """
    part = Part(path.name, _blocks(path))
    stream = stream_of(flow, part, part.blocks)
    landed = {name: f"c{index:03d}" for index, name in enumerate(stream.columns, start=1)}
    columns = typed_columns(flow, landed)
    candidates = _candidates(flow, stream, version)
    while batch := list(islice(candidates, _BATCH)):
        values = sql.SQL(", ").join(
            sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, (number, *texts)))) for number, texts in batch
        )
        query = sql.SQL(
            "select * from (select {select} from (select _row, {texts} from (values {values}) as v (_row, {names}))"
            " as l) as made where _row_hash = {hash} limit 1"
        ).format(
            select=trusted(typed_select(flow, columns, strict=False)),
            texts=sql.SQL(", ").join(
                sql.SQL("{0}::text as {0}").format(sql.Identifier(name)) for name in landed.values()
            ),
            names=sql.SQL(", ").join(map(sql.Identifier, landed.values())),
            values=values,
            hash=sql.Literal(version["_row_hash"]),
        )
        with connection.cursor(row_factory=dict_row) as cursor:
            made = cursor.execute(query).fetchone()
        if made:
            compared = (*flow.entity.columns, "_key_hash")
            return Derived(made["_row"], tuple(name for name in compared if made[name] != version[name]))
    return Derived(None)


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            yield block


def _candidates(
    flow: Flow, stream: TableStream, version: Mapping[str, Any]
) -> Iterator[tuple[int, Sequence[str | None]]]:
    """Records that may be the one, with their numbers: those whose key texts, where taken over as they are, agree."""
    wanted = []
    for name in flow.entity.key:
        field, column = flow.mapping[name], flow.entity.columns[name]
        if column.sql_type == "text" and field.plain_source and not field.constant:
            wanted.append((list(stream.columns).index(field.plain_source), version[name]))
    for number, record in enumerate(_records(stream.blocks, stream.delimiter), start=1):
        if all(record[place] == text for place, text in wanted):
            # A field without content means "nothing", as when it was landed.
            yield number, [text or None for text in record]


def _records(blocks: Iterable[bytes], delimiter: str) -> Iterator[list[str]]:
    """Blocks hold whole records."""
    texts = (io.StringIO(block.decode(), newline="") for block in blocks)
    return (record for record in csv.reader(chain.from_iterable(texts), delimiter=delimiter) if record)
