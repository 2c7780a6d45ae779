"""``make demo`` from nothing, as a newcomer runs it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("stack")]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    home = tmp_path_factory.mktemp("home")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("O2C_", "AIRFLOW"))}
    done = subprocess.run(
        ["make", "-C", str(PROJECT), "demo"], env={**environment, "O2C_HOME": str(home)}, capture_output=True, text=True
    )
    return home, done


def test_all_of_it_holds(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    _home, done = demo
    assert done.returncode == 0, done.stdout + done.stderr


def test_airflow_itself_lists_a_run_of_every_dag(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    home, _done = demo
    runs = json.loads((home / "demo" / "dag_runs.json").read_text())
    dags = {path.stem for path in (PROJECT / "dags").glob("*.py")}
    assert len(dags) >= 5
    types = {run["dag_id"]: run["run_type"] for run in runs if run["state"] == "success"}
    assert types.keys() == dags
    assert set(types.values()) == {"scheduled", "asset_triggered"}
    assert {run["state"] for run in runs} == {"success"}


def test_the_reports_are_where_a_person_looks(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    home, done = demo
    assert f"{home}/reports/" in done.stdout.replace("\n", "")
    names = {path.suffix for path in (home / "reports").iterdir()}
    assert {".html", ".xlsx"} <= names


def test_nothing_is_left(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    home, _done = demo
    assert list((home / "demo" / "pids").iterdir()) == []
