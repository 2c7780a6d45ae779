"""Look for secrets in all that a run leaves behind: files, and every table of its databases."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import psycopg

# Tokens that the CRM gives for a session.
CRM_TOKEN = re.compile(r"00D[A-Za-z0-9_-]{43}")
_TABLES = (
    "select format('%I.%I', schemaname, tablename) from pg_tables"
    " where schemaname not in ('pg_catalog', 'information_schema')"
)


def files(home: Path) -> dict[str, str]:
    """The text of every file below ``home``, by its path; the data of Postgres are read as tables instead."""
    return {
        str(path.relative_to(home)): path.read_bytes().decode("utf-8", "replace")
        for path in sorted(home.rglob("*"))
        if path.is_file() and not path.is_relative_to(home / "demo" / "postgres")
    }


def tables(root: Path, secrets: Mapping[str, str]) -> dict[str, str]:
    """Every row of every table of the stopped stack in ``root``, by database and table."""
    from demo.stack import postgres
    from demo.stack.processes import Signals, Supervisor
    from demo.stack.stack import DATABASES
    from demo.stack.state import State

    state = State(root)
    binaries = postgres.find_binaries()
    supervisor = Supervisor(state, Signals())
    try:
        cluster = postgres.start(supervisor, postgres.data_directory(state, binaries.account), binaries, secrets)
        return {
            f"{database}: {table}": text
            for database in DATABASES
            for table, text in rows(cluster.url(database)).items()
        }
    finally:
        supervisor.stop_all()


def rows(url: str) -> dict[str, str]:
    """Every table of one database as text, bytes in hex."""
    with psycopg.connect(url) as connection:
        names = [name for (name,) in connection.execute(_TABLES)]
        texts = {name: connection.execute(f"select t::text from {name} as t").fetchall() for name in names}  # type: ignore[call-overload]
    return {name: "\n".join(text for (text,) in found) for name, found in texts.items()}


def found(canaries: Mapping[str, str], seen: Mapping[str, str]) -> set[tuple[str, str]]:
    """Where which canary is, in any of the forms in which it may be written."""
    forms = {
        name: {value, quote(value, safe=""), base64.b64encode(value.encode()).decode(), value.encode().hex()}
        for name, value in canaries.items()
    }
    return {
        (place, name)
        for place, text in seen.items()
        for name, written in forms.items()
        if any(form in text for form in written)
    }
