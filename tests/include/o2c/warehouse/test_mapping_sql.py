from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from o2c.contracts.entity import Column
from o2c.warehouse import mapping_sql
from o2c.warehouse.mapping_sql import literal, number_pattern, typed_columns

US = "%m/%d/%Y"
Type = Callable[..., str | None]


@pytest.fixture(scope="module")
def connection(postgres_server: Any) -> Iterator[psycopg.Connection]:
    url = postgres_server.lend()
    with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
        connection.execute("create temporary table one (c001 text)")
        yield connection
    postgres_server.take_back(url)


@pytest.fixture(scope="module")
def typed(connection: psycopg.Connection) -> Type:
    """The value of one text as text; ``refused`` when it is no value. All three readings must agree."""

    def value_of(kind: str, text: str | None, date: str | None = None, **style: str) -> str | None:
        column = mapping_sql._typed(Column("x", kind, "?"), "c001", date, style)
        # A table, not a list of values: Postgres would evaluate those while planning.
        connection.execute("truncate one")
        connection.execute("insert into one values (%s)", [text])
        query = f"select ({column.value})::text, {column.invalid or 'false'} from one"
        ((value, invalid),) = connection.execute(query).fetchall()
        assert value is None or not invalid or value in ("NaN", "Infinity", "-Infinity")
        try:
            ((strict,),) = connection.execute(f"select ({column.strict})::text from one").fetchall()
            assert strict == value
        except psycopg.DataError:
            assert invalid
        return "refused" if invalid else value

    return value_of


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("text", " as it is ", " as it is "),
        ("date", "2026-02-28", "2026-02-28"),
        ("date", "2026-02-30", "refused"),
        ("date", "28.02.2026", "refused"),
        ("date", "02/28/2026", "refused"),
        ("date", "20260228", "refused"),
        ("date", "2026-2-8", "refused"),
        *(
            (kind, word, "refused")
            for kind in ("date", "timestamp")
            for word in (
                "today",
                "now",
                "tomorrow",
                "yesterday",
                "epoch",
                "infinity",
                "-infinity",
                "allballs",
                "n/a",
                " ",
            )
        ),
        ("timestamp", "2026-02-28T23:30:00Z", "2026-02-28 23:30:00+00"),
        ("timestamp", "2026-02-28 23:30:00.123456+02:00", "2026-02-28 21:30:00.123456+00"),
        ("timestamp", "2026-02-28 23:30:00", "2026-02-28 23:30:00+00"),
        ("timestamp", "2026-02-28", "2026-02-28 00:00:00+00"),
        ("timestamp", "2026-02-28 25:00:00", "refused"),
        ("timestamp", "2026-02-28 now", "refused"),
        ("timestamp", "2026-today", "refused"),
        ("integer", "7", "7"),
        ("integer", "-7", "-7"),
        ("integer", "7.0", "refused"),
        ("integer", "99999999999999999999", "refused"),
        ("money", "1234.50", "1234.50"),
        ("money", "-0.001", "-0.001"),
        ("money", "123456789012345678901234567890.12", "123456789012345678901234567890.12"),
        ("money", "1.0E7", "10000000"),
        ("money", "1,234.50", "refused"),
        ("money", "1234,5", "refused"),
        ("money", "NaN", "refused"),
        ("money", "Infinity", "refused"),
        ("money", "-inf", "refused"),
        ("money", "€5", "refused"),
        ("money", "1e999999", "refused"),
        ("boolean", "true", "true"),
        ("boolean", "YES", "true"),
        ("boolean", "N", "false"),
        ("boolean", "0", "false"),
        ("boolean", "2", "refused"),
        ("boolean", "on", "refused"),
        ("boolean", "wahr", "refused"),
        *((kind, None, None) for kind in ("text", "date", "timestamp", "integer", "money", "boolean")),
    ],
)
def test_texts_become_values(typed: Type, kind: str, text: str | None, value: str | None) -> None:
    assert typed(kind, text) == value


@pytest.mark.parametrize(
    ("text", "date", "value"),
    [
        ("02/28/2026", US, "2026-02-28"),
        ("2/8/2026", US, "2026-02-08"),
        ("28/02/2026", US, "refused"),
        ("02/28/26", US, "refused"),
        ("2026-02-28", US, "refused"),
        ("02/28/2026 10:00", US, "refused"),
        ("02/28/2026\n", US, "refused"),
        ("today", US, "refused"),
        ("28.2.2026", "%d.%m.%Y", "2026-02-28"),
        ("28x2x2026", "%d.%m.%Y", "refused"),
        ("20260228", "%Y%m%d", "2026-02-28"),
        ("2026 02 28", "%Y %m %d", "2026-02-28"),
        (None, US, None),
    ],
)
def test_dates_in_the_format_of_the_source(typed: Type, text: str | None, date: str, value: str | None) -> None:
    assert typed("date", text, date) == value


