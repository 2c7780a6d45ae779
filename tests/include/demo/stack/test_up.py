from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from demo.stack import up
from demo.stack.processes import Identity
from demo.stack.state import State, base_home, load_secrets


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    monkeypatch.setenv("O2C_HOME", str(tmp_path))
    state = State(tmp_path / "up")
    state.prepare()
    return state


def supervisor_is(state: State, identity: Identity) -> None:
    (state.root / "supervisor.json").write_text(json.dumps({"pid": identity.pid, "started": identity.started}))


def test_down_when_nothing_runs(state: State, capsys: pytest.CaptureFixture[str]) -> None:
    assert up.main("down") == 0
    assert capsys.readouterr().out == "Nothing was running.\n"


def test_a_record_of_another_process_with_that_id_is_not_believed(state: State) -> None:
    own = Identity.of(os.getpid())
    assert own is not None
    supervisor_is(state, own)
    assert up.running(state) == own
    supervisor_is(state, Identity(own.pid, own.started - 60))
    assert up.running(state) is None
    (state.root / "supervisor.json").write_text("{")
    assert up.running(state) is None


def test_up_twice_tells_addresses_and_logins_again(state: State, capsys: pytest.CaptureFixture[str]) -> None:
    own = Identity.of(os.getpid())
    assert own is not None
    supervisor_is(state, own)
    ready = {
        "kind": "ready",
        "airflow": "http://127.0.0.1:8080",
        "warehouse": "postgresql://warehouse:x@127.0.0.1:5/warehouse",
    }
    (state.root / "events.jsonl").write_text(json.dumps({"kind": "step"}) + "\n" + json.dumps(ready) + "\n")
    assert up.main("up") == 0
    said = capsys.readouterr().out
    assert "already up" in said
    assert "http://127.0.0.1:8080" in said
    assert "environment.sh" in said


def test_down_finds_the_stack_from_a_shell_that_works_with_it(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    load_secrets(state)
    assert base_home() == state.root.parent
    monkeypatch.setenv("O2C_HOME", str(state.root))
    assert base_home() == state.root.parent


def test_up_while_it_still_starts(state: State, capsys: pytest.CaptureFixture[str]) -> None:
    own = Identity.of(os.getpid())
    assert own is not None
    supervisor_is(state, own)
    assert up.main("up") == 0
    assert "still starting" in capsys.readouterr().out


def test_no_space_is_told(state: State, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("O2C_MIN_FREE_MB", "999999999999")
    assert up.main("up") == 1
    assert "MB of disk are free" in capsys.readouterr().err
