from __future__ import annotations

from pathlib import Path

import pytest

from demo.stack import demo_run
from demo.stack.errors import StackFailed
from demo.stack.state import State


def test_new_reports_replace_the_old_ones_whole(tmp_path: Path) -> None:
    state, target = State(tmp_path / "demo"), tmp_path / "reports"
    target.mkdir()
    (target / "old.html").touch()
    (state.reports / "docs").mkdir(parents=True)
    (state.reports / "docs" / "new.html").write_text("new")
    demo_run.publish_reports(state, target)
    assert [str(path.relative_to(tmp_path)) for path in sorted(target.rglob("*.html"))] == ["reports/docs/new.html"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo", "reports"]


def test_a_run_without_reports_is_a_failure_and_keeps_the_old_ones(tmp_path: Path) -> None:
    target = tmp_path / "reports"
    target.mkdir()
    with pytest.raises(StackFailed, match="wrote no reports"):
        demo_run.publish_reports(State(tmp_path / "demo"), target)
    assert target.is_dir()


def test_no_space_is_told_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("O2C_HOME", str(tmp_path))
    monkeypatch.setenv("O2C_MIN_FREE_MB", "999999999999")
    assert demo_run.main() == 1
    assert "MB of disk are free" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
