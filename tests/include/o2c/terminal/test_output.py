from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import psycopg
import pytest
import typer

from o2c.errors import UsageError
from o2c.terminal.output import Format, plain_errors, show_rows

COLUMNS = ["name", "amount", "day", "at"]
ROWS = [
    ("a, [b]", Decimal("1234567.10"), date(2026, 2, 28), datetime(2026, 2, 28, 9, 30, tzinfo=UTC)),
    (None, Decimal("NaN"), None, None),
]


def test_csv_is_exact(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows(COLUMNS, ROWS, Format.csv)
    assert capsys.readouterr().out.replace("\r\n", "\n") == (
        'name,amount,day,at\n"a, [b]",1234567.10,2026-02-28,2026-02-28 09:30:00+00:00\n,NaN,,\n'
    )


def test_no_cell_of_csv_is_a_formula(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = ["=cmd()", "+1-2", "-2+3", "@SUM(A1)", "\t=1", "\r=1"]
    harmless = ["-5", "+49", "-1.50", "a=b", "", "'x"]
    show_rows(["=head"], [(text,) for text in [*hostile, *harmless]] + [(Decimal("-5.10"),), (-7,)], Format.csv)
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out, newline="")))
    assert [row[0] if row else "" for row in rows] == [
        "'=head",
        *(f"'{text}" for text in hostile),
        *harmless,
        "-5.10",
        "-7",
    ]


def test_json_is_exact(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows(COLUMNS, ROWS, Format.json)
    assert json.loads(capsys.readouterr().out) == [
        {"name": "a, [b]", "amount": "1234567.10", "day": "2026-02-28", "at": "2026-02-28 09:30:00+00:00"},
        {"name": None, "amount": "NaN", "day": None, "at": None},
    ]


def test_json_of_anything_a_database_holds(capsys: pytest.CaptureFixture[str]) -> None:
    odd = [(b"\x01\xff", timedelta(days=1), UUID(int=7), [Decimal("1.5")], {"a": [1]})]
    show_rows(["a", "b", "c", "d", "e"], odd, Format.json)
    (row,) = json.loads(capsys.readouterr().out)
    assert row["a"] == "\\x01ff" and row["d"] == ["1.5"] and row["e"] == {"a": [1]}


def test_a_table_groups_thousands_and_shows_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows(COLUMNS, ROWS, Format.table, "Title")
    shown = capsys.readouterr().out
    assert "1,234,567.10" in shown and "[b]" in shown and "Title" in shown and "None" not in shown


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (UsageError("No [/flow].", where="[a]", next_step="Try [b]."), 2, "No [/flow]."),
        (psycopg.errors.UndefinedTable("relation [x] is missing"), 1, "relation [x] is missing"),
        (KeyboardInterrupt(), 130, "Nothing is half loaded"),
    ],
)
def test_errors_become_a_message_and_a_code(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, word: str
) -> None:
    with pytest.raises(typer.Exit) as caught, plain_errors():
        raise error
    shown = capsys.readouterr().err
    assert caught.value.exit_code == code and word in shown and "Traceback" not in shown
