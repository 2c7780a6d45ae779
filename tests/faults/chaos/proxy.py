"""A TCP proxy on loopback that breaks what passes through it, in front of Postgres, HTTP or SFTP.

Rules are armed one at a time and act once, unless they say otherwise; without a rule everything passes unchanged.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from dataclasses import dataclass

COMMIT = b"Q" + struct.pack("!I", 4 + len(b"COMMIT\0")) + b"COMMIT\0"
_BLOCK = 64 * 1024


@dataclass
class Rule:
    """What to do with the connections.

    ``kind``: ``cut`` ends a connection after ``after`` bytes from ``side`` (``client`` or ``server``) have passed;
    ``cut_commit`` passes the client's COMMIT on and ends the connection before the answer comes back, and
    ``lose_commit`` ends it before the COMMIT has passed, both only on a connection that has sent ``marker`` before;
    ``delay`` holds every block back for ``seconds``; ``drip`` passes ``after`` bytes per ``seconds``;
    ``freeze`` passes nothing any more after ``after`` bytes, with the connection open; ``refuse`` ends every new
    connection. ``times`` is how often it acts.
    """

    kind: str
    after: int = 0
    side: str = "server"
    seconds: float = 0.0
    marker: bytes = b""
    times: int = 1
    acted: int = 0


class Proxy:
    """Listens on a free port and passes on to ``target``; ``arm`` sets the rule, ``acted`` counts what it did."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.rule: Rule | None = None
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, daemon=True, name="fault-proxy")
        self._thread.start()

    def arm(self, kind: str, **values: object) -> Rule:
        """Set the rule for what passes from now on."""
        self.rule = Rule(kind, **values)  # type: ignore[arg-type]
        return self.rule

    def disarm(self) -> None:
        """Let everything pass; what is frozen or dripping ends."""
        self.rule = None

    def take(self, rule: Rule) -> bool:
        """Whether the rule may act (again); counts it."""
        with self._lock:
            if self.rule is not rule or rule.acted >= rule.times:
                return False
            rule.acted += 1
            return True

    def close(self) -> None:
        """Stop listening and end every connection."""
        self._closing.set()
        self.rule = None
        self._thread.join(timeout=5)
        self._listener.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_closing(self) -> bool:
        return self._closing.is_set()

    def _accept(self) -> None:
        self._listener.settimeout(0.1)
        while not self.is_closing:
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            rule = self.rule
            if rule and rule.kind == "refuse" and self.take(rule):
                _reset(client)
                continue
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self.target), timeout=5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        _Connection(self, client, server).run()


def _reset(sock: socket.socket) -> None:
    """End a connection the hard way, so that the other side sees it at once."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class _Connection:
    """One connection that passes through, in one thread."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._sides = {"client": client, "server": server}
        self._passed = {"client": 0, "server": 0}
        self._sent = b""
        self._is_marked: Rule | None = None

    def run(self) -> None:
        try:
            while not self._proxy.is_closing and self._step():
                pass
        except OSError:
            pass
        for sock in self._sides.values():
            sock.close()

    def _step(self) -> bool:
        readable = select.select(list(self._sides.values()), [], [], 0.1)[0]
        for side, other in (("client", "server"), ("server", "client")):
            if self._sides[side] in readable:
                data = self._sides[side].recv(_BLOCK)
                if not data or not self._pass(side, other, data):
                    return False
        return True

    def _pass(self, side: str, other: str, data: bytes) -> bool:
        """Pass a block on as the rule says; False ends the connection."""
        rule = self._proxy.rule
        if rule is not None and rule.kind.endswith("_commit"):
            if side == "client" and self._has_commit(rule, data) and self._proxy.take(rule):
                if rule.kind == "cut_commit":
                    self._sides["server"].sendall(data)
                    # The server works on it; its answer is never passed on.
                    select.select([self._sides["server"]], [], [], 5)
                return self._cut(None if rule.kind == "lose_commit" else "client")
        elif rule is not None:
            return self._broken(rule, side, other, data)
        self._send(side, other, data)
        return True

    def _has_commit(self, rule: Rule, data: bytes) -> bool:
        text = self._sent + data
        if rule.marker in text:
            self._is_marked = rule
        # What is searched for may be split between two blocks.
        self._sent = text[-max(len(rule.marker), len(COMMIT)) :]
        return COMMIT in text and self._is_marked is rule

    def _broken(self, rule: Rule, side: str, other: str, data: bytes) -> bool:
        total = self._passed[side] + len(data)
        if rule.kind == "cut" and side == rule.side and total > rule.after and self._proxy.take(rule):
            self._send(side, other, data[: max(0, rule.after - self._passed[side])])
            return self._cut(None)
        if rule.kind == "freeze" and total > rule.after and self._proxy.take(rule):
            while self._proxy.rule is rule and not self._proxy.is_closing:
                time.sleep(0.02)
            return self._cut(None)
        if rule.kind == "delay" and self._proxy.take(rule):
            time.sleep(rule.seconds)
        if rule.kind == "drip" and side == rule.side and self._proxy.take(rule):
            return self._drip(rule, side, other, data)
        self._send(side, other, data)
        return True

    def _drip(self, rule: Rule, side: str, other: str, data: bytes) -> bool:
        step = max(1, rule.after)
        for start in range(0, len(data), step):
            if self._proxy.is_closing:
                return False
            self._send(side, other, data[start : start + step])
            if self._proxy.rule is rule:
                time.sleep(rule.seconds)
        return True

    def _send(self, side: str, other: str, data: bytes) -> None:
        self._sides[other].sendall(data)
        self._passed[side] += len(data)

    def _cut(self, only: str | None) -> bool:
        """End both sides at once, or the client's at once and the server's in order."""
        for side, sock in self._sides.items():
            if only is None or side == only:
                _reset(sock)
        return False
