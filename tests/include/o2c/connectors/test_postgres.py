from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg
import pytest

from o2c.connections import from_environment
from o2c.connectors import postgres
from o2c.connectors.base import BLOCK_SIZE, ControlTotals, ExtractRequest
from o2c.errors import FatalSourceError, SourceError


@pytest.fixture
def source(erp_database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(erp_database, autocommit=True, options="-c timezone=UTC") as connection:
        connection.execute("create table item (id int, at timestamptz, amount numeric, currency char(3), note text)")
        yield connection


@pytest.fixture
def request_for(erp_database: str, tmp_path: Path) -> Any:
    def build(
        sql: str = "select * from item order by id",
        cursor: tuple[str, ...] | None = None,
        money: bool = True,
        **source: Any,
    ) -> ExtractRequest:
        (tmp_path / "items.sql").write_text(sql)
        return ExtractRequest(
            flow="erp/items",
            source={"query": "items.sql", "cursor": ["at", "id"], **source},
            connection=from_environment("erp_db", {"AIRFLOW_CONN_ERP_DB": erp_database}),
            base_dir=tmp_path,
            cursor=cursor,
            amount="amount" if money else None,
            currency="currency" if money else None,
        )

    return build


def read(request: ExtractRequest) -> tuple[list[list[str]], ControlTotals | None]:
    with closing(postgres.extract(request)) as parts:  # type: ignore[type-var]
        part = next(parts)
        blocks = list(part.blocks)
        assert part.name == "items.csv" and all(len(block) <= 2 * BLOCK_SIZE for block in blocks)
        control = part.control()
        assert next(parts, None) is None
    return list(csv.reader(io.StringIO(b"".join(blocks).decode(), newline=""))), control


def test_rows_and_control_totals(source: psycopg.Connection, request_for: Any) -> None:
    source.execute(
        "insert into item values (1, '2026-03-01 10:00+02', 0.10, 'EUR', 'a,\"b\"\nc'), (2, null, 0.20, 'EUR', null),"
        " (3, null, 5, 'JPY', ''), (4, null, 7, null, ''), (5, null, null, 'EUR', ''), (6, null, 'NaN', 'EUR', '')"
    )
    rows, control = read(request_for())
    assert rows[0] == ["id", "at", "amount", "currency", "note"]
    assert rows[1] == ["1", "2026-03-01 08:00:00+00", "0.10", "EUR", 'a,"b"\nc']
    assert control == ControlTotals(6, {"EUR": Decimal("0.30"), "JPY": Decimal(5), "": Decimal(7)})
    assert read(request_for(money=False))[1] == ControlTotals(6)


@pytest.mark.parametrize(("overlap", "expected"), [(None, ["3", "4"]), ("0s", ["3", "4"]), ("10m", ["2", "3", "4"])])
def test_the_window_starts_at_the_cursor_less_the_overlap(
    source: psycopg.Connection, request_for: Any, overlap: str | None, expected: list[str]
) -> None:
    source.execute(
        "insert into item select n, '2026-03-01 10:00Z'::timestamptz + n * interval '10 minutes'"
        " from generate_series(1, 4) as n"
    )
    options = {"overlap": overlap} if overlap else {}
    rows, control = read(request_for(cursor=("2026-03-01 10:30:00+00", "3"), **options))
    assert [row[0] for row in rows[1:]] == expected and control and control.rows == len(expected)


def test_rows_and_totals_are_of_one_moment(source: psycopg.Connection, request_for: Any) -> None:
    source.execute("insert into item select n, null, 1, 'EUR', repeat('x', 1000) from generate_series(1, 2000) as n")
    for part in postgres.extract(request_for()):
        first = next(part.blocks)
        source.execute("insert into item values (9999, null, 1, 'EUR', '')")
        source.execute("delete from item where id < 1000")
        rows = (first + b"".join(part.blocks)).count(b"\n") - 1
        assert part.control() == ControlTotals(rows, {"EUR": Decimal(2000)}) and rows == 2000


def test_a_row_that_comes_between_count_and_reading_is_not_seen(
    source: psycopg.Connection, request_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.execute("insert into item values (1, null, 1, 'EUR', '')")
    count = postgres._control

    def then_insert(*arguments: Any) -> ControlTotals:
        control = count(*arguments)
        source.execute("insert into item values (2, null, 1, 'EUR', '')")
        return control

    monkeypatch.setattr(postgres, "_control", then_insert)
    rows, control = read(request_for())
    assert len(rows) == 2 and control == ControlTotals(1, {"EUR": Decimal(1)})


@pytest.mark.parametrize(
    "sql",
    [
        "select * from item;",
        "select * from item -- all",
        "/* a */ select * from item\n;\n",
        "with i as (select * from item where note not like '50%') select * from i",
    ],
)
def test_queries_as_people_write_them(source: psycopg.Connection, request_for: Any, sql: str) -> None:
    source.execute("insert into item values (1, '2026-03-01', 1, 'EUR', 'x')")
    for cursor in (None, ("2026-02-01", "1")):
        assert len(read(request_for(sql, cursor))[0]) == 2


@pytest.mark.parametrize(
    "sql",
    [
        "select * from nowhere",
        "select",
        "delete from item returning *",
        "select * from item); drop table item; --",
        "with d as (delete from item returning *) select * from d",
    ],
)
def test_a_query_the_source_refuses(source: psycopg.Connection, request_for: Any, sql: str) -> None:
    source.execute("insert into item values (1, '2026-03-01', 1, 'EUR', 'x')")
    with pytest.raises(FatalSourceError) as caught:
        read(request_for(sql))
    assert caught.value.reason == "schema_drift" and caught.value.where.removesuffix(":1").endswith("items.sql")
    assert source.execute("select count(*) from item").fetchall() == [(1,)]


def test_the_origin_holds_no_secret(source: psycopg.Connection, request_for: Any) -> None:
    request = request_for()
    (part,) = list(postgres.extract(request))
    assert request.connection.password not in str(part.origin)
    assert part.origin["query"] == "items.sql" and str(part.origin["endpoint"]).startswith("postgres://127.0.0.1:")


def test_the_key_list_holds_every_record_whatever_the_cursor_says(source: psycopg.Connection, request_for: Any) -> None:
    source.execute("insert into item select n, '2026-01-01Z', n, 'EUR', 'x' from generate_series(1, 300000) as n")
    wanted = request_for("select *, 'k' || id as key from item", ("2026-02-01", "1"), overlap="20m")
    with closing(postgres.list_keys(wanted, ["key", "at"])) as parts:  # type: ignore[type-var]
        part = next(parts)
        blocks = list(part.blocks)
        assert part.control() == ControlTotals(300_000) and part.cursor_limit is None
        assert next(parts, None) is None
    assert len(blocks) > 5 and all(len(block) <= 2 * BLOCK_SIZE for block in blocks)
    rows = list(csv.reader(io.StringIO(b"".join(blocks).decode())))
    assert rows[:2] == [["key", "at"], ["k1", "2026-01-01 00:00:00+00"]] and len(rows) == 300_001


def test_a_key_that_is_gone_from_the_query_is_named(source: psycopg.Connection, request_for: Any) -> None:
    with closing(postgres.list_keys(request_for(), ["number"])) as parts, pytest.raises(FatalSourceError) as caught:  # type: ignore[type-var]
        list(next(parts).blocks)
    assert "number" in caught.value.what and caught.value.reason == "schema_drift"


def test_a_query_that_never_ends_is_cut_off(source: psycopg.Connection, request_for: Any) -> None:
    request = request_for("select n as id, now() as at, pg_sleep(0.05)::text as z from generate_series(1, 99) as n")
    request.source["cursor"] = []  # type: ignore[index]
    slow = replace(request, amount=None, connection=replace(request.connection, extra={"deadline": "0.4"}))
    began = monotonic()
    with pytest.raises(SourceError, match="did not deliver within 0.4 s"):
        read(slow)
    assert monotonic() - began < 3
