"""Cursors: nothing that the source commits late, twice, or at an odd hour is missed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from o2c.connections import from_environment
from o2c.connectors import postgres, postgres_horizon
from o2c.connectors.base import ExtractRequest
from o2c.loads import observed

TABLE = """
create table payment (id int primary key, company text default 'DE01', kind text default 'payment',
    day date default '2026-03-01', amount numeric default 1, currency text default 'EUR', method text default 'card',
    changed_at timestamptz not null default now())
"""
MAPPING = {
    "receipt_id": "id",
    "entity_code": "company",
    "receipt_type": "kind",
    "received_on": "day",
    "amount": "amount",
    "currency_code": "currency",
    "payment_method": "method",
    "updated_at": "changed_at",
}


@pytest.fixture
def make_flow(warehouse: Any, erp: psycopg.Connection) -> Any:
    """An incremental flow over the source's payments; no overlap unless it is given."""
    erp.execute(TABLE)

    def build(**source: Any) -> Any:
        return warehouse.flows.query(
            "erp/payments", "receipt", MAPPING, "select * from payment", cursor=["changed_at", "id"], **source
        )

    return build


@pytest.fixture
def second(erp: psycopg.Connection, erp_database: str) -> Iterator[psycopg.Connection]:
    """Another session of the source, in transactions."""
    with psycopg.connect(erp_database) as connection:
        yield connection


def known(warehouse: Any) -> list[str]:
    return [key for (key,) in warehouse.rows("select distinct receipt_id from raw.receipt order by 1")]


def rows(published: Any) -> tuple[int, int]:
    return published.rows["published"], published.rows["duplicate"]


def test_a_row_that_is_committed_behind_the_newest_one_is_read(
    warehouse: Any, erp: psycopg.Connection, second: psycopg.Connection, make_flow: Any
) -> None:
    flow = make_flow()
    erp.execute("insert into payment (id, changed_at) values (1, now() - interval '1 day')")
    second.execute("insert into payment (id) values (2)")  # stamped now, committed later
    erp.execute("insert into payment (id, changed_at) values (3, clock_timestamp() + interval '5 seconds')")
    assert rows(warehouse.load(flow)) == (2, 0)
    second.commit()
    # Row 3 is read again: the cursor has waited for the transaction that was open.
    assert rows(warehouse.load(flow)) == (1, 1)
    assert known(warehouse) == ["1", "2", "3"]


def test_a_transaction_that_writes_only_after_the_reading_counts_as_open(
    warehouse: Any, erp: psycopg.Connection, second: psycopg.Connection, make_flow: Any
) -> None:
    flow = make_flow()
    second.execute("select now()")
    erp.execute("insert into payment (id, changed_at) values (1, clock_timestamp() + interval '5 seconds')")
    warehouse.load(flow)
    second.execute("insert into payment (id) values (2)")
    second.commit()
    assert rows(warehouse.load(flow)) == (1, 1)


def test_the_cursor_moves_on_when_nobody_is_writing(warehouse: Any, erp: psycopg.Connection, make_flow: Any) -> None:
    flow = make_flow()
    erp.execute("insert into payment (id, changed_at) select n, '2026-03-01'::timestamptz from generate_series(1, 3) n")
    warehouse.load(flow)
    assert warehouse.value("select cursor_values from ops.watermark") == ["2026-03-01 00:00:00+00", "3"]


def test_a_stamp_from_a_clock_that_is_ahead_does_not_take_the_cursor_along(
    warehouse: Any, erp: psycopg.Connection, make_flow: Any
) -> None:
    flow = make_flow(overlap="20m")
    erp.execute("insert into payment (id, changed_at) values (1, now() + interval '15 minutes')")
    erp.execute("insert into payment (id, changed_at) values (2, now() - interval '15 minutes')")
    warehouse.load(flow)
    erp.execute("insert into payment (id, changed_at) values (3, now()), (4, now() - interval '15 minutes')")
    assert rows(warehouse.load(flow)) == (2, 2)
    assert known(warehouse) == ["1", "2", "3", "4"]


def test_many_rows_of_one_instant_are_all_read_and_none_twice(
    warehouse: Any, erp: psycopg.Connection, make_flow: Any
) -> None:
    flow = make_flow()
    same = "insert into payment (id, changed_at) select n, '2026-03-01 10:00Z' from generate_series(%s::int, %s) as n"
    erp.execute(same, [1, 12_000])
    assert rows(warehouse.load(flow)) == (12_000, 0)
    erp.execute(same, [0, 0])  # of the same instant, and before all of them by key
    assert rows(warehouse.load(flow)) == (1, 12_000)
    assert warehouse.value("select count(distinct receipt_id) from raw.receipt") == 12_001


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("2025-10-26 02:59:59+02", "2025-10-26 02:00:00+01"),  # the hour that comes twice
        ("2026-03-29 01:59:59+01", "2026-03-29 03:00:00+02"),  # the hour that is left out
        ("2024-02-28 23:59:59+00", "2024-02-29 00:00:00+00"),
        ("2024-02-29 23:59:59.999999+00", "2024-03-01 00:00:00+00"),
    ],
)
def test_odd_hours_and_leap_days(
    warehouse: Any, erp: psycopg.Connection, make_flow: Any, before: str, after: str
) -> None:
    flow = make_flow()
    erp.execute("alter database " + erp.info.dbname + " set timezone to 'Europe/Berlin'")
    erp.execute("insert into payment (id, changed_at) values (1, %s)", [before])
    warehouse.load(flow)
    erp.execute("insert into payment (id, changed_at) values (2, %s)", [after])
    assert rows(warehouse.load(flow)) == (1, 1)
    assert rows(warehouse.load(flow)) == (0, 1)


