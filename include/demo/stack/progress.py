"""Tells a waiting person what happens: a live list on a terminal, plain lines elsewhere, JSON for another process."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text


@dataclass
class Step:
    """One step: ``state`` is running, done or failed; times are seconds since the beginning."""

    key: str
    text: str
    state: str = "running"
    note: str = ""
    started: float = 0.0
    ended: float | None = None


class Progress(Protocol):
    """Where steps are reported; may be called from several threads."""

    def show(self, key: str, text: str, note: str = "") -> None:
        """A step has begun, or has something new to say."""

    def done(self, key: str, note: str = "") -> None:
        """A step is complete."""

    def close(self, *, failed: bool = False) -> None:
        """No more steps; with ``failed`` the running ones are marked so."""


class Steps:
    """Keeps the steps in the order they began and calls ``changed`` after each change."""

    def __init__(self, changed: Callable[[Step], None]) -> None:
        self.steps: dict[str, Step] = {}
        self._changed = changed
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def show(self, key: str, text: str, note: str = "") -> None:
        """Begin a step, or give it another text and note."""
        with self._lock:
            step = self.steps.setdefault(key, Step(key, text, started=self.seconds()))
            step.text, step.note = text, note
            self._changed(step)

    def done(self, key: str, note: str = "") -> None:
        """Complete a step."""
        with self._lock:
            step = self.steps[key]
            step.state, step.note, step.ended = "done", note, self.seconds()
            self._changed(step)

    def fail(self) -> None:
        """Mark what is still running as failed."""
        with self._lock:
            for step in self.steps.values():
                if step.state == "running":
                    step.state, step.ended = "failed", self.seconds()
                    self._changed(step)

    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began


class TerminalProgress:
    """A live list with a spinner and the time of each step."""

    def __init__(self, console: Console) -> None:
        self._steps = Steps(lambda _step: None)
        self._spinner = Spinner("dots")
        self._live = Live(get_renderable=self._table, console=console, refresh_per_second=8)
        self._live.start()

    def show(self, key: str, text: str, note: str = "") -> None:
        """See :class:`Progress`."""
        self._steps.show(key, text, note)

    def done(self, key: str, note: str = "") -> None:
        """See :class:`Progress`."""
        self._steps.done(key, note)

    def close(self, *, failed: bool = False) -> None:
        """See :class:`Progress`; leaves the last state on the screen."""
        if failed:
            self._steps.fail()
        self._live.stop()

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 1))
        for step in list(self._steps.steps.values()):
            seconds = (step.ended or self._steps.seconds()) - step.started
            mark = {"done": Text("✓", "green"), "failed": Text("✗", "red")}.get(step.state, self._spinner)
            table.add_row(mark, step.text, Text(f"{seconds:5.1f} s", "dim"), Text(step.note, "dim"))
        return table


class PlainProgress:
    """One line when a step begins and one when it ends, with the seconds since the beginning."""

    def __init__(self, write: Callable[[str], None] = print) -> None:
        self._steps = Steps(self._changed)
        self._write = write
        self._said: set[tuple[str, str]] = set()

    def show(self, key: str, text: str, note: str = "") -> None:
        """See :class:`Progress`."""
        self._steps.show(key, text, note)

    def done(self, key: str, note: str = "") -> None:
        """See :class:`Progress`."""
        self._steps.done(key, note)

    def close(self, *, failed: bool = False) -> None:
        """See :class:`Progress`."""
        if failed:
            self._steps.fail()

    def _changed(self, step: Step) -> None:
        if (step.key, step.state) in self._said:
            return
        self._said.add((step.key, step.state))
        note = f" ({step.note})" if step.note else ""
        self._write(f"[{self._steps.seconds():6.1f} s] {step.text}: {step.state}{note}")


class FileProgress:
    """Each change as one JSON line in a file; :func:`replay` shows them elsewhere."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._steps = Steps(lambda step: self.event("step", **asdict(step)))

    def show(self, key: str, text: str, note: str = "") -> None:
        """See :class:`Progress`."""
        self._steps.show(key, text, note)

    def done(self, key: str, note: str = "") -> None:
        """See :class:`Progress`."""
        self._steps.done(key, note)

    def close(self, *, failed: bool = False) -> None:
        """See :class:`Progress`; further events may follow."""
        if failed:
            self._steps.fail()

    def event(self, kind: str, **values: Any) -> None:
        """Write an event of another kind, for example ``ready``."""
        with self._path.open("a") as file:
            file.write(json.dumps({"kind": kind, **values}) + "\n")


def replay(step: dict[str, Any], progress: Progress) -> None:
    """Show a step that another process has written."""
    if step["state"] == "running":
        progress.show(step["key"], step["text"], step["note"])
    elif step["state"] == "done":
        progress.show(step["key"], step["text"], step["note"])
        progress.done(step["key"], step["note"])


def for_terminal(console: Console | None = None) -> Progress:
    """The live list where a person watches, plain lines where not."""
    console = console or Console()
    if console.is_terminal:
        return TerminalProgress(console)
    return PlainProgress(lambda line: print(line, file=sys.stdout, flush=True))
