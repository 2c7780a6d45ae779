"""The screen every byte of a source passes before it is kept: card numbers are masked on the way.

Blocks go through in constant memory. A number that is cut by the end of a block is held back until the rest has
come. Covered: ASCII, UTF-8, one-byte encodings, UTF-16 and UTF-32. Packed files are refused elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from o2c.errors import FatalSourceError
from o2c.protection import mask
from o2c.protection.card_numbers import Found, find
from o2c.protection.keys import keyed_hash
from o2c.protection.places import REACH, JsonPlace, Place, XmlPlace

MOST_HITS = 10_000
_LOOK_AHEAD = 4096
_SMALLEST = 128 * 1024


@dataclass(frozen=True)
class Hit:
    """One card number that came: where, its keyed hash, and its last four digits."""

    file: str
    place: str | None
    byte_offset: int
    keyed_hash: bytes
    last_four: str


@dataclass
class Screen:
    """Screens one file. ``key`` is asked for at the first hit; ``digest`` gives the hash of what was let through."""

    file: str
    place: Place
    allowed: frozenset[str]
    key: Callable[[], bytes]
    digest: Callable[[], Any] = hashlib.sha256
    hits: list[Hit] = field(default_factory=list)
    _received: Any = None
    _offset: int = 0
    _history: bytes = b""
    _pending: bytes = b""

    @property
    def received_sha256(self) -> str | None:
        """The hash of the bytes as they came; None when they are the bytes that were let through."""
        return self._received.hexdigest() if self._received else None

    def blocks(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Pass ``blocks`` on with every card number masked, byte for byte as long as before.

        Raises:
            FatalSourceError: the file holds more card numbers than may come by accident (``card_number``).
        """
        gathered: list[bytes] = []
        size, is_first = 0, True
        for block in blocks:
            gathered.append(block)
            size += len(block)
            if size >= _SMALLEST:
                if is_first:
                    self.place.begin(b"".join(gathered))
                yield self._screened(b"".join(gathered), is_last=False)
                gathered, size, is_first = [], 0, False
        rest = b"".join(gathered)
        if is_first:
            self.place.begin(rest)
        last = self._screened(rest, is_last=True)
        if last:
            yield last

    def _screened(self, data: bytes, *, is_last: bool) -> bytes:
        window = self._history + self._pending + data
        begin = len(self._history)
        # A number that stands across the end is whole in the look ahead, and goes with what is before it.
        end = len(window) if is_last else max(begin, len(window) - _LOOK_AHEAD)
        found = [number for number in find(window) if begin <= number.start < end]
        end = max([end, *(number.end for number in found)])
        passed = self._masked(window, begin, end, found)
        self._offset += end - begin
        self._history, self._pending = window[max(0, end - REACH) : end], window[end:]
        return passed

    def _masked(self, window: bytes, begin: int, end: int, numbers: list[Found]) -> bytes:
        pieces, at = [], begin
        for found in numbers:
            name = self.place.name(window, found.start, found.end)
            if name not in self.allowed:
                pieces += [window[at : found.start], self._replace(window, found, name, begin)]
                at = found.end
        if self.hits and self._received is None:
            self._received = self.digest()
        if self._received is not None:
            self._received.update(window[begin:end])
        return b"".join([*pieces, window[at:end]])

    def _replace(self, window: bytes, found: Found, name: str | None, begin: int) -> bytes:
        if len(self.hits) >= MOST_HITS:
            raise FatalSourceError(
                f"The file holds more than {MOST_HITS:,} card numbers.",
                reason="card_number",
                where=self.file,
                next_step="Nothing was kept. Ask the sender for a file without them.",
            )
        hashed = keyed_hash(self.key(), found.digits)
        self.hits.append(Hit(self.file, name, self._offset + found.start - begin, hashed, found.digits[-4:]))
        written = window[found.start : found.end]
        if isinstance(self.place, JsonPlace) and self.place.is_bare(window, found.start):
            return mask.as_number(written, found.digits)
        if isinstance(self.place, XmlPlace) and name == "PAN":
            return mask.as_digits(written, found.digits)
        return mask.as_text(written, found.digits)


def masked_text(text: str) -> str:
    """Text for people, such as a file name, with every card number masked."""
    data = text.encode("utf-8", "replace")
    for found in reversed(list(find(data))):
        data = data[: found.start] + mask.as_text(data[found.start : found.end], found.digits) + data[found.end :]
    return data.decode("utf-8", "replace")
