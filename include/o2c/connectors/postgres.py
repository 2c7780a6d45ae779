"""Postgres as a source: one read-only snapshot, rows out by COPY, control totals asked beside.

The query of the flow is wrapped; the cursor's window is appended here. Rows and control totals come from the same
REPEATABLE READ snapshot, so they describe the same moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
from psycopg import sql

from o2c.connections import Connection
from o2c.connectors.base import BLOCK_SIZE, ControlTotals, ExtractRequest, Part
from o2c.contracts.flow import duration
from o2c.errors import FatalSourceError, SourceError

_SESSION = "-c timezone=UTC -c datestyle=ISO -c client_encoding=UTF8 -c default_transaction_read_only=on"
_UNAUTHORIZED = ("28P01", "28000")


def extract(request: ExtractRequest) -> Iterator[Part]:
    """Yield one part, ``<flow>.csv``; see :mod:`o2c.connectors.base` for the errors."""
    with _connect(request) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        window = _window(request)
        totals: list[ControlTotals] = []
        yield Part(
            name=f"{request.flow.split('/')[-1]}.csv",
            blocks=_rows(connection, window, request, totals),
            origin={
                "endpoint": f"postgres://{connection.info.host}:{connection.info.port}/{connection.info.dbname}",
                "query": str(request.source["query"]),
            },
            control=lambda: totals[0] if totals else None,
        )


def _connect(request: ExtractRequest) -> psycopg.Connection:
    source = request.connection
    assert source is not None
    try:
        return psycopg.connect(
            host=source.host,
            port=source.port,
            user=source.login,
            password=source.password,
            dbname=source.schema,
            options=_SESSION,
            connect_timeout=10,
            application_name="o2c extract",
            sslmode=str(source.extra.get("sslmode", "prefer")),
        )
    except psycopg.Error as error:
        raise _refused(source, error) from None


def _refused(source: Connection, error: psycopg.Error) -> SourceError:
    text = str(error).strip().splitlines()[-1]
    where = f"connection {source.conn_id} ({source.host}:{source.port}/{source.schema})"
    if "authentication failed" in text or getattr(error, "sqlstate", None) in _UNAUTHORIZED:
        return FatalSourceError(
            "The source refuses the login.",
            reason="unauthorized",
            where=where,
            next_step="Check login and password of the connection.",
        )
    return SourceError(f"The source cannot be reached: {text}", where=where, next_step="Check host and port.")


def _window(request: ExtractRequest) -> sql.Composed:
    path = request.base_dir / str(request.source["query"])
    query = _query(path)
    if not request.source.get("cursor") or request.cursor is None:
        return sql.SQL("select * from ({}) as flow_query").format(query)
    time = sql.Identifier(str(request.source["cursor"][0]))
    overlap = duration(request.source["overlap"]) if "overlap" in request.source else timedelta(0)
    return sql.SQL("select * from ({}) as flow_query where {} >= {}::timestamptz - {}::interval").format(
        query, time, sql.Literal(request.cursor[0]), sql.Literal(f"{int(overlap.total_seconds())} seconds")
    )


def _query(path: Path) -> sql.SQL:
    # The last line may be a comment.
    return sql.SQL(path.read_text(encoding="utf-8").strip().rstrip(";") + "\n")


def _rows(
    connection: psycopg.Connection, window: sql.Composed, request: ExtractRequest, totals: list[ControlTotals]
) -> Iterator[bytes]:
    statement = sql.SQL("copy ({}) to stdout (format csv, header, encoding 'UTF8')").format(window)
    try:
        totals.append(_control(connection, window, request))
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            buffer = bytearray()
            for data in copy:
                buffer += data
                if len(buffer) >= BLOCK_SIZE:
                    yield bytes(buffer)
                    buffer.clear()
            if buffer:
                yield bytes(buffer)
    except psycopg.OperationalError as error:
        raise SourceError(f"The source broke off: {error}".strip(), where=request.flow) from None
    except psycopg.Error as error:
        raise FatalSourceError(
            f"The source refuses the query: {error.diag.message_primary}.",
            reason="schema_drift",
            where=str(request.base_dir / str(request.source["query"])),
            next_step="Compare the query with the source's tables.",
        ) from None


def _control(connection: psycopg.Connection, window: sql.Composed, request: ExtractRequest) -> ControlTotals:
    """Count and sum in the source, in SQL of its own."""
    if request.amount is None or request.currency is None:
        row = connection.execute(sql.SQL("select count(*) from ({}) as w").format(window)).fetchone()
        assert row is not None
        return ControlTotals(row[0])
    rows = connection.execute(
        # NaN and Infinity are numeric to Postgres, but no amount; the gate holds such rows back.
        sql.SQL(
            "select coalesce({currency}::text, ''), count(*),"
            " coalesce(sum({amount}::numeric) filter (where abs({amount}::numeric) < 'Infinity'), 0)"
            " from ({window}) as w group by 1"
        ).format(currency=sql.Identifier(request.currency), amount=sql.Identifier(request.amount), window=window)
    ).fetchall()
    return ControlTotals(sum(count for _, count, _ in rows), {currency: amount for currency, _, amount in rows})
