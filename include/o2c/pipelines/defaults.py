"""What all DAGs share: owners, retries, and errors that retrying cannot cure."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk.exceptions import AirflowFailException

from o2c.errors import O2CError, UsageError

START = pendulum.datetime(2024, 1, 1, tz="UTC")


def dag_arguments(owner: str, tags: list[str], doc: str | None) -> dict[str, Any]:
    """Arguments of every DAG: one run at a time, and no runs for windows gone by (cursors carry on by themselves)."""
    return {
        "start_date": START,
        "catchup": False,
        "max_active_runs": 1,
        "tags": ["o2c", *tags],
        "doc_md": doc,
        "default_args": {"owner": owner, "retries": 1, "retry_delay": retry_delay(timedelta(seconds=30))},
    }


def retry_delay(normal: timedelta) -> timedelta:
    """The wait between tries; ``O2C_RETRY_SECONDS`` shortens it for tests."""
    seconds = os.environ.get("O2C_RETRY_SECONDS")
    return timedelta(seconds=float(seconds)) if seconds else normal


@contextmanager
def final_on(*kinds: type[O2CError]) -> Iterator[None]:
    """Fail a task without another try on errors of ``kinds`` and on wrong use."""
    try:
        yield
    except O2CError as error:
        if isinstance(error, (UsageError, *kinds)):
            raise AirflowFailException(str(error)) from error
        raise
