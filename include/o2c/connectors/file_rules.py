"""Rules that every connector of files obeys: which names are safe, which files are new, when a file is whole.

Shared by ``local_file`` and ``sftp_file``; a name that comes from a server is hostile until it has passed here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from o2c.connectors.base import ExtractRequest
from o2c.contracts.flow import duration
from o2c.errors import FatalSourceError, SourceError, UsageError

_SAFE_NAME = re.compile(r"[^\W_][\w. ()+=,@&-]{0,199}")


@dataclass(frozen=True)
class FileState:
    """One file as it was listed: ``size`` in bytes, ``modified`` as the source's own clock tells it (UTC ticks)."""

    name: str
    size: int
    modified: int

    @property
    def fingerprint(self) -> str:
        """Text that changes when a file of this name changes."""
        return f"{self.size}:{self.modified}"


def safe_name(name: str, where: str) -> str:
    """Return ``name`` when it is a plain file name.

    Raises:
        FatalSourceError: it holds a path, a control character or anything else outside the allow-list
            (reason ``unsafe_file_name``).
    """
    if _SAFE_NAME.fullmatch(name) and ".." not in name:
        return name
    raise FatalSourceError(
        f"The file name {name[:120]!r} is not allowed.",
        reason="unsafe_file_name",
        where=where,
        next_step="Use letters, digits, dot, dash, underscore or space, and start with a letter or a digit.",
    )


def select(
    files: Iterable[FileState],
    pattern: str,
    known: Mapping[str, str],
    where: str,
    seen: Callable[[str, str], None] = lambda name, fingerprint: None,
) -> Iterator[FileState]:
    """Yield the files that match ``pattern`` and are new or changed, sorted by name; ``seen`` is told of the others."""
    matching = sorted((file for file in files if fnmatchcase(file.name, pattern)), key=lambda file: file.name)
    for file in matching:
        safe_name(file.name, where)
        if known.get(file.name) != file.fingerprint:
            yield file
        else:
            seen(file.name, file.fingerprint)


def check_whole(listed: FileState, now: FileState | None, read: int, where: str) -> None:
    """Compare what was read with the file's state before and after.

    Raises:
        SourceError: the file grew, shrank, was replaced or vanished while it was read.
    """
    if now == listed and read == listed.size:
        return
    state = "is gone" if now is None else f"now has {now.size:,} bytes"
    raise SourceError(
        f"The file changed while it was read: {listed.size:,} bytes listed, {read:,} read, and it {state}.",
        where=where,
        next_step="Nothing was loaded; run the flow again when the sender has finished writing.",
    )


def stable_for(request: ExtractRequest) -> float:
    """How many seconds a file must keep its size before it is read: ``stable_for`` of the source or the connection.

    Raises:
        UsageError: it is not a duration.
    """
    extra = request.connection.extra if request.connection else {}
    text = request.source.get("stable_for", extra.get("stable_for", "0s"))
    try:
        return duration(str(text)).total_seconds()
    except ValueError:
        raise UsageError(
            f"'{text}' is not a duration.",
            where=f"flow {request.flow}, stable_for",
            next_step="Write it like 30s or 2m.",
        ) from None
