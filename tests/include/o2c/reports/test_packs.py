from __future__ import annotations

from typing import Any
from zipfile import ZipFile

import psycopg
import pytest

from o2c.errors import UsageError
from o2c.reports.packs import write_packs
from o2c.settings import Settings

pytestmark = pytest.mark.integration


def test_both_reports_are_written_and_writing_again_changes_no_byte(built: Settings) -> None:
    paths = write_packs(built)
    assert [path.relative_to(built.reports_dir).name for path in paths] == ["receivables.html", "receivables.xlsx"]
    before = [path.read_bytes() for path in paths]
    assert write_packs(built) == paths
    assert [path.read_bytes() for path in paths] == before
    assert sorted(path.name for path in built.reports_dir.iterdir()) == ["receivables.html", "receivables.xlsx"]
    assert ZipFile(paths[1]).testzip() is None


def test_another_cent_changes_both(built: Settings) -> None:
    before = [path.read_bytes() for path in write_packs(built)]
    with psycopg.connect(built.warehouse_url) as connection:
        connection.execute("update marts_leakage.fct_leak_finding set amount_txn = amount_txn + 0.01")
    after = [path.read_bytes() for path in write_packs(built)]
    assert all(first != second for first, second in zip(before, after, strict=True))


def test_without_marts_nothing_is_written(warehouse: Any) -> None:
    with pytest.raises(UsageError):
        write_packs(warehouse.settings)
    assert not list(warehouse.settings.reports_dir.glob("receivables*"))


def test_empty_marts_give_reports_that_explain_themselves(built: Settings) -> None:
    with psycopg.connect(built.warehouse_url) as connection:
        for table in ("rpt_ageing_monthly", "rpt_ageing_by_customer", "rpt_dso_monthly", "rpt_control_account_tie_out"):
            connection.execute(f"truncate marts_receivables.{table}")
        connection.execute("truncate marts_leakage.fct_leak_finding")
    page, _ = write_packs(built)
    assert "The marts hold no receivables yet" in page.read_text(encoding="utf-8")
