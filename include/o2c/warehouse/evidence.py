"""The evidence chain: append-only events, each with a sha256 over the one before it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import psycopg

from o2c.version import actor


def append(
    connection: psycopg.Connection, kind: str, subject: str, body: Mapping[str, Any], *, by: str | None = None
) -> None:
    """Append one event in the caller's transaction; make it the last statement, for others wait until it ends.

    Args:
        connection: the transaction that does what the event tells of.
        kind: load, gate, publish, quarantine, rule or sign_off.
        subject: what it is about: a load id, a record, a contract.
        body: facts only, without secrets and without personal data; written as canonical JSON.
        by: who did it; default :func:`o2c.version.actor`.
    """
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), default=str)
    connection.execute(
        "insert into ops.evidence (kind, subject, actor, body) values (%s, %s, %s, %s)",
        [kind, subject, by or actor(), text],
    )
