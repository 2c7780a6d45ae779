"""Verify the evidence chain: every hash computed again, every event in its place, every publication in the ledger.

Works on one stream, in the order of the chain: events (a publication with the ledger row it tells of) and anchors
after the event they sign. The stream comes from the warehouse or from an exported file; nothing is kept of it.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import psycopg

from o2c.errors import O2CError
from o2c.warehouse.anchors import Anchor

BEGINNING = hashlib.sha256(b"order-to-cash evidence").digest()
_BATCH = 5_000
_RESTORE = (
    "Nothing from here on is proven. Find out who could write to the warehouse, compare with an exported chain and"
    " with a backup, and restore what was changed."
)
# A ledger row as its event tells of it; amounts by currency, as text.
_LEDGER = """
select jsonb_build_object(
    'flow', l.flow, 'source_rows', l.source_rows,
    'rows', jsonb_build_object(
        'published', l.published_rows, 'quarantined', l.quarantined_rows, 'duplicate', l.duplicate_rows
    ),
    'cursor_to', l.cursor_to, 'files', l.manifest -> 'files', 'code_version', l.code_version,
    'amounts', (
        select jsonb_build_object(
            'published', jsonb_object_agg(t.currency_code, t.published_amount::text),
            'quarantined', jsonb_object_agg(t.currency_code, t.quarantined_amount::text),
            'duplicate', jsonb_object_agg(t.currency_code, t.duplicate_amount::text)
        ) from ops.load_ledger_total as t where t.load_id = l.load_id
    )
) from ops.load_ledger as l where l.load_id = e.subject
"""
_EVENTS = (
    "select e.sequence, e.recorded_at, e.kind, e.subject, e.actor, e.body, e.previous_hash, e.hash,"  # noqa: S608
    f" case when e.kind = 'publish' then ({_LEDGER}) end from ops.evidence as e"
)
_ABOUT = (
    " where e.subject = any (%s) or e.kind = 'quarantine' and exists ("
    "select from unnest(%s::bigint[]) as r (record) where (e.body::jsonb -> 'records') @> to_jsonb(record))"
)
_IN_ORDER = " order by e.sequence"
_NOT_ONE_EVENT = """
select l.load_id, c.events from ops.load_ledger as l
cross join lateral (
    select count(*) as events from ops.evidence as e where e.subject = l.load_id and e.kind = 'publish'
) as c
where c.events <> 1 order by l.load_id limit 1
"""


class ChainBroken(O2CError):
    """The chain does not hold; says which event is the first bad one and what is wrong with it."""


@dataclass(frozen=True)
class Recorded:
    """One event as it stands in the chain; a publication with its ledger row, if there is one."""

    sequence: int
    recorded_at: datetime
    kind: str
    subject: str
    actor: str
    body: str
    previous_hash: bytes
    hash: bytes
    ledger: Mapping[str, Any] | None = None

    def computed_hash(self) -> bytes:
        """sha256 over the previous hash and all that the event says."""
        time = f"{self.recorded_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
        fields = (str(self.sequence), time, self.kind, self.subject, self.actor, self.body)
        return hashlib.sha256(self.previous_hash + "\x1f".join(fields).encode()).digest()


@dataclass(frozen=True)
class Report:
    """What was verified: events, publications among them, anchors, and events after the last anchor."""

    events: int = 0
    publications: int = 0
    anchors: int = 0
    unanchored: int = 0
    head: str = ""


def recorded(connection: psycopg.Connection) -> Iterator[Recorded]:
    """The chain in order, a batch at a time."""
    with connection.cursor(name="chain") as cursor:
        cursor.itersize = _BATCH
        for row in cursor.execute(_EVENTS + _IN_ORDER):
            yield Recorded(*row)


def recorded_about(
    connection: psycopg.Connection, subjects: Sequence[str], records: Sequence[int]
) -> Iterator[Recorded]:
    """Events about any of the subjects, and decisions about quarantined records, in the order of the chain."""
    for row in connection.execute(_EVENTS + _ABOUT + _IN_ORDER, [list(subjects), list(records)]):
        yield Recorded(*row)


def verify(events: Iterable[Recorded], anchors: Iterable[Anchor], check_signature: Callable[[Anchor], None]) -> Report:
    """Verify a chain against its anchors.

    Args:
        events: in the order of the chain.
        anchors: in the order of their file.
        check_signature: raises when an anchor was not signed by whom it should be.

    Raises:
        ChainBroken: naming the first event that does not hold.
        AnchorsBroken: an anchor does not hold.
    """
    last: Recorded | None = None
    counted = {"events": 0, "publications": 0, "anchors": 0, "unanchored": 0}
    for item in in_order(events, anchors):
        if isinstance(item, Anchor):
            check_signature(item)
            _check_anchor(item, last)
            counted |= {"anchors": counted["anchors"] + 1, "unanchored": 0}
            continue
        _check_place(item, last)
        if item.kind == "publish":
            check_publication(item)
            counted["publications"] += 1
        counted |= {"events": counted["events"] + 1, "unanchored": counted["unanchored"] + 1}
        last = item
    return Report(**counted, head=last.hash.hex() if last else BEGINNING.hex())


def in_order(events: Iterable[Recorded], anchors: Iterable[Anchor]) -> Iterator[Recorded | Anchor]:
    """Events, and every anchor behind the event it signs; keeps nothing."""
    one: Iterable[Recorded | Anchor] = events
    other: Iterable[Recorded | Anchor] = anchors
    return heapq.merge(one, other, key=lambda item: item.sequence)


def check_ledger(connection: psycopg.Connection) -> None:
    """Check that every ledger row has one publish event; raises :class:`ChainBroken` with the first that has not."""
    row = connection.execute(_NOT_ONE_EVENT).fetchone()
    if row:
        raise ChainBroken(
            f"Load {row[0]} stands in the ledger and has {row[1]} publish events instead of one.",
            where=f"ops.load_ledger, load {row[0]}",
            next_step=_RESTORE,
        )


def check_hash(event: Recorded) -> None:
    """Check that an event says what it said; raises :class:`ChainBroken`."""
    if event.computed_hash() != event.hash:
        raise broken(event, "has been changed: its hash is not that of what it says")


def check_publication(event: Recorded) -> None:
    """Check that a publication and its ledger row say the same; raises :class:`ChainBroken`."""
    if event.ledger is None:
        raise broken(event, f"publishes load {event.subject}, which is not in the ledger")
    try:
        body = json.loads(event.body)
        differing = [name for name in ("flow", "source_rows", "rows") if body[name] != event.ledger[name]]
        differing += [name for name in ("cursor_to", "code_version") if body[name] != event.ledger[name]]
        if _money(body["amounts"]) != _money(event.ledger["amounts"] or {}):
            differing.append("amounts")
        if _files(body["files"]) != _files(event.ledger["files"]):
            differing.append("files")
    except (KeyError, TypeError, ValueError, InvalidOperation):
        raise broken(event, "is a publication that cannot be read") from None
    if differing:
        name = differing[0]
        told, stands = body.get(name), event.ledger.get(name)
        raise broken(event, f"and the ledger differ in {name}: the event says {told}, ops.load_ledger {stands}")


def broken(event: Recorded, what: str) -> ChainBroken:
    """The error for one bad event."""
    return ChainBroken(
        f"Event {event.sequence} ({event.kind} {event.subject}) {what}.",
        where=f"ops.evidence, sequence {event.sequence}, {event.recorded_at:%Y-%m-%d %H:%M:%S} UTC",
        next_step=_RESTORE,
    )


def _check_place(event: Recorded, last: Recorded | None) -> None:
    expected = last.sequence + 1 if last else 1
    if event.sequence != expected:
        raise ChainBroken(
            f"Event {expected} is missing: event {event.sequence} follows"
            + (f" event {last.sequence}." if last else " the beginning."),
            where=f"ops.evidence, sequence {expected}",
            next_step=_RESTORE,
        )
    check_hash(event)
    if event.previous_hash != (last.hash if last else BEGINNING):
        raise broken(event, "does not follow the event before it: one of them was put in another's place")


def _check_anchor(anchor: Anchor, last: Recorded | None) -> None:
    if last is None or last.sequence != anchor.sequence:
        what = f"Event {anchor.sequence} is missing: it was anchored on {anchor.anchored_at}"
        what += (
            f", and the chain goes from event {last.sequence} on without it." if last else ", and the chain is empty."
        )
        where = f"ops.evidence, sequence {anchor.sequence}; anchor {anchor.line}"
        raise ChainBroken(what, where=where, next_step=_RESTORE)
    if last.hash.hex() != anchor.hash:
        raise broken(
            last,
            f"is not the one that was anchored on {anchor.anchored_at}: the chain was written anew, this event or one"
            " between the anchor before and it",
        )


def _money(amounts: Mapping[str, Mapping[str, str] | None]) -> dict[tuple[str, str], Decimal]:
    by = {(kind, code): Decimal(text) for kind, codes in amounts.items() for code, text in (codes or {}).items()}
    return {key: amount for key, amount in by.items() if amount}


def _files(files: Iterable[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    return [tuple(file[key] for key in ("name", "sha256", "bytes", "rows")) for file in files]
