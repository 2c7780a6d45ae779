"""Watch by data: what is late, held back, in quarantine or does not tie out becomes an alert, and is told.

Nothing here depends on a callback of a task: a task that was killed is found because its flow is late.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg

from o2c.contracts.flow import Flow
from o2c.errors import O2CError
from o2c.loads.checks import CHECKS, Check
from o2c.settings import Settings
from o2c.warehouse import alerts
from o2c.warehouse.alerts import Alert, Condition
from o2c.warehouse.flow_table import register, retire_others
from o2c.warehouse.session import connect
from o2c.warehouse.sync_info import beat

WATCHER = "watch_loads"
EVERY = timedelta(minutes=10)

Tell = Callable[[Alert], str]
"""Tells one alert and returns the channel's name; raises when the channel did not take it."""


@dataclass(frozen=True)
class Watched:
    """What one turn did: conditions that do not hold, alerts told, alerts that no channel took."""

    conditions: int
    told: int
    untold: int


def watch(
    settings: Settings,
    flows: Mapping[str, Flow],
    moment: datetime,
    tell: Tell,
    checks: Mapping[str, Check] = CHECKS,
) -> Watched:
    """Find what does not hold at ``moment`` (UTC), settle the alerts, tell the new and the escalated ones, and beat.

    An alert is told at least once: a channel that fails is tried again at the next turn, and a crash between telling
    and noting it tells it twice (with the same ``Alert.key``). Two watches take turns.

    Raises:
        WarehouseError: the warehouse cannot be reached. There is no heartbeat then.
    """
    with connect(settings) as lock:
        lock.execute("select pg_advisory_xact_lock(hashtextextended('o2c watch', 0))")
        with connect(settings) as connection:
            register(connection, flows.values())
            retire_others(connection, flows.values())
            conditions, checked = _find(connection, moment, checks)
            alerts.settle(connection, conditions, checked, moment)
            alerts.escalate(connection, moment)
        with connect(settings) as connection:
            waiting = alerts.untold(connection)
        told = sum(_tell(settings, alert, moment, tell) for alert in waiting)
        with connect(settings) as connection:
            beat(connection, WATCHER, moment, EVERY)
    return Watched(len(conditions), told, len(waiting) - told)


def _find(
    connection: psycopg.Connection, moment: datetime, checks: Mapping[str, Check]
) -> tuple[list[Condition], Sequence[str]]:
    """What every check finds; a check that cannot run is a finding itself and does not stop the others."""
    conditions: list[Condition] = []
    checked = ["check"]
    for name, check in checks.items():
        try:
            with connection.transaction():
                conditions += check(connection, moment)
            checked.append(name)
        except (psycopg.Error, O2CError) as error:
            conditions.append(_broken(name, error))
    return conditions, checked


def _broken(name: str, error: Exception) -> Condition:
    return Condition(
        check="check",
        subject=name,
        owner="data_platform",
        severity="mail",
        rule="every check runs",
        what=f"The check '{name}' could not run: {(str(error).splitlines() or [type(error).__name__])[0]}",
        next_step="Read the log of the DAG watch_loads; alerts of this check stand still until it runs.",
    )


def _tell(settings: Settings, alert: Alert, moment: datetime, tell: Tell) -> bool:
    try:
        channel = tell(alert)
    except Exception as error:  # Whatever a channel does wrong, the other alerts are told.
        # The text of foreign errors may carry addresses and passwords; ours do not.
        reason = error.what if isinstance(error, O2CError) else type(error).__name__
        with connect(settings) as connection:
            alerts.note(connection, alert.alert_id, "not_notified", alert.level, moment, detail=reason)
        return False
    with connect(settings) as connection:
        alerts.told(connection, alert, channel, moment)
    return True
