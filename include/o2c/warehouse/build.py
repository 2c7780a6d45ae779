"""Build the marts and prove them: the two dbt invocations of a production run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from psycopg import sql

from o2c.errors import WarehouseError
from o2c.failpoints import reached
from o2c.settings import Settings
from o2c.version import code_version
from o2c.warehouse.dbt import run_dbt
from o2c.warehouse.roles import share_marts
from o2c.warehouse.session import connect

# Statistics as old as this lead the planner to loops over what it believes to be empty tables.
_STALE = (
    "select relname from pg_stat_user_tables where schemaname = 'raw'"
    " and (last_analyze is null and last_autoanalyze is null or n_mod_since_analyze > n_live_tup / 10)"
)


def build_models(settings: Settings, as_of: date) -> None:
    """Build seeds and models and run their data tests, noted in ``ops.build``.

    Raises:
        BuildFailed: a model or a test failed.
        WarehouseError: another build holds the marts.
    """
    with _alone(settings), _noted(settings, as_of):
        reached("build_started")
        _refresh_statistics(settings)
        run_dbt(
            settings,
            ["build", "--exclude-resource-type", "unit_test", "--exclude", "tag:integrity"],
            as_of,
        )
        with connect(settings) as connection:
            share_marts(connection)
        reached("build_done")


def reconcile_marts(settings: Settings, as_of: date) -> None:
    """Run the tie-outs: roll-forward, ageing, control account, single count; raises ``BuildFailed``."""
    run_dbt(settings, ["test", "--select", "tag:integrity"], as_of)


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Two builds at once would swap each other's tables; the lock ends with the process that holds it."""
    with connect(settings, autocommit=True) as connection:
        row = connection.execute("select pg_try_advisory_lock(hashtextextended('o2c build', 0))").fetchone()
        if row is None or not row[0]:
            raise WarehouseError(
                "Another build is running.",
                where="schema marts",
                next_step="Wait for it to end and build again; the marts that stand can be read meanwhile.",
            )
        yield


@contextmanager
def _noted(settings: Settings, as_of: date) -> Iterator[None]:
    with connect(settings) as connection:
        row = connection.execute(
            "insert into ops.build (as_of, code_version) values (%s, %s) returning build_id", [as_of, code_version()]
        ).fetchone()
    assert row is not None
    is_success = False
    try:
        yield
        is_success = True
    finally:
        with connect(settings) as connection:
            connection.execute(
                "update ops.build set finished_at = clock_timestamp(), is_success = %s where build_id = %s",
                [is_success, row[0]],
            )


def _refresh_statistics(settings: Settings) -> None:
    with connect(settings, autocommit=True) as connection:
        for (table,) in connection.execute(_STALE).fetchall():
            connection.execute(sql.SQL("analyze {}").format(sql.Identifier("raw", table)))
