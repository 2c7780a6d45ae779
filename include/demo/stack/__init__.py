"""The embedded runtime: Postgres, the sample company's counterparts and Airflow as supervised child processes."""
