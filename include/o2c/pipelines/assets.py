"""The assets that connect the DAGs: what a source has published, and the marts made of it."""

from __future__ import annotations

from airflow.sdk import Asset

MARTS = Asset(name="marts", uri="o2c://warehouse/marts")


def raw(source: str) -> Asset:
    """The raw tables a source folder feeds."""
    return Asset(name=f"raw_{source}", uri=f"o2c://warehouse/raw/{source}")
