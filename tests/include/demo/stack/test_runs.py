from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from demo.stack import runs
from demo.stack.errors import StackFailed
from demo.stack.runs import DAGS, Watch, is_complete, last_published, readable, task_log


def run(dag_id: str, start: str, state: str = "success") -> dict[str, Any]:
    return {"dag_id": dag_id, "start_date": f"2026-01-01T{start}Z", "state": state, "dag_run_id": f"{dag_id} {start}"}


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-01-01T{text}").replace(tzinfo=UTC)


SYNCED = [run(dag_id, "10:00:00") for dag_id in ("sync_crm", "sync_erp", "sync_payments")]
MAINTAINED = run("maintain_warehouse", "10:00:00")
ALL = [
    *SYNCED,
    MAINTAINED,
    run("watch_loads", "10:00:00"),
    run("build_warehouse", "10:01:00"),
    run("publish_reports", "10:02:00"),
]


class FakeApi:
    def __init__(self, found: list[dict[str, Any]], tasks: list[dict[str, Any]] | None = None) -> None:
        self.found, self.tasks, self.unpaused, self.errors = found, tasks or [], [], []

    def runs(self) -> list[dict[str, Any]]:
        return self.found

    def task_instances(self, _dag_id: str, _run_id: str) -> list[dict[str, Any]]:
        return self.tasks

    def import_errors(self) -> list[dict[str, Any]]:
        return self.errors

    def dags(self) -> list[dict[str, Any]]:
        return [{"dag_id": dag_id} for dag_id in DAGS]

    def unpause(self, dag_id: str) -> None:
        self.unpaused.append(dag_id)


def watch(api: FakeApi, tmp_path: Path, published: datetime | None, monkeypatch: pytest.MonkeyPatch) -> Watch:
    monkeypatch.setattr(runs, "last_published", lambda _url: published)
    return Watch(api, "postgresql://", tmp_path, lambda: None, lambda _note: None, timeout=0.0)  # type: ignore[arg-type]


def test_complete_when_all_succeeded_in_order() -> None:
    assert is_complete(ALL, DAGS, at("10:00:30"))


@pytest.mark.parametrize("missing", DAGS)
def test_not_complete_while_a_dag_has_not_run(missing: str) -> None:
    assert not is_complete([each for each in ALL if each["dag_id"] != missing], DAGS, at("10:00:30"))


@pytest.mark.parametrize("state", ["queued", "running"])
def test_not_complete_while_a_run_is_busy(state: str) -> None:
    assert not is_complete([*ALL, run("build_warehouse", "10:03:00", state)], DAGS, at("10:00:30"))


def test_not_complete_when_something_was_published_after_the_last_build_began() -> None:
    assert not is_complete(ALL, DAGS, at("10:01:01"))


def test_not_complete_when_the_reports_show_an_older_build() -> None:
    later = [*ALL, run("build_warehouse", "10:03:00")]
    assert not is_complete(later, DAGS, at("10:00:30"))
    assert is_complete([*later, run("publish_reports", "10:04:00")], DAGS, at("10:00:30"))


def test_not_complete_before_the_first_run() -> None:
    assert not is_complete([], DAGS, None)


def test_a_failed_run_is_told_with_its_first_failed_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = [
        {
            "dag_id": "sync_erp",
            "dag_run_id": "r",
            "task_id": "reconcile",
            "map_index": -1,
            "try_number": 1,
            "end_date": "b",
        },
        {
            "dag_id": "sync_erp",
            "dag_run_id": "r",
            "task_id": "extract",
            "map_index": 3,
            "try_number": 2,
            "end_date": "a",
        },
    ]
    log = tmp_path / "dag_id=sync_erp" / "run_id=r" / "task_id=extract" / "map_index=3" / "attempt=2.log"
    log.parent.mkdir(parents=True)
    log.write_text(json.dumps({"event": "the ERP refused", "level": "error"}))
    api = FakeApi([run("sync_erp", "10:00:00", "failed")], [{**task, "state": "failed"} for task in tasks])
    with pytest.raises(StackFailed, match=r"Task extract of sync_erp failed \(1 more failed\)") as failure:
        runs.wait_until_complete(watch(api, tmp_path, None, monkeypatch))
    assert "the ERP refused" in str(failure.value)
    assert failure.value.where == str(log)


