"""Writes files only when their content changed, so that an unchanged file keeps its time stamp."""

from __future__ import annotations

from pathlib import Path


def write_if_changed(path: Path, content: bytes) -> bool:
    """Write ``content`` in one step; returns False when the file held it already."""
    if path.is_file() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    draft.write_bytes(content)
    draft.replace(path)
    return True


def remove_others(directory: Path, pattern: str, wanted: set[Path]) -> None:
    """Delete files of ``pattern`` that belong to no part of the company (left over from another one)."""
    for path in directory.glob(pattern):
        if path not in wanted:
            path.unlink()
