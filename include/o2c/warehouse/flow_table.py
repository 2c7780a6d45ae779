"""The contracts of flows as SQL sees them: ``ops.flow``."""

from __future__ import annotations

from collections.abc import Iterable

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from o2c.contracts.flow import Flow

_COLUMNS = (
    "source_group",
    "source_system",
    "entity",
    "key_columns",
    "owner",
    "run_mode",
    "connector",
    "freshness",
    "retry_wait",
    "alert",
    "tolerated_amounts",
    "tolerated_age",
    "dag_id",
)
_REGISTER = sql.SQL(
    "insert into ops.flow as f (flow, {names}) values (%s, {values})"
    " on conflict (flow) do update set ({names}) = ({new}), changed_at = clock_timestamp(), retired_at = null,"
    # A flow that comes back is due from now on, not from when it left.
    " registered_at = case when f.retired_at is null then f.registered_at else clock_timestamp() end"
    " where ({old}) is distinct from ({new}) or f.retired_at is not null"
).format(
    names=sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)),
    values=sql.SQL(", ").join(sql.Placeholder() * len(_COLUMNS)),
    old=sql.SQL(", ").join(sql.Identifier("f", name) for name in _COLUMNS),
    new=sql.SQL(", ").join(sql.Identifier("excluded", name) for name in _COLUMNS),
)


def register(connection: psycopg.Connection, flows: Iterable[Flow]) -> None:
    """Write the settings of flows; a row changes only when its contract has changed."""
    with connection.cursor() as cursor:
        cursor.executemany(_REGISTER, [_row(flow) for flow in sorted(flows, key=lambda flow: flow.name)])


def retire_others(connection: psycopg.Connection, flows: Iterable[Flow]) -> None:
    """Note that flows other than these are no longer there: nobody waits for them."""
    connection.execute(
        "update ops.flow set retired_at = clock_timestamp() where retired_at is null and flow <> all (%s)",
        [[flow.name for flow in flows]],
    )


def _row(flow: Flow) -> list[object]:
    monitoring = flow.monitoring
    return [
        flow.name,
        flow.group,
        flow.system,
        flow.entity.name,
        list(flow.entity.key),
        monitoring.owner,
        flow.run_mode,
        flow.source["connector"],
        monitoring.freshness,
        flow.retry.backoff_to,
        monitoring.alert,
        Jsonb({code: str(amount) for code, amount in monitoring.tolerated_amounts.items()}),
        monitoring.tolerated_age,
        f"sync_{flow.group}",
    ]
