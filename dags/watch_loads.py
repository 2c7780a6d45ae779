"""Airflow DAG: finds by data which flow is late, held back or has money in quarantine, and tells its owner.

Runs every 10 minutes and after each build, and leaves a heartbeat; `./o2c status` says when it is missing. It depends
on no callback of other tasks, so a killed task is found as well. Alerts nobody takes are escalated:
`./o2c alerts list`, `./o2c alerts acknowledge`.

**If it fails:** the log says what could not be read. Alerts that no channel took are told at the next turn.
"""

from o2c.pipelines.watch import watch_dag

dag = watch_dag(schedule="*/10 * * * *", owner="data_platform", doc=__doc__)
