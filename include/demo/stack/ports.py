"""Ports on loopback: free ones by default, a clear message when a wished one is taken."""

from __future__ import annotations

import os
import socket

from demo.stack.errors import StackFailed

HOST = "127.0.0.1"


def choose(variable: str, what: str, preferred: int | None = None) -> int:
    """The port that ``variable`` asks for; when it is not set, the preferred one if it is free, or any free one.

    Raises:
        StackFailed: the variable holds no port, or the port is taken.
    """
    text = os.environ.get(variable, "")
    if not text:
        return preferred if preferred is not None and is_free(preferred) else free_port()
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise StackFailed(f"'{text}' is not a port.", where=variable, next_step="Write a number from 1 to 65535.")
    if not is_free(int(text)):
        raise StackFailed(
            f"Port {text} for {what} is already taken.",
            where=f"{HOST}:{text}, asked for by {variable}",
            next_step=f"Stop what listens there, or leave {variable} unset to get a free port.",
        )
    return int(text)


def free_port() -> int:
    """A port that nothing listens on right now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port``."""
    with socket.socket() as probe:
        # As servers do: a port in TIME_WAIT counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
