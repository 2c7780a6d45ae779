from __future__ import annotations

from collections.abc import Iterator

import pytest

from o2c import version


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    version.code_version.cache_clear()
    yield
    version.code_version.cache_clear()


def test_the_environment_may_say_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("O2C_CODE_VERSION", "build-7")
    assert version.code_version() == "build-7"


@pytest.mark.parametrize(
    ("commit", "status", "expected"),
    [("abc123", "", "abc123"), ("abc123", " M x.py", "abc123+changes"), ("", "", "unknown")],
)
def test_git_says_it(monkeypatch: pytest.MonkeyPatch, commit: str, status: str, expected: str) -> None:
    monkeypatch.delenv("O2C_CODE_VERSION", raising=False)
    monkeypatch.setattr(version, "_git", lambda *words: commit if words[0] == "rev-parse" else status)
    assert version.code_version() == expected


def test_no_git_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("O2C_CODE_VERSION", raising=False)
    monkeypatch.setenv("PATH", "")
    assert version.code_version() == "unknown"
