"""Build the marts and prove them: the two dbt invocations of a production run."""

from __future__ import annotations

from datetime import date

from o2c.settings import Settings
from o2c.warehouse.dbt import run_dbt


def build_models(settings: Settings, as_of: date) -> None:
    """Build seeds and models and run their data tests; raises ``BuildFailed``."""
    run_dbt(
        settings,
        ["build", "--exclude-resource-type", "unit_test", "--exclude", "tag:integrity"],
        as_of,
    )


def reconcile_marts(settings: Settings, as_of: date) -> None:
    """Run the tie-outs: roll-forward, ageing, control account, single count; raises ``BuildFailed``."""
    run_dbt(settings, ["test", "--select", "tag:integrity"], as_of)
