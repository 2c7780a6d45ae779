"""Which rows of a load a replay takes: all of them, rows by number, or rows by key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from o2c.contracts.flow import Flow
from o2c.warehouse.landing import Landed
from o2c.warehouse.mapping_sql import TypedColumn, typed_columns
from o2c.warehouse.session import trusted
from o2c.warehouse.stage import landed_totals


@dataclass(frozen=True)
class Selection:
    """Rows of one load.

    ``rows`` numbers them as ``landing_row`` of a quarantined record does, as the text of an ``int8multirange``.
    ``keys`` are written as ``source_key`` of a record: the key's columns, joined by '/'. ``with_siblings`` adds the
    rows that share a key with those: only together they show a contradiction.
    """

    rows: str | None = None
    keys: tuple[str, ...] | None = None
    with_siblings: bool = False

    @classmethod
    def of_rows(cls, rows: Sequence[int], *, with_siblings: bool = False) -> Selection:
        """Rows by their numbers."""
        ranges = ",".join(f"[{row},{row}]" for row in sorted(set(rows)))
        return cls(rows=f"{{{ranges}}}", with_siblings=with_siblings)

    @property
    def is_all(self) -> bool:
        """True when nothing is left out."""
        return self.rows is None and self.keys is None


def restrict(connection: psycopg.Connection, flow: Flow, landed: Landed, selection: Selection) -> str | None:
    """Leave only the selected rows in the landed table; ``landed`` counts those that stay.

    Returns:
        The rows that stay, as the text of an ``int8multirange``; None for all of them.
    """
    if selection.is_all or not landed.columns:
        return None
    table = sql.Identifier("landing", landed.table)
    condition = _condition(flow, landed, selection, table)
    left_out = connection.execute(sql.SQL("delete from {} where not ({})").format(table, condition)).rowcount
    kept = connection.execute(
        sql.SQL("select coalesce(range_agg(int8range(_row, _row, '[]')), '{{}}')::text from {}").format(table)
    ).fetchone()
    assert kept is not None
    landed.totals = landed_totals(connection, flow, landed)
    return str(kept[0]) if left_out else None


def _condition(flow: Flow, landed: Landed, selection: Selection, table: sql.Identifier) -> sql.Composed:
    columns = {column.name: column for column in typed_columns(flow, landed.columns)}
    parts = [columns[name] for name in flow.entity.key]
    if selection.keys is not None:
        return sql.SQL("{} = any ({})").format(_key_text(parts), sql.Literal(list(selection.keys)))
    by_row = sql.SQL("_row <@ {}::int8multirange").format(sql.Literal(selection.rows))
    if not selection.with_siblings:
        return by_row
    whole = trusted(" and ".join(f"({part.value}) is not null" for part in parts))
    return sql.SQL("{rows} or ({whole} and {key} in (select {key} from {table} where {rows} and {whole}))").format(
        rows=by_row, whole=whole, key=_key_text(parts), table=table
    )


def _key_text(parts: Sequence[TypedColumn]) -> sql.SQL:
    return trusted(f"concat_ws('/', {', '.join(f'({part.value})::text' for part in parts)})")
