"""Connections of flows, resolved by Airflow: from its secrets backend, variables or database."""

from __future__ import annotations

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from o2c.connections import Connection
from o2c.errors import UsageError


def resolve(conn_id: str) -> Connection:
    """One Airflow connection; raises :class:`UsageError` when it is not defined."""
    try:
        found = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise UsageError(
            f"Connection '{conn_id}' is not defined.",
            where="Airflow connections",
            next_step=f"Add it under Admin, Connections, or set AIRFLOW_CONN_{conn_id.upper()}.",
        ) from None
    return Connection(
        conn_id=conn_id,
        conn_type=found.conn_type or "",
        host=found.host or "",
        port=found.port,
        login=found.login or "",
        password=found.password or "",
        schema=found.schema or "",
        extra=found.extra_dejson,
    )
