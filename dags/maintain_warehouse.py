"""Airflow DAG: records that were deleted in CRM or ERP, and rows that no increment has brought.

Runs once a day. Of each flow with `deletes: {scan: daily}` the source lists all its keys. What is gone there gets a
tombstone in `raw`; what the warehouse has missed is read again. A source of which nothing changed announces nothing.

**If it fails:** the log of `report` names the flow and why. When far more is gone than usual, nothing is deleted until
somebody agrees: `./o2c reconcile FLOW --dry-run` shows what would go, `--accept-deletes` lets it. See docs/operator.md.
"""

from o2c.pipelines.maintain import maintain_dag

dag = maintain_dag(["crm", "erp"], schedule="10 2 * * *", owner="finance_systems", doc=__doc__)
