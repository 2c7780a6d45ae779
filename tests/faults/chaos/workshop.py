"""Child processes that start in milliseconds: forked from one that has imported everything.

A task of Airflow is a process; so is every task here, and it can be killed, stopped and continued like one.
"""

from __future__ import annotations

import os
import pickle
import resource
import select
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """How a child ended: ``ok`` with a value, ``error`` with its kind and text, or ``died`` without a word."""

    status: str
    value: Any = None
    error: str = ""
    text: str = ""

    @property
    def is_ok(self) -> bool:
        return self.status == "ok"


class Task:
    """A running child."""

    def __init__(self, pid: int, place: Path) -> None:
        self.pid = pid
        self._place = place
        try:
            self._descriptor: int | None = os.pidfd_open(pid)
        except ProcessLookupError:
            self._descriptor = None

    @property
    def output(self) -> str:
        """What it has printed."""
        path = self._place.with_suffix(".out")
        return path.read_text(errors="replace") if path.exists() else ""

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when it has ended."""
        if self._descriptor is not None:
            try:
                signal.pidfd_send_signal(self._descriptor, number)
            except ProcessLookupError:
                return

    def is_stopped(self) -> bool:
        """Whether SIGSTOP has reached it."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rsplit(") ", 1)[1].startswith(("T", "t"))
        except (FileNotFoundError, ProcessLookupError):
            return False

    def has_ended(self, within: float = 0.0) -> bool:
        """Whether it ends within so many seconds."""
        return self._descriptor is None or bool(select.select([self._descriptor], [], [], within)[0])

    def wait_until_stopped(self, timeout: float = 20.0) -> bool:
        """True when it stopped itself, False when it ended first."""
        ends = time.monotonic() + timeout
        while not self.is_stopped():
            if self.has_ended(0.005):
                return False
            if time.monotonic() > ends:
                raise TimeoutError(f"process {self.pid} neither stopped nor ended")
        return True

    def wait(self, timeout: float = 60.0) -> Outcome:
        """Wait for its end; kills it and raises :class:`TimeoutError` when that takes too long."""
        if not self.has_ended(timeout):
            self.signal(signal.SIGKILL)
            raise TimeoutError(f"a task ran for more than {timeout:.0f} s:\n{self.output[-2000:]}")
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        return pickle.loads(self._place.read_bytes()) if self._place.exists() else Outcome("died", text=self.output)


class Workshop:
    """Forks children from a process that holds no thread, no lock and no connection."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._number = 0
        self._lock = threading.Lock()
        self._ours, theirs = socket.socketpair()
        sys.stdout.flush()
        self._pid = os.fork()
        if self._pid == 0:
            self._ours.close()
            _serve(theirs)
        theirs.close()

    def start(self, function: Callable[..., Any], *arguments: Any, environ: Mapping[str, str]) -> Task:
        """Run ``function(*arguments)`` in a child with these additions to the environment."""
        with self._lock:
            self._number += 1
            place = self._directory / f"task{self._number:05d}"
            _send(self._ours, (function, arguments, dict(environ), str(place)))
            return Task(_receive(self._ours), place)

    def run(
        self, function: Callable[..., Any], *arguments: Any, environ: Mapping[str, str], timeout: float = 60.0
    ) -> Outcome:
        """Start a child and wait for it."""
        return self.start(function, *arguments, environ=environ).wait(timeout)

    def close(self) -> None:
        """End the forking process; children that still run are not its business."""
        self._ours.close()
        os.waitpid(self._pid, 0)


def _send(channel: socket.socket, message: Any) -> None:
    data = pickle.dumps(message)
    channel.sendall(struct.pack("!I", len(data)) + data)


def _receive(channel: socket.socket) -> Any:
    def exactly(size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = channel.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    return pickle.loads(exactly(struct.unpack("!I", exactly(4))[0]))


def _serve(channel: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        while True:
            function, arguments, environ, place = _receive(channel)
            pid = os.fork()
            if pid == 0:
                channel.close()
                _work(function, arguments, environ, Path(place))
            _send(channel, pid)
    finally:
        os._exit(0)


def _work(function: Callable[..., Any], arguments: tuple[Any, ...], environ: dict[str, str], place: Path) -> None:
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        output = os.open(place.with_suffix(".out"), os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for name in [name for name in os.environ if name.startswith(("O2C_", "AIRFLOW_CONN", "PG"))]:
            del os.environ[name]
        os.environ.update(environ)
        if limit := environ.get("CHAOS_LARGEST_FILE"):
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
        arm()
        outcome = Outcome("ok", function(*arguments))
    except BaseException as error:
        outcome = Outcome("error", error=type(error).__name__, text=f"{error}\n{traceback.format_exc()}")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2) if os.getuid() == 0 else None
    draft = place.with_suffix(".part")
    draft.write_bytes(pickle.dumps(outcome))
    draft.rename(place)
    sys.stdout.flush()
    os._exit(0)


def arm() -> None:
    """Put the armed call where the modules have bound the empty one: a fork cannot import them anew."""
    from o2c import failpoints

    if text := os.environ.get(failpoints.VARIABLE):
        armed, empty = failpoints.armed(text), failpoints.reached
        for name, module in list(sys.modules.items()):
            if name.startswith("o2c") and getattr(module, "reached", None) is empty:
                module.reached = armed  # type: ignore[attr-defined]
