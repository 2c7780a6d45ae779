"""Nothing in the project knows the machine it was written on, or where packages come from."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
SKIPPED = {
    ".git",
    ".venv",
    "var",
    "target",
    "logs",
    "__pycache__",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    ".hypothesis",
}
PATTERNS = {
    "a machine's path": r"(?<![\w.}-])/(?:root|Users|work|mnt)/\w|(?<![\w.}-])/home/(?!o2c\b)\w",
    "a package registry": r"\b(?:pypi|pythonhosted|npmjs)\.(?:org|com)\b|\bdeb\.debian\.org\b|--(?:extra-)?index-url",
    "a private address": r"\b(?:10\.\d{1,3}|192\.168|172\.(?:1[6-9]|2\d|3[01]))\.\d{1,3}\.\d{1,3}\b",
    "every address": r"\b0\.0\.0\.0\b",
}
# Files that must name what they forbid.
EXEMPT = {Path("tests/architecture/test_portability.py")}


def text_files(root: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if name not in SKIPPED]
        for name in files:
            path = Path(folder, name)
            if path.relative_to(root) not in EXEMPT and path.is_file() and b"\0" not in path.read_bytes()[:1024]:
                yield path


def offenders(root: Path, pattern: str) -> tuple[int, list[str]]:
    wanted, looked_at, found = re.compile(pattern), 0, []
    for path in text_files(root):
        looked_at += 1
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if match := wanted.search(line):
                found.append(f"{path}:{number}: {match.group()}")
    return looked_at, found


@pytest.mark.parametrize("what", PATTERNS)
def test_no_file_names(what: str) -> None:
    looked_at, found = offenders(PROJECT, PATTERNS[what])
    assert looked_at > 100
    # Addresses that tests must see refused are written in tests.
    allowed = "tests/" if "address" in what else "no such folder"
    assert [each for each in found if f"{PROJECT}/{allowed}" not in each] == []


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("a machine's path", 'HOME = "/root/project"'),
        ("a machine's path", "see /home/anna/notes"),
        ("a machine's path", "/Users/anna"),
        ("a package registry", "pip install --index-url x"),
        ("a package registry", "https://files.pythonhosted.org/x"),
        ("a private address", "host: 192.168.1.4"),
        ("every address", "--host 0.0.0.0"),
    ],
)
def test_a_planted_name_is_found(tmp_path: Path, what: str, line: str) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "x.md").write_text(f"first\n{line}\n")
    assert len(offenders(tmp_path, PATTERNS[what])[1]) == 1


@pytest.mark.parametrize("line", ["/home/o2c", "{root}/work/x", "network/work/it", "127.0.0.1", "1.10.0.1"])
def test_innocent_text_passes(tmp_path: Path, line: str) -> None:
    (tmp_path / "x.md").write_text(line)
    assert [found for pattern in PATTERNS.values() for found in offenders(tmp_path, pattern)[1]] == []
