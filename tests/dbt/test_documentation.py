"""Every model says what one row is, and every column of a mart says what it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

Marts = Any


@pytest.fixture(scope="module")
def manifest(golden: Marts) -> dict[str, Any]:
    target: Path = golden.dbt("parse")
    document: dict[str, Any] = json.loads((target / "manifest.json").read_text(encoding="utf-8"))
    return document


def _models(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    models = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    assert len(models) >= 60
    return models


def test_every_model_ends_with_its_grain(manifest: dict[str, Any]) -> None:
    sentences = {node["name"]: node["description"].strip().replace("\n", " ") for node in _models(manifest)}
    silent = [name for name, text in sentences.items() if "One row per " not in text.rsplit(". ", 1)[-1]]
    assert silent == []


def test_every_column_of_a_mart_is_described(golden: Marts, manifest: dict[str, Any]) -> None:
    stated = {
        (node["schema"], node["name"], column["name"])
        for node in _models(manifest)
        for column in node["columns"].values()
        if column["description"].strip()
    }
    built = golden.rows(
        "select table_schema, table_name, column_name from information_schema.columns where table_schema like 'marts%'"
    )
    assert len(built) > 150
    assert set(built) - stated == set()
    assert {column for column in stated if column[0].startswith("marts")} - set(built) == set()


def test_every_metric_mart_has_a_unit_test(manifest: dict[str, Any]) -> None:
    tested = {node["model"] for node in manifest["unit_tests"].values()}
    metrics = [n["name"] for n in _models(manifest) if n["name"].startswith(("fct_", "leak_"))]
    metrics += ["rpt_ageing_monthly", "rpt_dso_monthly", "rpt_control_account_tie_out", "rpt_roll_forward_monthly"]
    assert len(metrics) >= 10
    assert set(metrics) - tested == set()


def test_staging_has_the_columns_of_its_contract(golden: Marts, entities: Any) -> None:
    views = golden.rows(
        "select table_name, array_agg(column_name::text) from information_schema.columns"
        " where table_schema = 'staging' group by 1"
    )
    columns = {frozenset(found) - {"source_system", "load_id", "published_at"} for _, found in views}
    assert len(views) == len(entities)
    assert columns == {frozenset(entity.columns) for entity in entities.values()}
