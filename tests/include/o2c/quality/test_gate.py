from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from o2c.contracts.entity import Rule
from o2c.errors import GateStopped
from o2c.quality.gate import GateOutcome, GateRequest, run_gate, write_data_docs

KEEP = Rule("positive", '"amount" > 0', "quarantine", "Amounts are positive.")
STOP = Rule("small", '"amount" < 100', "stop", "Amounts are small.")
Run = Callable[..., GateOutcome]


@pytest.fixture
def staged(warehouse: Any) -> str:
    warehouse.run("create table landing.batch (_row int, amount numeric, name text)")
    warehouse.run("insert into landing.batch values (1, 5, 'a'), (2, -1, '50%'), (3, null, ':x {y}')")
    return "batch"


@pytest.fixture
def run(warehouse: Any, staged: str) -> Run:
    def run_one(*rules: Rule, rows: int = 3, table: str = staged) -> GateOutcome:
        (outcome,) = run_gate(warehouse.settings, "shop", [GateRequest("L1", "shop/batch", table, rules, rows)])
        return outcome

    return run_one


def test_the_gate_counts_rows_that_break_a_rule(run: Run) -> None:
    """A row without an amount breaks nothing, as in a SQL CHECK."""
    outcome = run(KEEP, STOP)
    assert outcome.is_open and outcome.evaluated_rows == 3
    assert outcome.unexpected == {"positive": 1, "small": 0}


def test_a_rule_that_stops(run: Run) -> None:
    outcome = run(KEEP, Rule("tiny", '"amount" < 3', "stop", "Amounts are tiny."))
    assert isinstance(outcome.error, GateStopped) and not outcome.is_open
    assert "1 rows break the rule 'tiny', which stops the load: Amounts are tiny." in outcome.error.what
    assert outcome.error.where == "shop/batch, load L1"


def test_no_rule_is_no_pass(run: Run) -> None:
    assert "No rule ran" in str(run().error)


@pytest.mark.parametrize("rows", [0, 2, 4])
def test_the_rows_are_those_of_the_manifest(run: Run, rows: int) -> None:
    assert f"The gate saw 3 rows, the manifest counts {rows}." in str(run(KEEP, rows=rows).error)


def test_an_empty_table_does_not_pass_for_a_full_one(run: Run, warehouse: Any) -> None:
    warehouse.run("truncate landing.batch")
    assert "The gate saw 0 rows, the manifest counts 3." in str(run(KEEP).error)
    assert "The gate saw 0 rows, the manifest counts 0." in str(run(KEEP, rows=0).error)


@pytest.mark.parametrize("predicate", ['"colour" = 1', "\"amount\" > 'x'", '"amount" >', '1 / ("amount" + 1) > 0'])
def test_a_rule_that_cannot_run_stops(run: Run, predicate: str) -> None:
    outcome = run(KEEP, Rule("broken", predicate, "quarantine", "?"))
    assert isinstance(outcome.error, GateStopped) and "could not run" in outcome.error.what
    assert len(str(outcome.error)) < 2_000 and "Traceback" not in str(outcome.error)


def test_a_missing_table_stops(run: Run) -> None:
    outcome = run(KEEP, table="nowhere")
    assert isinstance(outcome.error, GateStopped) and "Traceback" not in str(outcome.error)


def test_one_broken_load_does_not_open_or_close_another(warehouse: Any, staged: str) -> None:
    warehouse.run("create table landing.second as select * from landing.batch")
    requests = [
        GateRequest("L1", "shop/broken", staged, [Rule("broken", '"colour" = 1', "quarantine", "?")], 3),
        GateRequest("L2", "shop/second", "second", [KEEP], 3),
        GateRequest("L3", "shop/none", staged, [], 3),
    ]
    outcomes = run_gate(warehouse.settings, "shop", requests)
    assert [(outcome.load_id, outcome.is_open) for outcome in outcomes] == [("L1", False), ("L2", True), ("L3", False)]


def test_a_result_that_is_missing_stops(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from o2c.quality import gate

    whole = gate._outcome

    def cut(request: GateRequest, result: Any) -> GateOutcome:
        result.results = result.results[:1]
        return whole(request, result)

    monkeypatch.setattr(gate, "_outcome", cut)
    assert "did not run" in str(run(KEEP, STOP).error)


@pytest.mark.parametrize(
    ("predicate", "unexpected"),
    [
        ("\"name\" not like '%0\\%'", 1),
        ("\"name\" not like '%0%%'", 1),
        ("\"name\" <> ':x {y}'", 1),
        ("\"name\" <> '$HOME'", 0),
        ("\"name\" ~ '^.{1}$'", 2),
        ("\"name\" ~ '^a$'", 2),
        ('"amount" >= 0.1 + 0.2', 1),
    ],
)
def test_the_predicate_is_taken_as_it_stands(run: Run, predicate: str, unexpected: int) -> None:
    outcome = run(Rule("as it stands", predicate, "quarantine", "?"))
    assert outcome.error is None and outcome.unexpected == {"as it stands": unexpected}


def test_data_docs_are_written_at_once_when_a_load_is_held_back(run: Run, warehouse: Any) -> None:
    docs: Path = warehouse.settings.reports_dir / "data_docs" / "shop"
    assert run(KEEP).is_open and not (docs / "index.html").exists()
    run(Rule("tiny", '"amount" < 3', "stop", "?"))
    pages = "".join(page.read_text() for page in docs.rglob("*.html"))
    assert (docs / "index.html").exists()
    assert '"amount"' in html.unescape(pages) and ":x {y}" not in html.unescape(pages)


def test_data_docs_on_request(run: Run, warehouse: Any) -> None:
    run(KEEP)
    folder = write_data_docs(warehouse.settings, "shop")
    assert (folder / "index.html").exists()


def test_the_password_is_not_written_down(run: Run, warehouse: Any) -> None:
    run(KEEP)
    password = warehouse.settings.warehouse_url.split(":")[2].split("@")[0]
    files = [path for path in warehouse.settings.home.rglob("*") if path.is_file()]
    assert files and not any(password.encode() in path.read_bytes() for path in files)
