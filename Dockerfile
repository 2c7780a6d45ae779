# One image for every Airflow component of docker-compose.yml and for the o2c command.
FROM python:3.11-slim-bookworm

ENV AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    AIRFLOW__USAGE_DATA_COLLECTION__ENABLED=False \
    DBT_SEND_ANONYMOUS_USAGE_STATS=false \
    DO_NOT_TRACK=1 \
    GX_ANALYTICS_ENABLED=false \
    O2C_HOME=/var/lib/o2c \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONPATH=/opt/o2c/include \
    PYTHONUNBUFFERED=1 \
    SCARF_ANALYTICS=false

# The packages first: they change seldom, the project often.
WORKDIR /opt/o2c
COPY requirements.txt requirements-celery.txt ./
RUN pip install -r requirements.txt -r requirements-celery.txt && pip check

RUN useradd --uid 50000 --create-home --home-dir /home/o2c o2c \
 && install -d -o o2c -g o2c /opt/airflow/config /opt/airflow/logs /opt/airflow/auth /var/lib/o2c

COPY --chown=o2c:o2c dags dags
COPY --chown=o2c:o2c plugins plugins
COPY --chown=o2c:o2c include include
COPY --chown=o2c:o2c dbt_project dbt_project
RUN cp include/demo/stack/config/airflow_local_settings.py /opt/airflow/config/

USER o2c
CMD ["python", "-m", "o2c.cli", "--help"]
