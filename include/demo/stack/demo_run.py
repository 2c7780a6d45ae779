"""``make demo``: the whole stack from nothing, every DAG by the real scheduler, a summary, and nothing left running.

Run alone: ``python -m demo.stack demo`` with ``PYTHONPATH=include``. Exit codes: 0 all of it held, 1 something did
not, 128 + n ended by signal n.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from demo.stack import runs
from demo.stack.airflow import COMPONENTS, PROJECT
from demo.stack.errors import Interrupted, StackFailed
from demo.stack.processes import Signals, Supervisor
from demo.stack.progress import Progress, for_terminal
from demo.stack.stack import Stack, clear
from demo.stack.state import State, base_home, check_space, only_one
from o2c.errors import O2CError
from o2c.reports.summary import WIDTH as SUMMARY_WIDTH
from o2c.reports.summary import print_summary
from o2c.settings import Settings


def main() -> int:
    """Run the demo and return its exit code."""
    signals, console = Signals(), Console(width=None if sys.stdout.isatty() else SUMMARY_WIDTH)
    try:
        with signals.caught():
            return _demo(signals, console)
    except Interrupted as stop:
        console.print(f"Stopped by {stop.name}; nothing is left running.")
        return stop.exit_code
    except O2CError as error:
        print(f"\n{error}", file=sys.stderr)
        return error.exit_code


def run_dags(stack: Stack, progress: Progress) -> dict[str, int]:
    """Start the stack, let the scheduler run every DAG, and return how many runs each has had.

    Raises:
        StackFailed: something did not start, a run failed, or it took too long.
    """
    api = stack.start()
    watch = runs.Watch(
        api=api,
        warehouse_url=stack.warehouse_url,
        logs=stack.state.airflow_home / "logs",
        check=stack.supervisor.check,
        tell=lambda note: progress.show("runs", "DAG runs", note),
    )
    progress.show("runs", "DAG runs", "reading the DAG files")
    runs.wait_until_known(watch)
    runs.unpause(watch)
    done = runs.wait_until_complete(watch)
    # What Airflow itself says of its runs: evidence that outlives it.
    (stack.state.root / "dag_runs.json").write_text(json.dumps(api.runs(), indent=2))
    progress.done("runs", ", ".join(f"{dag_id} {count}" for dag_id, count in sorted(done.items())))
    return done


def publish_reports(state: State, target: Path) -> None:
    """Put the run's reports where a person looks for them; what was there stays until the new ones are complete."""
    if not state.reports.exists():
        raise StackFailed(
            "The run wrote no reports.", where=str(state.reports), next_step="Read the log of publish_reports."
        )
    draft, old = target.with_name(target.name + ".new"), target.with_name(target.name + ".old")
    for path in (draft, old):
        shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(state.reports, draft)
    if target.exists():
        target.rename(old)
    draft.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _demo(signals: Signals, console: Console) -> int:
    began = time.monotonic()
    home = base_home()
    state = State(home / "demo")
    check_space(state.root)
    with only_one(state, "make demo"):
        clear(state)
        state.prepare()
        progress = for_terminal(console)
        dags = Path(os.environ.get("O2C_DAGS") or PROJECT / "dags")
        stack = Stack(state, Supervisor(state, signals), progress, durable=False, dags=dags)
        try:
            holds = _run(stack, progress, home / "reports", console)
        except BaseException:
            signals.ignore()
            progress.close(failed=True)
            print("Stopping ...", flush=True)
            stack.stop()
            raise
        signals.ignore()
        stack.stop()
    console.print(f"Done in {time.monotonic() - began:.0f} s; nothing is left running.")
    return 0 if holds else 1


def _run(stack: Stack, progress: Progress, reports: Path, console: Console) -> bool:
    run_dags(stack, progress)
    publish_reports(stack.state, reports)
    progress.close()
    # Airflow takes seconds to end, and the summary needs only the warehouse.
    stopping = threading.Thread(target=stack.supervisor.stop, args=(COMPONENTS, 2.5))
    stopping.start()
    # The reports have been moved to where a person looks, so that is what the summary names.
    holds = print_summary(replace(Settings.load(stack.environment), home=reports.parent), console)
    stopping.join()
    return holds
