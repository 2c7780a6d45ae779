"""Where worlds are made: one throw-away Postgres, a forking process, and a baseline to copy worlds from."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from chaos import checksum, content, tasks
from chaos.server import Server
from chaos.server import opened as opened_server
from chaos.workshop import Workshop
from chaos.world import GROUPS, PROJECT, World, copy_flows, deliver
from demo.stack.postgres import Cluster, temporary

VARIANTS = 3
_MASTER_DATA = """
insert into erp.company values ('DE01', 'Company', 'DE', 'EUR', 'Europe/Berlin', '2026-01-01');
insert into erp.debtor (id, company_id, name, is_interco, is_test, updated_at)
    select 'C' || n, 'DE01', 'Customer ' || n, false, false, '2026-01-01' from generate_series(0, 4) as n;
"""


@dataclass
class Laboratory:
    """Makes worlds; remembers what a run without a fault makes of each variant."""

    directory: Path
    cluster: Cluster
    workshop: Workshop
    seed: str
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _baselines: dict[int, tuple[Path, content.Content]] = field(default_factory=dict)
    _clean: dict[tuple[int, str], dict[str, str]] = field(default_factory=dict)
    stack: ExitStack = field(default_factory=ExitStack)
    _restartable: tuple[Server, Laboratory] | None = None

    def restartable(self) -> tuple[Server, Laboratory]:
        """A second laboratory on a server of its own, which a fault may tear down."""
        if self._restartable is None:
            directory = self.directory / "second"
            directory.mkdir(mode=0o711)
            server = self.stack.enter_context(opened_server(directory))
            _migrate(server.cluster, directory)
            self._restartable = (server, Laboratory(directory, server.cluster, self.workshop, self.seed))
        return self._restartable

    @contextmanager
    def world(self, variant: int = 0) -> Iterator[World]:
        """A world after its first load, copied from the baseline of the variant."""
        folder, second = self.baseline(variant)
        number = next(self._numbers)
        directory = self.directory / f"world{number:04}"
        shutil.copytree(folder, directory)
        names = (f"w{number:04}", f"e{number:04}")
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
            for name, template in zip(names, (f"base_w{variant}", f"base_e{variant}"), strict=True):
                self.copy_database(name, template)
                stack.callback(self.drop_database, name)
            yield World(self, directory, *names, second, stack)

    def baseline(self, variant: int) -> tuple[Path, content.Content]:
        """Folder and second delivery of a variant; its databases are templates."""
        if variant not in self._baselines:
            first, second = content.deliveries(f"{self.seed}/{variant}")
            folder = self.directory / f"baseline{variant}"
            self._make_baseline(variant, folder, first, second)
            self._baselines[variant] = (folder, second)
        return self._baselines[variant]

    def _make_baseline(self, variant: int, folder: Path, first: content.Content, second: content.Content) -> None:
        names = (f"base_w{variant}", f"base_e{variant}")
        self.copy_database(names[0], "warehouse")
        self.copy_database(names[1], "template1")
        copy_flows(folder / "flows")
        with ExitStack() as stack:
            world = World(self, folder, *names, second, stack)
            schema = (PROJECT / "include" / "demo" / "company" / "erp_schema.sql").read_text(encoding="utf-8")
            with world.connected(world.erp_url) as connection:
                connection.execute(schema)  # type: ignore[call-overload]
                connection.execute(_MASTER_DATA)
            (folder / "files").mkdir(parents=True)
            (folder / "crm").mkdir()
            for group in GROUPS:
                world.open_sources(group)
                deliver(world, group, first)
                run = tasks.run_dag(world, group, f"baseline_{group}")
                assert run.is_success, run.errors
            world.change(
                "insert into ops.build (as_of, started_at, finished_at, is_success, code_version)"
                " values ('2026-03-31', clock_timestamp(), clock_timestamp(), true, 'chaos')"
            )
            # Ports are those of this baseline only.
            with world.connected(self.cluster.url("postgres")) as connection:
                connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where datname = any (%s)", [list(names)]
                )

    def clean_checksums(self, variant: int, group: str) -> dict[str, str]:
        """Checksums after the second delivery of a group was loaded without a fault."""
        if (variant, group) not in self._clean:
            with self.world(variant) as world:
                world.deliver(group)
                run = tasks.run_dag(world, group, world.next_run_id())
                assert run.is_success, run.errors
                self._clean[variant, group] = checksum.of_group(world, group)
        return self._clean[variant, group]

    def copy_database(self, name: str, template: str) -> None:
        """A new database of the warehouse's owner."""
        with psycopg.connect(self.cluster.url("postgres"), autocommit=True) as connection:
            connection.execute(f'create database "{name}" owner warehouse template "{template}" strategy file_copy')

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is still connected."""
        with psycopg.connect(self.cluster.url("postgres"), autocommit=True) as connection:
            connection.execute(f'drop database if exists "{name}" with (force)')


def preload() -> None:
    """Import what the tasks need, so that a forked task need not."""
    import importlib

    for name in (
        "great_expectations", "paramiko", "o2c.connectors.local_file", "o2c.connectors.postgres", "o2c.loads.gate",
        "o2c.connectors.salesforce", "o2c.connectors.sftp_file", "o2c.contracts.catalogue", "o2c.formats.camt053",
        "o2c.formats.csv", "o2c.formats.json_records", "o2c.loads.extract", "o2c.loads.progress",
        "o2c.loads.publish", "o2c.loads.sync", "o2c.warehouse.build", "o2c.connections",
    ):  # fmt: skip
        importlib.import_module(name)


@contextmanager
def opened(directory: Path, seed: str) -> Iterator[Laboratory]:
    """A laboratory; gone with all its worlds when the block ends."""
    preload()
    _warm_up(directory)
    workshop = Workshop(directory / "tasks")
    try:
        with temporary(directory, databases=["warehouse"]) as cluster:
            _migrate(cluster, directory)
            with ExitStack() as stack:
                yield Laboratory(directory, cluster, workshop, seed, stack=stack)
    finally:
        workshop.close()


def _warm_up(directory: Path) -> None:
    """Read one flow and one schema: what is cached before the fork, every task finds."""
    from o2c.contracts.catalogue import load_catalogue
    from o2c.settings import Settings

    load_catalogue(Settings.load({"O2C_HOME": str(directory)}))


def _migrate(cluster: Cluster, directory: Path) -> None:
    from o2c.contracts.entity import load_entities
    from o2c.settings import Settings
    from o2c.warehouse.migrate import migrate

    url = cluster.url("warehouse")
    settings = Settings.load({"O2C_HOME": str(directory / "home"), "O2C_WAREHOUSE_URL": url})
    migrate(settings, load_entities(PROJECT / "include" / "entities"))
