"""A chain in one file, with the ledger rows and anchors that go with it: for verifying without a database.

One JSON object per line: a header with the public keys, then events and anchors in the order of the chain, then a
last line with the number of events, without which the file is not whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from o2c.errors import UsageError
from o2c.warehouse.anchors import Anchor, parse
from o2c.warehouse.chain import Recorded, in_order

FORMAT = "order-to-cash evidence chain 1"


def write(path: Path, events: Iterable[Recorded], anchors: Iterable[Anchor], public_keys: Mapping[str, str]) -> int:
    """Write a chain to ``path``, whole or not at all; returns the number of events.

    Args:
        path: a new file, or one to be replaced.
        events: in the order of the chain.
        anchors: in the order of their file.
        public_keys: PEM texts by file name.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    count = 0
    try:
        with draft.open("w", encoding="utf-8") as file:
            _line(file, {"format": FORMAT, "public_keys": dict(public_keys)})
            for item in in_order(events, anchors):
                if isinstance(item, Anchor):
                    _line(file, {"anchor": item.text, "line": item.line})
                else:
                    count += 1
                    _line(file, {"event": _as_json(item), "ledger": item.ledger})
            _line(file, {"events": count})
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return count


@dataclass
class Export:
    """An exported chain: two passes over the file, one for events and one for anchors, neither kept in memory."""

    path: Path
    public_keys: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        first = next(self._lines(), {})
        if first.get("format") != FORMAT:
            raise self._wrong(1)
        self.public_keys = first["public_keys"]

    def events(self) -> Iterator[Recorded]:
        """The events in order; raises :class:`UsageError` when the file breaks off or cannot be read."""
        count, end = 0, None
        for number, line in enumerate(self._lines(), start=1):
            if end is not None:
                raise self._wrong(number)
            if "event" in line:
                count += 1
                yield self._event(line, number)
            end = line.get("events")
        if end != count:
            raise UsageError(
                f"The export is not whole: {count} events, its last line says {end}.",
                where=str(self.path),
                next_step="Export the chain again.",
            )

    def anchors(self) -> Iterator[Anchor]:
        """The anchors in order."""
        for line in self._lines():
            if "anchor" in line:
                yield parse(line["anchor"], line["line"], str(self.path))

    def _lines(self) -> Iterator[dict[str, Any]]:
        try:
            with self.path.open(encoding="utf-8") as file:
                for number, text in enumerate(file, start=1):
                    line = self._parsed(text, number)
                    yield line
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"The export cannot be read: {error}.",
                where=str(self.path),
                next_step="Name a file written by --export.",
            ) from None

    def _parsed(self, text: str, number: int) -> dict[str, Any]:
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        if not isinstance(line, dict):
            raise self._wrong(number)
        return line

    def _event(self, line: Mapping[str, Any], number: int) -> Recorded:
        try:
            event = line["event"]
            hashes = {key: bytes.fromhex(event[key]) for key in ("previous_hash", "hash")}
            when = datetime.fromisoformat(event["recorded_at"])
            return Recorded(**{**event, **hashes, "recorded_at": when}, ledger=line.get("ledger"))
        except (KeyError, TypeError, ValueError):
            raise self._wrong(number) from None

    def _wrong(self, number: int) -> UsageError:
        return UsageError(
            "This line is not of an exported chain.",
            where=f"{self.path}:{number}",
            next_step="Export the chain again with 'o2c verify chain --export FILE'.",
        )


def _as_json(event: Recorded) -> dict[str, Any]:
    body = {name: getattr(event, name) for name in ("sequence", "kind", "subject", "actor", "body")}
    body |= {"previous_hash": event.previous_hash.hex(), "hash": event.hash.hex()}
    return body | {"recorded_at": event.recorded_at.isoformat()}


def _line(file: Any, content: Mapping[str, Any]) -> None:
    file.write(json.dumps(content, separators=(",", ":")) + "\n")
