"""The order-to-cash library: plain Python that runs and is tested without Airflow."""
