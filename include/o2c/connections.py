"""Connections by name, without importing Airflow.

A flow names a connection; who resolves the name depends on the caller: a DAG asks Airflow, the command line
reads the same ``AIRFLOW_CONN_<ID>`` variables (URI or JSON) that Airflow reads.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from o2c.errors import UsageError

Resolver = Callable[[str], "Connection"]


@dataclass(frozen=True)
class Connection:
    """One set of coordinates; the password never appears in ``repr``."""

    conn_id: str
    conn_type: str
    host: str = ""
    port: int | None = None
    login: str = ""
    password: str = field(default="", repr=False)
    schema: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


def from_environment(conn_id: str, environ: Mapping[str, str] | None = None) -> Connection:
    """Resolve ``conn_id`` from ``AIRFLOW_CONN_<CONN_ID>``.

    Raises:
        UsageError: the variable is missing or is neither a URI nor JSON.
    """
    env = os.environ if environ is None else environ
    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    text = env.get(variable, "")
    if not text:
        raise UsageError(
            f"Connection '{conn_id}' is not defined.",
            where=f"environment variable {variable}",
            next_step="Define the connection in Airflow, or set the variable to its URI.",
        )
    try:
        return _from_json(conn_id, text) if text.lstrip().startswith("{") else _from_uri(conn_id, text)
    except ValueError:
        raise UsageError(
            f"Connection '{conn_id}' cannot be read.",
            where=f"environment variable {variable}",
            next_step="Write it as type://login:password@host:port/schema?extra=value, or as Airflow's JSON.",
        ) from None


def _from_json(conn_id: str, text: str) -> Connection:
    values = json.loads(text)
    extra = values.get("extra") or {}
    extra = json.loads(extra) if isinstance(extra, str) else extra
    if not isinstance(extra, dict):
        raise ValueError("extra is no mapping")
    port = values.get("port")
    return Connection(
        conn_id=conn_id,
        conn_type=values.get("conn_type") or "",
        host=values.get("host") or "",
        port=int(port) if port is not None else None,
        login=values.get("login") or "",
        password=values.get("password") or "",
        schema=values.get("schema") or "",
        extra=extra,
    )


def _from_uri(conn_id: str, text: str) -> Connection:
    parts = urlsplit(text)
    if not parts.scheme:
        raise ValueError("no type")
    extra: dict[str, Any] = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "__extra__" in extra:
        extra = json.loads(extra["__extra__"])
    return Connection(
        conn_id=conn_id,
        conn_type=parts.scheme.replace("-", "_"),
        host=unquote(parts.hostname or ""),
        port=parts.port,
        login=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        schema=unquote(parts.path.lstrip("/")),
        extra=extra,
    )
