"""Write a report whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from o2c.errors import UsageError


def write_whole(path: Path, content: bytes) -> None:
    """Write beside the target, then rename: a reader sees the old report or the new one, never half of one.

    Raises:
        UsageError: the folder cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(content)
        os.replace(draft, path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise UsageError(
            f"The report cannot be written: {error.strerror}.",
            where=str(path),
            next_step="Free disk space, or make the folder writable.",
        ) from None
