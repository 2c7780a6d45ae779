"""``make demo`` from nothing, as a newcomer runs it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import canary
import pytest

# Where a secret is kept: in files that only their owner reads.
AIRFLOW_USERS = ("airflow_admin", "airflow_viewer")
# A name is no secret.
NO_SECRETS = ("crm_client_id",)
PROJECT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.integration, pytest.mark.slow]


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


def test_no_secret_is_kept_where_it_does_not_belong(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """Every password of the run is a canary: looked for in what was printed, in every file, in every table."""
    home, done = demo
    secrets = json.loads((home / "demo" / "secrets.json").read_text())
    canaries = {name: value for name, value in secrets.items() if name not in NO_SECRETS}
    assert len(canaries) >= 12 and all(len(value) >= 20 for value in canaries.values())
    seen = {"printed": done.stdout + done.stderr} | canary.files(home) | canary.tables(home / "demo", secrets)
    tables = {"airflow: public.xcom", "airflow: public.rendered_task_instance_fields", "warehouse: ops.load"}
    assert len(seen) > 500 and {*tables, "warehouse: ops.evidence", "erp: erp.debtor"} <= seen.keys()
    assert canary.found(canaries, seen) == {
        *(("demo/secrets.json", name) for name in canaries),
        *(("demo/airflow/passwords.json", name) for name in AIRFLOW_USERS),
    }
    assert [place for place, text in seen.items() if canary.CRM_TOKEN.search(text)] == []
    for name in ("secrets.json", "airflow/passwords.json"):
        assert (home / "demo" / name).stat().st_mode & 0o077 == 0, name


def test_nothing_is_left(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    home, _done = demo
    assert list((home / "demo" / "pids").iterdir()) == []
