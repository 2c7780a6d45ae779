from __future__ import annotations

from pathlib import Path

import pytest

from o2c.connections import Connection
from o2c.connectors.base import ExtractRequest
from o2c.connectors.file_rules import FileState, check_whole, safe_name, select, stable_for
from o2c.errors import FatalSourceError, SourceError, UsageError


@pytest.mark.parametrize(
    "name",
    [
        "../a.xml",
        "a/b.xml",
        "a\\b.xml",
        "/etc/passwd",
        "a\x00.xml",
        "a\n.xml",
        "",
        ".hidden",
        "..",
        "a..xml",
        "-rf",
        "a" * 201,
    ],
)
def test_a_hostile_name_is_refused(name: str) -> None:
    with pytest.raises(FatalSourceError) as refused:
        safe_name(name, "here")
    assert refused.value.reason == "unsafe_file_name"


@pytest.mark.parametrize("name", ["a.xml", "Statement 2025-01 (2).xml", "DE89_EUR+1.csv", "Kontoauszug März.xml"])
def test_a_plain_name_passes(name: str) -> None:
    assert safe_name(name, "here") == name


def test_new_and_changed_files_are_chosen_by_name() -> None:
    files = [FileState("c.xml", 1, 1), FileState("b.xml", 2, 2), FileState("a.xml", 3, 3), FileState("a.txt", 4, 4)]
    known = {"b.xml": "2:2", "a.xml": "3:2"}
    assert [file.name for file in select(files, "*.xml", known, "here")] == ["a.xml", "c.xml"]


def test_a_hostile_name_is_only_judged_when_it_matches() -> None:
    files = [FileState(".part", 1, 1), FileState("a.xml", 1, 1)]
    assert [file.name for file in select(files, "*.xml", {}, "here")] == ["a.xml"]
    with pytest.raises(FatalSourceError):
        list(select(files, "*", {}, "here"))


@pytest.mark.parametrize(
    ("now", "read"), [(FileState("a", 10, 1), 9), (FileState("a", 11, 1), 10), (FileState("a", 10, 2), 10), (None, 10)]
)
def test_a_file_that_changed_is_not_whole(now: FileState | None, read: int) -> None:
    with pytest.raises(SourceError, match="changed while it was read"):
        check_whole(FileState("a", 10, 1), now, read, "here")


def test_a_file_that_kept_still_is_whole() -> None:
    check_whole(FileState("a", 10, 1), FileState("a", 10, 1), 10, "here")


def request(source: dict[str, str], extra: dict[str, str]) -> ExtractRequest:
    return ExtractRequest("bank/x", source, Connection("bank", "sftp", extra=extra), Path())


def test_stable_for_comes_from_the_source_or_the_connection() -> None:
    assert stable_for(request({}, {})) == 0
    assert stable_for(request({}, {"stable_for": "2m"})) == 120
    assert stable_for(request({"stable_for": "30s"}, {"stable_for": "2m"})) == 30
    with pytest.raises(UsageError, match="not a duration"):
        stable_for(request({"stable_for": "soon"}, {}))