def test_an_old_open_transaction_is_told(
    warehouse: Any,
    erp: psycopg.Connection,
    second: psycopg.Connection,
    make_flow: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    flow = make_flow()
    erp.execute("insert into payment (id) values (1)")
    second.execute("select now()")
    erp.execute("insert into payment (id, changed_at) values (2, clock_timestamp() + interval '5 seconds')")
    published = warehouse.load(flow)
    manifest = "select manifest from ops.load_ledger where load_id = %s"
    assert warehouse.value(manifest, published.load_id)["warnings"] == []
    monkeypatch.setattr(observed, "_LONGEST_LAG", observed.timedelta(0))
    published = warehouse.load(flow)
    stated = warehouse.value(manifest, published.load_id)
    (warning,) = stated["warnings"]
    assert f"process {second.info.backend_pid} has a transaction open since" in warning
    assert warning in caplog.text and stated["cursor_limit"]["at"]


# --- a login that may not see the sessions of others ----------------------------------------------------------------


@pytest.fixture
def reader(postgres_server: Any, erp: psycopg.Connection, tmp_path: Any) -> Iterator[Any]:
    """Reads the payments with a login of few rights; returns the ids and the limit of the cursor."""
    erp.execute(TABLE)
    erp.execute("grant usage on schema public to public; grant select on payment to public")
    admin = postgres_server.cluster.url("postgres")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("create role shy_reader login password 'shy'")
    url = f"postgres://shy_reader:shy@{erp.info.host}:{erp.info.port}/{erp.info.dbname}"
    (tmp_path / "q.sql").write_text("select id, changed_at from payment order by id")
    request = ExtractRequest(
        "erp/q",
        {"query": "q.sql", "cursor": ["changed_at", "id"]},
        from_environment("erp_db", {"AIRFLOW_CONN_ERP_DB": url}),
        tmp_path,
    )

    def read(sleep: Any) -> tuple[list[str], Any]:
        with closing(postgres.extract(request, sleep=sleep)) as parts:  # type: ignore[type-var]
            part = next(parts)
            found = list(csv.reader(io.StringIO(b"".join(part.blocks).decode())))
        return [row[0] for row in found[1:]], part.cursor_limit

    yield read
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("drop role shy_reader")


def test_what_cannot_be_seen_is_waited_for(erp: psycopg.Connection, second: psycopg.Connection, reader: Any) -> None:
    second.execute("select now()")  # writes later: even the source knows nothing of it yet
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            second.execute("insert into payment (id) values (1)")
            second.commit()

    found, limit = reader(sleep)
    assert found == ["1"] and len(waited) == 3 and limit.at is not None


def test_what_does_not_end_holds_the_cursor(erp: psycopg.Connection, second: psycopg.Connection, reader: Any) -> None:
    second.execute("insert into payment (id) values (1)")
    erp.execute("insert into payment (id) values (2)")
    waited: list[float] = []
    found, limit = reader(waited.append)
    assert found == ["2"] and limit.at is None and "may not see" in limit.reason
    assert waited == list(postgres_horizon._WAITS)


def test_a_held_cursor_stays_where_it_is(
    warehouse: Any, erp: psycopg.Connection, make_flow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = make_flow()
    erp.execute("insert into payment (id, changed_at) values (1, '2026-03-01 10:00Z')")
    held = postgres_horizon.CursorLimit(None, "2026-03-01T12:00:00+00:00", "a prepared transaction is open")
    with monkeypatch.context() as patched:
        patched.setattr(postgres_horizon, "ask", lambda *_: held)
        first = warehouse.load(flow)
    assert warehouse.rows("select * from ops.watermark") == []
    warnings = warehouse.value("select manifest -> 'warnings' from ops.load_ledger where load_id = %s", first.load_id)
    assert warnings == ["The cursor is held: a prepared transaction is open."]
    assert rows(warehouse.load(flow)) == (0, 1)
    cursor = "select cursor_values from ops.watermark"
    assert warehouse.value(cursor) == ["2026-03-01 10:00:00+00", "1"]
    erp.execute("insert into payment (id, changed_at) values (2, '2026-03-01 11:00Z')")
    monkeypatch.setattr(postgres_horizon, "ask", lambda *_: held)
    assert rows(warehouse.load(flow)) == (1, 1)
    assert warehouse.value(cursor) == ["2026-03-01 10:00:00+00", "1"]
