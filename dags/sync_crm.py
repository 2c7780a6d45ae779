"""Airflow DAG: accounts, opportunities and quotes from the CRM into the warehouse.

Runs every 30 minutes. Each flow below `include/flows/crm` is extracted by its cursor, gated by Great Expectations
and published in one transaction of its own.

**If it fails:** open the failed `extract` or the `reconcile` log: it names the flow, the rule and the next step.
`./o2c status` shows the same from the terminal. What was published stays; running the DAG again doubles nothing.
"""

from o2c.pipelines.sync import sync_dag

dag = sync_dag("crm", schedule="*/30 * * * *", owner="sales_operations", doc=__doc__)
