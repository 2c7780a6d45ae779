"""A small client of Airflow's REST API: what the stack needs to start DAGs and to watch their runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from demo.stack.errors import StackFailed

_PAGE = 100


class AirflowApi:
    """Talks to one API server as one user; logs in when first needed, and again when the token has expired."""

    def __init__(self, url: str, login: str, password: str, timeout: float = 15.0) -> None:
        self._login = {"username": login, "password": password}
        # A proxy of the environment must not stand between us and loopback.
        self._client = httpx.Client(base_url=url, timeout=timeout, trust_env=False)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def health(self) -> dict[str, Any]:
        """The state of each component; empty while the server does not answer."""
        try:
            answer = self._client.get("/api/v2/monitor/health", timeout=5.0)
        except httpx.HTTPError:
            return {}
        return dict(answer.json()) if answer.status_code == 200 else {}

    def dags(self) -> list[dict[str, Any]]:
        """Every DAG that Airflow knows, paused or not."""
        return self._pages("/api/v2/dags", "dags", {"exclude_stale": "true"})

    def import_errors(self) -> list[dict[str, Any]]:
        """The DAG files that could not be read: ``filename`` and ``stack_trace``."""
        return self._pages("/api/v2/importErrors", "import_errors")

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler start runs of this DAG."""
        self._ask("PATCH", f"/api/v2/dags/{quote(dag_id)}", json={"is_paused": False})

    def trigger(self, dag_id: str) -> dict[str, Any]:
        """Start a run by hand, now."""
        return self._ask("POST", f"/api/v2/dags/{quote(dag_id)}/dagRuns", json={"logical_date": None})

    def runs(self, dag_id: str = "~") -> list[dict[str, Any]]:
        """The runs of a DAG (default: of all), oldest first."""
        return self._pages(f"/api/v2/dags/{quote(dag_id)}/dagRuns", "dag_runs", {"order_by": "id"})

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The tasks of one run, mapped ones apart."""
        return self._pages(f"/api/v2/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}/taskInstances", "task_instances")

    def _pages(self, path: str, key: str, parameters: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        while True:
            page = {"limit": str(_PAGE), "offset": str(len(rows)), **(parameters or {})}
            found = self._ask("GET", path, params=page)[key]
            rows.extend(found)
            if len(found) < _PAGE:
                return rows

    def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        try:
            if "Authorization" not in self._client.headers:
                self._log_in()
            answer = self._client.request(method, path, **options)
            if answer.status_code == 401:
                self._log_in()
                answer = self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            raise self._failed(f"Airflow does not answer: {type(error).__name__}.", path) from None
        if answer.is_error:
            raise self._failed(f"Airflow refused with {answer.status_code}: {answer.text[:300]}", path)
        return dict(answer.json())

    def _log_in(self) -> None:
        answer = self._client.post("/auth/token", json=self._login)
        if answer.is_error:
            raise self._failed(f"Airflow refused the login of '{self._login['username']}'.", "/auth/token")
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def _failed(self, what: str, path: str) -> StackFailed:
        return StackFailed(
            what, where=f"{self._client.base_url}{path.lstrip('/')}", next_step="Read the log of the API server."
        )
