"""Airflow plugin: the reports folder behind Airflow's own login, with an entry in the menu.

Plugin routes are open unless they ask for a login themselves; this one does.
"""

from __future__ import annotations

from airflow.api_fastapi.core_api.security import AccessView, requires_access_view
from airflow.plugins_manager import AirflowPlugin
from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import FileResponse

from o2c.settings import Settings

app = FastAPI(title="O2C reports", dependencies=[Depends(requires_access_view(AccessView.WEBSITE))])


@app.get("/{name:path}")
def report(name: str) -> FileResponse:
    """One file of the reports folder; the receivables page when none is named."""
    root = Settings.load().reports_dir
    path = (root / (name or "receivables.html")).resolve()
    if not path.is_relative_to(root) or not path.is_file():
        raise HTTPException(404, "There is no such report. Reports are written by the DAG publish_reports.")
    return FileResponse(path)


class ReportsPlugin(AirflowPlugin):
    """Serves ``/o2c/reports`` and shows it under Browse."""

    name = "o2c_reports"
    fastapi_apps = [{"app": app, "url_prefix": "/o2c/reports", "name": "O2C reports"}]
    external_views = [
        {
            "name": "O2C reports",
            "href": "/o2c/reports/",
            "destination": "nav",
            "category": "browse",
            "url_route": "o2c-reports",
        }
    ]
