from __future__ import annotations

import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from o2c.contracts.entity import load_entities
from o2c.errors import UsageError
from o2c.settings import PROJECT_ROOT, Settings
from o2c.warehouse import migrate as module
from o2c.warehouse.migrate import migrate

MIGRATIONS_THERE = sorted(path.stem for path in module.MIGRATIONS.glob("*.sql"))


@pytest.fixture
def settings(database: str, tmp_path: Path) -> Settings:
    return Settings.load({"O2C_WAREHOUSE_URL": database, "O2C_HOME": str(tmp_path)})


def columns(url: str, table: str) -> list[tuple[str, str]]:
    with psycopg.connect(url) as connection:
        return connection.execute(
            "select attname, format_type(atttypid, null) from pg_attribute"
            " where attrelid = %s::regclass and attnum > 0",
            [table],
        ).fetchall()


def test_an_empty_database_becomes_a_warehouse(settings: Settings, entities: Mapping[str, Any]) -> None:
    assert migrate(settings, entities) == MIGRATIONS_THERE
    assert migrate(settings, entities) == []
    found = columns(settings.warehouse_url, "raw.exchange_rate")
    assert found == [
        ("source_system", "text"),
        ("from_currency_code", "text"),
        ("to_currency_code", "text"),
        ("rate_type", "text"),
        ("rate_date", "date"),
        ("rate", "numeric"),
        ("updated_at", "timestamp with time zone"),
        ("_load_id", "text"),
        ("_published_at", "timestamp with time zone"),
        ("_row_hash", "bytea"),
        ("_key_hash", "bigint"),
        ("_deleted", "boolean"),
        ("_landing_file", "text"),
    ]
    for name in entities:
        assert columns(settings.warehouse_url, f"raw.{name}")


def test_two_at_once(settings: Settings, entities: Mapping[str, Any]) -> None:
    with ThreadPoolExecutor(2) as pool:
        applied = list(pool.map(lambda _: migrate(settings, entities), range(2)))
    assert sorted(applied) == [[], MIGRATIONS_THERE]


@pytest.fixture
def contracts(tmp_path: Path) -> Path:
    directory = tmp_path / "entities"
    directory.mkdir()
    shutil.copy(PROJECT_ROOT / "include" / "entities" / "exchange_rate.yml", directory)
    return directory


def test_a_new_column_is_added_a_retyped_one_refused(settings: Settings, contracts: Path) -> None:
    path = contracts / "exchange_rate.yml"
    migrate(settings, load_entities(contracts))
    path.write_text(path.read_text().replace("rules:", '  provider: {type: text, description: "Who says so."}\nrules:'))
    migrate(settings, load_entities(contracts))
    assert ("provider", "text") in columns(settings.warehouse_url, "raw.exchange_rate")
    path.write_text(path.read_text().replace("provider: {type: text", "provider: {type: integer"))
    with pytest.raises(UsageError, match="provider as text, the contract says bigint") as caught:
        migrate(settings, load_entities(contracts))
    assert caught.value.where == "raw.exchange_rate"


def test_a_migration_that_fails_leaves_nothing(
    settings: Settings, contracts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "migrations"
    shutil.copytree(module.MIGRATIONS, folder)
    (folder / "002_broken.sql").write_text("create table ops.half (a int); selekt 1;")
    monkeypatch.setattr(module, "MIGRATIONS", folder)
    with pytest.raises(psycopg.errors.SyntaxError):
        migrate(settings, load_entities(contracts))
    with psycopg.connect(settings.warehouse_url) as connection:
        assert connection.execute("select to_regnamespace('ops'), to_regnamespace('raw')").fetchall() == [(None, None)]


def test_an_old_server_is_refused(settings: Settings, contracts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from o2c.errors import WarehouseError
    from o2c.warehouse import session

    monkeypatch.setattr(session, "MINIMUM_VERSION", 990000)
    with pytest.raises(WarehouseError, match="too old"):
        migrate(replace(settings), load_entities(contracts))
