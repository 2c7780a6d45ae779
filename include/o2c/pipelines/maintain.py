"""DAG ``maintain_warehouse``: compare the keys of every source with ``raw``, and publish what was deleted there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import DAG, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException
from airflow.timetables.trigger import CronTriggerTimetable

from o2c.contracts.catalogue import load_catalogue
from o2c.errors import GateStopped
from o2c.pipelines import assets
from o2c.pipelines.connections import resolve
from o2c.pipelines.defaults import dag_arguments, final_on
from o2c.settings import Settings


def maintain_dag(sources: Sequence[str], *, schedule: str, owner: str, doc: str | None) -> DAG:
    """The DAG that reconciles every flow of ``sources`` that lists its keys.

    Args:
        sources: folders below the flows directory.
        schedule: cron expression in UTC.
        owner: team that answers for it.
        doc: the DAG file's docstring, shown in the UI.
    """
    timetable = CronTriggerTimetable(schedule, timezone="UTC")
    with DAG("maintain_warehouse", schedule=timetable, **dag_arguments(owner, ["maintain"], doc)) as dag:
        [_reconcile_task(source) for source in sources] >> _report_task(sources)
    return dag


def _reconcile_task(source: str) -> Any:
    @task(task_id=f"reconcile_{source}", outlets=[assets.raw(source)], retries=0)
    def reconcile() -> int:
        """Every flow of one source; the asset event leaves only when rows were published."""
        from o2c.loads.reconcile import Scan
        from o2c.loads.reconcile import reconcile as reconcile_flows

        settings, context = Settings.load(), get_current_context()
        flows = [flow for flow in load_catalogue(settings).group(source) if flow.scans_deletes]
        # Run ids repeat between DAGs; loads are found by theirs.
        results = reconcile_flows(settings, flows, resolve, Scan(run_id=f"maintain_warehouse {context['run_id']}"))
        held_back = [f"{result.flow}: {result.error}" for result in results if result.error]
        context["ti"].xcom_push(key="held_back", value=held_back)
        rows = sum(result.published_rows for result in results)
        if not rows:
            raise AirflowSkipException("Nothing was deleted or missed; no asset event.")
        return rows

    return reconcile()


def _report_task(sources: Sequence[str]) -> Any:
    @task(task_id="report", trigger_rule="all_done", retries=0)
    def report() -> None:
        """Fail the run when a flow could not be reconciled."""
        tasks = [f"reconcile_{source}" for source in sources]
        told = get_current_context()["ti"].xcom_pull(task_ids=tasks, key="held_back")
        held_back = [line for lines in told for line in (lines if lines is not None else ["a task broke off"])]
        with final_on(GateStopped):
            if held_back or len(told) < len(tasks):
                raise GateStopped(
                    f"{len(held_back)} flows could not be reconciled.",
                    where="\n".join(held_back),
                    next_step="Nothing of them was deleted. Mend the cause; see docs/operator.md, deletes.",
                )

    return report()
