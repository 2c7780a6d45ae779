"""The real stack with small DAGs: started, watched, interrupted; nothing listens beyond loopback, nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

PROJECT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.integration, pytest.mark.slow]

SMALL_DAGS = """
import os
import time
from pathlib import Path

from airflow.sdk import Asset, dag, task
from airflow.timetables.trigger import CronTriggerTimetable


def small(dag_id, schedule, outlet):
    @dag(dag_id=dag_id, schedule=schedule, catchup=False, max_active_runs=1)
    def build():
        @task(outlets=[Asset(outlet)])
        def work():
            if os.environ.get("O2C_TEST_FAIL") == dag_id:
                raise ValueError("planted failure")
            time.sleep(float(os.environ.get("O2C_TEST_SECONDS", "0")))
            reports = Path(os.environ["O2C_HOME"], "reports")
            reports.mkdir(exist_ok=True)
            (reports / f"{dag_id}.html").touch()

        work()

    return build()


now = CronTriggerTimetable("0 0 1 1 *", timezone="UTC", run_immediately=True)
raw = {name: small(f"sync_{name}", now, f"raw/{name}") for name in ("crm", "erp", "payments")}
globals().update(raw)
build = small("build_warehouse", Asset("raw/crm") | Asset("raw/erp") | Asset("raw/payments"), "marts")
reports = small("publish_reports", [Asset("marts")], "reports")
watch = small("watch_loads", now, "watch")
maintain = small("maintain_warehouse", now, "maintain")
"""


@pytest.fixture(scope="module")
def dags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dags")
    (folder / "small.py").write_text(SMALL_DAGS)
    return folder


@pytest.fixture
def start(dags: Path, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start ``python -m demo.stack <action>`` in a state directory of its own; whatever is left is stopped."""
    from demo.stack.processes import stop_recorded

    def run(action: str, **extra: str) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("O2C_", "AIRFLOW"))}
        environment |= {
            "PYTHONPATH": str(PROJECT / "include"),
            "O2C_HOME": str(tmp_path),
            "O2C_DAGS": str(dags),
            **extra,
        }
        command = [sys.executable, "-m", "demo.stack", action]
        return subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    yield run
    for name in ("demo", "up"):
        stop_recorded(tmp_path / name / "pids")


def processes_of(home: Path) -> list[psutil.Process]:
    """Everything that runs for this state directory: it is in the command line, or that of a forefather."""
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        try:
            if any(str(home) in word for word in process.cmdline()) or process.environ().get("O2C_HOME", "").startswith(
                str(home)
            ):
                found |= {each.pid: each for each in (process, *process.children(recursive=True))}
        except psutil.Error:
            continue
    return [process for process in found.values() if process.pid != os.getpid() and is_alive(process)]


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def addresses(processes: list[psutil.Process]) -> set[str]:
    listening = set()
    for process in processes:
        try:
            found = process.net_connections(kind="inet")
        except psutil.Error:
            continue
        listening |= {each.laddr.ip for each in found if each.status == psutil.CONN_LISTEN}
    return listening


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if text in line:
            return said
    raise AssertionError(f"'{text}' never came:\n{said}")


def test_up_runs_every_dag_and_down_leaves_nothing(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    said, _ = (up := start("up")).communicate(timeout=300)
    assert up.returncode == 0, said
    running = processes_of(tmp_path)
    assert len(running) >= 8
    assert addresses(running) == {"127.0.0.1"}

    runs = json.loads((tmp_path / "up" / "dag_runs.json").read_text())
    types = {run["dag_id"]: run["run_type"] for run in runs if run["state"] == "success"}
    assert types == {
        **dict.fromkeys(("sync_crm", "sync_erp", "sync_payments"), "scheduled"),
        **dict.fromkeys(("watch_loads", "maintain_warehouse"), "scheduled"),
        **dict.fromkeys(("build_warehouse", "publish_reports"), "asset_triggered"),
    }

    environment = (tmp_path / "up" / "environment.sh").read_text()
    assert "export O2C_WAREHOUSE_URL=postgresql://warehouse:" in environment
    assert "export AIRFLOW_CONN_BANK_SFTP='{" in environment

    # A component that dies is started again.
    record = json.loads((tmp_path / "up" / "pids" / "airflow-triggerer.json").read_text())
    os.kill(record["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 30
    while json.loads(_read(tmp_path / "up" / "pids" / "airflow-triggerer.json") or '{"pid": 0}')["pid"] in (
        0,
        record["pid"],
    ):
        assert time.monotonic() < deadline, "it was not started again"
        time.sleep(0.2)

    # Also from a shell that works with the stack.
    said, _ = (down := start("down", O2C_HOME=str(tmp_path / "up"))).communicate(timeout=120)
    assert (down.returncode, "Everything is stopped." in said) == (0, True), said
    assert processes_of(tmp_path) == []
    assert not (tmp_path / "up" / "environment.sh").exists()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


@pytest.mark.parametrize(
    ("after", "number"),
    [
        ("Postgres: done", signal.SIGINT),
        ("Sample company: running", signal.SIGTERM),
        ("DAG runs: running", signal.SIGINT),
    ],
)
def test_an_interrupted_demo_leaves_nothing_running(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, after: str, number: signal.Signals
) -> None:
    demo = start("demo", O2C_TEST_SECONDS="60")
    wait_for(demo, after)
    if after.startswith("DAG"):
        time.sleep(4)
    demo.send_signal(number)
    said, _ = demo.communicate(timeout=60)
    assert demo.returncode == 128 + number, said
    assert "nothing is left running" in said
    assert processes_of(tmp_path) == []


def test_a_killed_demo_is_tidied_up_by_its_keeper(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    demo = start("demo")
    wait_for(demo, "Sample company: running")
    demo.kill()
    demo.communicate()
    deadline = time.monotonic() + 30
    while left := processes_of(tmp_path):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


def test_a_failed_task_is_told_with_its_log(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    said, _ = (demo := start("demo", O2C_TEST_FAIL="sync_erp")).communicate(timeout=300)
    assert demo.returncode == 1
    assert "Task work of sync_erp failed." in said
    assert "ValueError: planted failure" in said
    assert "Traceback" not in said
    assert processes_of(tmp_path) == []
