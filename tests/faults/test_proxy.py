"""The fault proxy: what passes unchanged, and what each rule does to a connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest


class Echo:
    """Answers with what it is sent, and keeps it."""

    def __init__(self) -> None:
        self.received = b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        try:
            while data := connection.recv(65536):
                self.received += data
                connection.sendall(data)
        except OSError:
            pass
        connection.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    running = Echo()
    yield running
    running.listener.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Any]:
    from chaos.proxy import Proxy

    with Proxy(echo.port) as running:
        yield running


def ask(port: int, *blocks: bytes, expect: int | None = None) -> bytes:
    """Send blocks; returns what came back until so many bytes, or until the connection ended."""
    answer = b""
    with suppress(ConnectionError), socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        for block in blocks:
            connection.sendall(block)
        while expect is None or len(answer) < expect:
            data = connection.recv(65536)
            if not data:
                break
            answer += data
    return answer


def test_without_a_rule_everything_passes(proxy: Any) -> None:
    data = bytes(range(256)) * 2000
    assert ask(proxy.port, data, expect=len(data)) == data


@pytest.mark.parametrize("after", [0, 1, 7])
def test_an_answer_is_cut_after_so_many_bytes(proxy: Any, after: int) -> None:
    rule = proxy.arm("cut", after=after)
    # A reset may overtake the last bytes; more than these never come.
    assert b"0123456789"[:after].startswith(ask(proxy.port, b"0123456789"))
    assert rule.acted == 1
    assert ask(proxy.port, b"again", expect=5) == b"again"


def test_a_question_is_cut_after_so_many_bytes(proxy: Any, echo: Echo) -> None:
    proxy.arm("cut", after=4, side="client")
    ask(proxy.port, b"0123456789")
    assert b"0123".startswith(echo.received)


def test_a_commit_passes_and_its_answer_does_not(proxy: Any, echo: Echo) -> None:
    from chaos.proxy import COMMIT

    rule = proxy.arm("cut_commit", marker=b"the load")
    # Not on a connection that has not sent the marker.
    assert ask(proxy.port, COMMIT, expect=len(COMMIT)) == COMMIT
    assert rule.acted == 0
    echo.received = b""
    # Split where it hurts.
    ask(proxy.port, b"about the lo", b"ad ", COMMIT[:5], COMMIT[5:])
    assert rule.acted == 1
    assert echo.received.endswith(COMMIT)
    assert ask(proxy.port, b"the load" + COMMIT, expect=8 + len(COMMIT)).endswith(COMMIT)


def test_a_commit_is_lost(proxy: Any, echo: Echo) -> None:
    from chaos.proxy import COMMIT

    proxy.arm("lose_commit", marker=b"the load")
    ask(proxy.port, b"the load", COMMIT)
    assert COMMIT not in echo.received


def test_connections_are_refused_as_often_as_the_rule_says(proxy: Any) -> None:
    rule = proxy.arm("refuse", times=2)
    assert [ask(proxy.port, b"x", expect=1) for _ in range(3)] == [b"", b"", b"x"]
    assert rule.acted == 2


def test_what_drips_arrives_whole(proxy: Any) -> None:
    proxy.arm("drip", after=3, seconds=0.001)
    assert ask(proxy.port, b"0123456789", expect=10) == b"0123456789"


def test_what_is_frozen_ends_when_the_rule_goes(proxy: Any) -> None:
    proxy.arm("freeze", after=2)
    threading.Timer(0.2, proxy.disarm).start()
    assert len(ask(proxy.port, b"0123456789")) <= 2
