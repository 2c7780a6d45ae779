"""Airflow DAG: orders, deliveries, invoices, receipts and master data from the ERP into the warehouse.

Runs every 30 minutes. Each flow below `include/flows/erp` is read from one snapshot of the ERP's database with the
control totals asked beside, gated by Great Expectations and published in one transaction of its own.

**If it fails:** open the failed `extract` or the `reconcile` log: it names the flow, the rule and the next step.
`./o2c status` shows the same from the terminal. What was published stays; running the DAG again doubles nothing.
"""

from o2c.pipelines.sync import sync_dag

dag = sync_dag("erp", schedule="*/30 * * * *", owner="finance_systems", doc=__doc__)
