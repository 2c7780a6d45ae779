"""Landing files read again: proven to be the bytes that were landed, and never written a second time."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from o2c.errors import O2CError, UsageError
from o2c.warehouse.landing_files import LandedFile, LandingFolder

_BLOCK = 256 * 1024
# Facts of the manifest that the ledger must share with the file beside the bytes.
_SEALED = ("load_id", "flow", "files", "rows", "amounts")


class LandingChanged(O2CError):
    """A landing file is gone, or is not what was landed."""


@dataclass(frozen=True)
class Origin:
    """One published load and its landing files: what a replay starts from."""

    load_id: str
    manifest: Mapping[str, Any]
    folder: Path

    def blocks(self, name: str) -> Generator[bytes, None, None]:
        """The bytes of one landing file."""
        with (self.folder / name).open("rb") as stream:
            while block := stream.read(_BLOCK):
                yield block


def read_origin(connection: psycopg.Connection, landing_dir: Path, load_id: str) -> Origin:
    """A published load with its landing files, every byte of them checked against the manifest in the ledger.

    Raises:
        UsageError: no such load was published.
        LandingChanged: a file is missing or its sha256 differs; nothing may be built from it.
    """
    row = connection.execute("select flow, manifest from ops.load_ledger where load_id = %s", [load_id]).fetchone()
    if row is None:
        raise UsageError(f"No load '{load_id}' was published.", next_step="See ops.load_ledger for those that were.")
    flow, manifest = row
    origin = Origin(load_id, manifest, landing_dir / flow / load_id)
    _check_manifest(origin)
    for file in manifest["files"]:
        _check_file(origin, file)
    return origin


def _check_manifest(origin: Origin) -> None:
    path = origin.folder / "manifest.json"
    try:
        beside = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise _changed(origin, "manifest.json", "is missing or cannot be read") from None
    different = [name for name in _SEALED if beside.get(name) != origin.manifest.get(name)]
    if different:
        raise _changed(origin, "manifest.json", f"differs from the ledger in '{different[0]}'")


def _check_file(origin: Origin, file: Mapping[str, Any]) -> None:
    digest = hashlib.sha256()
    try:
        for block in origin.blocks(file["name"]):
            digest.update(block)
    except OSError as error:
        raise _changed(origin, file["name"], f"cannot be read: {error.strerror}") from None
    if digest.hexdigest() != file["sha256"]:
        raise _changed(origin, file["name"], "is not what was landed: its sha256 differs")


def _changed(origin: Origin, name: str, what: str) -> LandingChanged:
    return LandingChanged(
        f"The landing file {name} of load {origin.load_id} {what}.",
        where=str(origin.folder / name),
        next_step="Nothing was loaded. Restore the folder from a backup; find out who changed it.",
    )


class LinkedFolder(LandingFolder):
    """The landing folder of a replay: the same bytes under the load's own name, without a second copy."""

    def __init__(self, root: Path, flow: str, load_id: str, origin: Origin) -> None:
        super().__init__(root, flow, load_id)
        self._origin = origin

    def _write(self, file: LandedFile, blocks: Iterable[bytes]) -> Iterator[bytes]:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        source = self._origin.folder / file.name
        try:
            os.link(source, file.path)
        except OSError:
            # Another disk, or one that knows no links.
            shutil.copyfile(source, file.path)
        yield from _hashed(file, blocks)


class NoFolder(LandingFolder):
    """The landing folder of a dry run: there is none."""

    def _write(self, file: LandedFile, blocks: Iterable[bytes]) -> Iterator[bytes]:
        yield from _hashed(file, blocks)

    def complete(self, manifest: Mapping[str, Any]) -> None:
        """Write nothing."""

    def discard(self) -> None:
        """Nothing was written."""


def _hashed(file: LandedFile, blocks: Iterable[bytes]) -> Iterator[bytes]:
    for block in blocks:
        file.digest.update(block)
        file.bytes += len(block)
        yield block
    file.sha256 = file.digest.hexdigest()
