"""Fixtures of all tests: a throw-away Postgres, empty warehouses, and flows written on the spot."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import psycopg
import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[1]
if str(PROJECT / "include") not in sys.path:
    sys.path.insert(0, str(PROJECT / "include"))

if TYPE_CHECKING:
    from demo.stack.postgres import Cluster
    from o2c.connections import Connection
    from o2c.contracts.entity import Entity
    from o2c.contracts.flow import Flow
    from o2c.loads.sync import SyncResult
    from o2c.settings import Settings

_NUMBER = itertools.count(1)
RETRY = {"attempts": 1, "backoff": "1s..1s", "fatal": ["unauthorized", "schema_drift"]}
MONITORING = {"owner": "finance", "freshness": "1d", "alert": "mail"}

hypothesis.settings.register_profile("o2c", deadline=None, derandomize=True, database=None, max_examples=100)
hypothesis.settings.load_profile("o2c")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "integration: needs a Postgres server, which the fixtures start")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever uses the server is an integration test, wherever the file lies."""
    for item in items:
        if "postgres_server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.integration)


# What a test has left in a warehouse; the tables themselves stay.
_EMPTY_WAREHOUSE = """
do $$
declare
    place text;
    filled boolean;
    used text[] := '{}';
begin
    for place in select format('%I.%I', schemaname, tablename) from pg_tables
        where schemaname in ('raw', 'quarantine', 'ops') and tablename <> 'migration'
    loop
        execute format('select exists (select from %s)', place) into filled;
        if filled then used := used || place; end if;
    end loop;
    if used <> '{}' then
        -- Evidence refuses to be truncated; what is left between two tests is none.
        for place in select format('%I.%I', n.nspname, c.relname)
            from pg_trigger as t join pg_class as c on c.oid = t.tgrelid
                join pg_namespace as n on n.oid = c.relnamespace
            where t.tgname = 'keep_as_recorded'
                and (n.nspname <> 'raw' or format('%I.%I', n.nspname, c.relname) = any (used))
        loop
            execute format('alter table %s disable trigger keep_as_recorded', place);
        end loop;
        execute format('truncate %s restart identity cascade', array_to_string(used, ', '));
        for place in select format('%I.%I', n.nspname, c.relname)
            from pg_trigger as t join pg_class as c on c.oid = t.tgrelid
                join pg_namespace as n on n.oid = c.relnamespace
            where t.tgname = 'keep_as_recorded' and t.tgenabled = 'D'
        loop
            execute format('alter table %s enable always trigger keep_as_recorded', place);
        end loop;
    end if;
    for place in select nspname from pg_namespace
        where nspname !~ '^pg_' and nspname not in ('information_schema', 'raw', 'quarantine', 'ops')
    loop
        execute format('drop schema %I cascade', place);
    end loop;
end $$;
alter sequence ops.load_number restart;
create schema landing;
create schema public;
"""
# What only the owner of the tables can do, and what the evidence chain must then show.
_SWITCH_GUARDS = """
do $$
declare
    place text;
begin
    for place in select tgrelid::regclass::text from pg_trigger where tgname = 'keep_as_recorded' loop
        execute format('alter table %s {how} trigger keep_as_recorded', place);
    end loop;
end $$
"""
_EMPTY_DATABASE = """
do $$
declare
    name text;
begin
    for name in select nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema' loop
        execute format('drop schema %I cascade', name);
    end loop;
end $$;
create schema public;
"""


@dataclass
class Server:
    """A running Postgres with databases that are empty whenever they are lent.

    ``template`` is a migrated warehouse that nobody uses: new ones are copied from it. Copying costs more with
    every copy, so databases that come back are emptied and lent again.
    """

    cluster: Cluster
    template: str = "warehouse"
    free: dict[str, list[str]] = field(default_factory=lambda: {"warehouse": [], "template1": []})

    def new_database(self, template: str = "template1") -> str:
        """A database that is copied now, as URL; for those who keep it for many tests or copy from their own."""
        name = f"t{next(_NUMBER):04d}"
        with psycopg.connect(self.cluster.url("postgres"), autocommit=True) as connection:
            connection.execute(f'create database "{name}" owner warehouse template "{template}" strategy file_copy')
        return self.cluster.url(name, role="warehouse")

    def drop(self, url: str) -> None:
        """Remove a database of :meth:`new_database`, whoever is still connected."""
        with psycopg.connect(self.cluster.url("postgres"), autocommit=True) as connection:
            connection.execute(f'drop database "{url.rsplit("/", 1)[1]}" with (force)')

    def lend(self, template: str = "template1") -> str:
        """An empty database, as URL; ``template="warehouse"`` for a migrated one."""
        if self.free[template]:
            return self.free[template].pop()
        return self.new_database(template)

    def take_back(self, url: str, template: str = "template1") -> None:
        """Disconnect whoever is still there and empty the database."""
        others = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s"
        with psycopg.connect(self.cluster.url("postgres"), autocommit=True) as connection:
            connection.execute(others, [url.rsplit("/", 1)[1]])
        with psycopg.connect(url) as connection:
            connection.execute("set client_min_messages = warning")
            connection.execute(_EMPTY_WAREHOUSE if template == "warehouse" else _EMPTY_DATABASE)
        self.free[template].append(url)


