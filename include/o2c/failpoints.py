"""Failpoints: named places where a test lets a process die, stop or fail. In normal use they are empty calls.

``O2C_FAILPOINT=<name>:<n>:<action>`` acts the n-th time the place is reached. Actions: ``kill`` (SIGKILL to itself),
``stop`` (SIGSTOP), ``exit`` (at once, without tidying up), ``raise`` and ``sleep:<seconds>``.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from o2c.errors import UsageError

VARIABLE = "O2C_FAILPOINT"
EXIT_CODE = 70
# Every place there is; tests/faults compares the list with the code.
POINTS = (
    "extract_opened",
    "copy_block",
    "extract_copied",
    "landing_renamed",
    "extract_staged",
    "gate_ran",
    "gate_noted",
    "publish_opened",
    "publish_fenced",
    "publish_sorted",
    "publish_inserted",
    "publish_written",
    "publish_committed",
    "build_started",
    "build_done",
)


class FailpointReached(Exception):
    """What the action ``raise`` raises; no error of ours, as a bug would be."""


def armed(text: str) -> Callable[[str], None]:
    """The call that acts as ``text`` says.

    Raises:
        UsageError: ``text`` names no known place, count or action.
    """
    name, _, rest = text.partition(":")
    count, _, action = rest.partition(":")
    act = _action(action, name)
    if name not in POINTS or not count.isdigit() or act is None:
        raise UsageError(
            f"'{text}' is no failpoint.",
            where=f"environment variable {VARIABLE}",
            next_step="Write <name>:<n>:<action> with kill, stop, exit, raise or sleep:<seconds>, or unset it.",
        )
    left = int(count)

    def reached(place: str) -> None:
        nonlocal left
        if place == name:
            left -= 1
            if left == 0:
                act()

    return reached


def _action(text: str, name: str) -> Callable[[], None] | None:
    kind, _, argument = text.partition(":")
    if kind == "sleep" and argument.replace(".", "", 1).isdigit():
        return lambda: time.sleep(float(argument))
    if kind in ("kill", "stop") and not argument:
        number = signal.SIGKILL if kind == "kill" else signal.SIGSTOP
        return lambda: os.kill(os.getpid(), number)
    if text == "exit":
        return lambda: os._exit(EXIT_CODE)
    return _raiser(name) if text == "raise" else None


def _raiser(name: str) -> Callable[[], None]:
    def act() -> None:
        raise FailpointReached(name)

    return act


def _nothing(name: str) -> None:
    pass


reached: Callable[[str], None] = armed(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else _nothing
