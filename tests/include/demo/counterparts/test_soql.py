from __future__ import annotations

from decimal import Decimal

import pytest

from demo.counterparts import soql

RECORDS = [
    {
        "Id": "1",
        "Name": "Alpha",
        "Amount": Decimal("10.10"),
        "IsWon": True,
        "At": "2025-01-01T00:30:00.000+0100",
        "Cur": "EUR",
    },
    {
        "Id": "2",
        "Name": "beta",
        "Amount": Decimal("0.20"),
        "IsWon": False,
        "At": "2025-01-01T00:00:00.000Z",
        "Cur": "JPY",
    },
    {
        "Id": "3",
        "Name": "O'Neil",
        "Amount": None,
        "IsWon": True,
        "At": None,
        "Cur": "EUR",
        "Account": {"Name": "Parent"},
    },
]


def ids(where: str) -> list[str]:
    return [record["Id"] for record in soql.rows(soql.parse(f"SELECT Id FROM Deal {where}"), RECORDS)]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("", ["1", "2", "3"]),
        ("WHERE Name = 'ALPHA'", ["1"]),
        ("WHERE Name = 'O\\'Neil'", ["3"]),
        ("WHERE Name LIKE '_E%'", ["2"]),
        ("WHERE Amount > 0.2", ["1"]),
        ("WHERE Amount >= 0.20 AND IsWon = true", ["1"]),
        ("WHERE (Amount < 1 OR Amount = null) AND NOT (Cur = 'JPY')", ["3"]),
        ("WHERE Cur IN ('JPY', 'USD')", ["2"]),
        ("WHERE Cur NOT IN ('JPY', 'USD')", ["1", "3"]),
        ("WHERE At != null", ["1", "2"]),
        ("WHERE At < 2024-12-31T23:45:00Z", ["1"]),
        ("WHERE Account.Name = 'parent'", ["3"]),
        ("ORDER BY Amount ASC", ["3", "2", "1"]),
        ("ORDER BY Amount DESC NULLS LAST, Id", ["1", "2", "3"]),
        ("ORDER BY At ASC NULLS LAST", ["1", "2", "3"]),
        ("ORDER BY Cur DESC, Id DESC LIMIT 2", ["2", "3"]),
    ],
)
def test_conditions_and_order(where: str, expected: list[str]) -> None:
    assert ids(where) == expected


def test_aggregates_are_exact_and_grouped() -> None:
    query = soql.parse("SELECT Cur, COUNT(Id) c, SUM(Amount) s FROM Deal GROUP BY Cur ORDER BY Cur")
    assert soql.rows(query, RECORDS) == [
        {"Cur": "EUR", "c": 2, "s": Decimal("10.10")},
        {"Cur": "JPY", "c": 1, "s": Decimal("0.20")},
    ]


def test_an_aggregate_over_nothing_is_one_row() -> None:
    query = soql.parse("SELECT COUNT(Id) c, SUM(Amount) s FROM Deal WHERE Id = 'none'")
    assert soql.rows(query, RECORDS) == [{"c": 0, "s": None}]


def test_a_bare_count_has_no_items() -> None:
    assert soql.parse("SELECT COUNT() FROM Deal").items == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SELECT FROM Deal",
        "SELECT Id Deal",
        "SELECT Id FROM Deal WHERE Name = 'open",
        "SELECT Id FROM Deal LIMIT x",
        "SELECT Id FROM Deal WHERE Name ~ 'x'",
        "SELECT Id FROM Deal extra",
        "SELECT Id FROM Deal; DELETE",
    ],
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(soql.SoqlError) as refused:
        soql.parse(text)
    assert refused.value.code == "MALFORMED_QUERY"
