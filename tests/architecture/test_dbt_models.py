"""Models ask for a business date; none reads the clock, and none reads anything but raw and ops."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
_COMMENT = re.compile(r"\{#.*?#\}|/\*.*?\*/|--[^\n]*", re.DOTALL)
_CLOCK = re.compile(
    r"\b(current_date|current_timestamp|localtimestamp|current_time|localtime)\b"
    r"|\b(now|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday|getdate|sysdate)\s*\(",
    re.IGNORECASE,
)
_SCHEMA = re.compile(r"\b(?:from|join)\s+(\w+)\s*\.\s*\w+", re.IGNORECASE)


def sql_of(path: Path) -> str:
    return _COMMENT.sub("", path.read_text(encoding="utf-8"))


def files(root: Path, *folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (root / "dbt_project" / folder).rglob("*.sql"))


def clock_readers(root: Path) -> tuple[int, list[str]]:
    found = files(root, "models", "macros", "tests", "snapshots")
    return len(found), [f"{path}: {match.group()}" for path in found if (match := _CLOCK.search(sql_of(path)))]


def unnamed_sources(root: Path) -> tuple[int, list[str]]:
    """Models that name a schema themselves, past ``ref`` and ``source``."""
    found = files(root, "models")
    return len(found), [f"{path}: {match.group()}" for path in found if (match := _SCHEMA.search(sql_of(path)))]


def test_no_model_reads_the_clock() -> None:
    looked_at, offenders = clock_readers(PROJECT)
    assert looked_at >= 30
    assert offenders == []


def test_every_relation_is_a_ref_or_a_source() -> None:
    looked_at, offenders = unnamed_sources(PROJECT)
    assert looked_at >= 30
    assert offenders == []


@pytest.mark.parametrize(
    "text",
    ["select Current_Date", "select now ()", "select x::date - CURRENT_TIMESTAMP::date", "{% if now() %}{% endif %}"],
)
def test_a_planted_clock_is_found(tmp_path: Path, text: str) -> None:
    path = tmp_path / "dbt_project" / "models" / "marts" / "x.sql"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert len(clock_readers(tmp_path)[1]) == 1


def test_a_planted_schema_is_found(tmp_path: Path) -> None:
    path = tmp_path / "dbt_project" / "models" / "x.sql"
    path.parent.mkdir(parents=True)
    path.write_text("select *\nfrom raw.invoice")
    assert len(unnamed_sources(tmp_path)[1]) == 1


@pytest.mark.parametrize("text", ["-- not now()\nselect known_date", "select 1 as nowhere", "select {{ as_of() }}"])
def test_words_that_only_look_like_it_pass(tmp_path: Path, text: str) -> None:
    path = tmp_path / "dbt_project" / "models" / "x.sql"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert clock_readers(tmp_path) == (1, [])
