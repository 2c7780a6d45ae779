"""Run dbt in this process, against the warehouse of the settings.

One process instead of a command: starting dbt costs more than most of our builds. dbt's runner is not safe in
threads; callers run one at a time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from urllib.parse import unquote, urlsplit

from o2c.errors import O2CError
from o2c.settings import PROJECT_ROOT, Settings

PROJECT = PROJECT_ROOT / "dbt_project"


class BuildFailed(O2CError):
    """A model or a test of the dbt project failed."""


def run_dbt(
    settings: Settings, arguments: Sequence[str], as_of: date | None = None, as_known: date | None = None
) -> Path:
    """Run one dbt command; returns the folder with its artifacts.

    Args:
        settings: warehouse, state folder, reporting currency.
        arguments: for example ``["build", "--exclude-resource-type", "unit_test"]``.
        as_of: business date of the figures; needed by every command that compiles models.
        as_known: what the warehouse knew at the end of this day, UTC; all it knows when left out.

    Raises:
        BuildFailed: naming the nodes that failed and what they said.
    """
    from dbt.cli.main import dbtRunner

    os.environ.update(_environment(settings))
    target = settings.home / "dbt"
    target.mkdir(parents=True, exist_ok=True)
    variables = {"as_of": str(as_of), "reporting_currency": settings.reporting_currency} if as_of else {}
    variables |= {"as_known": str(as_known)} if as_known else {}
    result = dbtRunner().invoke(
        [
            *("--log-level", "warn", "--log-path", str(target / "logs"), "--no-use-colors"),
            *arguments,
            *("--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT), "--target-path", str(target)),
            *("--vars", json.dumps(variables)),
        ]
    )
    if not result.success:
        raise _failure(result, arguments)
    return target


def _failure(result: object, arguments: Sequence[str]) -> BuildFailed:
    nodes = [
        f"{item.node.name}: {str(item.message).strip()}"
        for item in getattr(getattr(result, "result", None), "results", None) or []
        if str(item.status) in ("error", "fail", "runtime error")
    ]
    exception = getattr(result, "exception", None)
    what = f"{len(nodes)} models or tests failed." if nodes else f"dbt {arguments[0]} failed: {exception}"
    return BuildFailed(
        what,
        where="\n".join(nodes) or f"dbt {' '.join(arguments)}",
        next_step="Earlier tables stay readable. See logs/dbt.log in the dbt state folder.",
    )


def _environment(settings: Settings) -> dict[str, str]:
    url = urlsplit(settings.warehouse_url)
    return {
        "O2C_DBT_HOST": url.hostname or "localhost",
        "O2C_DBT_PORT": str(url.port or 5432),
        "O2C_DBT_USER": unquote(url.username or ""),
        "O2C_DBT_PASSWORD": unquote(url.password or ""),
        "O2C_DBT_DATABASE": unquote(url.path.lstrip("/")),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DO_NOT_TRACK": "1",
    }