@dataclass
class Flows:
    """Writes flow files into a folder, and loads them."""

    directory: Path
    entities: Mapping[str, Entity]
    written: list[str] = field(default_factory=list)

    def write(self, name: str, document: Mapping[str, Any] | str) -> Path:
        """Write ``<source>/<flow>.yml``; text is written as it stands."""
        path = self.directory / f"{name}.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = document if isinstance(document, str) else yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
        path.write_text(text, encoding="utf-8")
        return path

    def load(self, name: str) -> Flow:
        """Read one flow back."""
        from o2c.contracts.flow import load_flow

        return load_flow(self.directory / f"{name}.yml", self.entities)

    def csv(
        self,
        name: str,
        entity: str,
        mapping: Mapping[str, Any] | Sequence[str],
        *,
        path: str = "",
        form: Mapping[str, Any] | None = None,
        validation: Sequence[Mapping[str, str]] = (),
        **source: Any,
    ) -> Flow:
        """A flow over ``<flow>*.csv`` in the folder ``in`` beside it, or over ``path``."""
        block = {"system": name.split("/")[0], "connector": "local_file", "path": path or "in"}
        block |= {"pattern": f"{name.split('/')[1]}*.csv", "format": {"type": "csv", **(form or {})}, **source}
        (self.directory / name.split("/")[0] / "in").mkdir(parents=True, exist_ok=True)
        self.write(name, self._document(block, entity, mapping, validation, "file"))
        return self.load(name)

    def query(
        self,
        name: str,
        entity: str,
        mapping: Mapping[str, Any] | Sequence[str],
        sql: str,
        *,
        cursor: Sequence[str] = (),
        validation: Sequence[Mapping[str, str]] = (),
        **source: Any,
    ) -> Flow:
        """A flow over a query of the connection ``erp_db``."""
        block: dict[str, Any] = {"system": name.split("/")[0], "connection": "erp_db", "connector": "postgres"}
        block |= {"query": f"{name.split('/')[1]}.sql", **({"cursor": list(cursor)} if cursor else {}), **source}
        self.write(name, self._document(block, entity, mapping, validation, "incremental" if cursor else "full"))
        (self.directory / f"{name}.sql").write_text(sql, encoding="utf-8")
        return self.load(name)

    def put(self, name: str, content: str | bytes) -> Path:
        """Write a file that a :meth:`csv` flow reads: ``<source>/<file>``."""
        source, _, file = name.partition("/")
        path = self.directory / source / "in" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    @staticmethod
    def _document(
        source: Mapping[str, Any], entity: str, mapping: Any, validation: Any, run_mode: str
    ) -> dict[str, Any]:
        return {
            "source": dict(source),
            "target": f"raw.{entity}",
            "entity": entity,
            "mapping": dict(mapping) if isinstance(mapping, Mapping) else {column: column for column in mapping},
            "validation": [dict(rule) for rule in validation],
            "run_mode": run_mode,
            "retry": dict(RETRY),
            "monitoring": dict(MONITORING),
        }


@dataclass
class Warehouse:
    """An empty, migrated warehouse with a state folder of its own."""

    settings: Settings
    flows: Flows
    source: Connection | None = None

    def sync(self, *flows: Flow) -> list[SyncResult]:
        """Run flows from end to end, without waiting between attempts."""
        from o2c.loads.sync import sync

        return sync(self.settings, flows, self.resolve, sleep=lambda _: None)

    def load(self, flow: Flow) -> Any:
        """Run one flow that must publish; returns what was published."""
        (result,) = self.sync(flow)
        assert result.published is not None, str(result.error)
        return result.published

    def refused(self, flow: Flow) -> Any:
        """Run one flow that must be held back; returns its error."""
        (result,) = self.sync(flow)
        assert result.error is not None, "the load was published"
        return result.error

    def resolve(self, name: str) -> Connection:
        """The source database, whatever the connection is called."""
        assert self.source is not None
        return self.source

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Ask the warehouse."""
        with psycopg.connect(self.settings.warehouse_url, options="-c timezone=UTC") as connection:
            return connection.execute(query, parameters or None).fetchall()  # type: ignore[call-overload,no-any-return]

    def value(self, query: str, *parameters: Any) -> Any:
        """The one value a query gives."""
        ((value,),) = self.rows(query, *parameters)
        return value

    def run(self, statement: str, *parameters: Any) -> None:
        """Change the warehouse behind the engine's back; what is guarded too, by switching the guards off."""
        with psycopg.connect(self.settings.warehouse_url) as connection:
            try:
                with connection.transaction():
                    connection.execute(statement, parameters or None)  # type: ignore[call-overload]
            except psycopg.errors.InsufficientPrivilege:
                connection.execute(_SWITCH_GUARDS.format(how="disable"))  # type: ignore[arg-type]
                connection.execute(statement, parameters or None)  # type: ignore[call-overload]
                connection.execute(_SWITCH_GUARDS.format(how="enable always"))  # type: ignore[arg-type]

    def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        """All that is published, as it stands: to compare before and after."""
        tables = [
            row[0]
            for row in self.rows(
                "select format('%I.%I', schemaname, tablename) from pg_tables where"
                " schemaname in ('raw', 'quarantine') or tablename in ('watermark', 'load_ledger', 'load_ledger_total',"
                " 'file_delivery') order by 1"
            )
        ]
        return {
            table: self.rows(f"select (to_jsonb(t) - 'last_seen_at')::text from {table} as t order by 1")
            for table in tables
        }


