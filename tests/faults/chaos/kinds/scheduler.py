"""Kinds 2 and 21 against the real scheduler: supervisors, schedulers, API servers and databases that die or freeze."""

from __future__ import annotations

import signal
import time
from random import Random
from typing import Any

import psutil

from chaos import oracle
from chaos.laboratory import Laboratory
from chaos.orchestrator import Orchestrator, opened
from chaos.registry import Result, judge, kind
from chaos.tasks import run_until_clean
from chaos.world import World

POINTS = {
    "publish": "publish_opened:1:sleep:20",
    "extract": "landing_renamed:1:sleep:20",
    "gate": "gate_ran:1:sleep:20",
}


def orchestrator(laboratory: Laboratory) -> Orchestrator:
    """The Airflow of a laboratory, started when it is first needed."""
    if not hasattr(laboratory, "airflow"):
        server, _ = laboratory.restartable()
        directory = laboratory.directory / "airflow"
        directory.mkdir(mode=0o711)
        with laboratory.world(0) as first:
            first.open_sources("crm")
            laboratory.airflow = laboratory.stack.enter_context(opened(directory, server, first))  # type: ignore[attr-defined]
    return laboratory.airflow  # type: ignore[attr-defined,no-any-return]


@kind(2, "the real scheduler: a supervisor is killed, its task lives on, the retry starts", is_slow=True)
def supervisor_killed(laboratory: Laboratory, random: Random) -> Result:
    result = Result(fault="supervisor of")
    for task in ("extract", "publish"):
        with laboratory.world(0) as world:
            world.deliver("crm")
            world.touched.add("crm")
            running = orchestrator(laboratory)
            running.serve(world, O2C_FAILPOINT=POINTS[task])
            run_id = running.trigger()
            process = running.wait_for_task(run_id, task)
            process.parent().kill()
            result.expect(process.is_running(), f"the {task} died with its supervisor")
            # The retry finds no failpoint and overtakes the orphan, which is still asleep.
            running.serve(world)
            state = running.wait_until_done(run_id)
            result.injected += 1
            result.fault += f" {task} ({running.tries(run_id, task)} tries, run {state})"
            result.expect(running.tries(run_id, task) > 1, f"{task} was not tried again")
            _wait_for_end(process)
            _settled(laboratory, world, state, result)
    return result


def _wait_for_end(process: psutil.Process, timeout: float = 60.0) -> None:
    """The orphan wakes up and does what it is let do."""
    try:
        process.wait(timeout)
    except (psutil.TimeoutExpired, psutil.NoSuchProcess):
        return


def _settled(laboratory: Laboratory, world: World, state: str, result: Result) -> None:
    """A run that calls itself a success has published; whatever it left undone, the next runs do."""
    published = world.rows("select load_id from ops.load_ledger where flow = 'crm/opportunities' and run_id ~ 'manual'")
    result.expect(state != "success" or len(published) == 1, f"run {state}, {len(published)} ledger rows")
    result.violations += oracle.balance(world, all_arrived=state == "success")
    run_until_clean(world, "crm")
    judge(laboratory, world, "crm", 0, result)


@kind(21, "the real scheduler: scheduler, API server or metadata database go down during a run", is_slow=True)
def components(laboratory: Laboratory, random: Random) -> Result:
    result, names = Result(), []
    for how in ("scheduler", "api-server", "database"):
        task = random.choice(("extract", "gate", "publish"))
        with laboratory.world(0) as world:
            world.deliver("crm")
            world.touched.add("crm")
            running = orchestrator(laboratory)
            running.serve(world, O2C_FAILPOINT=POINTS[task])
            run_id = running.trigger()
            process = running.wait_for_task(run_id, task)
            running.serve(world)
            _break(running, how)
            try:
                state = running.wait_until_done(run_id)
            except TimeoutError:
                result.add("other", f"{how} during {task}: the run never ended")
                return result
            result.injected += 1
            names.append(f"{how} during {task}: run {state}")
            _wait_for_end(process)
            _settled(laboratory, world, state, result)
    result.fault = "; ".join(names)
    return result


def _break(running: Orchestrator, how: str) -> None:
    if how == "scheduler":
        running.kill_and_restart("airflow-scheduler")
    elif how == "api-server":
        frozen = [psutil.Process(running.pid("airflow-api-server"))]
        frozen += frozen[0].children(recursive=True)
        _signal(frozen, signal.SIGSTOP)
        time.sleep(12)
        _signal(frozen, signal.SIGCONT)
    else:
        running.server.stop()
        time.sleep(3)
        running.server.start()


def _signal(processes: list[Any], number: signal.Signals) -> None:
    for process in processes:
        process.send_signal(number)
