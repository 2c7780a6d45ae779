"""Where things lie and how to reach the warehouse, read from the environment once.

| variable | meaning | default |
|---|---|---|
| ``O2C_HOME`` | state: landing files, reports, logs | ``<project>/var`` |
| ``O2C_FLOWS`` | flow files | ``<project>/include/flows`` |
| ``O2C_ENTITIES`` | entity contracts | ``<project>/include/entities`` |
| ``O2C_WAREHOUSE_URL`` | any Postgres 16 or newer, ``postgresql://...`` | none |
| ``O2C_AS_OF`` | business date of a build, ``YYYY-MM-DD`` | file ``as_of`` in ``O2C_HOME``, else the run's date |
| ``O2C_REPORTING_CURRENCY`` | group currency, ISO 4217 | ``EUR`` |
| ``O2C_MASKING_KEY`` | hashes card numbers, 64 hex digits | ``<O2C_HOME>/keys/masking.key`` |
| ``O2C_SIGNING_KEY`` | Ed25519 key (PEM) that signs evidence; made when missing | ``<O2C_HOME>/keys/evidence.pem`` |
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from o2c.errors import UsageError

PROJECT_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Settings:
    """The resolved settings of one process; paths are absolute."""

    home: Path
    flows_dir: Path
    entities_dir: Path
    reporting_currency: str
    url: str | None = field(default=None, repr=False)
    as_of: date | None = None
    key_file: Path | None = None

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings from ``environ`` (default: the process environment)."""
        env = os.environ if environ is None else environ
        home = _path(env, "O2C_HOME", PROJECT_ROOT / "var")
        return cls(
            home=home,
            flows_dir=_path(env, "O2C_FLOWS", PROJECT_ROOT / "include" / "flows"),
            entities_dir=_path(env, "O2C_ENTITIES", PROJECT_ROOT / "include" / "entities"),
            reporting_currency=_currency(env.get("O2C_REPORTING_CURRENCY") or "EUR"),
            url=env.get("O2C_WAREHOUSE_URL") or None,
            as_of=_as_of(env.get("O2C_AS_OF"), home / "as_of"),
            key_file=_path(env, "O2C_SIGNING_KEY", home) if env.get("O2C_SIGNING_KEY") else None,
        )

    @property
    def warehouse_url(self) -> str:
        """The warehouse's URL; raises :class:`UsageError` when it is not set."""
        if self.url is None:
            raise UsageError(
                "No warehouse is set.",
                where="environment variable O2C_WAREHOUSE_URL",
                next_step="Set it to postgresql://user:password@host:port/database, or run 'make up'.",
            )
        return self.url

    @property
    def landing_dir(self) -> Path:
        """Where immutable landing files are kept."""
        return self.home / "landing"

    @property
    def anchors_file(self) -> Path:
        """Where the heads of the evidence chain are kept, signed."""
        return self.home / "evidence" / "anchors.jsonl"

    @property
    def signing_key(self) -> Path:
        """The private key that signs them; its public half lies beside it."""
        return self.key_file or self.home / "keys" / "evidence.pem"

    @property
    def reports_dir(self) -> Path:
        """Where reports, Data Docs and dbt docs are written."""
        return self.home / "reports"


def _path(env: Mapping[str, str], name: str, default: Path) -> Path:
    return Path(env.get(name) or default).expanduser().resolve()


def _currency(text: str) -> str:
    if re.fullmatch(r"[A-Z]{3}", text):
        return text
    raise UsageError(
        f"'{text}' is not a currency.",
        where="environment variable O2C_REPORTING_CURRENCY",
        next_step="Write its code of ISO 4217, for example EUR.",
    )


def _as_of(text: str | None, file: Path) -> date | None:
    where = "environment variable O2C_AS_OF"
    if not text and file.is_file():
        text, where = file.read_text(encoding="utf-8").strip(), str(file)
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"'{text}' is not a date.", where=where, next_step="Write it as YYYY-MM-DD.") from None
