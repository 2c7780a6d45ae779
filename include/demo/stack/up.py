"""``make up`` and ``make down``: the same stack, detached, with its data kept.

``python -m demo.stack up`` starts a supervisor process of its own and shows what it does, ``down`` ends it, ``serve``
*is* that process.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from demo.stack import sample
from demo.stack.airflow import PROJECT, USERS, base_environment
from demo.stack.demo_run import run_dags
from demo.stack.errors import Interrupted, StackFailed
from demo.stack.processes import Identity, Signals, Supervisor, stop_recorded, tail
from demo.stack.progress import FileProgress, for_terminal, replay
from demo.stack.stack import Stack
from demo.stack.state import State, base_home, check_space, load_secrets, only_one, write_private
from o2c.errors import O2CError

ENVIRONMENT = "environment.sh"
_MOST_RESTARTS, _RESTART_WINDOW = 3, 600.0


def main(action: str) -> int:
    """``up``, ``serve`` or ``down``; returns the exit code (0 done, 1 failed, 128 + n ended by signal n)."""
    state, signals = State(base_home() / "up"), Signals()
    try:
        with signals.caught():
            return {"up": _start, "serve": _serve, "down": _stop}[action](state, signals)
    except Interrupted as stop:
        return stop.exit_code
    except O2CError as error:
        print(f"\n{error}", file=sys.stderr)
        return error.exit_code


def running(state: State) -> Identity | None:
    """The supervisor process of this state directory, if it runs."""
    try:
        record = json.loads((state.root / "supervisor.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    identity = Identity(int(record["pid"]), float(record["started"]))
    return identity if identity.is_alive() else None


def _start(state: State, _signals: Signals) -> int:
    if running(state):
        print("The stack is already up.")
        _print_addresses(state, _ready(state) or {})
        return 0
    check_space(state.root)
    state.prepare()
    events, log = state.root / "events.jsonl", state.logs / "supervisor.log"
    events.write_text("")
    with log.open("ab") as output:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "demo.stack", "serve"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=base_environment(),
            cwd=PROJECT,
            start_new_session=True,
        )
    try:
        ready = _follow(daemon, events, log)
    except BaseException:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait()
        raise
    _print_addresses(state, ready)
    return 0


def _follow(daemon: subprocess.Popen[bytes], events: Path, log: Path) -> dict[str, Any]:
    """Show the supervisor's steps until it is ready; raises :class:`StackFailed` when it ends before."""
    progress, is_ready = for_terminal(), False
    try:
        with events.open() as lines:
            while True:
                has_ended = daemon.poll() is not None
                for line in lines:
                    event = json.loads(line)
                    if event["kind"] == "ready":
                        is_ready = True
                        return dict(event)
                    replay(event, progress)
                if has_ended:
                    raise StackFailed(tail(log, 20) or "The supervisor ended.", where=str(log))
                time.sleep(0.1)
    finally:
        progress.close(failed=not is_ready)


def _serve(state: State, signals: Signals) -> int:
    with only_one(state, "make up"):
        stop_recorded(state.pids)
        own = Identity.of(os.getpid())
        assert own is not None
        write_private(state.root / "supervisor.json", json.dumps({"pid": own.pid, "started": own.started}))
        progress = FileProgress(state.root / "events.jsonl")
        stack = Stack(
            state,
            Supervisor(state, signals),
            progress,
            durable=True,
            dags=Path(os.environ.get("O2C_DAGS") or PROJECT / "dags"),
        )
        try:
            _bring_up(stack, progress)
            _watch(stack)
        finally:
            signals.ignore()
            progress.close(failed=True)
            stack.stop()
            for name in ("supervisor.json", ENVIRONMENT):
                (state.root / name).unlink(missing_ok=True)
    return 0


def _bring_up(stack: Stack, progress: FileProgress) -> None:
    first_time = not (stack.state.root / "complete").exists()
    if first_time:
        run_dags(stack, progress)
        (stack.state.root / "complete").touch()
    else:
        stack.start()
    _write_environment(stack)
    progress.event("ready", airflow=stack.plan.url, warehouse=stack.warehouse_url)


def _write_environment(stack: Stack) -> None:
    """What the ``o2c`` command needs to work with this stack, as lines that a shell reads; gone when it stops."""
    company = {sample.ERP_URL: stack.cluster.url("erp"), "O2C_DEMO_DIRECTORY": str(stack.state.company)}
    wanted = {**stack.environment, **company}
    lines = [
        f"export {name}={shlex.quote(value)}\n"
        for name, value in sorted(wanted.items())
        if name.startswith(("O2C_", "AIRFLOW_CONN_")) and name not in ("O2C_DAGS", "O2C_PYTHON")
    ]
    write_private(stack.state.root / ENVIRONMENT, "".join(lines))


def _watch(stack: Stack) -> None:
    """Start again what dies; raises :class:`StackFailed` when the same thing keeps dying."""
    restarts: dict[str, deque[float]] = {}
    while True:
        time.sleep(1.0)
        for child in stack.supervisor.dead():
            name = child.command.name
            times = restarts.setdefault(name, deque(maxlen=_MOST_RESTARTS))
            is_hopeless = len(times) == _MOST_RESTARTS and time.monotonic() - times[0] < _RESTART_WINDOW
            if is_hopeless or name == "postgres":
                stack.supervisor.check()
            times.append(time.monotonic())
            print(f"{name} died with exit code {child.poll()}; starting it again.", flush=True)
            stack.supervisor.stop([name])
            stack.restart(name)


def _stop(state: State, _signals: Signals) -> int:
    supervisor = running(state)
    if supervisor:
        print("Stopping ...", flush=True)
        os.kill(supervisor.pid, signal.SIGTERM)
        deadline = time.monotonic() + 90
        while supervisor.is_alive() and time.monotonic() < deadline:
            time.sleep(0.1)
    left = stop_recorded(state.pids) if state.pids.exists() else 0
    print("Everything is stopped." if supervisor or left else "Nothing was running.")
    return 0


def _ready(state: State) -> dict[str, Any] | None:
    try:
        lines = (state.root / "events.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return None
    return next((event for event in map(json.loads, reversed(lines)) if event["kind"] == "ready"), None)


def _print_addresses(state: State, ready: dict[str, Any]) -> None:
    if not ready:
        print("It is still starting; run 'make up' again in a minute to see its addresses.")
        return
    secrets, table = load_secrets(state), Table(title="The stack is up", title_justify="left")
    for heading in ("what", "where", "login", "password"):
        table.add_column(heading, overflow="fold")
    for user, secret in USERS.items():
        table.add_row("Airflow", ready["airflow"], user, secrets[secret])
    table.add_row("Warehouse", ready["warehouse"].rpartition("@")[2], "warehouse", secrets["warehouse"])
    table.add_row("Reports", str(state.reports), "", "")
    Console().print(table)
    print(f"./o2c works with it now; for other programs: source {state.root / ENVIRONMENT}")
    print("'make down' stops it and keeps its data.")
