"""Anchors: the head of the evidence chain, signed and appended to a file outside the database.

Who rules the database can rewrite the chain, with every hash right; the file still says what it said before. One
line of JSON per anchor, each with the sha256 of the line before it.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedRandom
from pathlib import Path
from typing import Any

from o2c.errors import O2CError
from o2c.settings import Settings
from o2c.version import actor, code_version
from o2c.warehouse.evidence import Head, canonical

FIRST = "0" * 64
_LONGEST_LINE = 4096
log = logging.getLogger(__name__)


class AnchorsBroken(O2CError):
    """The anchor file does not hold."""


@dataclass(frozen=True)
class Anchor:
    """One line of the file: an event's number and hash (hex), when it was signed (ISO 8601, UTC), and by whom."""

    sequence: int
    hash: str
    anchored_at: str
    line: int
    text: str


def write(settings: Settings, head: Head) -> bool:
    """Sign ``head`` and append it; False when the file already holds this event or a newer one.

    Call it after the event has been committed.

    Raises:
        UsageError: the key cannot be used.
        OSError: the file cannot be written.
    """
    from o2c.warehouse.signing import key_id, signing_key

    with _locked(settings.anchors_file) as file:
        key = signing_key(settings.signing_key)
        last = _last_line(file)
        if last and json.loads(last)["sequence"] >= head.sequence:
            return False
        body = {
            "sequence": head.sequence,
            "hash": head.hash.hex(),
            "anchored_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "by": actor(),
            "code_version": code_version(),
            "previous": hashlib.sha256(last).hexdigest() if last else FIRST,
            "key": key_id(key.public_key()),
        }
        signature = base64.b64encode(key.sign(canonical(body).encode())).decode()
        file.write(canonical({**body, "signature": signature}).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return True


def write_or_warn(settings: Settings, head: Head | None) -> None:
    """:func:`write` for those whose work is done: a failure is logged, and the next anchor covers this one."""
    if head is None:
        return
    try:
        write(settings, head)
    except (O2CError, OSError, ValueError, KeyError) as error:
        log.warning("Event %s is not anchored: %s. Run 'o2c verify anchor' when that is mended.", head.sequence, error)


def read(path: Path, size: int | None = None) -> Iterator[Anchor]:
    """The lines of the file, each linked to the one before; no signature is checked here.

    Args:
        path: the file; one that does not exist has no lines.
        size: how many bytes of it to read; default all.

    Raises:
        AnchorsBroken: naming the first line that cannot be read or does not follow.
    """
    if not path.exists():
        return
    previous, sequence = FIRST, 0
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if size is not None and file.tell() > size:
                return
            anchor = parse(raw.decode("utf-8", "replace").rstrip("\n"), number, str(path))
            if json.loads(anchor.text)["previous"] != previous:
                raise _broken("does not follow the line before it: a line was changed, removed or added", path, number)
            if anchor.sequence <= sequence:
                raise _broken("anchors an older event than the line before it", path, number)
            previous, sequence = hashlib.sha256(raw.rstrip(b"\n")).hexdigest(), anchor.sequence
            yield anchor


def parse(text: str, number: int, where: str) -> Anchor:
    """Read one line; raises :class:`AnchorsBroken`."""
    try:
        body = json.loads(text)
        return Anchor(int(body["sequence"]), str(body["hash"]), str(body["anchored_at"]), number, text)
    except (ValueError, KeyError, TypeError):
        raise _broken("cannot be read", where, number) from None


def check_signature(anchor: Anchor, keys: Mapping[str, Any], where: str) -> None:
    """Check one anchor against public keys by id; raises :class:`AnchorsBroken`."""
    from o2c.warehouse.signing import holds

    body = json.loads(anchor.text)
    try:
        signature = base64.b64decode(body.pop("signature"), validate=True)
        key = keys.get(body["key"])
    except (KeyError, ValueError):
        raise _broken("has no signature", where, anchor.line) from None
    if key is None:
        raise _broken("was signed with a key that is not among the public keys given", where, anchor.line)
    if not holds(key, signature, canonical(body).encode()):
        raise _broken("does not bear out its signature", where, anchor.line)


@contextmanager
def _locked(path: Path) -> Iterator[BufferedRandom]:
    """The file, open for appending, with everybody else kept out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _last_line(file: BufferedRandom) -> bytes:
    """The last complete line, without its end; what a crash left of a line is cut off, for nobody relied on it."""
    end = file.seek(0, os.SEEK_END)
    start = max(0, end - _LONGEST_LINE)
    file.seek(start)
    tail = file.read()
    if tail and not tail.endswith(b"\n"):
        tail = tail[: tail.rfind(b"\n") + 1]
        file.truncate(start + len(tail))
    return tail.rstrip(b"\n").rpartition(b"\n")[2]


def _broken(what: str, where: Path | str, number: int) -> AnchorsBroken:
    return AnchorsBroken(
        f"Anchor {number} {what}.",
        where=f"{where}:{number}",
        next_step="Compare the file with the copy kept elsewhere; what it anchored is unproven until it holds again.",
    )
