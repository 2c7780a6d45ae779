"""Alerts: one per condition, opened and closed by what is found, told at least once, escalated when nobody takes them.

``ops.alert`` holds how each stands, ``ops.alert_event`` what happened to it, append-only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from o2c.errors import UsageError

# How long an alert may go unacknowledged before the next level is told; what is only logged is not escalated.
ESCALATE_AFTER: Mapping[str, timedelta] = {"page": timedelta(hours=1), "mail": timedelta(days=1)}
HIGHEST_LEVEL = 3


@dataclass(frozen=True)
class Condition:
    """Something that does not hold now. ``money`` is exact, by currency; ``flow`` and ``entity`` where it has one."""

    check: str
    subject: str
    owner: str
    severity: str
    rule: str
    what: str
    next_step: str
    money: Mapping[str, Decimal] = field(default_factory=dict)
    flow: str | None = None
    entity: str | None = None

    @property
    def name(self) -> str:
        """What makes two findings the same one: check and subject."""
        return f"{self.check} {self.subject}"


@dataclass(frozen=True)
class Alert:
    """An open alert. ``level`` 0 is for the owner, above for the escalation contact. Times are UTC."""

    alert_id: int
    check_name: str
    owner: str
    severity: str
    rule: str
    what: str
    next_step: str
    money: Mapping[str, Decimal]
    flow: str | None
    entity: str | None
    level: int
    opened_at: datetime

    @property
    def key(self) -> str:
        """Equal whenever the same thing is told again, so that a channel can drop the second copy."""
        return f"o2c-alert-{self.alert_id}-{self.level}"


_FIELDS = sql.SQL(", ").join(map(sql.Identifier, Alert.__dataclass_fields__))


def settle(
    connection: psycopg.Connection, conditions: Iterable[Condition], checked: Collection[str], moment: datetime
) -> None:
    """Open an alert for each new condition, renew the facts of open ones, close those whose condition is gone.

    Args:
        connection: the caller's transaction.
        conditions: what was found now.
        checked: names of the checks that came to an end; alerts of others stay as they are.
        moment: when it was found, UTC.
    """
    found = {condition.name: condition for condition in conditions}
    for condition in found.values():
        _open_or_renew(connection, condition, moment)
    gone = connection.execute(
        "update ops.alert set closed_at = %s where closed_at is null and check_name = any (%s)"
        " and condition <> all (%s) returning alert_id, level",
        [moment, list(checked), list(found)],
    ).fetchall()
    for alert_id, level in gone:
        note(connection, alert_id, "closed", level, moment)


def escalate(connection: psycopg.Connection, moment: datetime) -> None:
    """Raise the level of alerts that nobody has acknowledged in time, one level at a time."""
    for severity, wait in ESCALATE_AFTER.items():
        raised = connection.execute(
            "update ops.alert set level = level + 1, level_at = %s where closed_at is null"
            " and acknowledged_at is null and severity = %s and level < %s and level_at <= %s"
            " returning alert_id, level",
            [moment, severity, HIGHEST_LEVEL, moment - wait],
        ).fetchall()
        for alert_id, level in raised:
            note(connection, alert_id, "escalated", level, moment, detail=f"not acknowledged for {wait}")


def untold(connection: psycopg.Connection) -> list[Alert]:
    """Open alerts whose level no channel has taken yet, oldest first."""
    with connection.cursor(row_factory=dict_row) as cursor:
        query = sql.SQL("select {} from ops.alert where closed_at is null and told_level < level order by alert_id")
        rows = cursor.execute(query.format(_FIELDS)).fetchall()
    return [Alert(**{**row, "money": _exact(row["money"])}) for row in rows]


def told(connection: psycopg.Connection, alert: Alert, channel: str, moment: datetime) -> None:
    """A channel has taken the alert at its level."""
    connection.execute(
        "update ops.alert set told_level = greatest(told_level, %s) where alert_id = %s", [alert.level, alert.alert_id]
    )
    note(connection, alert.alert_id, "notified", alert.level, moment, detail=channel)


def acknowledge(connection: psycopg.Connection, alert_id: int, by: str, moment: datetime) -> None:
    """Somebody takes the alert: escalation stops. It closes when its condition is gone, not before.

    Raises:
        UsageError: there is no such open alert, it has been acknowledged, or the name is empty.
    """
    if not by.strip():
        raise UsageError("Who acknowledges it?", next_step="Give --by NAME.")
    row = connection.execute(
        "select closed_at, acknowledged_by, level from ops.alert where alert_id = %s for update", [alert_id]
    ).fetchone()
    if row is None or row[0] is not None:
        what = f"There is no alert {alert_id}." if row is None else f"Alert {alert_id} was closed at {row[0]:%F %T}."
        raise UsageError(what, next_step="See 'o2c alerts list' for the open ones.")
    if row[1] is not None:
        raise UsageError(f"Alert {alert_id} has been acknowledged by {row[1]}.", next_step="Ask there.")
    connection.execute(
        "update ops.alert set acknowledged_at = %s, acknowledged_by = %s where alert_id = %s",
        [moment, by.strip(), alert_id],
    )
    note(connection, alert_id, "acknowledged", row[2], moment, by=by.strip())


def listed(connection: psycopg.Connection, *, closed: bool = False) -> list[dict[str, Any]]:
    """Open alerts, gravest first; with ``closed`` the others too. Money is by currency, exact."""
    query = sql.SQL(
        "select {}, acknowledged_by, acknowledged_at, told_level, closed_at from ops.alert"
        " where %s or closed_at is null order by closed_at is not null, level desc, severity desc, alert_id"
    )
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(query.format(_FIELDS), [closed]).fetchall()
    return [{**row, "money": _exact(row["money"])} for row in rows]


def note(
    connection: psycopg.Connection,
    alert_id: int,
    event: str,
    level: int,
    moment: datetime,
    *,
    by: str | None = None,
    detail: str | None = None,
) -> None:
    """Append one event of an alert."""
    connection.execute(
        "insert into ops.alert_event (alert_id, at, event, level, by, detail) values (%s, %s, %s, %s, %s, %s)",
        [alert_id, moment, event, level, by, detail],
    )


def _open_or_renew(connection: psycopg.Connection, condition: Condition, moment: datetime) -> None:
    facts = [condition.severity, condition.owner, condition.rule, condition.what, condition.next_step]
    money = Jsonb({code: str(amount) for code, amount in condition.money.items()})
    renewed = connection.execute(
        "update ops.alert set severity = %s, owner = %s, rule = %s, what = %s, next_step = %s, money = %s,"
        " seen_at = %s where condition = %s and closed_at is null",
        [*facts, money, moment, condition.name],
    )
    if renewed.rowcount:
        return
    row = connection.execute(
        "insert into ops.alert (severity, owner, rule, what, next_step, money, condition, check_name, flow, entity,"
        " opened_at, seen_at, level_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) returning alert_id",
        [*facts, money, condition.name, condition.check, condition.flow, condition.entity, *[moment] * 3],
    ).fetchone()
    assert row is not None
    note(connection, row[0], "opened", 0, moment, detail=condition.what)


def _exact(money: Mapping[str, str]) -> dict[str, Decimal]:
    return {code: Decimal(amount) for code, amount in money.items()}
