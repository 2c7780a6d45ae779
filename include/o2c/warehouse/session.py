"""Connections to the warehouse, with errors a person can act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from o2c.errors import WarehouseError
from o2c.settings import Settings

MINIMUM_VERSION = 160000
_SESSION = "-c timezone=UTC -c datestyle=ISO -c client_encoding=UTF8 -c intervalstyle=postgres -c search_path="
# A load scans wide tables once: sort in memory, and let two cores share the casts.
_LOAD = "-c work_mem=64MB -c parallel_tuple_cost=0.001 -c parallel_setup_cost=100"


@contextmanager
def connect(settings: Settings, *, autocommit: bool = False) -> Iterator[psycopg.Connection]:
    """A connection in UTC and ISO dates; commits on a clean exit, rolls back on an error.

    Raises:
        UsageError: no warehouse is set.
        WarehouseError: it cannot be reached, refuses the login, or is older than Postgres 16.
    """
    url = settings.warehouse_url
    try:
        connection = psycopg.connect(url, autocommit=autocommit, options=f"{_SESSION} {_LOAD}", application_name="o2c")
    except psycopg.OperationalError as error:
        raise WarehouseError(
            f"The warehouse cannot be reached: {_first_line(error)}",
            where=_address(url),
            next_step="Check that the server runs and that user, password and database in O2C_WAREHOUSE_URL are right.",
        ) from None
    if connection.info.server_version < MINIMUM_VERSION:
        connection.close()
        raise WarehouseError(
            "The warehouse's Postgres is too old.", where=_address(url), next_step="Use Postgres 16 or newer."
        )
    with connection:
        yield connection


def trusted(text: str) -> sql.SQL:
    """SQL text that was compiled from checked contracts (see ``contracts.expressions``)."""
    return sql.SQL(text)


def _address(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 5432}{parts.path}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
