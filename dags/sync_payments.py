"""Airflow DAG: bank statements and card-processor settlements into the warehouse.

Runs every hour. New files on the SFTP servers are read with a pinned host key, kept byte for byte, gated by Great
Expectations and published in one transaction per flow.

**If it fails:** open the failed `extract` or the `reconcile` log: it names the file, the line and the next step.
`./o2c status` shows the same from the terminal. What was published stays; running the DAG again doubles nothing.
"""

from o2c.pipelines.sync import sync_dag

dag = sync_dag("payments", schedule="5 * * * *", owner="treasury", doc=__doc__)
