from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.stack import processes
from demo.stack.errors import Interrupted, StackFailed
from demo.stack.processes import Command, Identity, Signals, Supervisor, stop_recorded
from demo.stack.state import State

INCLUDE = Path(__file__).resolve().parents[4] / "include"
STUBBORN = """
import signal, subprocess, sys, time
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
code = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", code])
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = State(tmp_path / "state")
    state.prepare()
    return state


@pytest.fixture
def supervisor(state: State) -> Iterator[Supervisor]:
    supervisor = Supervisor(state)
    yield supervisor
    supervisor.stop_all()


def command(state: State, code: str, name: str = "child", grace: float = 5.0) -> Command:
    return Command(name, [sys.executable, "-c", code], dict(os.environ), state.root, grace=grace)


def until(is_true: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_a_child_has_its_own_session_a_log_and_a_record(state: State, supervisor: Supervisor) -> None:
    child = supervisor.start(command(state, "print('hello', flush=True); import time; time.sleep(600)"))
    until(lambda: "hello" in child.log_tail())
    record = json.loads((state.pids / "child.json").read_text())
    assert os.getsid(child.identity.pid) == child.identity.pid != os.getsid(0)
    assert (record["pid"], record["started"]) == (child.identity.pid, child.identity.started)
    supervisor.stop(["child"])
    assert not child.identity.is_alive()
    assert list(state.pids.iterdir()) == []


def test_who_does_not_listen_is_killed_with_all_its_descendants(state: State, supervisor: Supervisor) -> None:
    child = supervisor.start(command(state, STUBBORN, grace=0.2))
    until(lambda: child.log_tail().strip().isdigit())
    grandchild = Identity.of(int(child.log_tail()))
    assert grandchild is not None
    supervisor.stop(["child"])
    assert not child.identity.is_alive()
    assert not grandchild.is_alive()


def test_an_orphan_in_the_session_is_ended_too(state: State, supervisor: Supervisor) -> None:
    code = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid)"
    child = supervisor.start(command(state, code))
    until(lambda: child.poll() is not None)
    orphan = Identity.of(int(child.log_tail()))
    assert orphan is not None
    assert orphan.is_alive()
    supervisor.stop(["child"])
    assert not orphan.is_alive()


def test_a_death_is_noticed_with_the_end_of_the_log(state: State, supervisor: Supervisor) -> None:
    child = supervisor.start(command(state, "print('last words'); raise SystemExit(3)"))
    until(lambda: child.poll() is not None)
    assert supervisor.dead() == [child]
    with pytest.raises(StackFailed, match="child died with exit code 3") as failure:
        supervisor.check()
    assert "last words" in str(failure.value)
    assert failure.value.where == str(child.log)


def test_a_run_to_the_end(state: State, supervisor: Supervisor) -> None:
    supervisor.run(command(state, "pass"))
    supervisor.check()
    with pytest.raises(StackFailed, match="ended with exit code 2"):
        supervisor.run(command(state, "raise SystemExit(2)"))
    with pytest.raises(StackFailed, match="took longer than 0 s"):
        supervisor.run(command(state, "import time; time.sleep(600)"), timeout=0.3)
    assert list(state.pids.iterdir()) == []


def test_a_program_that_is_not_there(state: State, supervisor: Supervisor) -> None:
    with pytest.raises(StackFailed, match="cannot be started"):
        supervisor.start(Command("x", [str(state.root / "no-program")], {}, state.root))


def test_nothing_starts_once_stopping_has_begun(state: State) -> None:
    supervisor = Supervisor(state)
    supervisor.stop_all()
    with pytest.raises(StackFailed, match="stopping"):
        supervisor.start(command(state, "pass"))
    with pytest.raises(StackFailed, match="stopping"):
        supervisor.check()


def test_stopping_follows_the_order(state: State) -> None:
    code = """
