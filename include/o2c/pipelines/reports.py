"""DAG ``publish_reports``: pages, workbook, Data Docs and dbt docs, whenever the marts are new."""

from __future__ import annotations

from datetime import date
from typing import Any

from airflow.sdk import DAG, get_current_context, task

from o2c.pipelines import assets
from o2c.pipelines.defaults import dag_arguments, final_on
from o2c.settings import Settings


def reports_dag(sources: list[str], *, owner: str, doc: str | None) -> DAG:
    """The DAG that the marts asset starts."""
    with DAG("publish_reports", schedule=[assets.MARTS], **dag_arguments(owner, ["reports"], doc)) as dag:
        _packs_task()
        _data_docs_task(sources)
        _model_docs_task()
    return dag


def _packs_task() -> Any:
    @task(task_id="publish_packs")
    def publish_packs() -> list[str]:
        from o2c.reports.packs import write_packs

        with final_on():
            return [str(path.name) for path in write_packs(Settings.load())]

    return publish_packs()


def _data_docs_task(sources: list[str]) -> Any:
    @task(task_id="publish_data_docs")
    def publish_data_docs() -> None:
        from o2c.quality.gate import write_data_docs

        for source in sources:
            write_data_docs(Settings.load(), source)

    return publish_data_docs()


def _model_docs_task() -> Any:
    @task(task_id="publish_model_docs")
    def publish_model_docs() -> None:
        from o2c.warehouse.docs import write_model_docs

        run = get_current_context()["dag_run"]
        as_of: date = Settings.load().as_of or run.run_after.date()
        write_model_docs(Settings.load(), as_of)

    return publish_model_docs()
