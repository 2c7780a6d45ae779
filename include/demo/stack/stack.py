"""The whole embedded stack: Postgres, the counterparts and Airflow; started together, stopped in order."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from demo.stack import airflow, postgres, sample
from demo.stack.airflow import PROJECT, AirflowPlan, base_environment
from demo.stack.airflow_api import AirflowApi
from demo.stack.errors import StackFailed
from demo.stack.ports import HOST, choose
from demo.stack.processes import Command, Supervisor, stop_recorded
from demo.stack.progress import Progress
from demo.stack.state import State, check_space, load_secrets

DATABASES = ("warehouse", "erp", "airflow")
SERVERS = ("sftp-server", "crm-server")
STOP_ORDER = (
    ("airflow-scheduler", "airflow-dag-processor", "airflow-triggerer", "sample-company", "warehouse-init"),
    ("airflow-api-server",),
    SERVERS,
    ("postgres",),
)
_CRM_LOGIN = "integration@example.com"
_SFTP_LOGIN = "o2c"


class Stack:
    """One stack in one state directory.

    ``start()`` may be called once; ``stop()`` at any time, also while ``start()`` still runs in another thread.
    """

    def __init__(
        self, state: State, supervisor: Supervisor, progress: Progress, *, durable: bool, dags: Path = PROJECT / "dags"
    ) -> None:
        self.state = state
        self.supervisor = supervisor
        self.secrets = load_secrets(state)
        self.environment: dict[str, str] = {}
        self.plan: AirflowPlan
        self.cluster: postgres.Cluster
        self._progress = progress
        self._durable = durable
        self._dags = dags

    @property
    def is_new(self) -> bool:
        """Whether the sample company has not been made yet."""
        return not (self.state.root / "company-ready").exists()

    @property
    def warehouse_url(self) -> str:
        """The warehouse, for its owner."""
        return self.cluster.url("warehouse")

    def start(self) -> AirflowApi:
        """Start everything, as much as possible at the same time; returns a client of the healthy Airflow.

        Raises:
            StackFailed: a part did not start; the message says which, and shows the end of its log.
        """
        check_space(self.state.root)
        # A stack that stays up should have the address that people expect, if it can.
        airflow_port = choose("O2C_AIRFLOW_PORT", "Airflow", preferred=8080 if self._durable else None)
        self._start_postgres()
        self._start_counterparts()
        self.environment = self._environment()
        self.plan = AirflowPlan(self.state, airflow_port, self.cluster, self.secrets, self.environment, self._dags)
        pool = ThreadPoolExecutor(max_workers=3, thread_name_prefix="stack")
        jobs = [pool.submit(job) for job in (self._start_airflow, self._make_company, self._prepare_warehouse)]
        wait(jobs, return_when=FIRST_EXCEPTION)
        # Not waiting here: when one job failed, stopping the stack is what ends the others.
        pool.shutdown(wait=False, cancel_futures=True)
        for job in jobs:
            if job.done():
                job.result()
        return jobs[0].result()  # type: ignore[return-value]

    def stop(self) -> None:
        """Stop everything, the users of a thing before the thing; a throw-away stack is not waited for long."""
        self.supervisor.stop_all(STOP_ORDER, patience=60.0 if self._durable else 2.5)

    def restart(self, name: str) -> None:
        """Start a component of Airflow or a counterpart again, with the same settings."""
        self.supervisor.start(self._commands()[name])

    def _start_postgres(self) -> None:
        self._progress.show("postgres", "Postgres")
        binaries = postgres.find_binaries()
        data = postgres.data_directory(self.state, binaries.account)
        if not (data / "PG_VERSION").exists():
            postgres.create(data, binaries, self.secrets["postgres"], durable=self._durable)
        self.cluster = postgres.start(self.supervisor, data, binaries, self.secrets)
        postgres.create_databases(self.cluster, DATABASES, readers={"erp_reader": "erp"})
        self._progress.done("postgres", f"{HOST}:{self.cluster.port}")

    def _start_counterparts(self) -> None:
        self._progress.show("counterparts", "Bank SFTP server and CRM API")
        for name in SERVERS:
            self._folder(name).mkdir(parents=True, exist_ok=True)
            self._port_file(name).unlink(missing_ok=True)
        commands = self._commands()
        for name in SERVERS:
            self.supervisor.start(commands[name])
        ports = [self._port(name) for name in SERVERS]
        self._progress.done("counterparts", ", ".join(f"{HOST}:{port}" for port in ports))

    def _start_airflow(self) -> AirflowApi:
        self._progress.show("airflow", "Airflow", "preparing its database")
        airflow.prepare_home(self.plan)
        airflow.migrate(self.supervisor, self.plan, cache_directory(self.state))
        airflow.start(self.supervisor, self.plan)
        api = airflow.wait_until_healthy(
            self.supervisor, self.plan, lambda note: self._progress.show("airflow", "Airflow", note)
        )
        self._progress.done("airflow", self.plan.url)
        return api

    def _make_company(self) -> None:
        if not self.is_new:
            return
        self._progress.show("company", "Sample company", "18 months of orders, deliveries, invoices and cash")
        environment = self.environment | {sample.ERP_URL: self.cluster.url("erp")}
        arguments = ["-m", "demo.stack.sample", "--directory", str(self.state.company)]
        self.supervisor.run(self._python("sample-company", arguments, environment))
        (self.state.root / "company-ready").touch()
        self._progress.done("company")

    def _prepare_warehouse(self) -> None:
        self._progress.show("warehouse", "Warehouse schemas")
        self.supervisor.run(self._python("warehouse-init", ["-m", "o2c.cli", "init"], self.environment))
        self._progress.done("warehouse")

    def _environment(self) -> dict[str, str]:
        as_of = self.state.root / "as_of"
        if not as_of.exists():
            # A file, not a variable: `o2c demo tick` moves the date while Airflow runs.
            as_of.write_text(f"{sample.as_of()}\n", encoding="utf-8")
        return base_environment() | {
            "O2C_HOME": str(self.state.root),
            "O2C_WAREHOUSE_URL": self.warehouse_url,
            **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in self._connections().items()},
        }

    def _connections(self) -> Mapping[str, Mapping[str, Any]]:
        host_key = " ".join((self.state.root / "sftp_host_key.pub").read_text().split()[:2])
        sftp = {
            "conn_type": "sftp",
            "host": HOST,
            "port": self._port("sftp-server"),
            "login": _SFTP_LOGIN,
            "password": self.secrets["sftp"],
            "extra": {"host_key": host_key},
        }
        return {
            "erp_db": {
                "conn_type": "postgres",
                "host": HOST,
                "port": self.cluster.port,
                "login": "erp_reader",
                "password": self.secrets["erp_reader"],
                "schema": "erp",
            },
            "crm_api": {
                "conn_type": "http",
                "host": HOST,
                "port": self._port("crm-server"),
                "login": _CRM_LOGIN,
                "password": self.secrets["crm_password"],
                "extra": {
                    "scheme": "http",
                    "client_id": self.secrets["crm_client_id"],
                    "client_secret": self.secrets["crm_client_secret"],
                },
            },
            "bank_sftp": sftp,
            "card_sftp": sftp,
        }

    def _commands(self) -> dict[str, Command]:
        secrets = self.secrets
        sftp_login = {"O2C_DEMO_SFTP_LOGIN": _SFTP_LOGIN, "O2C_DEMO_SFTP_PASSWORD": secrets["sftp"]}
        crm_login = {
            "O2C_DEMO_CRM_LOGIN": _CRM_LOGIN,
            "O2C_DEMO_CRM_PASSWORD": secrets["crm_password"],
            "O2C_DEMO_CRM_CLIENT_ID": secrets["crm_client_id"],
            "O2C_DEMO_CRM_CLIENT_SECRET": secrets["crm_client_secret"],
        }
        key = ["--host-key", str(self.state.root / "sftp_host_key")]
        servers = {
            "sftp-server": self._server("sftp-server", "sftp_server", "O2C_SFTP_PORT", sftp_login, key),
            "crm-server": self._server("crm-server", "crm_server", "O2C_CRM_PORT", crm_login, []),
        }
        return servers | (airflow.commands(self.plan) if hasattr(self, "plan") else {})

    def _server(self, name: str, module: str, port: str, login: Mapping[str, str], more: list[str]) -> Command:
        # A server that is started again keeps its port: the clients know it.
        number = self._known_port(name) or choose(port, name)
        where = [
            "--directory",
            str(self._folder(name)),
            "--port",
            str(number),
            "--port-file",
            str(self._port_file(name)),
        ]
        return self._python(name, ["-m", f"demo.counterparts.{module}", *where, *more], {**base_environment(), **login})

    def _python(self, name: str, arguments: list[str], environment: Mapping[str, str]) -> Command:
        return Command(name, [sys.executable, *arguments], environment, self.state.root, grace=3.0)

    def _folder(self, name: str) -> Path:
        return self.state.company / {"sftp-server": "sftp", "crm-server": "crm"}[name]

    def _port_file(self, name: str) -> Path:
        return self.state.root / f"{name}.port"

    def _known_port(self, name: str) -> int | None:
        path = self._port_file(name)
        return int(path.read_text()) if path.exists() else None

    def _port(self, name: str, timeout: float = 30.0) -> int:
        """The port that a counterpart has written once it listens."""
        deadline = time.monotonic() + timeout
        while (port := self._known_port(name)) is None:
            self.supervisor.check()
            if time.monotonic() > deadline:
                raise StackFailed(f"{name} does not answer.", where=str(self.state.logs / f"{name}.log"))
            time.sleep(0.02)
        return port


def cache_directory(state: State) -> Path:
    """What may be kept between stacks of the same home."""
    return state.root.parent / "cache"


def clear(state: State) -> None:
    """Stop what an earlier stack left running here, and delete all it left."""
    if state.pids.exists():
        stop_recorded(state.pids)
    postgres.remove_data(state)
    state.remove()
