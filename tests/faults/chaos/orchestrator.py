"""The real Airflow over any world: scheduler, API server, DAG processor and triggerer, with LocalExecutor.

Its tasks read their environment from a file when they start, so one Airflow serves one world after the other.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from chaos.server import Server
from chaos.world import PROJECT, World
from demo.stack import airflow
from demo.stack.airflow_api import AirflowApi
from demo.stack.errors import StackFailed
from demo.stack.ports import choose
from demo.stack.processes import Supervisor
from demo.stack.state import State, load_secrets

DAG = "sync_crm"
_DAG_FILE = """
import json
import os
import sys
from pathlib import Path

os.environ.update(json.loads(Path({environ!r}).read_text()))
sys.path.insert(0, {faults!r})

from chaos.workshop import arm
from o2c.pipelines.sync import sync_dag

# The worker that this process was forked from has imported everything already.
arm()

sync_crm = sync_dag("crm", schedule="0 0 1 1 *", owner="chaos", doc=None)
"""
# A supervisor that says nothing for this long has died: seconds, not the five minutes of a quiet night.
_IMPATIENT = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "8",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
    "O2C_RETRY_SECONDS": "1",
}


@dataclass
class Orchestrator:
    """A running Airflow."""

    directory: Path
    server: Server
    supervisor: Supervisor
    plan: airflow.AirflowPlan
    api: AirflowApi

    def serve(self, world: World, **extra: str) -> None:
        """Let the tasks that start from now on work for this world; ``extra`` adds to their environment."""
        environ = {"O2C_FAILPOINT": "", **world.environ(), **extra}
        draft = self.directory / "environ.part"
        draft.write_text(json.dumps(environ))
        draft.replace(self.directory / "environ.json")

    def trigger(self) -> str:
        """Start a run; returns its id."""
        return str(self.api.trigger(DAG)["dag_run_id"])

    def wait_for_task(self, run_id: str, task: str, timeout: float = 60.0) -> psutil.Process:
        """The process that works on a task, once it has reached the failpoint and sleeps."""
        self._until(lambda: self._state(run_id, task) == "running", f"{task} never ran", timeout)
        known: dict[int, float] = {}

        def has_slept() -> bool:
            # The process of the task before may still be ending; the failpoint sleeps for longer than this.
            for process in self.workers():
                known.setdefault(process.pid, time.monotonic())
            return any(time.monotonic() - since > 3 and psutil.pid_exists(pid) for pid, since in known.items())

        self._until(has_slept, f"{task} has no process", timeout)
        return max(self.workers(), key=lambda process: time.monotonic() - known.get(process.pid, time.monotonic()))

    def workers(self) -> list[psutil.Process]:
        """Processes in which tasks run: children of the executor's workers."""
        scheduler = psutil.Process(self.pid("airflow-scheduler"))
        return [task for worker in scheduler.children() for task in worker.children()]

    def pid(self, component: str) -> int:
        """The process id of a component."""
        return int(json.loads((self.plan.state.pids / f"{component}.json").read_text())["pid"])

    def kill_and_restart(self, component: str) -> None:
        """SIGKILL a component, and start it again as an operator's process manager would."""
        psutil.Process(self.pid(component)).send_signal(signal.SIGKILL)
        time.sleep(0.5)
        self.supervisor.stop([component])
        self.supervisor.start(airflow.commands(self.plan)[component])

    def restart_the_dead(self) -> None:
        """What `make up`, or any process manager, does with a component that has ended."""
        for child in self.supervisor.dead():
            self.supervisor.stop([child.command.name])
            self.supervisor.start(child.command)

    def wait_until_done(self, run_id: str, timeout: float = 150.0) -> str:
        """The final state of a run."""

        def has_ended() -> bool:
            self.restart_the_dead()
            return self._run_state(run_id) in ("success", "failed")

        self._until(has_ended, f"{run_id} never ended", timeout)
        return self._run_state(run_id)

    def tries(self, run_id: str, task: str) -> int:
        """The number of the last try of a task."""
        return max(int(each["try_number"]) for each in self.api.task_instances(DAG, run_id) if each["task_id"] == task)

    def _state(self, run_id: str, task: str) -> str:
        found = [each["state"] for each in self.api.task_instances(DAG, run_id) if each["task_id"] == task]
        return str(found[0]) if found else ""

    def _run_state(self, run_id: str) -> str:
        return next((str(run["state"]) for run in self.api.runs(DAG) if run["dag_run_id"] == run_id), "")

    @staticmethod
    def _until(holds: Callable[[], bool], otherwise: str, timeout: float) -> None:
        ends = time.monotonic() + timeout
        while True:
            try:
                if holds():
                    return
            except (StackFailed, psutil.NoSuchProcess, OSError):
                pass  # a component that is down at the moment is the point of these tests
            if time.monotonic() > ends:
                raise TimeoutError(otherwise)
            time.sleep(0.2)


@contextmanager
def opened(directory: Path, server: Server, world: World) -> Iterator[Orchestrator]:
    """Start Airflow with its metadata on ``server``; gone when the block ends."""
    state = State(directory / "orchestrator")
    state.prepare()
    (directory / "dags").mkdir()
    (directory / "dags" / "sync_crm.py").write_text(
        _DAG_FILE.format(environ=str(directory / "environ.json"), faults=str(PROJECT / "tests" / "faults"))
    )
    supervisor = Supervisor(state)
    secrets: dict[str, Any] = load_secrets(state)
    plan = airflow.AirflowPlan(
        state, choose("O2C_AIRFLOW_PORT", "Airflow"), server.cluster, secrets, _IMPATIENT, directory / "dags"
    )
    running = Orchestrator(directory, server, supervisor, plan, plan.api())
    try:
        running.serve(world)
        airflow.prepare_home(plan)
        airflow.migrate(supervisor, plan, PROJECT / "var" / "cache")
        airflow.start(supervisor, plan)
        running.api = airflow.wait_until_healthy(supervisor, plan)
        running._until(lambda: any(dag["dag_id"] == DAG for dag in running.api.dags()), "the DAG is not known", 90)
        running.api.unpause(DAG)
        # The schedule starts a run of its own at once.
        running._until(lambda: any(run["state"] == "success" for run in running.api.runs(DAG)), "no first run", 120)
        yield running
    finally:
        supervisor.stop_all(patience=3.0)
