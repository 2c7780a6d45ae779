"""One load from end to end: extract, gate, publish. Combines the rooms; knows neither Airflow nor the terminal."""
