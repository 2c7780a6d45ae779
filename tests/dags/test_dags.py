"""Every DAG as Airflow sees it: exactly the ones we expect, owned, documented, gated, and the same on every parse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]
EXPECTED = {
    "sync_crm",
    "sync_erp",
    "sync_payments",
    "maintain_warehouse",
    "build_warehouse",
    "publish_reports",
    "watch_loads",
}
# Airflow keeps state in the process it is imported in; a process of its own keeps ours clean.
READ = """
import json
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization

bag = DagBag({dags!r})
print("RESULT" + json.dumps({{
    "errors": bag.import_errors,
    "seconds": max(stat.duration.total_seconds() for stat in bag.dagbag_stats),
    "dags": {{
        dag.dag_id: {{
            "owners": sorted({{task.owner for task in dag.tasks}}),
            "tags": sorted(dag.tags),
            "doc": dag.doc_md or "",
            "catchup": dag.catchup,
            "max_active_runs": dag.max_active_runs,
            "tasks": {{task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks}},
            "outlets": {{task.task_id: [asset.uri for asset in task.outlets] for task in dag.tasks}},
            "retries": {{task.task_id: task.retries for task in dag.tasks}},
            "serialized": DagSerialization.to_dict(dag),
        }}
        for dag in bag.dags.values()
    }},
}}, default=str, sort_keys=True))
"""


def read_dags(home: Path, dags: Path = PROJECT / "dags") -> dict[str, Any]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(PROJECT / "include"),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "true",
    }
    done = subprocess.run(
        [sys.executable, "-c", READ.format(dags=str(dags))],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    assert lines, done.stderr[-2000:]
    return json.loads(lines[0].removeprefix("RESULT"))


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return read_dags(tmp_path_factory.mktemp("airflow"))


def test_exactly_these_dags(parsed: dict[str, Any]) -> None:
    assert parsed["errors"] == {}
    assert parsed["dags"].keys() == EXPECTED


def test_a_file_is_parsed_quickly(parsed: dict[str, Any]) -> None:
    assert parsed["seconds"] < 5


@pytest.mark.parametrize("dag_id", sorted(EXPECTED))
def test_policy(parsed: dict[str, Any], dag_id: str) -> None:
    dag = parsed["dags"][dag_id]
    assert dag["owners"] and "airflow" not in dag["owners"]
    assert "o2c" in dag["tags"]
    assert "**If it fails:**" in dag["doc"]
    assert dag["catchup"] is False
    assert dag["max_active_runs"] == 1


@pytest.mark.parametrize("dag_id", ["sync_crm", "sync_erp", "sync_payments"])
def test_nothing_is_published_past_the_gate(parsed: dict[str, Any], dag_id: str) -> None:
    dag = parsed["dags"][dag_id]
    assert dag["tasks"] == {"extract": ["gate"], "gate": ["publish"], "publish": ["reconcile"], "reconcile": []}
    source = dag_id.removeprefix("sync_")
    outlets = {task: uris for task, uris in dag["outlets"].items() if uris}
    assert outlets == {"publish": [f"o2c://warehouse/raw/{source}"]}


def test_a_source_is_announced_by_its_own_reconciliation_only(parsed: dict[str, Any]) -> None:
    maintain = parsed["dags"]["maintain_warehouse"]
    assert maintain["tasks"] == {"reconcile_crm": ["report"], "reconcile_erp": ["report"], "report": []}
    assert {task: uris for task, uris in maintain["outlets"].items() if uris} == {
        "reconcile_crm": ["o2c://warehouse/raw/crm"],
        "reconcile_erp": ["o2c://warehouse/raw/erp"],
    }


def test_marts_are_announced_only_by_the_tie_outs(parsed: dict[str, Any]) -> None:
    build = parsed["dags"]["build_warehouse"]
    assert build["tasks"] == {"build": ["reconcile"], "reconcile": []}
    assert {task: uris for task, uris in build["outlets"].items() if uris} == {"reconcile": ["o2c://warehouse/marts"]}


def test_the_watch_waits_for_nothing_but_the_clock_and_new_marts(parsed: dict[str, Any]) -> None:
    watch = parsed["dags"]["watch_loads"]
    assert watch["tasks"] == {"watch": []}
    assert watch["outlets"] == {"watch": []}
    timetable = json.dumps(watch["serialized"]["dag"]["timetable"])
    assert "*/10 * * * *" in timetable and "o2c://warehouse/marts" in timetable and "raw" not in timetable


def test_sources_are_tried_again(parsed: dict[str, Any]) -> None:
    assert all(parsed["dags"][f"sync_{source}"]["retries"]["extract"] >= 2 for source in ("crm", "erp", "payments"))


def test_parsing_twice_gives_the_same(parsed: dict[str, Any], tmp_path: Path) -> None:
    again = read_dags(tmp_path)
    assert {name: dag["serialized"] for name, dag in again["dags"].items()} == {
        name: dag["serialized"] for name, dag in parsed["dags"].items()
    }


def test_a_broken_file_is_seen(tmp_path: Path) -> None:
    folder = tmp_path / "dags"
    folder.mkdir()
    (folder / "broken.py").write_text("# airflow dag\nfrom o2c.pipelines.sync import sync_dag\nsync_dag('nowhere')\n")
    (folder / "good.py").write_text((PROJECT / "dags" / "sync_crm.py").read_text())
    found = read_dags(tmp_path / "home", folder)
    assert list(found["errors"]) == [str(folder / "broken.py")] or list(found["errors"]) == ["broken.py"]
    assert found["dags"].keys() == {"sync_crm"}
