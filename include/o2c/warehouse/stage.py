"""Stage: the landed rows of a flow, mapped and typed, under the one name that gate and publish read."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal

import psycopg
from psycopg import sql

from o2c.contracts.expressions import compile_condition
from o2c.contracts.flow import Flow
from o2c.errors import LoadNotClosed, SchemaDrift, UsageError
from o2c.warehouse.cursor import cursor_to
from o2c.warehouse.landing import Landed, money_source
from o2c.warehouse.ledger import Load
from o2c.warehouse.mapping_sql import TypedColumn, literal, typed_columns
from o2c.warehouse.marks import MARKS, Marked, mark_rows
from o2c.warehouse.meter import Totals
from o2c.warehouse.session import trusted

SEPARATOR = "E'\\x1f'"
NOTHING = "E'\\x1e'"
# Fewer values than this may all be wrong by accident.
_ENOUGH_TO_TELL = 3


@dataclass(frozen=True)
class Staged:
    """What is staged: rows of this flow, rows of the file that belong to other flows, exact sums, cursor."""

    rows: int
    left_out_rows: int
    amounts: dict[str, Decimal]
    cursor_to: tuple[str, ...] | None


def create_stage(connection: psycopg.Connection, flow: Flow, load: Load, landed: Landed) -> Staged:
    """Type the landed rows, check them against what was counted, and mark what cannot be published as it is.

    Runs in the caller's transaction. The stage is a view: the typed rows, beside them the marks of the few rows
    that need one. The typed rows are a materialized view because those are written frozen; reading a fresh table
    for the first time costs as much as writing its hint bits.

    Raises:
        LoadNotClosed: the staged rows or sums differ from those counted while reading.
        FatalSourceError: a cursor value is no timestamp.
    """
    columns = typed_columns(flow, landed.columns)
    source = sql.Identifier("landing", load.landing_table)
    filtered = sql.Composed([source, _where(flow, landed)])
    clean = _create_typed(connection, flow, load, columns, filtered)
    rows, amounts, unparsed = _check_values(connection, flow, load, columns, None if clean else filtered)
    marked = mark_rows(connection, flow, load, Marked(rows, unparsed, landed), filtered)
    _create_view(connection, flow, load, unparsed, marked)
    if unparsed:
        amounts = _sums(connection, flow, load.stage_table)
    if flow.source.get("where"):
        counted_rows, counted = _landed_totals(connection, flow, columns, source)
    else:
        counted_rows, counted = rows, amounts
    _compare(flow, landed, counted_rows, counted)
    return Staged(rows, landed.totals.rows - rows, amounts, cursor_to(connection, flow, load, landed))


def amount_and_currency(flow: Flow) -> tuple[str, str]:
    """SQL of the control amount (0 when the entity has none) and of its currency ('' when there is none)."""
    if flow.entity.amount is None:
        return "0::numeric", "''::text"
    return f'coalesce("{flow.entity.amount}", 0)', f"coalesce(\"{flow.entity.currency}\", '')"


def _create_typed(
    connection: psycopg.Connection, flow: Flow, load: Load, columns: list[TypedColumn], source: sql.Composed
) -> bool:
    """Type all rows. First the way that fails on an invalid text; only if it does, the careful way. True when clean."""
    table = sql.Identifier("landing", load.typed_table)
    for strict in (True, False):
        statement = sql.SQL("create materialized view {} as select {} from {}").format(
            table, trusted(typed_select(flow, columns, strict)), source
        )
        try:
            with connection.transaction():
                connection.execute(statement)
            return strict
        except psycopg.DataError:
            if not strict:
                raise
        except psycopg.ProgrammingError as error:
            if not flow.source.get("where"):
                raise
            raise UsageError(
                f"The condition cannot be asked: {error.diag.message_primary}.",
                where=flow.where("source", "where"),
                next_step="Source columns are text; compare them with text in quotes.",
            ) from None
    raise AssertionError("the careful way returns or raises")


def typed_select(flow: Flow, columns: list[TypedColumn], strict: bool) -> str:
    """SQL of what a landed row becomes: its number, its canonical columns, ``_key_hash`` and ``_row_hash``."""
    by_name = {column.name: column for column in columns}
    values = [f'{column.strict if strict else column.value} as "{column.name}"' for column in columns]
    texts = ", ".join(f"coalesce({by_name[name].text}, {NOTHING})" for name in flow.mapping)
    return ", ".join(
        [
            "_row",
            *values,
            f"{key_hash(flow, columns)} as _key_hash",
            f"sha256(convert_to(concat_ws({SEPARATOR}, {texts}), 'UTF8')) as _row_hash",
        ]
    )


def key_hash(flow: Flow, columns: list[TypedColumn]) -> str:
    """SQL of the hash that stands for a record: its source system and the texts of its key."""
    by_name = {column.name: column for column in columns}
    key = ", ".join([literal(flow.system), *(f"coalesce({by_name[name].text}, {NOTHING})" for name in flow.entity.key)])
    return f"hashtextextended(concat_ws({SEPARATOR}, {key}), 0)"


def _check_values(
    connection: psycopg.Connection, flow: Flow, load: Load, columns: list[TypedColumn], source: sql.Composed | None
) -> tuple[int, dict[str, Decimal], list[TypedColumn]]:
    """Rows and sums by currency, and the columns where not every text became a number that is finite, a date ...

    ``source`` is None when typing has proven that every text is a value; then only endless numbers are looked for.
    """
    checked = [column for column in columns if (column.invalid if source else column.finite)]
    amount, currency = amount_and_currency(flow)
    values = ", ".join([currency, f"sum({amount})", "count(*)", *(column.counted for column in checked)])
    present = ", ".join(["count(*)", *(f'count("{column.name}")' for column in checked)])
    table = sql.Identifier("landing", load.typed_table)
    by_currency = connection.execute(
        sql.SQL("select {}, {} from {} group by 1").format(trusted(values), trusted(present), table)
    ).fetchall()
    totals = [sum(column) for column in zip(*(row[2:] for row in by_currency), strict=True)] or [0] * 2 * (
        len(checked) + 1
    )
    counts, arrived = totals[1 : len(checked) + 1], totals[len(checked) + 2 :]
    if source:
        texts = ", ".join(["count(*)", *(f"count({column.text})" for column in checked)])
        row = connection.execute(sql.SQL("select {} from {}").format(trusted(texts), source)).fetchone()
        arrived = list(row or ())[1:]
        _check_types(flow, checked, arrived, counts)
    unparsed = [column for column, before, after in zip(checked, arrived, counts, strict=True) if before != after]
    return totals[0], {row[0]: row[1] for row in by_currency}, unparsed


def _create_view(
    connection: psycopg.Connection, flow: Flow, load: Load, unparsed: list[TypedColumn], marked: bool
) -> None:
    emptied = {column.name for column in unparsed}
    columns = [
        f'case when not coalesce({literal(name)} = any (m._unparsed), false) then t."{name}" end as "{name}"'
        if name in emptied
        else f't."{name}"'
        for name in flow.entity.columns
    ]
    marks = ", ".join(f"m.{name}" if marked else f"null::{kind} as {name}" for name, kind in MARKS.items())
    join = sql.SQL(" left join {} as m using (_row)").format(sql.Identifier("landing", load.marks_table))
    connection.execute(
        sql.SQL("create view {} as select _row, {}, t._key_hash, t._row_hash, {} from {} as t{}").format(
            sql.Identifier("landing", load.stage_table),
            trusted(", ".join(columns)),
            trusted(marks),
            sql.Identifier("landing", load.typed_table),
            join if marked else sql.SQL(""),
        )
    )


def _check_types(flow: Flow, columns: list[TypedColumn], arrived: list[int], counts: list[int]) -> None:
    """Rows with a text that is no value are held back one by one; a column without any value has another type."""
    for column, texts, values in zip(columns, arrived, counts, strict=True):
        if values == 0 and texts >= _ENOUGH_TO_TELL:
            kind, source = flow.entity.columns[column.name].type, "', '".join(flow.mapping[column.name].sources)
            raise SchemaDrift(
                f"None of the {texts} values of the column '{source}' is a {kind}: it has another type or format.",
                change="retyped",
                column=flow.mapping[column.name].sources[0],
                detail=f"no value is a {kind}",
                where=flow.where("mapping", column.name),
                next_step="Ask the source's owner, or correct the mapping or source.format (decimal, thousands, date).",
            )


def _sums(connection: psycopg.Connection, flow: Flow, table: str) -> dict[str, Decimal]:
    amount, currency = amount_and_currency(flow)
    query = sql.SQL("select {}, sum({}) from {} group by 1").format(
        trusted(currency), trusted(amount), sql.Identifier("landing", table)
    )
    return dict(connection.execute(query).fetchall())


def _where(flow: Flow, landed: Landed) -> sql.Composable:
    condition = flow.source.get("where")
    if not condition:
        return sql.SQL("")
    try:
        in_sql = {column: f"coalesce({name}, '')" for column, name in landed.columns.items()}
        text = compile_condition(condition, landed.columns, in_sql)
    except UsageError as error:
        raise UsageError(error.what, where=flow.where("source", "where"), next_step=error.next_step) from None
    return sql.SQL(" where ") + trusted(text)


def landed_totals(connection: psycopg.Connection, flow: Flow, landed: Landed) -> Totals:
    """Rows and sums by currency of the rows that lie in the landed table now, whatever was read."""
    columns = typed_columns(flow, landed.columns)
    rows, amounts = _landed_totals(connection, flow, columns, sql.Identifier("landing", landed.table))
    return Totals(rows, defaultdict(Decimal, amounts))


def _landed_totals(
    connection: psycopg.Connection, flow: Flow, columns: list[TypedColumn], source: sql.Identifier
) -> tuple[int, dict[str, Decimal]]:
    by_name = {column.name: column for column in columns}
    amount, currency = "0::numeric", "''::text"
    if money_source(flow):
        value = by_name[flow.entity.amount or ""].value
        amount = f"coalesce(case when abs({value}) < 'Infinity' then {value} end, 0)"
        currency = f"coalesce({by_name[flow.entity.currency or ''].text}, '')"
    query = sql.SQL("select {}, count(*), sum({}) from {} group by 1").format(
        trusted(currency), trusted(amount), source
    )
    return _summed(connection.execute(query).fetchall())


def _summed(rows: list[tuple[str, int, Decimal]]) -> tuple[int, dict[str, Decimal]]:
    return sum(count for _, count, _ in rows), {currency: amount for currency, _, amount in rows}


def _compare(flow: Flow, landed: Landed, rows: int, amounts: dict[str, Decimal]) -> None:
    if rows != landed.totals.rows:
        raise LoadNotClosed(
            f"{landed.totals.rows} records were read, {rows} are staged.",
            where=flow.name,
            next_step="Run the load again; if it repeats, keep the landing files and report it.",
        )
    if money_source(flow) is None:
        return
    for currency in sorted({*amounts, *landed.totals.amounts}):
        read, staged = landed.totals.amounts.get(currency, Decimal(0)), amounts.get(currency, Decimal(0))
        if read != staged:
            raise LoadNotClosed(
                f"Amounts of {read} {currency or '(no currency)'} were read, {staged} are staged.",
                where=flow.name,
                next_step="Check how the source writes numbers (source.format decimal, thousands).",
            )


def drop_landing(connection: psycopg.Connection, load: Load) -> None:
    """Remove what a load has staged; its landing files stay."""
    for kind, name in (
        ("view", load.stage_table),
        ("materialized view", load.typed_table),
        ("table", load.marks_table),
        ("table", load.landing_table),
    ):
        statement = sql.SQL("drop {} if exists {}").format(trusted(kind), sql.Identifier("landing", name))
        connection.execute(statement)
