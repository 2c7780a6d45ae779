"""Imports go one way: dags -> pipelines -> loads -> the middle rooms -> foundations; the demo stands beside."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
FOUNDATIONS = {"connections", "contracts", "errors", "failpoints", "protection", "settings", "version"}
MIDDLE = {"connectors", "formats", "matching", "quality", "reports", "warehouse"}
# A room may import what stands to its right; the command line and the DAGs are the two ways in.
ALLOWED = {
    "pipelines": {"loads", *MIDDLE, *FOUNDATIONS},
    "cli": {"terminal", "loads", *MIDDLE, *FOUNDATIONS},
    "terminal": {"loads", *MIDDLE, *FOUNDATIONS},
    "loads": {*MIDDLE, *FOUNDATIONS},
    **dict.fromkeys(MIDDLE, FOUNDATIONS),
    **dict.fromkeys(FOUNDATIONS, FOUNDATIONS),
}
# What middle rooms may use of each other: how to reach the warehouse, and nothing of how it is built.
DOORS = {"o2c.warehouse.query", "o2c.warehouse.session"}
MAY_IMPORT_AIRFLOW = ("o2c.pipelines",)
# Loaded by Airflow itself, in its own process.
AIRFLOW_SETTINGS = Path("include/demo/stack/config")


@dataclass(frozen=True)
class Import:
    module: str
    target: str
    where: str


def imports(folder: Path, root: Path) -> list[Import]:
    return [found for path in sorted(folder.rglob("*.py")) for found in _imports_of(path, root)]


def _imports_of(path: Path, root: Path) -> Iterator[Import]:
    module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        where = f"{path}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            yield from (Import(module, alias.name, where) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            yield Import(module, "." * node.level + (node.module or ""), where)
        elif isinstance(node, ast.ImportFrom) and node.module:
            # "from o2c import warehouse" imports the room o2c.warehouse.
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "o2c" else [node.module]
            yield from (Import(module, name, where) for name in names)


def is_below(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def wrong_direction(found: Import) -> bool:
    if found.target.startswith("."):
        return True
    if is_below(found.module, "o2c") and is_below(found.target, "demo"):
        return True
    if not found.module.startswith("o2c.") or not found.target.startswith("o2c."):
        return False
    room, target = found.module.split(".")[1], found.target.split(".")[1]
    if room == target or found.target in DOORS and room in MIDDLE:
        return False
    return target not in ALLOWED[room]


def wrong_airflow(found: Import) -> bool:
    return is_below(found.target, "airflow") and not any(is_below(found.module, room) for room in MAY_IMPORT_AIRFLOW)


def wrong_in_dag(found: Import) -> bool:
    return not (is_below(found.target, "o2c.pipelines") or found.target == "__future__")


def offenders_of_library(root: Path) -> tuple[int, list[str]]:
    found = imports(root / "include" / "o2c", root / "include") + imports(root / "include" / "demo", root / "include")
    found = [each for each in found if not each.where.startswith(str(root / AIRFLOW_SETTINGS))]
    wrong = [each for each in found if wrong_direction(each) or wrong_airflow(each)]
    return len(found), [f"{each.where}: {each.module} imports {each.target}" for each in wrong]


def offenders_of_dags(root: Path) -> tuple[int, list[str]]:
    found = imports(root / "dags", root / "dags")
    return len(found), [f"{each.where}: imports {each.target}" for each in found if wrong_in_dag(each)]


def test_the_library_imports_one_way() -> None:
    looked_at, offenders = offenders_of_library(PROJECT)
    assert looked_at > 200
    assert offenders == []


def test_dags_only_wire() -> None:
    looked_at, offenders = offenders_of_dags(PROJECT)
    assert looked_at >= 5
    assert offenders == []


def test_every_room_has_a_place() -> None:
    rooms = {path.stem for path in (PROJECT / "include" / "o2c").iterdir() if not path.name.startswith("__")}
    assert rooms
    assert rooms <= ALLOWED.keys()


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("o2c/errors.py", "import o2c.settings.more.warehouse; from o2c.warehouse.session import connect"),
        ("o2c/contracts/flow.py", "from o2c import loads"),
        ("o2c/connectors/rest.py", "from o2c.warehouse.publish import publish"),
        ("o2c/reports/page.py", "def late():\n    from o2c.quality.gate import gate"),
        ("o2c/warehouse/query.py", "from airflow.sdk import task"),
        ("o2c/warehouse/query.py", "from .session import connect"),
        ("o2c/loads/sync.py", "import o2c.pipelines.sync"),
        ("o2c/loads/sync.py", "from demo.company import generate"),
        ("demo/company/world.py", "import airflow"),
    ],
)
def test_a_planted_import_is_found(tmp_path: Path, file: str, line: str) -> None:
    path = tmp_path / "include" / file
    path.parent.mkdir(parents=True)
    path.write_text(line + "\n")
    looked_at, offenders = offenders_of_library(tmp_path)
    assert looked_at
    assert len(offenders) == 1


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("o2c/pipelines/sync.py", "from airflow.sdk import task"),
        ("o2c/reports/facts.py", "from o2c.warehouse.query import ask"),
        ("o2c/loads/sync.py", "from o2c.quality.gate import gate"),
        ("demo/stack/config/airflow_local_settings.py", "import airflow.settings"),
    ],
)
def test_a_right_import_is_left_alone(tmp_path: Path, file: str, line: str) -> None:
    path = tmp_path / "include" / file
    path.parent.mkdir(parents=True)
    path.write_text(line + "\n")
    assert offenders_of_library(tmp_path)[1] == []


@pytest.mark.parametrize(
    "line", ["import pandas", "from o2c.warehouse.session import connect", "from airflow.sdk import dag"]
)
def test_a_dag_that_does_work_is_found(tmp_path: Path, line: str) -> None:
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "sync_x.py").write_text(line + "\n")
    assert len(offenders_of_dags(tmp_path)[1]) == 1
