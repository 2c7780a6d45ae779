"""Which code ran, and for whom: for every manifest, ledger row and event."""

from __future__ import annotations

import getpass
import os
import subprocess
from functools import cache

from o2c.settings import PROJECT_ROOT


@cache
def code_version() -> str:
    """The commit id, with ``+changes`` when files differ from it; ``O2C_CODE_VERSION`` where there is no git."""
    if version := os.environ.get("O2C_CODE_VERSION"):
        return version
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return "unknown"
    return f"{commit}+changes" if _git("status", "--porcelain", "--untracked-files=no") else commit


def actor() -> str:
    """Who acts: ``O2C_ACTOR``, the DAG that runs, or the account of the process."""
    if name := os.environ.get("O2C_ACTOR"):
        return name
    if dag := os.environ.get("AIRFLOW_CTX_DAG_ID"):
        return f"airflow {dag}"
    return getpass.getuser()


def _git(*arguments: str) -> str:
    try:
        run = subprocess.run(
            ["git", "-C", str(PROJECT_ROOT), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return run.stdout.strip() if run.returncode == 0 else ""
