"""Versions of source documents, and the receivable events they say happened (metrics.md 3.0).

A version is one row of a canonical entity with the time at which the warehouse first knew it. ``known`` picks, for
a moment, the newest version of every document by *source* version, so the order of arrival does not matter.
``facts`` turns a picture of the documents into events; ``events`` compares the pictures of successive moments, so a
backdated correction is a new event with its own recorded time, and nothing that was recorded before changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any

from oracle.dates import last_instant
from oracle.events import Event, Facts, derive

KEYS: Mapping[str, tuple[str, ...]] = {
    "exchange_rate": ("from_currency_code", "to_currency_code", "rate_type", "rate_date"),
    "legal_entity": ("entity_code",),
    "customer": ("customer_id",),
    "invoice": ("invoice_id",),
    "invoice_instalment": ("instalment_id",),
    "invoice_line": ("invoice_line_id",),
    "credit_memo": ("credit_memo_id",),
    "receipt": ("receipt_id",),
    "receipt_application": ("application_id",),
    "receivable_adjustment": ("adjustment_id",),
    "dispute": ("dispute_id",),
    "sales_order": ("order_id",),
    "sales_order_line": ("order_line_id",),
    "delivery": ("delivery_id",),
    "delivery_line": ("delivery_line_id",),
    "return_line": ("return_line_id",),
    "credit_hold": ("hold_id",),
}
_NEVER = datetime.min.replace(tzinfo=UTC)
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Version:
    """One row as it was published; ``deleted`` says that the source no longer has it."""

    entity: str
    row: Row
    recorded_at: datetime
    deleted: bool = False

    @cached_property
    def key(self) -> tuple[str, ...]:
        return tuple(str(self.row[column]) for column in KEYS[self.entity])

    @property
    def source_version(self) -> datetime | None:
        return self.row.get("updated_at")


@dataclass(frozen=True)
class Snapshot:
    """All documents as known at one moment, by entity and key."""

    documents: Mapping[str, Mapping[tuple[str, ...], Row]]

    def all(self, entity: str) -> list[Row]:
        found = self.documents.get(entity, {})
        return [found[key] for key in sorted(found)]

    def get(self, entity: str, *key: str | None) -> Row | None:
        return None if None in key else self.documents.get(entity, {}).get(tuple(str(part) for part in key))


@dataclass(frozen=True)
class Ledger:
    """Every version there ever was."""

    versions: tuple[Version, ...]
    deposits_as_receivables: frozenset[str] = frozenset()  # entities whose deposits are negative AR (A37)
    _memory: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, versions: Iterable[Version], deposits_as_receivables: Iterable[str] = ()) -> Ledger:
        return cls(tuple(versions), frozenset(deposits_as_receivables))

    @cached_property
    def recorded_times(self) -> list[datetime]:
        return sorted({version.recorded_at for version in self.versions})

    @cached_property
    def _in_order(self) -> list[Version]:
        return sorted(self.versions, key=_arrival)

    def until(self, known: date | datetime) -> Ledger:
        """The same ledger before anything was recorded later."""
        kept = [version for version in self.versions if version.recorded_at <= last_instant(known)]
        return Ledger.of(kept, self.deposits_as_receivables)

    def known(self, known: date | datetime) -> Snapshot:
        """The documents as known then: a later version by the source wins, whenever it arrived."""
        moment = last_instant(known)
        if ("known", moment) not in self._memory:
            self._memory["known", moment] = self._known(moment)
        return self._memory["known", moment]

    def _known(self, moment: datetime) -> Snapshot:
        winners: dict[tuple[str, tuple[str, ...]], Version] = {}
        for version in self._in_order:
            if version.recorded_at > moment:
                break
            where = (version.entity, version.key)
            before = winners.get(where)
            if before is not None:
                if version.deleted and version.source_version is None:
                    # A delete found by comparing keys has no version of its own: it ends the newest one known.
                    version = replace(version, row={**version.row, "updated_at": before.source_version})
                if (version.source_version or _NEVER) < (before.source_version or _NEVER):
                    continue
            winners[where] = version
        documents: dict[str, dict[tuple[str, ...], Row]] = {}
        for (entity, key), version in winners.items():
            if not version.deleted:
                documents.setdefault(entity, {})[key] = version.row
        return Snapshot(documents)

    def facts(self, known: date | datetime) -> Facts:
        """The events as known then, with what waits and what is refused."""
        moment = last_instant(known)
        if ("facts", moment) not in self._memory:
            self._memory["facts", moment] = derive(self.known(moment), self.deposits_as_receivables)
        return self._memory["facts", moment]

    def events(self) -> list[Event]:
        """The append-only event list: a change takes the old event back and states the new one, both recorded then."""
        found: list[Event] = []
        before: Counter[Event] = Counter()
        for moment in self.recorded_times:
            now = Counter(self.facts(moment).events)
            for event, count in sorted((now - before).items(), key=_printed):
                found += [replace(event, recorded_at=moment)] * count
            for event, count in sorted((before - now).items(), key=_printed):
                found += [replace(event, amount=-event.amount, recorded_at=moment, takes_back=True)] * count
            before = now
        return found


def _arrival(version: Version) -> tuple[Any, ...]:
    """Within one moment the source version decides; the text of the row settles what nothing else does."""
    return version.recorded_at, version.source_version or _NEVER, version.deleted, repr(sorted(version.row.items()))


def _printed(entry: tuple[Event, int]) -> str:
    return repr(entry)
