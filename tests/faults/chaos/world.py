"""A world: one warehouse, its state folder and its three sources, all its own, all small."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from chaos import content
from chaos.content import Content
from demo.counterparts import crm_server, sftp_server

if TYPE_CHECKING:
    from chaos.laboratory import Laboratory
    from chaos.workshop import Workshop

PROJECT = Path(__file__).resolve().parents[3]
GROUPS: Mapping[str, tuple[str, ...]] = {
    "crm": ("crm/opportunities",),
    "erp": ("erp/invoices", "erp/receipts"),
    "payments": (
        "payments/bank_lines",
        "payments/bank_statements",
        "payments/card_payouts",
        "payments/card_transactions",
    ),
}
CRM = crm_server.Credentials("ada@example.com", "canary-crm-password", "app", "canary-crm-secret", "canary-token")
SFTP = sftp_server.Credentials("bank", "canary-sftp-password")
_INSERT = "insert into erp.{table} ({columns}) values ({values}) on conflict (id) do update set {updates}"


@dataclass
class World:
    """What a fault happens to. ``touched`` names the groups that were loaded since the baseline."""

    laboratory: Laboratory
    directory: Path
    database: str
    erp_database: str
    second: Content
    stack: ExitStack
    touched: set[str] = field(default_factory=set)
    extra: dict[str, str] = field(default_factory=dict)
    crm_extra: dict[str, Any] = field(default_factory=dict)
    sftp_extra: dict[str, Any] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    warehouse_port: int | None = None
    erp_port: int | None = None
    crm_port: int | None = None
    sftp_port: int | None = None
    _crm: crm_server.CrmServer | None = None
    _sftp: sftp_server.SftpServer | None = None

    @property
    def workshop(self) -> Workshop:
        """Where its tasks are started."""
        return self.laboratory.workshop

    @property
    def home(self) -> Path:
        """Its ``O2C_HOME``."""
        return self.directory / "home"

    @property
    def flows_dir(self) -> Path:
        """Its flow files: copies of the shipped ones."""
        return self.directory / "flows"

    def flows(self, group: str) -> list[str]:
        """Names of the flows of a group."""
        return sorted(f"{group}/{path.stem}" for path in (self.flows_dir / group).glob("*.yml"))

    def next_run_id(self) -> str:
        """The id of the next scheduled run."""
        return f"scheduled__{next(self.numbers):03}"

    # --- addresses -----------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The warehouse, without a detour."""
        return self.laboratory.cluster.url(self.database, role="warehouse")

    @property
    def erp_url(self) -> str:
        """The ERP's database, without a detour."""
        return self.laboratory.cluster.url(self.erp_database, role="warehouse")

    def environ(self) -> dict[str, str]:
        """What its tasks find in their environment."""
        own_port = str(self.laboratory.cluster.port)
        warehouse = self.url.replace(f":{own_port}/", f":{self.warehouse_port or own_port}/")
        return {
            "O2C_HOME": str(self.home),
            "O2C_FLOWS": str(self.flows_dir),
            "O2C_WAREHOUSE_URL": warehouse,
            "O2C_ACTOR": "chaos",
            "AIRFLOW_CONN_ERP_DB": self.erp_url.replace(f":{own_port}/", f":{self.erp_port or own_port}/"),
            **({"AIRFLOW_CONN_CRM_API": self._crm_connection()} if self._crm else {}),
            **({"AIRFLOW_CONN_BANK_SFTP": self._sftp_connection()} if self._sftp else {}),
            **({"AIRFLOW_CONN_CARD_SFTP": self._sftp_connection()} if self._sftp else {}),
            **self.extra,
        }

    def _crm_connection(self) -> str:
        extra = {
            "client_id": CRM.client_id, "client_secret": CRM.client_secret, "security_token": CRM.security_token,
            "scheme": "http", "page_size": 10, "attempts": 3, "backoff": 0.01, "deadline": 4, "timeout": 0.7,
            **self.crm_extra,
        }  # fmt: skip
        return json.dumps({
            "conn_type": "salesforce", "host": "127.0.0.1", "port": self.crm_port or self.crm.port,
            "login": CRM.login, "password": CRM.password, "extra": extra,
        })  # fmt: skip

    def _sftp_connection(self) -> str:
        extra = {"host_key": self.sftp.public_key, "timeout": 3, **self.sftp_extra}
        return json.dumps({
            "conn_type": "sftp", "host": "127.0.0.1", "port": self.sftp_port or self.sftp.port,
            "login": SFTP.login, "password": SFTP.password, "extra": extra,
        })  # fmt: skip

    # --- sources -------------------------------------------------------------------------------------------------

    @property
    def crm(self) -> crm_server.CrmServer:
        """The CRM, started when it is first needed."""
        if self._crm is None:
            folder = self.directory / "crm"
            self._crm = self.stack.enter_context(crm_server.serve(folder, CRM, smallest_page=1))
        return self._crm

    @property
    def sftp(self) -> sftp_server.SftpServer:
        """The SFTP server of bank and card processor, started when it is first needed."""
        if self._sftp is None:
            key = self.laboratory.directory / "host_key"
            self._sftp = self.stack.enter_context(sftp_server.serve(self.directory / "files", key, SFTP))
        return self._sftp

    def open_sources(self, group: str) -> None:
        """Start the counterpart of a group."""
        if group == "crm":
            assert self.crm
        if group == "payments":
            assert self.sftp

    def deliver(self, group: str, delivery: Content | None = None) -> None:
        """Let the sources of a group hold the second delivery (or another one) as well."""
        self.open_sources(group)
        deliver(self, group, delivery or self.second)

    def file(self, name: str) -> Path:
        """A file of the SFTP server: ``statements/...`` or ``settlements/...``."""
        return self.directory / "files" / name

    def crm_records(self, name: str = "Opportunity") -> list[dict[str, Any]]:
        """The CRM's records as text lines read back."""
        lines = (self.directory / "crm" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    # --- looking at it -------------------------------------------------------------------------------------------

    @contextmanager
    def connected(self, url: str | None = None) -> Iterator[psycopg.Connection]:
        """A connection of its own, in UTC, committing each statement."""
        with psycopg.connect(url or self.url, autocommit=True, options="-c timezone=UTC") as connection:
            yield connection

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Ask the warehouse."""
        with self.connected() as connection:
            return connection.execute(query, parameters or None).fetchall()  # type: ignore[call-overload,no-any-return]

    def value(self, query: str, *parameters: Any) -> Any:
        """The one value of a query."""
        return self.rows(query, *parameters)[0][0]

    def change(self, statement: str, *parameters: Any, url: str | None = None) -> int:
        """Change the warehouse (or another database); returns the rows it touched."""
        with self.connected(url) as connection:
            return connection.execute(statement, parameters or None).rowcount  # type: ignore[call-overload,no-any-return]

    def superuser(self, database: str | None = None) -> str:
        """The URL of somebody whom no right stops."""
        return self.laboratory.cluster.url(database or self.database, role="postgres")


def deliver(world: World, group: str, delivery: Content) -> None:
    """Write a delivery into the sources of a group."""
    if group == "erp":
        with world.connected(world.erp_url) as connection:
            for table in ("bill_header", "cash_receipt"):
                put_rows(connection, table, delivery.tables.get(table, []))
    if group == "crm":
        for name, rows in delivery.tables.items():
            if name[0].isupper():
                put_records(world.directory / "crm" / f"{name}.jsonl", rows)
    if group == "payments":
        for name, data in delivery.files.items():
            path = world.file(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def put_rows(connection: psycopg.Connection, table: str, rows: list[dict[str, Any]]) -> None:
    """Insert or replace rows of the ERP."""
    for row in rows:
        names = [sql.Identifier(name) for name in row]
        statement = sql.SQL(_INSERT).format(
            table=sql.Identifier(table),
            columns=sql.SQL(", ").join(names),
            values=sql.SQL(", ").join(sql.Placeholder() * len(names)),
            updates=sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(name) for name in names),
        )
        connection.execute(statement, list(row.values()))


def put_records(path: Path, rows: list[dict[str, Any]]) -> None:
    """Insert or replace records of the CRM."""
    known = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            known[json.loads(line)["Id"]] = line + "\n"
    known.update({row["Id"]: content.json_line(row) for row in rows})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(known.values()), encoding="utf-8")


def copy_flows(target: Path, groups: Mapping[str, tuple[str, ...]] = GROUPS) -> None:
    """Copy the shipped flow files of these groups, with the queries beside them."""
    for names in groups.values():
        for name in names:
            for path in (PROJECT / "include" / "flows").glob(f"{name}.*"):
                place = target / path.relative_to(PROJECT / "include" / "flows")
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, place)
