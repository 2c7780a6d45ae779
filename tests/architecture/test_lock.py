"""The lock files are complete, in step with what was asked for, and tell nothing about where packages came from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
_PINNED = re.compile(r"^(?P<name>[a-z0-9-]+)==(?P<version>[^\s;]+)(?: ; (?P<marker>.+))?$")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.partition("[")[0]).lower()


def asked(text: str) -> dict[str, str]:
    """Name and version of every line of a ``.in`` file; raises ``ValueError`` for one without a pin or a reason."""
    found = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        requirement, mark, reason = line.partition("#")
        name, pin, version = requirement.strip().partition("==")
        if not (mark and reason.strip() and pin):
            raise ValueError(line)
        found[normal(name)] = version
    return found


def locked(text: str) -> dict[str, str]:
    """Name and version of every line of a lock; raises ``ValueError`` for anything but an exact pin."""
    found = {}
    for line in text.splitlines():
        match = _PINNED.match(line)
        if not match:
            raise ValueError(line)
        found[match["name"]] = match["version"]
    return found


def read(name: str) -> str:
    return (PROJECT / name).read_text()


@pytest.mark.parametrize("stem", ["requirements", "requirements-celery"])
def test_the_lock_is_in_step(stem: str) -> None:
    wanted, given = asked(read(f"{stem}.in")), locked(read(f"{stem}.txt"))
    assert wanted
    assert wanted.items() <= given.items()
    assert list(given) == sorted(given)


def test_containers_use_the_same_versions() -> None:
    here, there = locked(read("requirements.txt")), locked(read("requirements-celery.txt"))
    shared = here.keys() & there.keys()
    assert len(shared) > 50
    assert {name for name in shared if here[name] != there[name]} == set()


def test_what_is_installed_is_what_is_locked() -> None:
    from importlib.metadata import distributions

    installed = {normal(each.metadata["Name"]): each.version for each in distributions()}
    given = locked(read("requirements.txt"))
    shared = given.keys() & installed.keys()
    assert len(shared) > 150
    assert {name: installed[name] for name in shared if installed[name] != given[name]} == {}


@pytest.mark.parametrize("line", ["pytest==9.2.0", "pytest  # the runner", "pytest>=9  # the runner"])
def test_a_line_without_pin_or_reason_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="pytest"):
        asked(line)


@pytest.mark.parametrize(
    "line", ["pytest>=9", "pytest==9 --hash=sha256:0", "-i https://x", "x @ https://x", "# by hand"]
)
def test_a_loose_or_foreign_line_of_the_lock_is_refused(line: str) -> None:
    with pytest.raises(ValueError):
        locked(line)