@pytest.mark.parametrize(
    ("text", "decimal", "thousands", "value"),
    [
        ("1.234,56", ",", ".", "1234.56"),
        ("-12.345.678,9", ",", ".", "-12345678.9"),
        ("12,5", ",", ".", "12.5"),
        ("1234", ",", ".", "1234"),
        ("1.50", ",", ".", "refused"),
        ("1,234.56", ",", ".", "refused"),
        ("12.34,5", ",", ".", "refused"),
        ("1.234.56", ",", ".", "refused"),
        ("1,5", ",", "", "1.5"),
        ("1.5", ",", "", "refused"),
        ("1,234.56", ".", ",", "1234.56"),
        ("12,34,567.8", ".", ",", "1234567.8"),
        ("1,23", ".", ",", "refused"),
        ("1'234.56", ".", "'", "1234.56"),
        ("1 234,56", ",", " ", "1234.56"),
        ("NaN", ",", ".", "refused"),
        ("", ",", ".", "refused"),
        (None, ",", ".", None),
    ],
)
def test_numbers_in_the_writing_of_the_source(
    typed: Type, text: str | None, decimal: str, thousands: str, value: str | None
) -> None:
    style = {"decimal": decimal, **({"thousands": thousands} if thousands else {})}
    assert typed("money", text, **style) == value


@given(
    st.text(alphabet="0123456789.,- '", max_size=9),
    st.sampled_from([",", "."]),
    st.sampled_from(["", ".", ",", "'", " "]),
)
def test_postgres_and_python_read_a_written_number_alike(text: str, decimal: str, thousands: str) -> None:
    if decimal == thousands:
        return
    pattern = number_pattern(decimal, thousands)
    assert "'" not in pattern or thousands == "'"
    if re.fullmatch(pattern, text):
        plain = text.replace(thousands, "") if thousands else text
        float(plain.replace(decimal, "."))


def columns_of(flows: Any, mapping: dict[str, Any], **form: str) -> dict[str, mapping_sql.TypedColumn]:
    needed = [
        "adjustment_id",
        "entity_code",
        "customer_id",
        "adjustment_type",
        "adjusted_on",
        "amount",
        "currency_code",
    ]
    flow = flows.csv("shop/adjustments", "receivable_adjustment", {name: name for name in needed} | mapping, form=form)
    landed = {name: f'"{name}"' for name in flow.source_columns}
    return {column.name: column for column in typed_columns(flow, landed)}


def test_constants_codes_and_joined_columns(connection: psycopg.Connection, flows: Any) -> None:
    columns = columns_of(
        flows,
        {
            "entity_code": {"constant": "O'Neill"},
            "adjustment_type": {"from": "kind", "values": {"W": "write_off", "it's": "refund"}},
            "adjustment_id": {"concat": ["nr", "/", "kind"]},
        },
    )
    rows = "(values ('1', 'W'), ('2', 'it''s'), ('3', 'other'), (null, 'W'), ('5', null)) as t (nr, kind)"
    query = ", ".join(columns[name].value for name in ("entity_code", "adjustment_type", "adjustment_id"))
    assert connection.execute(f"select {query} from {rows}").fetchall() == [
        ("O'Neill", "write_off", "1/W"),
        ("O'Neill", "refund", "2/it's"),
        ("O'Neill", "other", "3/other"),
        ("O'Neill", "write_off", None),
        ("O'Neill", None, None),
    ]


def test_a_constant_is_written_as_everywhere(connection: psycopg.Connection, flows: Any) -> None:
    form = {"decimal": ",", "thousands": ".", "date": "%d.%m.%Y"}
    columns = columns_of(flows, {"amount": {"constant": "1.50"}, "adjusted_on": {"constant": "2026-02-28"}}, **form)
    query = f"select {columns['amount'].value}::text, {columns['adjusted_on'].value}::text"
    assert connection.execute(query).fetchall() == [("1.50", "2026-02-28")]


def test_what_is_not_mapped_is_nothing(connection: psycopg.Connection, flows: Any) -> None:
    column = columns_of(flows, {})["updated_at"]
    assert column.invalid is None and connection.execute(f"select {column.value}").fetchall() == [(None,)]


@pytest.mark.parametrize("text", ["x", "it's", "\\", "'; drop table x; --", "%", "{}", ""])
def test_a_literal_is_that_text(connection: psycopg.Connection, text: str) -> None:
    assert connection.execute(f"select {literal(text)}").fetchall() == [(text,)]  # type: ignore[arg-type]
