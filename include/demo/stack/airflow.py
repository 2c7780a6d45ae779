"""Airflow as four supervised processes: API server, scheduler, DAG processor and triggerer.

The configuration is environment variables only; nothing of the user's own Airflow is read. Everything listens on
loopback: the log servers of scheduler and triggerer, which have no setting for their address, are not started
(``-s``); the API server reads the log files itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo.stack import postgres
from demo.stack.airflow_api import AirflowApi
from demo.stack.errors import StackFailed
from demo.stack.ports import HOST
from demo.stack.postgres import Cluster
from demo.stack.processes import Command, Supervisor
from demo.stack.state import State, write_private

PROJECT = Path(__file__).resolve().parents[3]
COMPONENTS = ("airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer")
USERS = {"admin": "airflow_admin", "viewer": "airflow_viewer"}
NO_TELEMETRY: Mapping[str, str] = {
    "DO_NOT_TRACK": "1",
    "SCARF_ANALYTICS": "false",
    "SCARF_NO_ANALYTICS": "true",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "GX_ANALYTICS_ENABLED": "false",
}
_ARGUMENTS = {
    "airflow-api-server": ["api-server"],
    "airflow-scheduler": ["scheduler", "--skip-serve-logs"],
    "airflow-dag-processor": ["dag-processor"],
    "airflow-triggerer": ["triggerer", "--skip-serve-logs"],
}
_BACK_END = ("scheduler", "dag_processor", "triggerer")


@dataclass(frozen=True)
class AirflowPlan:
    """What one Airflow is made of: where it lives, its port, its database, and the folder of its DAGs."""

    state: State
    port: int
    cluster: Cluster
    secrets: Mapping[str, str] = field(repr=False)
    extra: Mapping[str, str] = field(repr=False)
    dags: Path = PROJECT / "dags"

    @property
    def url(self) -> str:
        """The address of UI and API."""
        return f"http://{HOST}:{self.port}"

    def environment(self) -> dict[str, str]:
        """The full environment of every Airflow process and of the tasks it starts."""
        return base_environment() | _settings(self) | dict(self.extra)

    def api(self) -> AirflowApi:
        """A client that logs in as administrator."""
        return AirflowApi(self.url, "admin", self.secrets[USERS["admin"]])


def base_environment() -> dict[str, str]:
    """Our environment without the user's own Airflow, dbt or Postgres settings, with telemetry off."""
    foreign = ("AIRFLOW_", "PG", "DBT_", "GX_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
    ours = {
        "PATH": path,
        "PYTHONPATH": str(PROJECT / "include"),
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": HOST,
        "no_proxy": HOST,
    }
    return kept | ours | dict(NO_TELEMETRY)


def prepare_home(plan: AirflowPlan) -> None:
    """Write what Airflow reads from its home: the passwords of its users and our start-up module."""
    config = plan.state.airflow_home / "config"
    config.mkdir(parents=True, exist_ok=True)
    passwords = {user: plan.secrets[secret] for user, secret in USERS.items()}
    write_private(plan.state.airflow_home / "passwords.json", json.dumps(passwords))
    # Without one, each of four starting processes would write a full configuration file of its own.
    (plan.state.airflow_home / "airflow.cfg").write_text("# All settings are environment variables.\n")
    shutil.copyfile(
        Path(__file__).with_name("config") / "airflow_local_settings.py", config / "airflow_local_settings.py"
    )


def migrate(supervisor: Supervisor, plan: AirflowPlan, cache: Path) -> None:
    """Bring the metadata database to the schema of this Airflow, from a saved copy where there is one.

    The copy is keyed by the lock file: other packages, other schema.

    Raises:
        StackFailed: the migration failed; its log says why.
    """
    lock = hashlib.sha256((PROJECT / "requirements.txt").read_bytes()).hexdigest()[:16]
    saved = cache / f"airflow-{lock}.sql"
    is_new = not (plan.state.airflow_home / "migrated").exists()
    if is_new and saved.exists():
        postgres.restore(plan.cluster, "airflow", saved)
    else:
        supervisor.run(_command(plan, "airflow-migrate", ["db", "migrate"]))
        if is_new:
            postgres.dump(plan.cluster, "airflow", saved)
    (plan.state.airflow_home / "migrated").write_text(lock)


def start(supervisor: Supervisor, plan: AirflowPlan) -> None:
    """Start the four components; returns at once, see :func:`wait_until_healthy`."""
    for command in commands(plan).values():
        supervisor.start(command)


def commands(plan: AirflowPlan) -> dict[str, Command]:
    """The command of each component, by name."""
    return {name: _command(plan, name, _ARGUMENTS[name]) for name in COMPONENTS}


def wait_until_healthy(
    supervisor: Supervisor, plan: AirflowPlan, tell: Callable[[str], None] = lambda _text: None, timeout: float = 180.0
) -> AirflowApi:
    """Wait until all four components answer for themselves, and return a client.

    A heartbeat alone may be left over from an earlier start, so the processes must run too.

    Raises:
        StackFailed: a component died, or the wait took longer than ``timeout`` seconds.
    """
    api, deadline = plan.api(), time.monotonic() + timeout
    while True:
        supervisor.check()
        health = api.health()
        waiting = [name for name in ("metadatabase", *_BACK_END) if _status(health, name) != "healthy"]
        if not waiting:
            return api
        tell("waiting for " + (", ".join(waiting) if health else "api-server"))
        if time.monotonic() > deadline:
            raise StackFailed(
                f"Airflow is not healthy after {timeout:.0f} s; still waiting for {', '.join(waiting)}.",
                where=str(plan.state.logs),
                next_step="Read the logs of these components; a slow machine may need another try.",
            )
        time.sleep(0.2)


def _command(plan: AirflowPlan, name: str, arguments: list[str]) -> Command:
    is_server = name == "airflow-api-server"
    return Command(
        name=name,
        arguments=[sys.executable, "-m", "airflow", *arguments],
        environment=plan.environment(),
        directory=plan.state.airflow_home,
        stop_signal=signal.SIGTERM if is_server else signal.SIGINT,
        grace=4.0,
    )


def _status(health: Mapping[str, Any], name: str) -> str | None:
    part = health.get(name) or {}
    return part.get("status")


def _settings(plan: AirflowPlan) -> dict[str, str]:
    home = plan.state.airflow_home
    sections: dict[str, dict[str, object]] = {
        **_server_settings(plan),
        "core": {
            "executor": "LocalExecutor",
            "parallelism": 4,
            "dags_folder": plan.dags,
            "plugins_folder": PROJECT / "plugins",
            "load_examples": False,
            "dags_are_paused_at_creation": True,
            "simple_auth_manager_users": ",".join(f"{user}:{user}" for user in USERS),
            "simple_auth_manager_passwords_file": home / "passwords.json",
            "execution_api_server_url": f"{plan.url}/execution/",
            "hostname_callable": "socket.gethostname",
            "fernet_key": plan.secrets["fernet_key"],
        },
        # The default of one second between looks at the queue would make up most of a short run.
        "scheduler": {"scheduler_idle_sleep_time": 0.1},
        "dag_processor": {"refresh_interval": 30, "min_file_process_interval": 30, "parsing_processes": 1},
        # With the default of 3 failures, a restart of the API server ends healthy tasks. The interval is also how long
        # a worker may take to see that its task has ended.
        "workers": {"max_failed_heartbeats": 20, "min_heartbeat_interval": 1},
        "logging": {"base_log_folder": home / "logs", "colored_console_log": False},
    }
    settings = {"AIRFLOW_HOME": str(home)}
    for section, values in sections.items():
        settings |= {f"AIRFLOW__{section}__{key}".upper(): str(value) for key, value in values.items()}
    return settings


def _server_settings(plan: AirflowPlan) -> dict[str, dict[str, object]]:
    return {
        "api": {
            "host": HOST,
            "port": plan.port,
            "base_url": plan.url,
            "workers": 1,
            "secret_key": plan.secrets["api_secret"],
            "expose_config": False,
        },
        "api_auth": {"jwt_secret": plan.secrets["jwt_secret"]},
        "database": {
            "sql_alchemy_conn": plan.cluster.url("airflow", driver="postgresql+psycopg2"),
            "sql_alchemy_conn_async": plan.cluster.url("airflow", driver="postgresql+asyncpg"),
        },
    }
