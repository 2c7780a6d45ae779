"""Writes the CRM's objects as JSON lines, the way the CRM server reads them.

API field names; amounts are exact JSON numbers, days ``YYYY-MM-DD``, moments as Salesforce writes them (UTC).
"""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from demo.company.files import write_if_changed
from demo.company.model import CRM_OBJECTS, Company, Record


def write_crm(company: Company, directory: Path) -> list[Path]:
    """Write ``<Object>.jsonl`` for every object; returns the files that changed."""
    changed = []
    for name, fields in CRM_OBJECTS.items():
        path = directory / f"{name}.jsonl"
        # As in the recycle bin of the real thing: marked, and hidden from ordinary queries.
        lines = "".join(_line(record, fields, is_deleted=False) + "\n" for record in company.crm[name])
        lines += "".join(_line(record, fields, is_deleted=True) + "\n" for record in company.deleted.get(name, ()))
        if write_if_changed(path, lines.encode()):
            changed.append(path)
    return changed


def _line(record: Record, fields: tuple[str, ...], *, is_deleted: bool) -> str:
    values = {name: record[name] for name in fields}
    values["IsDeleted"] = is_deleted
    values["SystemModstamp"] = record["updated_at"]
    return "{" + ", ".join(f"{json.dumps(name)}: {_value(value)}" for name, value in values.items()) + "}"


def _value(value: Any) -> str:
    # json has no exact decimals: written as text they keep every digit.
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return f'"{value:%Y-%m-%dT%H:%M:%S}.000+0000"'
    if isinstance(value, date):
        return f'"{value.isoformat()}"'
    return json.dumps(value, ensure_ascii=False)
