"""What can go wrong while the stack starts or runs."""

from __future__ import annotations

import signal

from o2c.errors import O2CError


class StackFailed(O2CError):
    """A part of the stack did not start, died, or a run in it failed."""


class Interrupted(BaseException):
    """SIGINT, SIGTERM or SIGHUP arrived; no ``except Exception`` may swallow it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """The code a shell expects of a process that a signal ended."""
        return 128 + self.number

    @property
    def name(self) -> str:
        """The signal's name, for a message."""
        return signal.Signals(self.number).name
