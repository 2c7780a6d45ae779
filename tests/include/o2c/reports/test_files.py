from __future__ import annotations

import os
from pathlib import Path

import pytest

from o2c.errors import UsageError
from o2c.reports.files import write_whole


def test_a_report_replaces_the_one_before_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "page.html"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["page.html"]


def test_the_old_report_stays_when_the_new_one_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "page.html"
    write_whole(path, b"one")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UsageError) as caught:
        write_whole(path, b"two")
    assert "No space left on device" in caught.value.what and caught.value.where == str(path)
    assert path.read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["page.html"]


def test_a_folder_that_is_a_file_is_a_plain_error(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("x")
    with pytest.raises(UsageError):
        write_whole(tmp_path / "reports" / "page.html", b"one")
