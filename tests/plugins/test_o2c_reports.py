"""The reports plugin: nothing without a login, nothing outside the reports folder."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from fastapi.testclient import TestClient

PLUGIN = Path(__file__).resolve().parents[2] / "plugins" / "o2c_reports.py"


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_HOME", str(tmp_path_factory.mktemp("airflow")))
        specification = importlib.util.spec_from_file_location("o2c_reports", PLUGIN)
        assert specification and specification.loader
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        yield module
        sys.modules.pop("o2c_reports", None)


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("O2C_HOME", str(tmp_path))
    folder = tmp_path / "reports"
    folder.mkdir()
    (folder / "receivables.html").write_text("<h1>Receivables</h1>")
    (tmp_path / "secrets.json").write_text("secret")
    return folder


@pytest.mark.parametrize("path", ["/", "/receivables.html", "/data_docs/erp/index.html"])
def test_nothing_without_a_login(plugin: ModuleType, reports: Path, path: str) -> None:
    answer = TestClient(plugin.app, raise_server_exceptions=False).get(path)
    assert answer.status_code == 401
    assert "Receivables" not in answer.text


def test_the_page_with_a_login(plugin: ModuleType, reports: Path) -> None:
    assert plugin.report("").path == reports / "receivables.html"


@pytest.mark.parametrize("name", ["../secrets.json", "nothing.html", ".."])
def test_nothing_outside_the_folder(plugin: ModuleType, reports: Path, name: str) -> None:
    with pytest.raises(plugin.HTTPException) as refused:
        plugin.report(name)
    assert refused.value.status_code == 404