def test_what_takes_too_long_is_told_with_what_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi([*SYNCED, run("build_warehouse", "10:01:00", "running")])
    with pytest.raises(StackFailed, match="3 runs done, running build_warehouse"):
        runs.wait_until_complete(watch(api, tmp_path, None, monkeypatch))


def test_the_number_of_runs_per_dag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi([run("sync_crm", "09:00:00"), *ALL])
    done = runs.wait_until_complete(watch(api, tmp_path, at("10:00:30"), monkeypatch))
    assert done == {**dict.fromkeys(DAGS, 1), "sync_crm": 2}


def test_consumers_are_unpaused_before_producers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi([])
    runs.unpause(watch(api, tmp_path, None, monkeypatch))
    assert api.unpaused == [
        "publish_reports",
        "build_warehouse",
        "sync_crm",
        "sync_erp",
        "sync_payments",
        "maintain_warehouse",
        "watch_loads",
    ]


def test_a_dag_file_that_cannot_be_read_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi([])
    runs.wait_until_known(watch(api, tmp_path, None, monkeypatch))
    api.errors = [{"filename": "dags/sync_erp.py", "stack_trace": "Traceback\n  line\nUsageError: flow broken"}]
    with pytest.raises(StackFailed, match="UsageError: flow broken") as failure:
        runs.wait_until_known(watch(api, tmp_path, None, monkeypatch))
    assert failure.value.where == "dags/sync_erp.py"


def test_a_dead_component_ends_the_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def died() -> None:
        raise StackFailed("airflow-scheduler died with exit code -9.")

    with pytest.raises(StackFailed, match="airflow-scheduler died"):
        runs.wait_until_complete(replace(watch(FakeApi([]), tmp_path, None, monkeypatch), check=died))


def test_the_log_of_a_task_without_mapping() -> None:
    task = {"dag_id": "d", "dag_run_id": "r", "task_id": "t", "map_index": -1, "try_number": 1}
    assert task_log(Path("logs"), task) == Path("logs/dag_id=d/run_id=r/task_id=t/attempt=1.log")


def test_errors_are_what_is_read_in_a_log() -> None:
    lines = [
        {"event": "::group::Log"},
        {"event": "Started", "level": "info"},
        {
            "event": "Task failed",
            "level": "error",
            "error_detail": [{"exc_type": "GateStopped", "exc_value": "no rows"}],
        },
        {"event": "Bye", "level": "info"},
    ]
    assert readable("\n".join(map(json.dumps, lines))) == "Task failed\nGateStopped: no rows"
    assert readable('{"event": "Started"}\nplain text') == "Started\nplain text"
    assert readable("\n".join(f"line {number}" for number in range(50)), lines=2) == "line 48\nline 49"


def test_a_load_that_found_nothing_new_is_no_publication_to_wait_for(warehouse: Any) -> None:
    """It announces nothing, so no build follows it: waiting for one would never end."""
    columns = ["product_id", "sku", "product_name", "product_type", "base_unit_of_measure", "is_billable"]
    flow = warehouse.flows.csv("shop/products", "product", columns)
    assert last_published(warehouse.settings.warehouse_url) is None
    warehouse.flows.put("shop/products.csv", ",".join(columns) + "\nP1,S1,Pump,goods,piece,true\n")
    warehouse.load(flow)
    first = last_published(warehouse.settings.warehouse_url)
    warehouse.load(flow)
    assert warehouse.value("select count(*) from ops.load_ledger") == 2
    assert first is not None and last_published(warehouse.settings.warehouse_url) == first
