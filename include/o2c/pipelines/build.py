"""DAG ``build_warehouse``: dbt from raw to marts, then the mart gate, whenever a source has published."""

from __future__ import annotations

from datetime import date
from typing import Any

from airflow.sdk import DAG, get_current_context, task

from o2c.pipelines import assets
from o2c.pipelines.defaults import dag_arguments, final_on
from o2c.settings import Settings
from o2c.warehouse.dbt import BuildFailed


def build_dag(sources: list[str], *, owner: str, doc: str | None) -> DAG:
    """The DAG that any of the sources' raw assets starts."""
    schedule: Any = assets.raw(sources[0])
    for source in sources[1:]:
        schedule = schedule | assets.raw(source)
    with DAG("build_warehouse", schedule=schedule, **dag_arguments(owner, ["build"], doc)) as dag:
        _build_task() >> _reconcile_task()
    return dag


def _build_task() -> Any:
    @task(task_id="build")
    def build() -> str:
        """Seeds, staging, intermediate and marts, each with its tests; unit tests belong to development."""
        from o2c.warehouse.build import build_models

        as_of = _as_of()
        with final_on():
            build_models(Settings.load(), as_of)
        return as_of.isoformat()

    return build()


def _reconcile_task() -> Any:
    @task(task_id="reconcile", outlets=[assets.MARTS], retries=0)
    def reconcile() -> None:
        """The tie-outs; the marts' asset event leaves only when they hold."""
        from o2c.warehouse.build import reconcile_marts

        with final_on(BuildFailed):
            reconcile_marts(Settings.load(), _as_of())

    return reconcile()


def _as_of() -> date:
    """``O2C_AS_OF``, else the day this run was due: a later retry gives the same figures."""
    run = get_current_context()["dag_run"]
    fixed = Settings.load().as_of
    return fixed or run.run_after.date()
