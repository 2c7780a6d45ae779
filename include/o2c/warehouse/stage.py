"""Stage: the landed rows of a flow, mapped and typed, in one LOGGED table of this load."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import psycopg
from psycopg import sql

from o2c.contracts.expressions import compile_condition
from o2c.contracts.flow import Flow
from o2c.errors import FatalSourceError, LoadNotClosed
from o2c.warehouse.landing import Landed, money_source
from o2c.warehouse.ledger import Load
from o2c.warehouse.mapping_sql import TypedColumn, literal, typed_columns
from o2c.warehouse.session import trusted

SEPARATOR = "E'\\x1f'"
NOTHING = "E'\\x1e'"


@dataclass(frozen=True)
class Staged:
    """What is staged: rows of this flow, rows of the file that belong to other flows, exact sums, cursor."""

    rows: int
    left_out_rows: int
    amounts: dict[str, Decimal]
    cursor_to: tuple[str, ...] | None


def create_stage(connection: psycopg.Connection, flow: Flow, load: Load, landed: Landed) -> Staged:
    """Fill the stage table from the landing table, in the caller's transaction.

    Raises:
        LoadNotClosed: the staged rows or sums differ from those counted while reading.
        FatalSourceError: a cursor value is no timestamp.
    """
    columns = typed_columns(flow, landed.columns)
    table, source = sql.Identifier("landing", load.stage_table), sql.Identifier("landing", load.landing_table)
    where = _where(flow, landed)
    connection.execute(
        sql.SQL("create table {} as select {} from {}{}").format(table, trusted(_select(flow, columns)), source, where)
    )
    rows, amounts = _check_values(connection, flow, load, columns, sql.Composed([source, where]))
    _mark_repeated_keys(connection, flow, load, rows)
    if flow.source.get("where"):
        counted_rows, counted = _landed_totals(connection, flow, columns, source)
    else:
        counted_rows, counted = rows, amounts
    _compare(flow, landed, counted_rows, counted)
    return Staged(rows, landed.totals.rows - rows, amounts, _cursor_to(connection, flow, load, landed))


def amount_and_currency(flow: Flow) -> tuple[str, str]:
    """SQL of the control amount (0 when the entity has none) and of its currency ('' when there is none)."""
    if flow.entity.amount is None:
        return "0::numeric", "''::text"
    return f'coalesce("{flow.entity.amount}", 0)', f"coalesce(\"{flow.entity.currency}\", '')"


def _select(flow: Flow, columns: list[TypedColumn]) -> str:
    by_name = {column.name: column for column in columns}
    values = [f'{column.value} as "{column.name}"' for column in columns]
    texts = ", ".join(f"coalesce({by_name[name].text}, {NOTHING})" for name in flow.mapping)
    key = ", ".join([literal(flow.system), *(f"coalesce({by_name[name].text}, {NOTHING})" for name in flow.entity.key)])
    return ", ".join(
        [
            "_row",
            *values,
            "null::text[] as _unparsed",
            f"hashtextextended(concat_ws({SEPARATOR}, {key}), 0) as _key_hash",
            f"sha256(convert_to(concat_ws({SEPARATOR}, {texts}), 'UTF8')) as _row_hash",
            "null::text as _repeat",
        ]
    )


def _check_values(
    connection: psycopg.Connection, flow: Flow, load: Load, columns: list[TypedColumn], source: sql.Composed
) -> tuple[int, dict[str, Decimal]]:
    """Rows and sums by currency of the stage table; one scan also tells whether every text became a value."""
    checked = [column for column in columns if column.invalid]
    table = sql.Identifier("landing", load.stage_table)
    texts = ", ".join(["count(*)", *(f"count({column.text})" for column in checked)])
    arrived = connection.execute(sql.SQL("select {} from {}").format(trusted(texts), source)).fetchone() or ()
    by_currency, counts = _stage_counts(connection, flow, table, checked)
    bad = [column for column, before, after in zip(checked, arrived[1:], counts[1:], strict=True) if before != after]
    if bad:
        _mark_unparsed(connection, table, bad, source)
        by_currency, counts = _stage_counts(connection, flow, table, checked)
    return counts[0], by_currency


def _stage_counts(
    connection: psycopg.Connection, flow: Flow, table: sql.Identifier, checked: list[TypedColumn]
) -> tuple[dict[str, Decimal], list[int]]:
    amount, currency = amount_and_currency(flow)
    values = ", ".join(["count(*)", *(column.counted for column in checked)])
    query = sql.SQL("select {}, sum({}), {} from {} group by 1").format(
        trusted(currency), trusted(amount), trusted(values), table
    )
    rows = connection.execute(query).fetchall()
    counts = [sum(column) for column in zip(*(row[2:] for row in rows), strict=True)] or [0] * (len(checked) + 1)
    return {row[0]: row[1] for row in rows}, counts


def _mark_unparsed(
    connection: psycopg.Connection, table: sql.Identifier, bad: list[TypedColumn], source: sql.Composed
) -> None:
    """Name the columns whose text is no value, and keep no value there."""
    names = ", ".join(f"case when {column.invalid} then {literal(column.name)} end" for column in bad)
    anything = " or ".join(column.invalid or "" for column in bad)
    emptied = ", ".join(
        f"\"{column.name}\" = case when not ({literal(column.name)} = any (l.unparsed)) then s.\"{column.name}\" end"
        for column in bad
    )
    connection.execute(
        sql.SQL(
            "update {} as s set _unparsed = l.unparsed, {} from (select _row, array_remove(array[{}]::text[], null)"
            " as unparsed from {} {} ({})) as l where l._row = s._row"
        ).format(
            table,
            trusted(emptied),
            trusted(names),
            source,
            sql.SQL("and" if " where " in source.as_string(connection) else "where"),
            trusted(anything),
        )
    )


def _where(flow: Flow, landed: Landed) -> sql.Composable:
    condition = flow.source.get("where")
    if not condition:
        return sql.SQL("")
    text = compile_condition(condition, landed.columns)
    for column, name in landed.columns.items():
        text = text.replace(f'"{column}"', f"coalesce({name}, '')")
    return sql.SQL(" where ") + trusted(text)


def _mark_repeated_keys(connection: psycopg.Connection, flow: Flow, load: Load, rows: int) -> None:
    """Copies of a row become 'duplicate'; rows that contradict each other under one key become 'conflict'.

    Several versions of one record in one window are no contradiction when their version differs.
    """
    table = sql.Identifier("landing", load.stage_table)
    distinct = connection.execute(sql.SQL("select count(distinct _key_hash) from {}").format(table)).fetchone()
    if distinct and distinct[0] == rows:
        return
    versions = f', "{flow.entity.version}"' if flow.entity.version in flow.mapping else ""
    connection.execute(
        sql.SQL(
            "with repeated as (select _key_hash from {table} group by _key_hash having count(*) > 1),"
            " ranked as (select s._row,"
            "   row_number() over (partition by s._key_hash, s._row_hash order by s._row) as copy,"
            "   min(s._row_hash) over (partition by s._key_hash{version}) <>"
            "   max(s._row_hash) over (partition by s._key_hash{version}) as differs"
            "   from {table} as s inner join repeated using (_key_hash))"
            " update {table} as s set _repeat = case when ranked.copy > 1 then 'duplicate' else 'conflict' end"
            " from ranked where ranked._row = s._row and (ranked.copy > 1 or ranked.differs)"
        ).format(table=table, version=trusted(versions))
    )


def _landed_totals(
    connection: psycopg.Connection, flow: Flow, columns: list[TypedColumn], source: sql.Identifier
) -> tuple[int, dict[str, Decimal]]:
    by_name = {column.name: column for column in columns}
    amount, currency = "0::numeric", "''::text"
    if money_source(flow):
        amount = f"coalesce({by_name[flow.entity.amount or ''].value}, 0)"
        currency = f"coalesce({by_name[flow.entity.currency or ''].text}, '')"
    query = sql.SQL("select {}, count(*), sum({}) from {} group by 1").format(trusted(currency), trusted(amount), source)
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


def _cursor_to(
    connection: psycopg.Connection, flow: Flow, load: Load, landed: Landed
) -> tuple[str, ...] | None:
    if not flow.cursor or not landed.copied_rows:
        return load.cursor
    time, key = (landed.columns[name] for name in flow.cursor)
    query = sql.SQL("select {time}, {key} from {table} order by {time}::timestamptz desc, {key} desc limit 1").format(
        time=sql.Identifier(time), key=sql.Identifier(key), table=sql.Identifier("landing", load.landing_table)
    )
    try:
        row = connection.execute(query).fetchone()
    except psycopg.DataError as error:
        raise FatalSourceError(
            f"The cursor column '{flow.cursor[0]}' holds a value that is no timestamp: {error.diag.message_primary}.",
            reason="schema_drift",
            where=flow.where("source", "cursor"),
            next_step="Choose a column that is always a timestamp.",
        ) from None
    return tuple(str(value) for value in row) if row else load.cursor
