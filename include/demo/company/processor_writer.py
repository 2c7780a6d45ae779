"""Writes the card processor's settlement files: one CSV per month, comma, UTF-8, with a header.

Days are ``YYYY-MM-DD``, moments ISO 8601 in UTC, amounts with a decimal point in the settlement currency.
"""

from __future__ import annotations

import csv
import io
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from demo.company.files import remove_others, write_if_changed
from demo.company.model import SETTLEMENT_COLUMNS, Company, Record


def write_settlements(company: Company, directory: Path) -> list[Path]:
    """Write ``settlement_<YYYY-MM>.csv`` for every month; returns the files that changed."""
    wanted, changed = set(), []
    for month, records in company.settlements.items():
        path = directory / f"settlement_{month}.csv"
        wanted.add(path)
        if write_if_changed(path, _table(records)):
            changed.append(path)
    remove_others(directory, "settlement_*.csv", wanted)
    return changed


def _table(records: list[Record]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SETTLEMENT_COLUMNS)
    writer.writerows([_value(record[name]) for name in SETTLEMENT_COLUMNS] for record in records)
    return text.getvalue().encode()


def _value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%S}Z"
    if isinstance(value, date):
        return value.isoformat()
    return format(value, "f") if isinstance(value, Decimal) else str(value)
