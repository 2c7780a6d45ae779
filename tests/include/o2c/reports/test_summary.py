from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from io import StringIO
from typing import Any

import psycopg
import pytest
from rich.console import Console

from o2c.errors import UsageError
from o2c.reports.facts import Facts
from o2c.reports.summary import print_summary, problems
from o2c.settings import Settings


def printed(settings: Settings, width: int = 100) -> tuple[bool, str]:
    screen = StringIO()
    held = print_summary(settings, Console(file=screen, width=width))
    return held, screen.getvalue()


def test_everything_held(facts: Facts) -> None:
    assert problems(facts) == []


@pytest.mark.parametrize(
    ("part", "index", "values", "said"),
    [
        ("ledger", 0, {"published_rows": 3}, "does not close"),
        ("ledger", 1, {"quarantined_amount": Decimal("200.01")}, "does not close"),
        (
            "loads",
            2,
            {"state": "stopped", "error": "Two rows break it.\nwhere: x"},
            "ended 'stopped': Two rows break it.",
        ),
        ("loads", 0, {"state": "failed"}, "ended 'failed'."),
        ("loads", 0, {"state": "extracting"}, "ended 'extracting'."),
        ("tie_outs", 3, {"difference_amount": Decimal("0.01"), "is_tied_out": False}, "differ by KWD"),
        ("tie_outs", 69, {"difference_amount": Decimal("-1"), "is_tied_out": True}, "differ by USD"),
        ("tie_outs", 0, {"difference_amount": None, "is_tied_out": None}, "differ by –"),
    ],
)
def test_whatever_does_not_hold_is_said(
    broken: Callable[..., Facts], part: str, index: int, values: dict[str, Any], said: str
) -> None:
    (problem,) = problems(broken(part, index, **values))
    assert said in problem


@pytest.mark.parametrize("part", ["loads", "ageing", "dso", "tie_outs"])
def test_an_empty_part_does_not_pass_for_a_good_one(facts: Facts, part: str) -> None:
    assert problems(replace(facts, **{part: []}))


@pytest.mark.integration
def test_the_summary_names_the_figures_and_fits_the_screen(built: Settings) -> None:
    held, text = printed(built)
    assert held is True
    assert max(len(line) for line in text.splitlines()) <= 100
    words = " ".join(text.replace("\u00a0", " ").split())
    for expected in (
        "erp 2 2 2,414 2,409 3 2 EUR 8,200,300.55",
        "KWD 120,400.375",
        "erp 2 6 2 3 0",
        "Group 123.0 97.1 119.0 104.0 EUR 2,380,000.00",
        "Group 3,747,451 612,802 191,000 84,351 68,802 −70,382 4,634,024 0",
        "L01 Shipped, not billed recoverable 2 8,104.50",
        "✓ Every load closes, every flow published, every tie-out is zero.",
    ):
        assert expected in words, expected


@pytest.mark.integration
def test_it_reads_only_and_says_where_the_reports_lie(built: Settings) -> None:
    built.reports_dir.mkdir(parents=True)
    (built.reports_dir / "receivables.html").write_text("x")
    _, text = printed(built)
    assert str(built.reports_dir / "receivables.html") in text.replace("\n", "")
    assert "receivables.xlsx" not in text


@pytest.mark.integration
def test_one_difference_makes_it_fail(built: Settings) -> None:
    with psycopg.connect(built.warehouse_url) as connection:
        connection.execute(
            "update marts_receivables.rpt_control_account_tie_out set is_tied_out = false, difference_amount = 0.01"
            " where currency_code = 'JPY' and as_of_date = (select min(as_of_date)"
            " from marts_receivables.rpt_control_account_tie_out)"
        )
    held, text = printed(built)
    assert held is False
    assert "28 Feb 2025" in text


@pytest.mark.integration
def test_empty_marts_do_not_hold(built: Settings) -> None:
    with psycopg.connect(built.warehouse_url) as connection:
        connection.execute("truncate marts_receivables.rpt_ageing_monthly")
    held, text = printed(built)
    assert held is False
    assert "There are no receivables to report." in text


@pytest.mark.integration
def test_a_warehouse_without_marts_is_wrong_use(warehouse: Any) -> None:
    with pytest.raises(UsageError):
        printed(warehouse.settings)
