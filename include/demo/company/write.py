"""Puts the sample company where its counterparts read it: ERP database, CRM files, SFTP folders, and the truth."""

from __future__ import annotations

import json
from pathlib import Path

from demo.company.bank_writer import write_statements
from demo.company.crm_writer import write_crm
from demo.company.erp_writer import load_erp
from demo.company.files import write_if_changed
from demo.company.generate import simulate
from demo.company.model import Company, Profile
from demo.company.processor_writer import write_settlements
from o2c.errors import UsageError

_PROFILE_FILE = "company.json"


def write(company: Company, root: Path, erp_url: str | None) -> dict[str, int]:
    """Write the company below ``root`` and, when ``erp_url`` is given, into the ERP database.

    ``root`` gets ``company.json`` (what it is generated from), ``truth.json`` (for checks only; the pipeline never
    reads it), ``crm/<Object>.jsonl``, ``sftp/statements/*.xml`` and ``sftp/settlements/*.csv``. Files that hold
    the same bytes already are left alone.

    Returns:
        Files written per kind (``crm``, ``statements``, ``settlements``) and ``erp_rows``.

    Raises:
        SourceError: the ERP database cannot be reached or refuses.
    """
    root.mkdir(parents=True, exist_ok=True)
    written = {
        "crm": len(write_crm(company, root / "crm")),
        "statements": len(write_statements(company, root / "sftp" / "statements")),
        "settlements": len(write_settlements(company, root / "sftp" / "settlements")),
        "erp_rows": sum(load_erp(company, erp_url).values()) if erp_url else 0,
    }
    write_if_changed(root / "truth.json", _json(company.truth))
    # Written last: a company whose writing was interrupted is written again.
    write_if_changed(root / _PROFILE_FILE, _json(_profile(company.profile)))
    return written


def read(root: Path) -> Company:
    """The company that was written to ``root``, generated again from its profile.

    Raises:
        UsageError: there is no company, or its profile cannot be read.
    """
    path = root / _PROFILE_FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        profile = Profile(int(data["seed"]), float(data["scale"]), int(data["months"]), tuple(map(int, data["ticks"])))
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(
            "There is no sample company here.", where=str(path), next_step="Generate it first: o2c demo generate."
        ) from None
    return simulate(profile)


def _profile(profile: Profile) -> dict[str, object]:
    return {"seed": profile.seed, "scale": profile.scale, "months": profile.months, "ticks": list(profile.ticks)}


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
