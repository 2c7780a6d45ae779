"""DAG ``watch_loads``: finds by data what is late, held back or in quarantine, and tells who answers for it."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, task
from airflow.timetables.assets import AssetOrTimeSchedule
from airflow.timetables.trigger import CronTriggerTimetable

from o2c.contracts.catalogue import load_catalogue
from o2c.pipelines import assets
from o2c.pipelines.defaults import dag_arguments
from o2c.settings import Settings


def watch_dag(*, schedule: str, owner: str, doc: str | None) -> DAG:
    """The DAG of the watch. It succeeds when it has looked, whatever it found: alerts speak for themselves."""
    # New marts tell of new loads: what they left in quarantine need not wait for the clock.
    marts: Any = [assets.MARTS]
    when = AssetOrTimeSchedule(timetable=CronTriggerTimetable(schedule, timezone="UTC"), assets=marts)
    with DAG("watch_loads", schedule=when, **dag_arguments(owner, ["watch"], doc)) as dag:
        _watch_task()
    return dag


def _watch_task() -> Any:
    @task(task_id="watch")
    def watch() -> dict[str, int]:
        from dataclasses import asdict
        from datetime import UTC, datetime

        from o2c.loads.watch import watch as watch_loads
        from o2c.pipelines.notify import tell

        settings = Settings.load()
        # The time it is, not the time the run was due: a watch that comes late must see what is late.
        done = watch_loads(settings, load_catalogue(settings).flows, datetime.now(UTC), tell(settings))
        return asdict(done)

    return watch()
