from __future__ import annotations

import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from o2c.connectors import local_file
from o2c.connectors.base import BLOCK_SIZE, ExtractRequest
from o2c.errors import FatalSourceError, SourceError, UsageError


def request(base: Path, known: dict[str, str] | None = None, **source: Any) -> ExtractRequest:
    return ExtractRequest("shop/receivables", source, None, base, known_files=known or {})


def test_one_file_is_given_as_it_stands(tmp_path: Path) -> None:
    content = os.urandom(BLOCK_SIZE * 2 + 5)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_bytes(content)
    (tmp_path / "data" / "b.csv").write_bytes(b"other")
    (part,) = local_file.extract(request(tmp_path, path="data/a.csv"))
    assert b"".join(part.blocks) == content
    assert part.name == "a.csv" and part.fingerprint and part.fingerprint.startswith(f"{len(content)}:")
    assert part.origin["size"] == len(content) and part.origin["modified_at"].endswith("+00:00")


def test_a_single_name_is_no_pattern() -> None:
    assert local_file._literal("a[1]*?.csv") == "a[[]1][*][?].csv"
    assert fnmatchcase("a[1]*?.csv", local_file._literal("a[1]*?.csv"))
    assert not fnmatchcase("a1xx.csv", local_file._literal("a[1]*?.csv"))


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "c.txt"):
        (tmp_path / name).write_text(name)
    (tmp_path / "d.csv").mkdir()
    parts = local_file.extract(request(tmp_path / "elsewhere", path=str(tmp_path), pattern="*.csv"))
    assert [(part.name, b"".join(part.blocks)) for part in parts] == [("a.csv", b"a.csv"), ("b.csv", b"b.csv")]


def test_a_published_file_is_read_again_only_when_it_changed(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("1")
    (part,) = local_file.extract(request(tmp_path, path="."))
    known = {part.name: str(part.fingerprint)}
    assert list(local_file.extract(request(tmp_path, known, path="."))) == []
    file.write_text("2")
    os.utime(file, ns=(1, 1))
    assert [part.name for part in local_file.extract(request(tmp_path, known, path="."))] == ["a.csv"]


def test_an_empty_folder_gives_nothing(tmp_path: Path) -> None:
    assert list(local_file.extract(request(tmp_path, path="."))) == []


def test_a_growing_file_waits_for_the_next_run(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1")
    (tmp_path / "b.csv").write_text("1")

    def sleep(seconds: float) -> None:
        assert seconds == 5
        with (tmp_path / "a.csv").open("a") as file:
            file.write("2")

    parts = local_file.extract(request(tmp_path, path=".", stable_for="5s"), sleep=sleep)
    assert [part.name for part in parts] == ["b.csv"]


def test_a_file_that_grows_while_it_is_read_fails(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"x" * (BLOCK_SIZE + 1))
    (part,) = local_file.extract(request(tmp_path, path="a.csv"))
    next(part.blocks)
    with file.open("ab") as stream:
        stream.write(b"more")
    with pytest.raises(SourceError, match="changed while it was read"):
        list(part.blocks)


def test_a_file_that_vanishes_fails(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("1")
    (part,) = local_file.extract(request(tmp_path, path="a.csv"))
    file.unlink()
    with pytest.raises(SourceError, match="Reading failed"):
        list(part.blocks)


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(FatalSourceError, match="no file or folder 'none.csv'") as missing:
        list(local_file.extract(request(tmp_path, path="none.csv")))
    assert missing.value.reason == "missing_file" and "flow shop/receivables" in missing.value.where


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FatalSourceError, match="is not a file"):
        list(local_file.extract(request(tmp_path, path="pipe")))


def test_a_flow_without_a_path_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no path"):
        list(local_file.extract(request(tmp_path)))
