"""What a flow's source looked like when it was last published, and what has changed in it since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import psycopg


@dataclass(frozen=True)
class SourceShape:
    """Columns of a source with their types (empty where the source has none), and the contract they were read by."""

    columns: Sequence[str] = ()
    types: Mapping[str, str] = field(default_factory=dict)
    contract_sha256: str = ""


@dataclass(frozen=True)
class SchemaChange:
    """One change: ``added``, ``removed`` or ``retyped``, with details for a person ('' when there are none)."""

    column: str
    change: str
    detail: str = ""

    def __str__(self) -> str:
        return f"The column '{self.column}' was {self.change}{': ' + self.detail if self.detail else ''}."


def last_shape(connection: psycopg.Connection, flow: str) -> SourceShape:
    """The shape of the flow's last published load that brought columns; empty when there is none."""
    row = connection.execute(
        "select manifest -> 'columns', manifest -> 'column_types', manifest ->> 'contract_sha256' from ops.load_ledger"
        " where flow = %s and manifest -> 'columns' <> '{}' and manifest -> 'replay_of' is null"
        " order by published_at desc limit 1",
        [flow],
    ).fetchone()
    return SourceShape(tuple(row[0]), row[1] or {}, row[2] or "") if row else SourceShape()


def note_changes(connection: psycopg.Connection, flow: str, load_id: str, changes: Sequence[SchemaChange]) -> None:
    """Remember changes in the caller's transaction; one that is known already keeps its first load."""
    for change in changes:
        connection.execute(
            "insert into ops.schema_change (flow, column_name, change, detail, first_load_id)"
            " values (%s, %s, %s, %s, %s) on conflict do nothing",
            [flow, change.column, change.change, change.detail, load_id],
        )
