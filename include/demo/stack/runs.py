"""Lets the real scheduler run the DAGs and waits until what they made is complete and up to date."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from demo.stack.airflow_api import AirflowApi
from demo.stack.errors import StackFailed
from demo.stack.processes import tail

# Consumers first: an asset event that comes while they are paused starts nothing.
DAGS = (
    "publish_reports",
    "build_warehouse",
    "sync_crm",
    "sync_erp",
    "sync_payments",
    "maintain_warehouse",
    "watch_loads",
)
_BUILD, _REPORTS = "build_warehouse", "publish_reports"
_BUSY = {"queued", "running"}


@dataclass(frozen=True)
class Watch:
    """What is waited for: these DAGs, the load ledger of this warehouse, task logs below this directory."""

    api: AirflowApi
    warehouse_url: str
    logs: Path
    check: Callable[[], None]
    tell: Callable[[str], None]
    dags: Sequence[str] = DAGS
    timeout: float = 600.0


def wait_until_known(watch: Watch) -> None:
    """Wait until Airflow has read every DAG file.

    Raises:
        StackFailed: a DAG file cannot be read, or a DAG does not appear in time.
    """
    deadline = time.monotonic() + 90.0
    while True:
        watch.check()
        if errors := watch.api.import_errors():
            last_lines = "\n".join(str(errors[0]["stack_trace"]).strip().splitlines()[-8:])
            raise StackFailed(
                f"A DAG file cannot be read.\n{last_lines}",
                where=str(errors[0]["filename"]),
                next_step="Mend the file; 'make test' shows the same error.",
            )
        missing = set(watch.dags) - {dag["dag_id"] for dag in watch.api.dags()}
        if not missing:
            return
        if time.monotonic() > deadline:
            raise StackFailed(
                f"Airflow does not know {', '.join(sorted(missing))}.",
                where="dags/",
                next_step="Read airflow-dag-processor.log in the state directory.",
            )
        time.sleep(0.2)


def unpause(watch: Watch) -> None:
    """Let the scheduler start runs, consumers before producers."""
    for dag_id in watch.dags:
        watch.api.unpause(dag_id)


def wait_until_complete(watch: Watch) -> dict[str, int]:
    """Wait until every DAG has succeeded and reports and marts are newer than the last load; returns runs per DAG.

    Raises:
        StackFailed: a run failed (with the task, its log file and the end of it), a component died, or it took longer
            than ``watch.timeout`` seconds.
    """
    deadline = time.monotonic() + watch.timeout
    while True:
        watch.check()
        runs = watch.api.runs()
        for run in runs:
            if run["state"] == "failed":
                raise _failure(watch, run)
        watch.tell(_describe(runs))
        if is_complete(runs, watch.dags, last_published(watch.warehouse_url)):
            return {dag_id: sum(run["dag_id"] == dag_id for run in runs) for dag_id in watch.dags}
        if time.monotonic() > deadline:
            raise StackFailed(
                f"The DAGs are not done after {watch.timeout:.0f} s: {_describe(runs)}.",
                where=str(watch.logs),
                next_step="Read the task logs there.",
            )
        time.sleep(0.3)


def is_complete(runs: Sequence[Mapping[str, Any]], dags: Sequence[str], published: datetime | None) -> bool:
    """Whether all is done: each DAG succeeded, none is busy, and what was published last has been built and reported.

    A moment without a busy run proves nothing: the run that an asset event will start may not exist yet. So the last
    build must have begun after the last publication, and the last reports after that build.
    """
    done = {dag_id: [run for run in runs if run["dag_id"] == dag_id and run["state"] == "success"] for dag_id in dags}
    if not all(done.values()) or any(run["state"] in _BUSY for run in runs):
        return False
    if published is None or _BUILD not in done or _REPORTS not in done:
        return published is None
    build = max(done[_BUILD], key=lambda run: _time(run["start_date"]))
    newest_report = max(_time(run["start_date"]) for run in done[_REPORTS])
    return _time(build["start_date"]) >= published and newest_report >= _time(build["start_date"])


def last_published(warehouse_url: str) -> datetime | None:
    """When rows were last published (UTC), or None when none were.

    A load that found nothing new announces nothing, so no build will follow it.
    """
    with psycopg.connect(warehouse_url) as connection:
        known = connection.execute("select to_regclass('ops.load_ledger')").fetchone()
        if known is None or known[0] is None:
            return None
        row = connection.execute("select max(published_at) from ops.load_ledger where published_rows > 0").fetchone()
        return row[0] if row else None


def task_log(logs: Path, task: Mapping[str, Any]) -> Path:
    """The log file of one try of a task."""
    folder = logs / f"dag_id={task['dag_id']}" / f"run_id={task['dag_run_id']}" / f"task_id={task['task_id']}"
    if int(task.get("map_index", -1)) >= 0:
        folder /= f"map_index={task['map_index']}"
    return folder / f"attempt={task['try_number']}.log"


def readable(log: str, lines: int = 12) -> str:
    """The errors of a task log (its lines are JSON), or its last messages when it tells of none."""
    messages: list[str] = []
    errors: list[str] = []
    for line in log.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            messages.append(line)
            continue
        # "::group::" and the like only fold the log page.
        said = [text for text in [str(record.get("event", ""))] if not text.startswith("::")]
        said += [f"{error.get('exc_type')}: {error.get('exc_value')}" for error in record.get("error_detail") or []]
        messages += said
        errors += said if record.get("level") in ("error", "critical") else []
    return "\n".join("\n".join(errors or messages).splitlines()[-lines:])


def _failure(watch: Watch, run: Mapping[str, Any]) -> StackFailed:
    tasks = watch.api.task_instances(run["dag_id"], run["dag_run_id"])
    # The first to fail is the cause; later ones often only count the damage.
    failed = sorted((task for task in tasks if task["state"] == "failed"), key=lambda task: task["end_date"] or "")
    if not failed:
        return StackFailed(f"A run of {run['dag_id']} failed.", where=str(run["dag_run_id"]))
    path = task_log(watch.logs, failed[0])
    others = f" ({len(failed) - 1} more failed)" if len(failed) > 1 else ""
    return StackFailed(
        f"Task {failed[0]['task_id']} of {run['dag_id']} failed{others}.\n{readable(tail(path, 60))}",
        where=str(path),
        next_step="Read the message above; the log has the whole story. What was published before is untouched.",
    )


def _describe(runs: Sequence[Mapping[str, Any]]) -> str:
    if not runs:
        return "waiting for the scheduler"
    busy = sorted({run["dag_id"] for run in runs if run["state"] in _BUSY})
    done = sum(run["state"] == "success" for run in runs)
    return f"{done} runs done" + (f", running {', '.join(busy)}" if busy else "")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
