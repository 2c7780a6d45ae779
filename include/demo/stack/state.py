"""The state directory of one stack: what lies where, its secrets, and who may use it."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from demo.stack.errors import StackFailed
from o2c.settings import Settings

MINIMUM_FREE_MB = 2_000
_SECRETS_FILE = "secrets.json"
_SECRETS = (
    "postgres",
    "warehouse",
    "erp",
    "erp_reader",
    "airflow",
    "airflow_admin",
    "airflow_viewer",
    "jwt_secret",
    "api_secret",
    "sftp",
    "crm_password",
    "crm_client_id",
    "crm_client_secret",
)


@dataclass(frozen=True)
class State:
    """Paths of one state directory; absolute. Postgres may live elsewhere, see :mod:`demo.stack.postgres`."""

    root: Path

    @property
    def pids(self) -> Path:
        """One file per running process."""
        return self.root / "pids"

    @property
    def logs(self) -> Path:
        """One log file per process."""
        return self.root / "logs"

    @property
    def airflow_home(self) -> Path:
        """Airflow's configuration and task logs."""
        return self.root / "airflow"

    @property
    def company(self) -> Path:
        """What the generator wrote: the files that the counterparts serve."""
        return self.root / "company"

    @property
    def reports(self) -> Path:
        """Where the pipeline writes its reports."""
        return self.root / "reports"

    def prepare(self) -> None:
        """Make the directories; others may pass through but read nothing."""
        for path in (self.root, self.pids, self.logs):
            path.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o711)
        self.pids.chmod(0o700)
        self.logs.chmod(0o700)

    def remove(self) -> None:
        """Delete the directory and all that is in it."""
        shutil.rmtree(self.root, ignore_errors=True)


def base_home() -> Path:
    """The directory that holds the state directories: ``O2C_HOME``, or its parent when it *is* one of them.

    Who works with a running stack has set ``O2C_HOME`` to its state directory, and may stop it from the same shell.
    """
    home = Settings.load().home
    return home.parent if (home / _SECRETS_FILE).exists() else home


def load_secrets(state: State) -> dict[str, str]:
    """The random passwords of this state directory, made on first use and kept in a file only its owner reads."""
    path = state.root / _SECRETS_FILE
    if path.exists():
        return dict(json.loads(path.read_text()))
    values = {name: secrets.token_urlsafe(18) for name in _SECRETS}
    # Airflow warns about signing keys shorter than 64 bytes.
    values |= {name: secrets.token_hex(64) for name in ("jwt_secret", "api_secret")}
    values["fernet_key"] = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    write_private(path, json.dumps(values, indent=2))
    return values


def write_private(path: Path, text: str) -> None:
    """Write ``text`` so that only the owner can read it, from the first byte on."""
    draft = path.with_name(path.name + ".part")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    os.replace(draft, path)


def check_space(directory: Path, minimum_mb: int | None = None) -> None:
    """Raise :class:`StackFailed` when the disk below ``directory`` has less than ``minimum_mb`` MB free.

    The minimum comes from ``O2C_MIN_FREE_MB`` unless it is given.
    """
    needed = minimum_mb if minimum_mb is not None else int(os.environ.get("O2C_MIN_FREE_MB", MINIMUM_FREE_MB))
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(existing).free // 1_000_000
    if free < needed:
        raise StackFailed(
            f"Only {free} MB of disk are free; the stack needs {needed} MB.",
            where=str(existing),
            next_step="Free some space, or set O2C_HOME to a larger disk (O2C_MIN_FREE_MB lowers the limit).",
        )


@contextmanager
def only_one(state: State, what: str) -> Iterator[None]:
    """Hold the state directory; raises :class:`StackFailed` while another process holds it.

    The lock lies beside the directory, so that the directory itself may be made anew.
    """
    path = state.root.with_name(f".{state.root.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackFailed(
                f"Another '{what}' is already running here.",
                where=str(state.root),
                next_step="Wait for it or stop it; O2C_HOME gives a second one a place of its own.",
            ) from None
        yield
