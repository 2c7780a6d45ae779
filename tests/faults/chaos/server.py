"""A Postgres that can be torn down and started again in the middle: on one port, losing nothing it has acknowledged."""

from __future__ import annotations

import ctypes
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from demo.stack.ports import choose
from demo.stack.postgres import Cluster, create, create_databases, data_directory, find_binaries
from demo.stack.state import State


@dataclass
class Server:
    """The running server; ``restart`` ends it as ``pg_ctl restart -m immediate`` does."""

    data: Path
    cluster: Cluster
    process: subprocess.Popen[bytes]

    def stop(self, number: signal.Signals = signal.SIGQUIT) -> None:
        """End it: SIGQUIT is an immediate shutdown, as after a power cut."""
        self.process.send_signal(number)
        self.process.wait(timeout=30)

    def start(self) -> None:
        """Start it again and wait until it has recovered."""
        self.process = _start(self.data, self.cluster)


@contextmanager
def opened(directory: Path) -> Iterator[Server]:
    """A throw-away server whose commits survive an immediate shutdown (not a power cut: fsync stays off)."""
    state = State(directory / "restartable")
    state.prepare()
    binaries = find_binaries()
    data = data_directory(state, binaries.account)
    passwords = {name: secrets.token_urlsafe(12) for name in ("warehouse", "airflow", "postgres")}
    create(data, binaries, passwords["postgres"], durable=False)
    with (data / "postgresql.conf").open("a") as file:
        file.write("synchronous_commit = on\nfull_page_writes = on\n")
    cluster = Cluster(choose("O2C_POSTGRES_PORT", "Postgres"), binaries, passwords)
    server = Server(data, cluster, _start(data, cluster))
    try:
        create_databases(cluster, ["warehouse", "airflow"])
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()
        shutil.rmtree(data, ignore_errors=True)


def _end_with_parent() -> None:
    """A server whose laboratory was killed ends as well (Linux)."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGQUIT)


def _start(data: Path, cluster: Cluster) -> subprocess.Popen[bytes]:
    account = cluster.binaries.account
    other = {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
    process = subprocess.Popen(  # type: ignore[call-overload]
        [cluster.binaries.program("postgres"), "-D", str(data), "-p", str(cluster.port)],
        cwd=data, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True, preexec_fn=_end_with_parent,
        **other,
    )  # fmt: skip
    ends = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(cluster.url("postgres"), connect_timeout=5).close()
            return process
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > ends:
                raise
            time.sleep(0.03)
