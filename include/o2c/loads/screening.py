"""Screen what a source gives before it is kept: card numbers are masked, packed files refused."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

import psycopg

from o2c.connectors.base import Part
from o2c.contracts.flow import Flow
from o2c.errors import FatalSourceError
from o2c.formats import camt053
from o2c.formats.base import TableStream
from o2c.protection.card_numbers import find
from o2c.protection.keys import masking_key
from o2c.protection.places import CsvPlace, JsonPlace, Place, XmlPlace
from o2c.protection.screen import Screen, masked_text
from o2c.settings import Settings
from o2c.warehouse.card_number_hits import note_hits
from o2c.warehouse.landing_files import LandingFolder
from o2c.warehouse.ledger import Load

_PACKED = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstandard",
    b"7z\xbc\xaf\x27\x1c": "7z",
}


class Screening:
    """The screens of one load, one per part."""

    def __init__(self, settings: Settings, flow: Flow, folder: LandingFolder) -> None:
        self._settings = settings
        self._flow = flow
        self._folder = folder
        self._screens: list[Screen] = []

    def parts(self, parts: Generator[Part, None, None]) -> Generator[Part, None, None]:
        """The same parts, each with its blocks screened.

        Raises:
            FatalSourceError: a file is packed (``malformed_file``), its name holds a card number, or the file holds
                more of them than may come by accident (``card_number``).
        """
        with closing(parts):
            for part in parts:
                _check_name(self._flow, part.name)
                screen = Screen(
                    part.name,
                    _place(self._flow),
                    allowed_places(self._flow),
                    key=lambda: masking_key(self._settings.home),
                    digest=lambda: self._folder.files[-1].digest.copy(),
                )
                self._screens.append(screen)
                yield replace(part, blocks=screen.blocks(_unpacked(self._flow, part)))

    def note(self, connection: psycopg.Connection, load: Load, manifest: dict[str, Any]) -> None:
        """Say in the manifest what was masked, and keep the hits, in the caller's transaction."""
        screens = {screen.file: screen for screen in self._screens}
        for file in manifest["files"]:
            screen = screens[file["source_name"]]
            if screen.hits:
                file |= {"masked": len(screen.hits), "received_sha256": screen.received_sha256}
                note_hits(connection, load, file["name"], screen.hits)


def screened_fields(flow: Flow, stream: TableStream, where: str) -> TableStream:
    """Look once more at the fields as they were read: an escape can hide a number from those who look at bytes.

    Raises:
        FatalSourceError: a field holds a card number (``card_number``); nothing of the load is kept.
    """
    spec: Mapping[str, Any] = flow.source.get("format") or {}
    is_plain = spec.get("type") == "csv" and str(spec.get("encoding", "utf-8")).lower() in ("utf-8", "utf8")
    if is_plain or flow.source["connector"] == "postgres":
        return stream
    place = CsvPlace(stream.delimiter, stream.columns)
    return replace(stream, blocks=_without(stream.blocks, place, _long_number_sources(flow), where))


def allowed_places(flow: Flow) -> frozenset[str]:
    """Source columns, keys or elements that may hold long numbers, as their entity says."""
    names = _long_number_sources(flow)
    if (flow.source.get("format") or {}).get("type") == "camt053":
        return frozenset(element for name in names for element in camt053.ELEMENTS.get(name, ()))
    if flow.source["connector"] == "salesforce":
        return frozenset(name.rpartition(".")[2] for name in names)
    return names


def _long_number_sources(flow: Flow) -> frozenset[str]:
    """What is read into such columns only."""
    by_kind: dict[bool, set[str]] = {True: set(), False: set()}
    for name, field in flow.mapping.items():
        by_kind[flow.entity.columns[name].long_number].update(field.sources)
    return frozenset(by_kind[True] - by_kind[False])


def _place(flow: Flow) -> Place:
    spec: Mapping[str, Any] = flow.source.get("format") or {}
    if spec.get("type") == "camt053":
        return XmlPlace()
    if flow.source["connector"] == "salesforce":
        return JsonPlace()
    return CsvPlace(str(spec.get("delimiter", ",")))


def _unpacked(flow: Flow, part: Part) -> Iterator[bytes]:
    is_first = True
    for block in part.blocks:
        kind = next((name for magic, name in _PACKED.items() if is_first and block.startswith(magic)), None)
        if kind:
            raise FatalSourceError(
                f"The file is packed ({kind}); packed files are not read.",
                reason="malformed_file",
                where=f"{flow.name}: {part.name}",
                next_step="Let the sender deliver it unpacked, or unpack it before it is picked up.",
            )
        is_first = is_first and not block
        yield block


def _check_name(flow: Flow, name: str) -> None:
    if any(find(name.encode("utf-8", "replace"))):
        raise FatalSourceError(
            "The name of the file holds a card number.",
            reason="card_number",
            where=f"{flow.name}: {masked_text(name)}",
            next_step="Nothing was kept. Ask the sender to name the file otherwise.",
        )


def _without(blocks: Iterator[bytes], place: CsvPlace, allowed: frozenset[str], where: str) -> Iterator[bytes]:
    for block in blocks:
        for found in find(block):
            column = place.name(block, found.start, found.end)
            if column not in allowed:
                raise FatalSourceError(
                    f"Column '{column}' holds a card number that is written in a way that cannot be masked.",
                    reason="card_number",
                    where=where,
                    next_step="Nothing was kept. Ask the sender for the file without it.",
                )
        yield block
