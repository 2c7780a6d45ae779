"""Failpoints cost nothing unless they are armed; armed, they act the n-th time and never before."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from o2c import failpoints
from o2c.errors import UsageError

PROJECT = Path(__file__).resolve().parents[3]
_CALL = re.compile(r'\breached\("(\w+)"\)')


def run(setting: str | None, code: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name != failpoints.VARIABLE}
    environ |= {"PYTHONPATH": str(PROJECT / "include"), **({failpoints.VARIABLE: setting} if setting else {})}
    return subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)


def test_unset_it_is_an_empty_call_bound_at_import() -> None:
    code = (
        "from o2c.failpoints import reached\n"
        "def nothing(name): pass\n"
        "print(reached.__code__.co_code == nothing.__code__.co_code, reached.__closure__, reached.__code__.co_names)"
    )
    assert run(None, code).stdout.split() == ["True", "None", "()"]
    assert run("publish_written:1:kill", code).stdout.split()[0] == "False"


def test_the_places_in_the_code_are_those_that_are_listed() -> None:
    found = {
        name
        for path in (PROJECT / "include" / "o2c").rglob("*.py")
        if path.name != "failpoints.py"
        for name in _CALL.findall(path.read_text(encoding="utf-8"))
    }
    assert found == set(failpoints.POINTS)


def test_it_acts_the_nth_time_only() -> None:
    reached = failpoints.armed("gate_ran:3:raise")
    for place in ("gate_ran", "gate_noted", "gate_ran"):
        reached(place)
    with pytest.raises(failpoints.FailpointReached, match="gate_ran"):
        reached("gate_ran")
    reached("gate_ran")


@pytest.mark.parametrize(("action", "code"), [("kill", -signal.SIGKILL), ("exit", failpoints.EXIT_CODE)])
def test_it_ends_the_process(action: str, code: int) -> None:
    code_to_run = "from o2c.failpoints import reached\nfor n in 'ab': reached('gate_ran'); print(n, flush=True)"
    done = run(f"gate_ran:2:{action}", code_to_run)
    assert (done.returncode, done.stdout) == (code, "a\n")


def test_it_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(failpoints.time, "sleep", slept.append)
    failpoints.armed("gate_ran:1:sleep:1.5")("gate_ran")
    assert slept == [1.5]


def test_it_stops_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(failpoints.os, "kill", lambda *each: sent.append(each))
    failpoints.armed("gate_ran:1:stop")("gate_ran")
    assert sent == [(os.getpid(), signal.SIGSTOP)]


@pytest.mark.parametrize(
    "text",
    [
        *("", "gate_ran", "gate_ran:1", "gate_ran:x:kill", "nowhere:1:kill"),
        *("gate_ran:1:burn", "gate_ran:1:sleep:x", "gate_ran:1:kill:9"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no failpoint"):
        failpoints.armed(text)
