"""Airflow DAG: the receivables page and workbook, Data Docs of the gates, and the model documentation.

Starts whenever the marts are new. Everything lands in `var/reports`.

**If it fails:** the reports of the last good run stay in place. The log names what could not be written; clear the
task after mending it.
"""

from o2c.pipelines.reports import reports_dag

dag = reports_dag(["crm", "erp", "payments"], owner="group_finance", doc=__doc__)
