from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from o2c.errors import O2CError
from o2c.warehouse.landing_files import LandingFolder


@pytest.fixture
def folder(tmp_path: Path) -> LandingFolder:
    return LandingFolder(tmp_path, "erp/invoices", "L000000007")


def land(folder: LandingFolder, name: str, *blocks: bytes) -> Any:
    file, passed = folder.tee(name, blocks)
    assert list(passed) == list(blocks)
    return file


def test_the_bytes_and_their_hash_are_kept(folder: LandingFolder) -> None:
    content = [os.urandom(70_000), b"", b"tail"]
    file = land(folder, "a.csv", *content)
    whole = b"".join(content)
    assert (file.sha256, file.bytes) == (hashlib.sha256(whole).hexdigest(), len(whole))
    folder.complete({"rows": 3})
    assert (folder.final / "a.csv").read_bytes() == whole
    assert json.loads((folder.final / "manifest.json").read_text()) == {"rows": 3}


def test_nothing_is_in_place_before_all_is_complete(folder: LandingFolder, tmp_path: Path) -> None:
    land(folder, "a.csv", b"x")
    assert not folder.final.exists()
    folder.complete({})
    assert [path.name for path in (tmp_path / "erp/invoices").iterdir()] == ["L000000007"]


def test_a_failed_load_leaves_nothing(folder: LandingFolder, tmp_path: Path) -> None:
    _, blocks = folder.tee("a.csv", iter([b"x", b"y"]))
    next(blocks)
    folder.discard()
    assert list((tmp_path / "erp/invoices").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("invoices.csv", "invoices.csv"),
        ("../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        ("a b\x00;ü.csv", "a_b___.csv"),
        ("..", "part"),
        (".", "part"),
        ("", "part"),
        (".hidden", ".hidden"),
        ("x" * 400 + ".csv", "x" * 176 + ".csv"),
    ],
)
def test_names_are_made_safe(folder: LandingFolder, name: str, kept: str) -> None:
    file = land(folder, name, b"1")
    assert file.name == kept
    folder.complete({})
    assert {path.name for path in folder.final.iterdir()} == {kept, "manifest.json"}


def test_equal_names_stay_apart(folder: LandingFolder) -> None:
    names = [land(folder, name, b"x").name for name in ("a.csv", "b/a.csv", "0002_a.csv", "manifest.json", "a.csv")]
    assert len(set(names)) == 5 and names[0] == "a.csv" and "manifest.json" not in names
    folder.complete({"kept": True})
    assert json.loads((folder.final / "manifest.json").read_text()) == {"kept": True}
    assert sum((folder.final / name).read_bytes() == b"x" for name in names) == 5


class _FullDisk:
    """A file on a disk that takes no more than ten bytes."""

    def __init__(self, code: int) -> None:
        self._code = code
        self._written = 0

    def __enter__(self) -> _FullDisk:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def write(self, block: bytes) -> int:
        self._written += len(block)
        if self._written > 10:
            raise OSError(self._code, os.strerror(self._code))
        return len(block)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_plainly(folder: LandingFolder, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(Path, "open", lambda *_: _FullDisk(code))
    _, blocks = folder.tee("a.csv", iter([b"12345678", b"abcdefgh"]))
    with pytest.raises(O2CError, match="no disk space left") as caught:
        list(blocks)
    assert "O2C_HOME" in caught.value.next_step and caught.value.exit_code == 1


def test_a_disk_that_is_full_at_the_manifest(folder: LandingFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    land(folder, "a.csv", b"x")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(O2CError, match="no disk space left"):
        folder.complete({})
    assert not folder.final.exists()


def test_a_folder_that_may_not_be_written(folder: LandingFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", denied)
    with pytest.raises(O2CError, match="cannot be written") as caught:
        list(folder.tee("a.csv", iter([b"x"]))[1])
    assert "Permission denied" in caught.value.what


def test_files_of_another_warehouse_are_not_overwritten(folder: LandingFolder) -> None:
    folder.final.mkdir(parents=True)
    (folder.final / "a.csv").write_bytes(b"older")
    land(folder, "a.csv", b"newer")
    with pytest.raises(O2CError, match="another warehouse") as caught:
        folder.complete({})
    assert "O2C_HOME" in caught.value.next_step
    assert (folder.final / "a.csv").read_bytes() == b"older"


def test_an_error_of_the_source_passes_through(folder: LandingFolder) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x"
        raise ConnectionResetError(errno.ECONNRESET, "reset by peer")

    _, blocks = folder.tee("a.csv", broken())
    with pytest.raises(ConnectionResetError):
        list(blocks)
