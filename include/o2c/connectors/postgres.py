"""Postgres as a source: one read-only snapshot, rows out by COPY, control totals asked beside.

The query of the flow is wrapped; the cursor's window is appended here. Rows and control totals come from the same
REPEATABLE READ snapshot, so they describe the same moment. The cursor may not move past open transactions: see
:mod:`o2c.connectors.postgres_horizon`. Connection extras: ``sslmode``, ``deadline`` (seconds for the whole extract,
default four hours).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import psycopg
from psycopg import sql

from o2c.connections import Connection
from o2c.connectors import postgres_horizon
from o2c.connectors.base import BLOCK_SIZE, ControlTotals, ExtractRequest, Part, for_keys
from o2c.connectors.deadline import Deadline
from o2c.contracts.flow import duration
from o2c.errors import FatalSourceError, SchemaDrift, SourceError

_SESSION = "-c timezone=UTC -c datestyle=ISO -c client_encoding=UTF8 -c default_transaction_read_only=on"
_UNAUTHORIZED = ("28P01", "28000")
_LONGEST = 4 * 3600.0


def extract(request: ExtractRequest, *, sleep: Callable[[float], None] = time.sleep) -> Iterator[Part]:
    """Yield one part, ``<flow>.csv``; see :mod:`o2c.connectors.base` for the errors."""
    source = request.connection
    assert source is not None
    with Deadline.of(source, _LONGEST) as deadline, _connect(request) as connection:
        deadline.watch(connection.fileno())
        connection.autocommit = True
        with _translated(request, deadline):
            limit = postgres_horizon.ask(connection, sleep) if request.source.get("cursor") else None
        connection.autocommit = False
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        asked = _Asked()
        yield Part(
            name=f"{request.flow.split('/')[-1]}.csv",
            blocks=_rows(connection, request, asked, deadline),
            origin={
                "endpoint": f"postgres://{connection.info.host}:{connection.info.port}/{connection.info.dbname}",
                "query": str(request.source["query"]),
            },
            control=lambda: asked.control,
            cursor_limit=limit,
            column_types=lambda: asked.column_types,
        )


def list_keys(request: ExtractRequest, columns: Sequence[str]) -> Iterator[Part]:
    """Yield one part, ``<flow>.csv``: ``columns`` of every record the query gives now, from one snapshot."""
    return extract(for_keys(request, columns))


@dataclass
class _Asked:
    """What the source has said of the window apart from its rows."""

    control: ControlTotals | None = None
    column_types: dict[str, str] = field(default_factory=dict)


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
        columns = sql.SQL(", ").join(map(sql.Identifier, request.columns)) if request.columns else sql.SQL("*")
        return sql.SQL("select {} from ({}) as flow_query").format(columns, query)
    time = sql.Identifier(str(request.source["cursor"][0]))
    overlap = duration(request.source["overlap"]) if "overlap" in request.source else timedelta(0)
    window = sql.SQL("select * from ({}) as flow_query where {} >= {}::timestamptz - {}::interval").format(
        query, time, sql.Literal(request.cursor[0]), sql.Literal(f"{int(overlap.total_seconds())} seconds")
    )
    if request.until is None:
        return window
    return window + sql.SQL(" and {} < {}::timestamptz").format(time, sql.Literal(request.until))


def _query(path: Path) -> sql.SQL:
    # The last line may be a comment.
    return sql.SQL(path.read_text(encoding="utf-8").strip().rstrip(";") + "\n")


def _rows(
    connection: psycopg.Connection, request: ExtractRequest, asked: _Asked, deadline: Deadline
) -> Iterator[bytes]:
    window = _window(request)
    statement = sql.SQL("copy ({}) to stdout (format csv, header, encoding 'UTF8')").format(window)
    with _translated(request, deadline):
        asked.control = _control(connection, window, request)
        asked.column_types = _column_types(connection, window)
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            buffer = bytearray()
            for data in copy:
                buffer += data
                if len(buffer) >= BLOCK_SIZE:
                    yield bytes(buffer)
                    buffer.clear()
            if buffer:
                yield bytes(buffer)


@contextmanager
def _translated(request: ExtractRequest, deadline: Deadline) -> Iterator[None]:
    """Turn the driver's failures into errors a person can act on."""
    path = request.base_dir / str(request.source["query"])
    try:
        yield
    except psycopg.OperationalError as error:
        if deadline.is_over:
            raise deadline.failed(request.flow) from None
        raise SourceError(f"The source broke off: {error}".strip(), where=request.flow) from None
    except psycopg.errors.UndefinedColumn as error:
        raise SchemaDrift(
            f"The source refuses the query: {error.diag.message_primary}.",
            change="removed",
            column=_unknown_column(error),
            where=f"{path}:{_line(path, _unknown_column(error))}",
            next_step=f"{error.diag.message_hint or ''} Compare the query with the source's tables.".strip(),
        ) from None
    except psycopg.Error as error:
        raise FatalSourceError(
            f"The source refuses the query: {error.diag.message_primary}.",
            reason="schema_drift",
            where=str(path),
            next_step="Compare the query with the source's tables.",
        ) from None


def _unknown_column(error: psycopg.Error) -> str:
    """The name the source does not know, without its table."""
    match = re.match(r'column "?([^"]+?)"? does not exist', error.diag.message_primary or "")
    return match[1].rpartition(".")[2] if match else ""


def _line(path: Path, word: str) -> int:
    """The line of the query that names ``word`` first; its first line when none does."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((number for number, line in enumerate(lines, 1) if re.search(rf"\b{re.escape(word)}\b", line)), 1)


def _column_types(connection: psycopg.Connection, window: sql.Composed) -> dict[str, str]:
    cursor = connection.execute(sql.SQL("select * from ({}) as w limit 0").format(window))
    types = connection.adapters.types
    # Types of the source's own making have no name here; their number stands for them.
    return {
        column.name: known.name if (known := types.get(column.type_code)) else str(column.type_code)
        for column in cursor.description or ()
    }


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
