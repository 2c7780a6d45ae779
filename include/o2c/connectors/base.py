"""What every connector takes and gives.

A connector is a module with one function ``extract(request) -> Iterator[Part]``. It streams: a part's blocks are
read once, in order, while the next part has not been asked for yet. It writes nothing; the load engine keeps the
blocks as immutable landing files and hashes them on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from o2c.connections import Connection

BLOCK_SIZE = 256 * 1024


@dataclass(frozen=True)
class ControlTotals:
    """What the source itself says it holds for the window, asked apart from the rows.

    ``amounts`` is keyed by ISO 4217 code, in major units, exact; None where the source cannot sum.
    """

    rows: int
    amounts: Mapping[str, Decimal] | None = None


@dataclass(frozen=True)
class CursorLimit:
    """How far the cursor may move with this window, whatever was read; instants are ISO 8601 with an offset.

    ``at`` None: not at all. ``asked_at`` is the source's clock, ``reason`` names who holds the cursor back ('' when
    nobody does).
    """

    at: str | None
    asked_at: str
    reason: str = ""


@dataclass(frozen=True)
class Part:
    """One landing file: its name, its bytes as they arrived, and where they came from.

    ``origin`` is evidence (endpoint, path, size, host key) and holds no secret. ``fingerprint`` is set by file
    connectors: it changes when a file of that name changes, and is remembered once the load has published.
    ``control`` is called after the blocks are exhausted and may return None. So is ``column_types``, which gives the
    source's own type name by column where the source has types.
    """

    name: str
    blocks: Iterator[bytes]
    origin: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str | None = None
    control: Callable[[], ControlTotals | None] = lambda: None
    cursor_limit: CursorLimit | None = None
    column_types: Callable[[], Mapping[str, str]] = dict


@dataclass(frozen=True)
class ExtractRequest:
    """One window of one source.

    ``source`` is the flow's ``source`` block. ``cursor`` holds the committed cursor as text, in the order of
    ``source['cursor']``, or None on the first load. ``known_files`` maps the names of published files to their
    fingerprints. ``base_dir`` is the folder of the flow file; relative paths (query files) start there.
    ``amount`` and ``currency`` are source columns for control totals, where the flow maps them one to one.
    ``seen`` is told which known files the source still lists, as (name, fingerprint).
    ``columns`` limits the answer to these source columns; empty means all that the flow reads. ``until`` ends the
    window before this instant (ISO 8601 with an offset); None leaves it open.
    """

    flow: str
    source: Mapping[str, Any]
    connection: Connection | None
    base_dir: Path
    cursor: tuple[str, ...] | None = None
    known_files: Mapping[str, str] = field(default_factory=dict)
    amount: str | None = None
    currency: str | None = None
    columns: tuple[str, ...] = ()
    seen: Callable[[str, str], None] = lambda name, fingerprint: None
    until: str | None = None


class Connector(Protocol):
    """The function every connector module offers."""

    def __call__(self, request: ExtractRequest, /) -> Iterator[Part]:
        """Yield the parts of the window.

        Raises:
            SourceError: the source failed and trying again may help.
            FatalSourceError: it will not (``unauthorized``, ``unknown_host_key``, ``schema_drift`` ...).
        """
        ...


class KeyLister(Protocol):
    """The function ``list_keys`` of connectors whose source can name every record it holds now."""

    def __call__(self, request: ExtractRequest, columns: Sequence[str], /) -> Iterator[Part]:
        """Yield, from one snapshot, the given source columns of every record, with the source's own count.

        Raises:
            SourceError, FatalSourceError: as :class:`Connector`.
        """
        ...


def for_keys(request: ExtractRequest, columns: Sequence[str]) -> ExtractRequest:
    """The request that reads ``columns`` of every record, whatever the cursor says; no sums, for keys have none."""
    source = {name: value for name, value in request.source.items() if name not in ("cursor", "overlap")}
    return replace(
        request, source={**source, "fields": list(columns)}, columns=tuple(columns),
        cursor=None, amount=None, currency=None,
    )  # fmt: skip
