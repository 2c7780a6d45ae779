"""Somebody else's receivables, from an empty directory to DSO, with YAML only: the recipe of docs/add-a-source.md."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]
EXAMPLE = PROJECT / "docs" / "examples" / "foreign_receivables"
Run = Callable[..., str]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty directory with a copy of the recipe's files."""
    shutil.copytree(EXAMPLE, tmp_path / "books")
    return tmp_path


@pytest.fixture
def o2c(database: str, home: Path) -> Run:
    """The ``o2c`` command in a process of its own, started in the empty directory; it must succeed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("O2C_", "AIRFLOW", "PG"))}
    environment |= {
        "O2C_HOME": str(home / "state"),
        "O2C_FLOWS": str(home / "books" / "flows"),
        "O2C_WAREHOUSE_URL": database,
        "PYTHONPATH": str(PROJECT / "include"),
        "COLUMNS": "200",
    }

    def run(*words: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "o2c.cli", *words], cwd=home, env=environment, capture_output=True, text=True
        )
        assert done.returncode == code, f"o2c {' '.join(words)}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stdout + done.stderr
        return done.stdout

    return run


def ask(o2c: Run, question: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(o2c("sql", question, "--format", "csv"))))


@pytest.mark.slow
def test_from_an_empty_directory_to_dso(o2c: Run, home: Path) -> None:
    assert "32 raw tables" in o2c("init")
    assert "6 flows hold." in o2c("flow", "check")
    shown = o2c("sync")
    assert _loads(shown) == {
        "us_books/invoices": ["5", "5", "0", "0"],
        "us_books/receipts": ["3", "3", "0", "0"],
        "us_books/receipt_applications": ["3", "3", "0", "0"],
        "german_books/invoices": ["3", "3", "0", "0"],
        "german_books/receipts": ["1", "1", "0", "0"],
        "german_books/receipt_applications": ["1", "1", "0", "0"],
    }
    assert ask(o2c, "select sum(total_amount) as total, currency_code from raw.invoice group by 2 order by 2") == [
        {"total": "10000.00", "currency_code": "EUR"},
        {"total": "50000.00", "currency_code": "USD"},
    ]
    assert ask(o2c, "select payer_name, received_on from raw.receipt where source_system = 'german_books'") == [
        {"payer_name": "Müller & Söhne GmbH", "received_on": "2026-02-20"}
    ]
    o2c("build", "--as-of", "2026-03-31")
    # USD: 8,500.50 + 20,000.00 + 5,499.50 are open on 31 March (1005 is settled in April), 50,000.00 were billed in
    # the 90 days of January to March: 34,000 / 50,000 x 90 = 61.2. EUR: 8,800 / 10,000 x 90 = 79.2.
    question = (
        "select entity_code, currency_code, metric_name, days_in_window, dso_days"
        " from marts_receivables.rpt_dso_monthly"
        " where as_of_date = '2026-03-31' and scope = 'entity_currency' and ar_basis = 'net_of_unapplied'"
        " order by entity_code, metric_name"
    )
    assert [list(row.values()) for row in ask(o2c, question)] == [
        ["DE01", "EUR", "dso_rolling_3", "90", "79.2000"],
        ["DE01", "EUR", "dso_simple", "90", "79.2000"],
        ["US01", "USD", "dso_rolling_3", "90", "61.2000"],
        ["US01", "USD", "dso_simple", "90", "61.2000"],
    ]
    # 1002 was due on 19 February: forty days late. R-2 was due on 5 March: twenty-six days.
    question = (
        "select entity_code, current_amount, days_1_30_amount, days_31_60_amount, net_receivables_amount"
        " from marts_receivables.rpt_ageing_monthly where as_of_date = '2026-03-31' order by 1"
    )
    assert [list(row.values()) for row in ask(o2c, question)] == [
        ["DE01", "6000.00", "2800.00", "0.00", "8800.00"],
        ["US01", "25499.50", "0.00", "8500.50", "34000.00"],
    ]
    _next_month(o2c, home)


def _next_month(o2c: Run, home: Path) -> None:
    """A new file beside the first one: only it is read; what it repeats is known."""
    first = (home / "books" / "data" / "us_open_items.csv").read_text().splitlines()
    settled = next(line for line in first if line.startswith("1004")).replace('",,', '",04/07/2026,')
    bad = '1006,C-31,Granite Works LLC,04/09/2026,04/01/2026,"1,000.00",,mk'
    (home / "books" / "data" / "us_open_items_april.csv").write_text("\n".join([first[0], settled, bad]) + "\n")
    shown = _loads(o2c("sync"))
    assert shown["us_books/invoices"] == ["2", "0", "1", "1"] and shown["us_books/receipts"] == ["1", "1", "0", "0"]
    assert shown["german_books/invoices"] == ["0", "0", "0", "0"]
    assert "The due date lies before the invoice date." in o2c("sql", "select reason from quarantine.record")
    assert _loads(o2c("sync"))["us_books/invoices"] == ["0", "0", "0", "0"]


def _loads(shown: str) -> dict[str, list[str]]:
    lines = [[cell.strip() for cell in line.strip("│").split("│")] for line in shown.splitlines() if "_books/" in line]
    return {cells[0]: cells[2:] for cells in lines}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (("Gross", "Amount"), "'Gross' is missing in us_open_items.csv"),
        (("01/05/2026", "2026-01-05"), None),
    ],
)
def test_a_file_that_differs_from_the_recipe(
    warehouse: Any, home: Path, entities: Any, change: tuple[str, str], word: str | None
) -> None:
    from o2c.contracts.flow import load_flow

    path = home / "books" / "data" / "us_open_items.csv"
    path.write_text(path.read_text().replace(*change, 1))
    flow = load_flow(home / "books" / "flows" / "us_books" / "invoices.yml", entities)
    (result,) = warehouse.sync(flow)
    if word:
        assert word in str(result.error) and "mapping.net_amount" in str(result.error)
    else:
        assert result.published.rows == {"published": 4, "quarantined": 1, "duplicate": 0}
        assert warehouse.value("select rules from quarantine.record")[0] == "type:issued_on"
