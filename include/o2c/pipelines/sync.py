"""DAG ``sync_<source>``: extract every flow of one source, gate what arrived, publish what passed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.timetables.trigger import CronTriggerTimetable

from o2c.contracts.catalogue import load_catalogue
from o2c.contracts.flow import Flow
from o2c.errors import FenceLost, GateStopped, LoadNotClosed, O2CError
from o2c.pipelines import assets
from o2c.pipelines.connections import resolve
from o2c.pipelines.defaults import dag_arguments, final_on, retry_delay
from o2c.settings import Settings


def sync_dag(source: str, *, schedule: str, owner: str, doc: str | None) -> DAG:
    """The DAG of one source folder.

    Args:
        source: folder below the flows directory; also the DAG's suffix and its asset.
        schedule: cron expression in UTC.
        owner: team that answers for the source.
        doc: the DAG file's docstring, shown in the UI.
    """
    flows = load_catalogue(Settings.load()).group(source)
    arguments = dag_arguments(owner, ["sync", source], doc)
    with DAG(f"sync_{source}", schedule=CronTriggerTimetable(schedule, timezone="UTC"), **arguments) as dag:
        extracted = _extract_task(flows).expand(flow=[flow.name for flow in flows])
        extracted >> _gate_task(source) >> _publish_task(source) >> _reconcile_task(source)
    return dag


def _extract_task(flows: list[Flow]) -> Any:
    first_wait = min(flow.retry.backoff_from for flow in flows)
    longest_wait = max(flow.retry.backoff_to for flow in flows)

    @task(
        task_id="extract",
        retries=max(flow.retry.attempts for flow in flows) - 1,
        retry_delay=retry_delay(first_wait),
        retry_exponential_backoff=2.0,
        max_retry_delay=longest_wait,
        execution_timeout=timedelta(hours=6),
        map_index_template="{{ flow_name }}",
    )
    def extract(flow: str) -> str:
        from o2c.loads.extract import extract as extract_flow
        from o2c.loads.extract import is_fatal

        context = get_current_context()
        context["flow_name"] = flow  # type: ignore[typeddict-unknown-key]
        settings = Settings.load()
        spec = load_catalogue(settings).flow(flow)
        try:
            return extract_flow(settings, spec, resolve, context["run_id"]).load_id
        except O2CError as error:
            if is_fatal(spec, error) or context["ti"].try_number >= spec.retry.attempts:
                raise AirflowFailException(str(error)) from error
            raise

    return extract


def _gate_task(source: str) -> Any:
    @task(task_id="gate", trigger_rule="all_done", retries=1)
    def gate() -> dict[str, int]:
        from o2c.loads.gate import gate as gate_loads
        from o2c.loads.progress import loads_of_run

        settings = Settings.load()
        flows = {flow.name: flow for flow in load_catalogue(settings).group(source)}
        outcomes = gate_loads(settings, source, flows, loads_of_run(settings, _run_id(), source, "staged"))
        for outcome in outcomes:
            if outcome.error:
                print(outcome.error)
        return {"open": sum(outcome.is_open for outcome in outcomes), "loads": len(outcomes)}

    return gate()


def _publish_task(source: str) -> Any:
    @task(task_id="publish", outlets=[assets.raw(source)], retries=2)
    def publish() -> dict[str, int]:
        from o2c.loads.progress import loads_of_run, unbuilt_rows
        from o2c.loads.publish import publish as publish_load

        settings = Settings.load()
        catalogue = load_catalogue(settings)
        for load in loads_of_run(settings, _run_id(), source, "gated"):
            try:
                publish_load(settings, catalogue.flow(load.flow), load)
            except (FenceLost, LoadNotClosed) as error:
                print(error)
        rows = unbuilt_rows(settings, source)
        if not rows:
            raise AirflowSkipException("Nothing new was published; no asset event.")
        return {"published_rows": rows}

    return publish()


def _reconcile_task(source: str) -> Any:
    @task(task_id="reconcile", trigger_rule="all_done", retries=0)
    def reconcile() -> None:
        """Fail the run when a flow of the source has no published load in it."""
        from o2c.loads.progress import held_back

        with final_on(GateStopped):
            held_back(Settings.load(), _run_id(), load_catalogue(Settings.load()).group(source))

    return reconcile()


def _run_id() -> str:
    return str(get_current_context()["run_id"])
