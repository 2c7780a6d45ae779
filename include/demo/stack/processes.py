"""Child processes that cannot be lost: each in its own session, with a log, a record on disk and a keeper.

A record holds a process id *and* its start time, so that a reused id is never mistaken for ours. Who stops a process
stops its whole session and all its descendants. The keeper is a process that waits for its parent's end, however that
comes, and then stops what is recorded.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

import psutil

from demo.stack.errors import Interrupted, StackFailed
from demo.stack.state import State, write_private

_INCLUDE = Path(__file__).resolve().parents[2]
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_IS_LINUX = sys.platform == "linux"


@dataclass(frozen=True)
class Identity:
    """One process: its id and when it started, in seconds of a clock that never steps (Linux: since boot)."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """Who has this id now, or None."""
        try:
            return cls(pid, _start_time(pid))
        except (psutil.Error, OSError):
            return None

    def is_alive(self) -> bool:
        """Whether this very process still runs (a zombie does not)."""
        try:
            is_same = abs(_start_time(self.pid) - self.started) < 0.001
            return is_same and psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE
        except (psutil.Error, OSError):
            return False


@dataclass(frozen=True)
class Account:
    """The user a child runs as, where that is not ours."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Command:
    """What to start. ``stop_signal`` asks it to end in order; ``grace`` is how long that may take, in seconds."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    directory: Path
    stop_signal: signal.Signals = signal.SIGTERM
    grace: float = 8.0
    account: Account | None = None


class Child:
    """A started command; ``poll()`` is its exit code, or None while it runs."""

    def __init__(self, command: Command, process: subprocess.Popen[bytes], identity: Identity, log: Path) -> None:
        self.command = command
        self.identity = identity
        self.log = log
        self._process = process

    def poll(self) -> int | None:
        """The exit code, or None while the process runs."""
        return self._process.poll()

    def log_tail(self, lines: int = 15) -> str:
        """The end of the log, for a message."""
        return tail(self.log, lines)


class Signals:
    """Turns SIGINT, SIGTERM and SIGHUP into :class:`Interrupted`, raised in the main thread at a safe point."""

    def __init__(self) -> None:
        self._held = 0
        self._pending: int | None = None

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Install the handlers for the length of the block."""
        before = {number: signal.signal(number, self._on_signal) for number in _STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let a signal wait until the block is done: nothing may come between a start and its record."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            if not self._held and self._pending is not None:
                number, self._pending = self._pending, None
                raise Interrupted(number)

    def ignore(self) -> None:
        """From now on only tidying up happens: further signals change nothing."""
        self._held, self._pending = 1, None

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._held:
            self._pending = number
        else:
            raise Interrupted(number)


class Supervisor:
    """Starts children, notices when one dies, and stops them all.

    May be used from several threads; once ``stop_all`` has begun, nothing can be started any more.
    """

    def __init__(self, state: State, signals: Signals | None = None) -> None:
        self._state = state
        self._signals = signals or Signals()
        self._children: dict[str, Child] = {}
        # Commands that end by themselves: whoever runs them waits for them, so they are nobody else's casualties.
        self._awaited: set[str] = set()
        self._lock = threading.RLock()
        self._closing = False
        self._keeper = _start_keeper(state.pids)

    def start(self, command: Command) -> Child:
        """Start a command in a session of its own, its output in ``<state>/logs/<name>.log``.

        Raises:
            StackFailed: the program cannot be started, or the stack is stopping.
        """
        with self._signals.held(), self._lock:
            if self._closing:
                raise StackFailed("The stack is stopping.", where=command.name)
            child = _spawn(command, self._state)
            self._children[command.name] = child
            return child

    def run(self, command: Command, timeout: float = 300.0) -> None:
        """Start a command and wait for its end; raises :class:`StackFailed` unless it returns 0 in time."""
        with self._lock:
            self._awaited.add(command.name)
        child = self.start(command)
        deadline = time.monotonic() + timeout
        while (code := child.poll()) is None:
            if time.monotonic() > deadline:
                self.stop([command.name])
                raise failed(child, f"{command.name} took longer than {timeout:.0f} s.")
            time.sleep(0.02)
        self._forget(command.name)
        if code != 0:
            raise failed(child, f"{command.name} ended with exit code {code}.")

    def check(self) -> None:
        """Raise :class:`StackFailed` when a child has died, or when the stack is stopping."""
        with self._lock:
            if self._closing:
                raise StackFailed("The stack is stopping.")
            children = self._expected_alive()
        for child in children:
            if (code := child.poll()) is not None:
                raise failed(child, f"{child.command.name} died with exit code {code}.")

    def dead(self) -> list[Child]:
        """The children that have died and were not asked to."""
        with self._lock:
            return [child for child in self._expected_alive() if child.poll() is not None]

    def _expected_alive(self) -> list[Child]:
        return [child for name, child in self._children.items() if name not in self._awaited]

    def stop(self, names: Iterable[str], patience: float = 60.0) -> None:
        """Stop the named children at the same time, each with its own signal, after at most ``patience`` s harder."""
        with self._lock:
            children = [self._children[name] for name in names if name in self._children]
        grace = [min(child.command.grace, patience) for child in children]
        stop_together([(child.identity, child.command.stop_signal, grace[n]) for n, child in enumerate(children)])
        for child in children:
            child.poll()
            self._forget(child.command.name)

    def stop_all(self, order: Sequence[Sequence[str]] = (), patience: float = 60.0) -> None:
        """Stop everything: the groups of ``order`` one after the other, then the rest, then the keeper."""
        with self._lock:
            self._closing = True
        for names in order:
            self.stop(names, patience)
        self.stop(list(self._children), patience)
        self._keeper.stdin.close()  # type: ignore[union-attr]
        self._keeper.wait(timeout=30)

    def _forget(self, name: str) -> None:
        with self._lock:
            self._children.pop(name, None)
            self._awaited.discard(name)
            (self._state.pids / f"{name}.json").unlink(missing_ok=True)


def failed(child: Child, what: str) -> StackFailed:
    """The error for a child, with the end of its log."""
    return StackFailed(
        f"{what}\n{child.log_tail()}".rstrip(), where=str(child.log), next_step="Read the log; then start again."
    )


def stop_recorded(pids: Path) -> int:
    """Stop every recorded process that still runs, and return how many there were."""
    records = sorted(pids.glob("*.json"))
    alive = []
    for path in records:
        try:
            record = json.loads(path.read_text())
            identity = Identity(int(record["pid"]), float(record["started"]))
            order = (identity, signal.Signals(record["stop_signal"]), float(record["grace"]))
        except (ValueError, KeyError, FileNotFoundError):
            continue
        if identity.is_alive() or _session(identity):
            alive.append(order)
    stop_together(alive)
    for path in records:
        path.unlink(missing_ok=True)
    return len(alive)


def stop_together(orders: Sequence[tuple[Identity, signal.Signals, float]]) -> None:
    """Ask each process to end; after its grace ask again with SIGTERM, then kill its session and descendants."""
    families = {identity: _family(identity) for identity, _, _ in orders}
    for identity, number, _ in orders:
        _signal(identity, number)
    grace = max((grace for _, _, grace in orders), default=0.0)
    if not _wait(lambda: not any(identity.is_alive() for identity, _, _ in orders), grace):
        for identity, _, _ in orders:
            families[identity] |= _family(identity)
            _signal(identity, signal.SIGTERM)
        _wait(lambda: not any(identity.is_alive() for identity, _, _ in orders), 1.5)
    for identity, _, _ in orders:
        # The whole family, again and again: a worker may fork while its parent is being ended.
        _wait(lambda identity=identity: not _kill(families[identity] | _family(identity)), 10.0)  # type: ignore[misc]


def tail(path: Path, lines: int = 15) -> str:
    """The last ``lines`` lines of a text file; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 64 * 1024))
            return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""


def _spawn(command: Command, state: State) -> Child:
    path = state.logs / f"{command.name}.log"
    account = command.account
    try:
        with path.open("ab") as log:
            process = _popen(command, log, account)
    except OSError as error:
        raise StackFailed(
            f"{command.name} cannot be started: {error.strerror}.",
            where=str(error.filename or command.arguments[0]),
            next_step="Run 'make env' again; it repairs the environment.",
        ) from None
    identity = Identity.of(process.pid) or Identity(process.pid, 0.0)
    record = {
        "name": command.name,
        "pid": identity.pid,
        "started": identity.started,
        "stop_signal": int(command.stop_signal),
        "grace": command.grace,
    }
    write_private(state.pids / f"{command.name}.json", json.dumps(record))
    return Child(command, process, identity, path)


def _popen(command: Command, log: IO[bytes], account: Account | None) -> subprocess.Popen[bytes]:
    other_user = {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
    return subprocess.Popen(  # type: ignore[call-overload]
        list(command.arguments),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=dict(command.environment),
        cwd=command.directory,
        start_new_session=True,
        **other_user,
    )


def _start_keeper(pids: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "demo.stack.keeper", str(pids)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(_INCLUDE)},
        start_new_session=True,
    )


def _start_time(pid: int) -> float:
    if not _IS_LINUX:
        return psutil.Process(pid).create_time()
    # The time of day may be set while the stack runs; ticks since boot do not move with it.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _family(identity: Identity) -> set[Identity]:
    return _session(identity) | _descendants(identity)


def _descendants(identity: Identity) -> set[Identity]:
    if not identity.is_alive():
        return set()
    try:
        found = [Identity.of(child.pid) for child in psutil.Process(identity.pid).children(recursive=True)]
    except psutil.Error:
        return set()
    return {identity, *(child for child in found if child is not None)}


def _session(identity: Identity) -> set[Identity]:
    # A session's id stays taken while it has a member, so members with our id are ours if they are not older.
    members = set()
    for pid in psutil.pids():
        try:
            if os.getsid(pid) != identity.pid:
                continue
        except OSError:
            continue
        member = Identity.of(pid)
        if member and member.is_alive() and member.started >= identity.started:
            members.add(member)
    return members


def _signal(identity: Identity, number: signal.Signals) -> None:
    if identity.is_alive():
        with suppress(ProcessLookupError):
            os.kill(identity.pid, number)


def _kill(family: set[Identity]) -> bool:
    alive = [identity for identity in family if identity.is_alive()]
    for identity in alive:
        _signal(identity, signal.SIGKILL)
    return bool(alive)


def _wait(is_done: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
