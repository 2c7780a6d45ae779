"""Connections to the warehouse, with errors a person can act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from o2c.errors import UsageError, WarehouseError
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
        UsageError: the URL cannot be read.
        WarehouseError: it cannot be reached, refuses the login, is older than Postgres 16, or broke off.
    """
    url = settings.warehouse_url
    try:
        connection = psycopg.connect(url, autocommit=autocommit, options=f"{_SESSION} {_LOAD}", application_name="o2c")
    except psycopg.ProgrammingError:
        raise UsageError(
            "The warehouse's URL cannot be read.",
            where="environment variable O2C_WAREHOUSE_URL",
            next_step="Write it as postgresql://user:password@host:port/database.",
        ) from None
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
    try:
        with connection:
            yield connection
    except psycopg.Error as error:
        # A session that the server ended, for being idle or by an administrator, is not always "operational".
        if not (connection.broken or isinstance(error, psycopg.OperationalError)):
            raise
        raise WarehouseError(
            f"The warehouse broke off: {_first_line(error)}",
            where=_address(url),
            next_step="Check the server, its disk and its locks, then run again; what was not committed is not there.",
        ) from None


def trusted(text: str) -> sql.SQL:
    """SQL text that was compiled from checked contracts (see ``contracts.expressions``)."""
    return sql.SQL(text)


def _address(url: str) -> str:
    # Not urlsplit().port, which raises when the port is no number.
    return urlsplit(url)._replace(query="", fragment="").geturl().rpartition("@")[2].removeprefix("postgresql://")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