import signal, time
def end(*_):
    print(time.monotonic())
    raise SystemExit
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
time.sleep(600)
"""
    supervisor = Supervisor(state)
    children = {name: supervisor.start(command(state, code, name)) for name in ("database", "server", "worker")}
    until(lambda: all("ready" in child.log_tail() for child in children.values()))
    supervisor.stop_all([["worker"], ["server"]])
    ended = {name: float(child.log_tail().split()[-1]) for name, child in children.items()}
    assert ended["worker"] < ended["server"] < ended["database"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_keeper_ends_what_a_dead_parent_left(state: State, number: signal.Signals) -> None:
    code = f"""
import os, sys, time
from pathlib import Path
from demo.stack.processes import Command, Supervisor
from demo.stack.state import State
state = State(Path({str(state.root)!r}))
arguments = [sys.executable, "-c", "import time; time.sleep(600)"]
child = Supervisor(state).start(Command("child", arguments, dict(os.environ), state.root))
print(child.identity.pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(INCLUDE)}
    )
    assert parent.stdout is not None
    child = Identity.of(int(parent.stdout.readline()))
    assert child is not None
    assert child.is_alive()
    parent.send_signal(number)
    parent.wait()
    parent.stdout.close()
    until(lambda: not child.is_alive())
    until(lambda: list(state.pids.iterdir()) == [])


def test_records_of_an_earlier_run_are_stopped(state: State) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    identity = Identity.of(process.pid)
    assert identity is not None
    record = {"name": "old", "pid": identity.pid, "started": identity.started, "stop_signal": 15, "grace": 2.0}
    (state.pids / "old.json").write_text(json.dumps(record))
    (state.pids / "broken.json").write_text("{")
    assert stop_recorded(state.pids) == 1
    assert process.wait() == -signal.SIGTERM
    assert list(state.pids.iterdir()) == []


def test_a_stranger_with_a_reused_id_is_left_alone(state: State) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    identity = Identity.of(stranger.pid)
    assert identity is not None
    record = {"name": "old", "pid": stranger.pid, "started": identity.started - 60, "stop_signal": 15, "grace": 1.0}
    (state.pids / "old.json").write_text(json.dumps(record))
    try:
        assert stop_recorded(state.pids) == 0
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_zombie_is_not_alive() -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    identity = Identity.of(process.pid)
    assert identity is not None
    until(lambda: not identity.is_alive())
    process.wait()
    assert Identity.of(process.pid) is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_becomes_an_interruption(number: signal.Signals) -> None:
    with Signals().caught(), pytest.raises(Interrupted) as stop:
        os.kill(os.getpid(), number)
    assert stop.value.exit_code == 128 + number
    assert stop.value.name == number.name


def test_a_signal_waits_while_something_must_not_be_broken_off() -> None:
    signals, reached = Signals(), []
    with signals.caught(), pytest.raises(Interrupted), signals.held():
        os.kill(os.getpid(), signal.SIGTERM)
        reached.append("the end of the block")
    assert reached == ["the end of the block"]


def test_nothing_breaks_off_the_tidying_up() -> None:
    signals = Signals()
    with signals.caught():
        signals.ignore()
        os.kill(os.getpid(), signal.SIGINT)


def test_the_end_of_a_long_log(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("".join(f"line {number}\n" for number in range(20_000)))
    assert processes.tail(path, 2) == "line 19998\nline 19999"
    assert processes.tail(tmp_path / "none.log") == ""


def test_a_command_that_is_waited_for_is_nobodys_casualty(supervisor: Supervisor, tmp_path: Path) -> None:
    """Whoever looks after the stack may look between the end of the command and the moment it is noticed."""

    class Curious(Supervisor):
        def _forget(self, name: str) -> None:
            self.check()
            assert self.dead() == []
            super()._forget(name)

    supervisor.__class__ = Curious
    supervisor.run(Command("short", [sys.executable, "-c", "pass"], dict(os.environ), tmp_path, grace=1.0))
