"""Reads files of a folder on this machine: one part per new or changed file, the original bytes.

``source`` keys: ``path`` (a file, or a folder together with ``pattern``; relative to the flow file), ``pattern``
(glob over names, default ``*``), ``stable_for`` (a file must keep its size this long, default ``0s``).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from stat import S_ISREG

from o2c.connectors.base import BLOCK_SIZE, ExtractRequest, Part
from o2c.connectors.file_rules import FileState, check_whole, select, stable_for
from o2c.errors import FatalSourceError, SourceError, UsageError

log = logging.getLogger(__name__)


def extract(request: ExtractRequest, *, sleep: Callable[[float], None] = time.sleep) -> Iterator[Part]:
    """Yield one part per file that is new, or differs from its published fingerprint, sorted by name.

    Raises:
        UsageError: the flow names no path.
        FatalSourceError: the file or folder does not exist, or may not be read (``missing_file``,
            ``unauthorized``), or a name is not allowed (``unsafe_file_name``).
        SourceError: a file changed while it was read.
    """
    where = f"flow {request.flow}"
    path = _path(request, where)
    folder, pattern = (path, str(request.source.get("pattern", "*"))) if path.is_dir() else (path.parent, path.name)
    # A single file is matched as a name, never as a glob.
    listed = _list(folder, where) if path.is_dir() else [_state(path, f"{where}, {path.name}")]
    known = request.known_files
    chosen = list(select(listed, pattern if path.is_dir() else _literal(pattern), known, where, request.seen))
    if chosen:
        sleep(stable_for(request))
    for file in chosen:
        source = folder / file.name
        if _peek(source) != file:
            log.warning("%s: %s is still being written; left for the next run", where, file.name)
            continue
        yield _part(source, file, f"{where}, {file.name}")


def _path(request: ExtractRequest, where: str) -> Path:
    text = str(request.source.get("path") or "")
    if not text:
        raise UsageError("The flow names no path.", where=f"{where}, key source.path", next_step="Add the path.")
    path = (request.base_dir / text).resolve()
    if not path.exists():
        raise FatalSourceError(
            f"There is no file or folder '{text}'.",
            reason="missing_file",
            where=f"{where}, key source.path",
            next_step=f"Put the file there or correct the path; it was looked up as {path}.",
        )
    return path


def _literal(name: str) -> str:
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


def _list(folder: Path, where: str) -> list[FileState]:
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise _unreadable(error, where) from None
    return [state for entry in entries if (state := _peek(entry)) is not None]


def _state(path: Path, where: str) -> FileState:
    state = _peek(path)
    if state is None:
        raise FatalSourceError(
            f"'{path.name}' is not a file.", reason="missing_file", where=where, next_step="Name a file or a folder."
        )
    return state


def _peek(path: Path) -> FileState | None:
    try:
        # A link in a drop folder may point anywhere.
        status = path.lstat()
    except OSError:
        return None
    return FileState(path.name, status.st_size, status.st_mtime_ns) if S_ISREG(status.st_mode) else None


def _part(path: Path, file: FileState, where: str) -> Part:
    modified = datetime.fromtimestamp(file.modified // 1_000_000_000, UTC).isoformat()
    return Part(
        name=file.name,
        blocks=_blocks(path, file, where),
        origin={"path": str(path), "size": file.size, "modified_at": modified},
        fingerprint=file.fingerprint,
    )


def _blocks(path: Path, file: FileState, where: str) -> Iterator[bytes]:
    read = 0
    try:
        with path.open("rb", buffering=0) as stream:
            for block in iter(partial(stream.read, BLOCK_SIZE), b""):
                read += len(block)
                yield block
    except OSError as error:
        raise _unreadable(error, where) from None
    check_whole(file, _peek(path), read, where)


def _unreadable(error: OSError, where: str) -> SourceError:
    if isinstance(error, PermissionError):
        return FatalSourceError(
            "The file or folder may not be read.",
            reason="unauthorized",
            where=where,
            next_step="Give the account that runs the flow the right to read it.",
        )
    return SourceError(f"Reading failed: {error.strerror}.", where=where, next_step="Check the disk and run again.")
