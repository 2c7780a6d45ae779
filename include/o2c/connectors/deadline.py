"""A wall-clock end for a whole extract: a source that drips, hangs or freezes is cut off when the time is over.

A timeout per answer is no bound: a byte now and then keeps it from ever expiring.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType

from o2c.connections import Connection
from o2c.errors import SourceError, UsageError


class Deadline:
    """Shuts the sockets it watches down after ``seconds``; whoever reads from them is woken with an error."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.is_over = False
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    @classmethod
    def of(cls, connection: Connection, default: float) -> Deadline:
        """The deadline that the connection's extra ``deadline`` states; :class:`UsageError` when it is no number."""
        try:
            seconds = float(connection.extra.get("deadline", default))
        except (TypeError, ValueError):
            seconds = 0.0
        if seconds > 0:
            return cls(seconds)
        raise UsageError(
            "The deadline of the connection is no number of seconds.",
            where=f"connection {connection.conn_id}, extra deadline",
            next_step="Write seconds, for example 3600.",
        )

    def watch(self, descriptor: int) -> None:
        """Shut this socket down too when the time is over; its owner may close it before."""
        # A copy: the number itself may belong to somebody else by then.
        copy = socket.socket(fileno=os.dup(descriptor))
        with self._lock:
            self._sockets.append(copy)
        if self.is_over:
            self._end()

    @contextmanager
    def guard(self, where: str) -> Iterator[None]:
        """Word a failure of the source as what it is when the time is over."""
        try:
            yield
        except SourceError:
            if self.is_over:
                raise self.failed(where) from None
            raise

    def failed(self, where: str) -> SourceError:
        """The error of an extract whose time is over."""
        return SourceError(
            f"The source did not deliver within {self.seconds:g} s.",
            where=where,
            next_step="Nothing was loaded; run the flow again, or raise 'deadline' in the connection's extra.",
        )

    def _end(self) -> None:
        self.is_over = True
        with self._lock:
            for watched in self._sockets:
                with suppress(OSError):
                    watched.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._timer.cancel()
        with self._lock:
            for watched in self._sockets:
                watched.close()
            self._sockets.clear()
