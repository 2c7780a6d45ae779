"""Static dbt docs: one page that needs no server."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

from o2c.settings import Settings
from o2c.warehouse.dbt import run_dbt


def write_model_docs(settings: Settings, as_of: date) -> Path:
    """Write ``reports/model_docs.html``; raises ``BuildFailed``."""
    target = run_dbt(settings, ["docs", "generate", "--static"], as_of)
    settings.reports_dir.mkdir(parents=True, exist_ok=True)
    page = settings.reports_dir / "model_docs.html"
    shutil.copyfile(target / "static_index.html", page)
    return page
