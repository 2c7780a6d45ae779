"""Immutable landing files: what arrived, byte for byte, with its sha256."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from o2c.errors import O2CError

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_MANIFEST = "manifest.json"
_LONGEST_NAME = 180
_BLOCK_SIZE = 256 * 1024


@dataclass
class LandedFile:
    """One landing file; ``sha256`` and ``bytes`` are set when it has been written, ``digest`` grows with it."""

    name: str
    path: Path
    sha256: str = ""
    bytes: int = 0
    digest: Any = field(default_factory=hashlib.sha256, repr=False)


class LandingFolder:
    """The landing files of one load: written aside, moved in place when all are complete."""

    def __init__(self, root: Path, flow: str, load_id: str) -> None:
        self.final = root / flow / load_id
        self._partial = root / flow / f"{load_id}.part"
        self.files: list[LandedFile] = []

    def tee(self, name: str, blocks: Iterable[bytes]) -> tuple[LandedFile, Iterator[bytes]]:
        """Write ``blocks`` to a landing file while they are passed on."""
        safe = self._free_name(name)
        file = LandedFile(safe, self._partial / safe)
        self.files.append(file)
        return file, self._write(file, blocks)

    def _free_name(self, name: str) -> str:
        safe = _UNSAFE.sub("_", Path(name).name)
        stem, dot, ending = safe.rpartition(".")
        if len(safe) > _LONGEST_NAME:
            safe = (stem or safe)[: _LONGEST_NAME - len(dot + ending)] + dot + ending[:_LONGEST_NAME]
        safe = safe if safe.strip(".") else "part"
        taken = {_MANIFEST, *(file.name for file in self.files)}
        numbered = (f"{number:04d}_{safe}" for number in count(len(self.files) + 1))
        return safe if safe not in taken else next(candidate for candidate in numbered if candidate not in taken)

    def _write(self, file: LandedFile, blocks: Iterable[bytes]) -> Iterator[bytes]:
        with ExitStack() as stack:
            with _plain_disk_errors(self._partial):
                self._partial.mkdir(parents=True, exist_ok=True)
                target = stack.enter_context(file.path.open("xb"))
            for block in blocks:
                file.digest.update(block)
                with _plain_disk_errors(self._partial):
                    target.write(block)
                file.bytes += len(block)
                yield block
            with _plain_disk_errors(self._partial):
                stack.close()
        file.sha256 = file.digest.hexdigest()

    def read(self, file: LandedFile) -> Iterator[bytes]:
        """What was written to a landing file, read back."""
        with _plain_disk_errors(self._partial), file.path.open("rb") as stream:
            yield from iter(partial(stream.read, _BLOCK_SIZE), b"")

    def drop(self, file: LandedFile) -> None:
        """Forget a file that is not needed: its bytes are kept elsewhere."""
        self.files.remove(file)
        with _plain_disk_errors(self._partial):
            file.path.unlink()

    def complete(self, manifest: Mapping[str, Any]) -> None:
        """Write the manifest, make all of it durable, and move the folder in place."""
        with _plain_disk_errors(self._partial):
            self._partial.mkdir(parents=True, exist_ok=True)
            (self._partial / _MANIFEST).write_text(manifest_text(manifest), encoding="utf-8")
            for path in (*self._partial.iterdir(), self._partial):
                _make_durable(path)
            self._partial.rename(self.final)
            _make_durable(self.final.parent)

    def discard(self) -> None:
        """Remove what a load has written that will never publish."""
        for folder in (self._partial, self.final):
            shutil.rmtree(folder, ignore_errors=True)


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """What ``manifest.json`` says, to the last byte."""
    return json.dumps(manifest, indent=2, sort_keys=True, default=str) + "\n"


@contextmanager
def _plain_disk_errors(folder: Path) -> Iterator[None]:
    """Say what the disk refuses; errors of the source do not pass here."""
    try:
        yield
    except OSError as error:
        what, next_step = f"The landing files cannot be written: {error.strerror}.", "Check O2C_HOME and its rights."
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            what = "There is no disk space left for the landing files."
            next_step = "Free space or set O2C_HOME to a larger disk; the warehouse is unchanged."
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            what = "The landing files of this load exist already: they belong to another warehouse."
            next_step = "Give each warehouse an O2C_HOME of its own, or move the older files away."
        raise O2CError(what, where=str(folder), next_step=next_step) from None


def _make_durable(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
