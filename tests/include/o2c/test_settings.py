from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from o2c.errors import UsageError
from o2c.settings import PROJECT_ROOT, Settings


def test_defaults_lie_in_the_project() -> None:
    settings = Settings.load({})
    assert settings.home == PROJECT_ROOT / "var" and settings.flows_dir == PROJECT_ROOT / "include" / "flows"
    assert settings.entities_dir == PROJECT_ROOT / "include" / "entities"
    assert (settings.reporting_currency, settings.url, settings.as_of) == ("EUR", None, None)


def test_the_environment_decides(tmp_path: Path) -> None:
    settings = Settings.load(
        {
            "O2C_HOME": str(tmp_path / "a" / ".." / "state"),
            "O2C_FLOWS": str(tmp_path / "flows"),
            "O2C_ENTITIES": str(tmp_path / "entities"),
            "O2C_WAREHOUSE_URL": "postgresql://u:p@h:1/d",
            "O2C_AS_OF": "2026-02-28",
            "O2C_REPORTING_CURRENCY": "USD",
        }
    )
    assert (
        settings.landing_dir == tmp_path / "state" / "landing"
        and settings.reports_dir == tmp_path / "state" / "reports"
    )
    assert (settings.flows_dir, settings.entities_dir) == (tmp_path / "flows", tmp_path / "entities")
    assert (settings.warehouse_url, settings.as_of) == ("postgresql://u:p@h:1/d", date(2026, 2, 28))
    assert settings.reporting_currency == "USD"


def test_no_warehouse_is_wrong_use() -> None:
    with pytest.raises(UsageError, match="O2C_WAREHOUSE_URL"):
        _ = Settings.load({"O2C_WAREHOUSE_URL": ""}).warehouse_url


@pytest.mark.parametrize("text", ["2026-02-30", "28.02.2026", "today"])
def test_an_as_of_that_is_no_date(text: str) -> None:
    with pytest.raises(UsageError, match="O2C_AS_OF"):
        Settings.load({"O2C_AS_OF": text})


def test_a_reporting_currency_that_is_none() -> None:
    with pytest.raises(UsageError, match="O2C_REPORTING_CURRENCY"):
        Settings.load({"O2C_REPORTING_CURRENCY": "EURO"})
