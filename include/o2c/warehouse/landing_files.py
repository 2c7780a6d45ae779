"""Immutable landing files: what arrived, byte for byte, with its sha256."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from o2c.errors import O2CError

_SAFE = re.compile(r"[^A-Za-z0-9._-]")


@dataclass
class LandedFile:
    """One landing file; ``sha256`` and ``bytes`` are set when it has been written."""

    name: str
    path: Path
    sha256: str = ""
    bytes: int = 0


class LandingFolder:
    """The landing files of one load: written aside, moved in place when all are complete."""

    def __init__(self, root: Path, flow: str, load_id: str) -> None:
        self.final = root / flow / load_id
        self._partial = root / flow / f"{load_id}.part"
        self.files: list[LandedFile] = []

    def tee(self, name: str, blocks: Iterable[bytes]) -> tuple[LandedFile, Iterator[bytes]]:
        """Write ``blocks`` to a landing file while they are passed on."""
        safe = _SAFE.sub("_", Path(name).name) or "part"
        if any(file.name == safe for file in self.files):
            safe = f"{len(self.files) + 1:04d}_{safe}"
        self._partial.mkdir(parents=True, exist_ok=True)
        file = LandedFile(safe, self._partial / safe)
        self.files.append(file)
        return file, self._write(file, blocks)

    def _write(self, file: LandedFile, blocks: Iterable[bytes]) -> Iterator[bytes]:
        digest = hashlib.sha256()
        try:
            with file.path.open("xb") as target:
                for block in blocks:
                    digest.update(block)
                    target.write(block)
                    file.bytes += len(block)
                    yield block
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise O2CError(
                    "There is no disk space left for the landing files.",
                    where=str(file.path.parent),
                    next_step="Free space or set O2C_HOME to a larger disk; the warehouse is unchanged.",
                ) from None
            raise
        file.sha256 = digest.hexdigest()

    def complete(self, manifest: Mapping[str, Any]) -> None:
        """Write the manifest, make all of it durable, and move the folder in place."""
        self._partial.mkdir(parents=True, exist_ok=True)
        text = json.dumps(manifest, indent=2, sort_keys=True, default=str)
        (self._partial / "manifest.json").write_text(text + "\n", encoding="utf-8")
        for path in (*self._partial.iterdir(), self._partial):
            _make_durable(path)
        self._partial.rename(self.final)
        _make_durable(self.final.parent)

    def discard(self) -> None:
        """Remove what a failed load has written."""
        shutil.rmtree(self._partial, ignore_errors=True)


def _make_durable(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
