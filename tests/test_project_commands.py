"""The two ways in: make and the o2c launcher."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", "-C", str(PROJECT), *arguments], capture_output=True, text=True)


def test_make_alone_explains_itself() -> None:
    said = make().stdout
    for target in ("env", "demo", "up", "down", "test", "lint", "clean", "help"):
        assert any(line.startswith(f"{target} ") for line in said.splitlines()), target


def test_the_environment_is_not_built_again() -> None:
    assert make("--dry-run", "env").stdout.count("environment.sh") == 0
    assert make("--dry-run", "--what-if=requirements.txt", "env").stdout.count("environment.sh") == 1


def test_ci_runs_what_the_readme_says() -> None:
    lines = (PROJECT / ".ci" / "run").read_text().splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines
    assert lines[-1] == "make test"
    assert os.access(PROJECT / ".ci" / "run", os.X_OK)


@pytest.mark.parametrize("link", [False, True])
def test_the_launcher_works_from_any_directory(tmp_path: Path, link: bool) -> None:
    launcher = PROJECT / "o2c"
    if link:
        launcher = tmp_path / "o2c"
        launcher.symlink_to(PROJECT / "o2c")
    done = subprocess.run([str(launcher), "flow", "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "check" in done.stdout


def test_the_launcher_works_with_the_stack_that_is_up(tmp_path: Path) -> None:
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / ".installed").touch()
    program = tmp_path / ".venv" / "bin" / "python"
    program.write_text('#!/bin/sh\necho "$O2C_WAREHOUSE_URL $PYTHONPATH $*"\n')
    program.chmod(0o755)
    shutil.copy(PROJECT / "o2c", tmp_path / "o2c")
    (tmp_path / "var" / "up").mkdir(parents=True)
    (tmp_path / "var" / "up" / "environment.sh").write_text("export O2C_WAREHOUSE_URL='postgresql://up'\n")

    def said(**environment: str) -> str:
        environment |= {"PATH": os.environ["PATH"]}
        return subprocess.check_output([tmp_path / "o2c", "sql", "a b"], env=environment, text=True)

    assert said() == f"postgresql://up {tmp_path}/include -m o2c.cli sql a b\n"
    assert said(O2C_WAREHOUSE_URL="mine").startswith("mine ")
    assert said(O2C_HOME="/elsewhere").startswith(" ")


def test_the_launcher_says_what_to_do_without_an_environment(tmp_path: Path) -> None:
    shutil.copy(PROJECT / "o2c", tmp_path / "o2c")
    done = subprocess.run([str(tmp_path / "o2c")], capture_output=True, text=True)
    assert done.returncode == 2
    assert "make env" in done.stderr


def test_no_python_that_fits_is_told(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "cat", "grep"):
        (tools / name).symlink_to(str(shutil.which(name)))
    script = PROJECT / "include" / "demo" / "stack" / "environment.sh"
    done = subprocess.run(
        [str(tools / "bash"), str(script), str(tmp_path / "venv"), str(PROJECT / "requirements.txt")],
        env={"PATH": str(tools)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "No Python 3.11, 3.12 or 3.13" in done.stderr
    assert not (tmp_path / "venv").exists()
