"""DAGs from flows: the only room that imports Airflow."""
