from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from demo.stack.errors import StackFailed
from demo.stack.state import State, check_space, load_secrets, only_one, write_private


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = State(tmp_path / "demo")
    state.prepare()
    return state


def test_secrets_are_kept_and_read_by_their_owner_only(state: State) -> None:
    first = load_secrets(state)
    assert load_secrets(state) == first
    assert (state.root / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert min(len(value) for value in first.values()) >= 24
    assert len(set(first.values())) == len(first)


def test_another_directory_has_other_secrets(state: State, tmp_path: Path) -> None:
    other = State(tmp_path / "other")
    other.prepare()
    assert load_secrets(other).items().isdisjoint(load_secrets(state).items())


def test_a_private_file_is_private_even_if_it_was_not(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o600)


def test_others_see_neither_logs_nor_records(state: State) -> None:
    assert {path.stat().st_mode & 0o777 for path in (state.logs, state.pids)} == {0o700}


def test_too_little_space_is_said_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(StackFailed, match="MB of disk are free") as refused:
        check_space(tmp_path / "not" / "there", minimum_mb=10**12)
    assert refused.value.where == str(tmp_path)
    check_space(tmp_path, minimum_mb=0)


def test_the_minimum_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("O2C_MIN_FREE_MB", "999999999999")
    with pytest.raises(StackFailed):
        check_space(tmp_path)


def test_a_second_one_is_refused_while_the_first_runs(state: State) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from demo.stack.state import State, only_one\n"
        "with only_one(State(Path(sys.argv[1])), 'make demo'): pass"
    )
    command = [sys.executable, "-c", code, str(state.root)]
    include = str(Path(__file__).resolve().parents[4] / "include")
    with only_one(state, "make demo"):
        second = subprocess.run(command, env={"PYTHONPATH": include}, capture_output=True, text=True)
    third = subprocess.run(command, env={"PYTHONPATH": include}, capture_output=True, text=True)
    assert "Another 'make demo' is already running here." in second.stderr
    assert third.returncode == 0, third.stderr


def test_the_lock_survives_that_the_directory_is_made_anew(state: State) -> None:
    with only_one(state, "make demo"):
        state.remove()
        assert not state.root.exists()
        state.prepare()
    assert state.pids.is_dir()