@pytest.fixture(scope="session")
def entities() -> Mapping[str, Entity]:
    """The shipped contracts."""
    from o2c.contracts.entity import load_entities

    return load_entities(PROJECT / "include" / "entities")


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory, entities: Mapping[str, Entity]) -> Iterator[Server]:
    """An embedded Postgres on a free loopback port; stopped, with its data, at the end of the session."""
    from demo.stack.postgres import temporary
    from o2c.warehouse.migrate import migrate

    with temporary(tmp_path_factory.mktemp("server"), databases=["warehouse"]) as cluster:
        server = Server(cluster)
        migrate(_settings(cluster.url("warehouse"), tmp_path_factory.mktemp("home")), entities)
        yield server


@pytest.fixture
def database(postgres_server: Server) -> Iterator[str]:
    """The URL of a fresh, empty database."""
    url = postgres_server.lend()
    yield url
    postgres_server.take_back(url)


@pytest.fixture
def erp_database(postgres_server: Server) -> Iterator[str]:
    """The URL of a second fresh database, to play the source."""
    url = postgres_server.lend()
    yield url
    postgres_server.take_back(url)


@pytest.fixture
def flows(tmp_path: Path, entities: Mapping[str, Entity]) -> Flows:
    """A folder to write flow files into."""
    return Flows(tmp_path / "flows", entities)


@pytest.fixture
def warehouse(postgres_server: Server, tmp_path: Path, flows: Flows) -> Iterator[Warehouse]:
    """An empty, migrated warehouse, its own ``O2C_HOME``, and a folder for flows."""
    url = postgres_server.lend("warehouse")
    settings = replace(_settings(url, tmp_path / "home"), flows_dir=flows.directory)
    yield Warehouse(settings, flows)
    postgres_server.take_back(url, "warehouse")


@pytest.fixture
def erp(warehouse: Warehouse, erp_database: str) -> Iterator[psycopg.Connection]:
    """A connection to the source database, which the warehouse's flows read as ``erp_db``."""
    from o2c.connections import from_environment

    warehouse.source = from_environment("erp_db", {"AIRFLOW_CONN_ERP_DB": erp_database})
    with psycopg.connect(erp_database, autocommit=True, options="-c timezone=UTC") as connection:
        yield connection


@pytest.fixture
def quick_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count broken rules in SQL, without Great Expectations: for tests of what happens before and after the gate."""
    from o2c.loads import gate
    from o2c.quality.gate import GateOutcome, _verdict
    from o2c.warehouse.preview import count_broken
    from o2c.warehouse.session import connect

    def run(settings: Settings, name: str, requests: Sequence[Any]) -> list[GateOutcome]:
        outcomes = []
        for request in requests:
            with connect(settings) as connection:
                unexpected = count_broken(connection, request.rules, request.table)
            outcome = GateOutcome(request.load_id, request.flow, request.rows, unexpected)
            outcome.error = _verdict(request, outcome)
            outcomes.append(outcome)
        return outcomes

    monkeypatch.setattr(gate, "run_gate", run)


@pytest.fixture
def command(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run ``o2c`` against the warehouse; a traceback fails the test."""
    for name, value in (
        ("O2C_HOME", warehouse.settings.home),
        ("O2C_FLOWS", warehouse.settings.flows_dir),
        ("O2C_WAREHOUSE_URL", warehouse.settings.url),
    ):
        monkeypatch.setenv(name, str(value))
    return _run_command


@pytest.fixture
def bare_command() -> Callable[..., Any]:
    """Run ``o2c`` in the environment as it is; a traceback fails the test."""
    return _run_command


def _run_command(*arguments: str) -> Any:
    from typer.testing import CliRunner

    from o2c.cli import app

    result = CliRunner().invoke(app, list(arguments))
    unexpected = result.exception if not isinstance(result.exception, SystemExit | None) else None
    assert unexpected is None, f"the command fell over: {unexpected!r}"
    assert "Traceback" not in result.output
    return result


def _settings(url: str, home: Path) -> Settings:
    from o2c.settings import Settings

    return Settings.load({"O2C_HOME": str(home), "O2C_WAREHOUSE_URL": url})
