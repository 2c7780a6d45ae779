"""The evidence chain: append-only events, each with a sha256 over the one before it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from o2c.version import actor

# The same lock as the trigger that links: for those who must read what has been recorded before they add to it.
CHAIN_LOCK = "select pg_advisory_xact_lock(hashtextextended('o2c evidence chain', 0))"


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    Args:
        kind: load, gate, publish, quarantine, rule or sign_off.
        subject: what it is about: a load id, a record, a contract.
        body: facts only, without secrets and without personal data; written as canonical JSON.
        by: who did it; default :func:`o2c.version.actor`.
    """

    kind: str
    subject: str
    body: Mapping[str, Any]
    by: str | None = None


@dataclass(frozen=True)
class Head:
    """The newest event of a chain: its number and its hash (32 bytes)."""

    sequence: int
    hash: bytes


def append(
    connection: psycopg.Connection, kind: str, subject: str, body: Mapping[str, Any], *, by: str | None = None
) -> Head:
    """Append one event in the caller's transaction; make it the last statement, for others wait until it ends.

    Takes what :class:`Event` takes; returns the head of the chain, which holds once the caller has committed.
    """
    head = append_all(connection, [Event(kind, subject, body, by)])
    assert head is not None
    return head


def append_all(connection: psycopg.Connection, events: Sequence[Event]) -> Head | None:
    """Append several events, in order and in one statement; returns the head, or None when there are none."""
    if not events:
        return None
    row = connection.execute(
        "with added as (insert into ops.evidence (kind, subject, actor, body)"
        " select kind, subject, actor, body from unnest(%s::text[], %s::text[], %s::text[], %s::text[])"
        " with ordinality as e (kind, subject, actor, body, place) order by place returning sequence, hash)"
        " select sequence, hash from added order by sequence desc limit 1",
        [
            [event.kind for event in events],
            [event.subject for event in events],
            [event.by or actor() for event in events],
            [canonical(event.body) for event in events],
        ],
    ).fetchone()
    assert row is not None
    return Head(*row)


def canonical(body: Mapping[str, Any]) -> str:
    """JSON with sorted keys and nothing between; dates and decimals as text."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), default=str)
