"""Airflow DAG: dbt from raw tables to receivables and leakage marts, then the tie-outs.

Starts whenever a source has published rows. The asset `marts` is announced only when sub-ledger, ageing and control
account agree.

**If it fails:** the log of `build` names the model, that of `reconcile` the tie-out that does not hold. The marts of
the last good build stay readable. Correct the cause and clear the task.
"""

from o2c.pipelines.build import build_dag

dag = build_dag(["crm", "erp", "payments"], owner="finance_systems", doc=__doc__)
