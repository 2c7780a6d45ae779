from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from demo.stack import ports
from demo.stack.errors import StackFailed


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind((ports.HOST, 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_free_port_is_found_when_none_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("O2C_TEST_PORT", raising=False)
    assert ports.is_free(ports.choose("O2C_TEST_PORT", "the test"))


def test_a_taken_port_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, taken: int) -> None:
    monkeypatch.setenv("O2C_TEST_PORT", str(taken))
    with pytest.raises(StackFailed) as refused:
        ports.choose("O2C_TEST_PORT", "the test")
    assert f"Port {taken} for the test is already taken." in str(refused.value)
    assert "O2C_TEST_PORT" in refused.value.next_step


@pytest.mark.parametrize("text", ["no", "0", "65536", "-1", "80 80"])
def test_what_is_no_port_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("O2C_TEST_PORT", text)
    with pytest.raises(StackFailed, match="is not a port"):
        ports.choose("O2C_TEST_PORT", "the test")


def test_the_preferred_port_is_only_a_preference(monkeypatch: pytest.MonkeyPatch, taken: int) -> None:
    monkeypatch.delenv("O2C_TEST_PORT", raising=False)
    free = ports.free_port()
    assert ports.choose("O2C_TEST_PORT", "the test", preferred=free) == free
    assert ports.choose("O2C_TEST_PORT", "the test", preferred=taken) != taken
