"""Build the marts and prove them: the two dbt invocations of a production run."""

from __future__ import annotations

from datetime import date

from psycopg import sql

from o2c.settings import Settings
from o2c.warehouse.dbt import run_dbt
from o2c.warehouse.session import connect

# Statistics as old as this lead the planner to loops over what it believes to be empty tables.
_STALE = (
    "select relname from pg_stat_user_tables where schemaname = 'raw'"
    " and (last_analyze is null and last_autoanalyze is null or n_mod_since_analyze > n_live_tup / 10)"
)


def build_models(settings: Settings, as_of: date) -> None:
    """Build seeds and models and run their data tests; raises ``BuildFailed``."""
    _refresh_statistics(settings)
    run_dbt(
        settings,
        ["build", "--exclude-resource-type", "unit_test", "--exclude", "tag:integrity"],
        as_of,
    )


def reconcile_marts(settings: Settings, as_of: date) -> None:
    """Run the tie-outs: roll-forward, ageing, control account, single count; raises ``BuildFailed``."""
    run_dbt(settings, ["test", "--select", "tag:integrity"], as_of)


def _refresh_statistics(settings: Settings) -> None:
    with connect(settings, autocommit=True) as connection:
        for (table,) in connection.execute(_STALE).fetchall():
            connection.execute(sql.SQL("analyze {}").format(sql.Identifier("raw", table)))
