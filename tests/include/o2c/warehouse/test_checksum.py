"""Checksums: the same rows in any order, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from o2c.warehouse.checksum import checksum, compare

TABLE = "create schema s; create table s.t (id int, name text, amount numeric, _load_id text)"
ROWS = "insert into s.t values (1, null, 10.0, 'L1'), (2, '', 10.0, 'L1'), (2, '', 10.0, 'L1'), (3, 'x,y', 0.1, 'L2')"


@pytest.fixture
def two(database: str, erp_database: str) -> Iterator[tuple[psycopg.Connection, psycopg.Connection]]:
    with psycopg.connect(database) as first, psycopg.connect(erp_database) as second:
        for connection in (first, second):
            connection.execute(TABLE)
            connection.execute(ROWS)
        yield first, second


def digest(connection: psycopg.Connection, **options: Any) -> str:
    return checksum(connection, ["s"], **options)["s.t"].digest


def test_the_order_of_rows_and_columns_does_not_matter(two: Any) -> None:
    first, second = two
    second.execute("drop table s.t; create table s.t (_load_id text, amount numeric, name text, id int)")
    second.execute("insert into s.t values ('L2', 0.1, 'x,y', 3), ('L1', 10.0, '', 2), ('L1', 10.0, null, 1)")
    second.execute("insert into s.t values ('L1', 10.0, '', 2)")
    assert digest(first) == digest(second)
    assert checksum(first, ["s"])["s.t"].rows == 4
    assert compare(first, second, ["s"]) == []


@pytest.mark.parametrize(
    "change",
    [
        "update s.t set name = '' where id = 1",
        "update s.t set amount = 10.00 where id = 1",
        "update s.t set id = 1, name = null where ctid = (select max(ctid) from s.t where id = 2)",
        "delete from s.t where ctid = (select max(ctid) from s.t where id = 2)",
        "insert into s.t values (null, null, null, null)",
        "update s.t set _load_id = 'L9' where id = 3",
        "alter table s.t rename amount to total",
        "update s.t set name = null where id = 2; update s.t set name = '' where id = 1",
    ],
)
def test_a_change_changes_it(two: Any, change: str) -> None:
    first, second = two
    second.execute(change)
    assert digest(first) != digest(second)


def test_columns_that_differ_between_runs_are_left_out(two: Any) -> None:
    first, second = two
    second.execute("update s.t set _load_id = 'L9'")
    assert digest(first) != digest(second)
    assert digest(first, without_columns=["_load_id"]) == digest(second, without_columns=["_load_id"])


def test_a_difference_names_counts_and_a_key(two: Any) -> None:
    first, second = two
    second.execute("update s.t set amount = 7, _load_id = 'L7' where id = 2; delete from s.t where id = 3")
    first.execute("create table s.more (customer_id text)")
    more, table = compare(first, second, ["s"])
    assert (more.table, more.example) == ("s.more", "the table is missing there")
    assert (table.table, table.only_here, table.only_there) == ("s.t", 3, 2)
    assert table.example.startswith("_load_id=L")


def test_empty_tables_and_schemas(two: Any) -> None:
    first, second = two
    first.execute("truncate s.t")
    assert checksum(first, ["s"])["s.t"].rows == 0
    assert checksum(first, ["nowhere"]) == {}
    assert digest(first) != digest(second)
