"""A scratch database beside the warehouse: created empty, dropped afterwards, whatever happens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
from psycopg import sql

from o2c.errors import UsageError
from o2c.settings import Settings
from o2c.warehouse.session import connect


@contextmanager
def scratch_database(settings: Settings, url: str | None = None) -> Iterator[Settings]:
    """The same settings over an empty database.

    Args:
        settings: of the warehouse.
        url: an empty database to use instead; it is left as it is then, filled.

    Raises:
        UsageError: the warehouse's account may not create databases, or the database given is not empty.
    """
    if url:
        scratch = replace(settings, url=url)
        _check_empty(scratch)
        yield scratch
        return
    name = f"o2c_scratch_{uuid4().hex[:12]}"
    _create(settings, name)
    try:
        yield replace(settings, url=urlsplit(settings.warehouse_url)._replace(path=f"/{name}").geturl())
    finally:
        with connect(settings, autocommit=True) as connection:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def _create(settings: Settings, name: str) -> None:
    with connect(settings, autocommit=True) as connection:
        try:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        except psycopg.errors.InsufficientPrivilege:
            raise UsageError(
                "The warehouse's account may not create databases.",
                where="a scratch database is needed to rebuild in",
                next_step="Give --scratch postgresql://... of an empty database, or grant the account CREATEDB.",
            ) from None


def _check_empty(scratch: Settings) -> None:
    with connect(scratch) as connection:
        found = connection.execute(
            "select exists (select from pg_namespace where nspname in ('ops', 'raw', 'quarantine'))"
        ).fetchone()
    if found and found[0]:
        raise UsageError(
            "The scratch database is not empty.",
            where=urlsplit(scratch.warehouse_url).path,
            next_step="Give one that nobody uses: it is filled with everything that was ever loaded.",
        )
