from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from o2c.errors import FatalSourceError
from o2c.warehouse.meter import MoneyColumns, Totals, metered


def count(*blocks: bytes, columns: int = 3, delimiter: str = ",", money: MoneyColumns | None = None) -> Totals:
    totals = Totals()
    assert list(metered(iter(blocks), columns, delimiter, money, totals)) == list(blocks)
    return totals


def test_records_are_counted_not_lines() -> None:
    assert count(b'1,a,x\n2,"two\nlines",y\n', b'3,"",\n').rows == 3
    assert count(b"1\n\n2\n", columns=1).rows == 3
    assert count().rows == 0


def test_sums_are_exact_and_by_currency() -> None:
    totals = count(
        b"1,0.10,EUR\n2,0.20,EUR\n3,100,JPY\n", b"4,1.234,KWD\n5,-0.30,EUR\n6,7,\n", money=MoneyColumns(1, 2)
    )
    assert totals.rows == 6
    assert dict(totals.amounts) == {"EUR": Decimal("0.00"), "JPY": 100, "KWD": Decimal("1.234"), "": 7}


def test_a_constant_currency() -> None:
    assert dict(count(b"1,2.5\n2,,\n"[:10], columns=2, money=MoneyColumns(1, "CHF")).amounts) == {"CHF": Decimal("2.5")}


@pytest.mark.parametrize("text", ["", "abc", "NaN", "Infinity", "-Infinity", "1,5", "1.2.3", "--1", "sNaN"])
def test_what_is_no_amount_counts_as_nothing(text: str) -> None:
    assert sum(count(f'1,"{text}",EUR\n'.encode(), money=MoneyColumns(1, 2)).amounts.values()) == 0


def test_more_digits_than_a_decimal_keeps_by_default() -> None:
    rows = b'1,"123456789012345678901234567890",EUR\n2,0.01,EUR\n3,0.02,EUR\n'
    assert count(rows, money=MoneyColumns(1, 2)).amounts["EUR"] == Decimal("123456789012345678901234567890.03")


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1.234,56", "1234.56"),
        ("-1.234.567,8", "-1234567.8"),
        ("12,5", "12.5"),
        ("1234,56", "1234.56"),
        ("0", "0"),
        ("1.50", "0"),  # the comma is the decimal sign here: this would be 150
        ("1,234.56", "0"),
        ("12.34,5", "0"),
    ],
)
def test_decimal_comma(text: str, amount: str) -> None:
    money = MoneyColumns(1, 2, decimal=",", thousands=".")
    assert count(f"1;{text};EUR\n".encode(), delimiter=";", money=money).amounts["EUR"] == Decimal(amount)


@pytest.mark.parametrize(("text", "amount"), [("1,5", "1.5"), ("1.5", "0"), ("1.234,5", "0")])
def test_decimal_comma_without_thousands(text: str, amount: str) -> None:
    money = MoneyColumns(1, 2, decimal=",")
    assert count(f"1;{text};EUR\n".encode(), delimiter=";", money=money).amounts["EUR"] == Decimal(amount)


def test_the_thread_ends_when_the_reader_breaks_off() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"1,2,EUR\n"

    totals = Totals()
    stream = metered(endless(), 3, ",", MoneyColumns(1, 2), totals)
    assert [next(stream) for _ in range(3)] == [b"1,2,EUR\n"] * 3
    stream.close()  # type: ignore[attr-defined]
    assert 2 <= totals.rows <= 3


def test_what_cannot_be_parsed_is_refused() -> None:
    totals = Totals()
    with pytest.raises(FatalSourceError, match="cannot be counted") as caught:
        list(metered(iter([b"1,2\n", b'3,"4\n']), 2, ",", None, totals))
    assert caught.value.reason == "malformed_file"


@given(
    st.lists(st.tuples(st.sampled_from(["EUR", "JPY", ""]), st.decimals(-(10**9), 10**9, places=3)), max_size=30),
    st.integers(1, 7),
)
def test_any_amounts_sum_exactly(rows: list[tuple[str, Decimal]], size: int) -> None:
    lines = [f"{index},{amount:f},{currency}\n".encode() for index, (currency, amount) in enumerate(rows)]
    blocks = [b"".join(lines[start : start + size]) for start in range(0, len(lines), size)]
    totals = count(*blocks, money=MoneyColumns(1, 2))
    expected: dict[str, Decimal] = {}
    for currency, amount in rows:
        expected[currency] = expected.get(currency, Decimal(0)) + amount
    assert totals.rows == len(rows) and {k: v for k, v in totals.amounts.items() if v} == {
        k: v for k, v in expected.items() if v
    }
