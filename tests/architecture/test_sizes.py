"""What grows without a limit stops being read: DAG files, functions and dbt models have one."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
LONGEST_DAG_FILE, LONGEST_FUNCTION, LONGEST_MODEL = 40, 40, 100
_SQL_COMMENT = re.compile(r"\{#.*?#\}|/\*.*?\*/|--[^\n]*", re.DOTALL)

Finding = tuple[int, list[str]]


def long_dag_files(root: Path) -> Finding:
    files = sorted((root / "dags").glob("*.py"))
    return len(files), [str(path) for path in files if len(path.read_text().splitlines()) > LONGEST_DAG_FILE]


def long_functions(root: Path) -> Finding:
    sizes = [size for folder in ("dags", "include", "plugins") for size in _functions(root / folder)]
    return len(sizes), [f"{where}: {lines} lines" for where, lines in sizes if lines > LONGEST_FUNCTION]


def _functions(folder: Path) -> Iterator[tuple[str, int]]:
    """Each function with its lines from ``def`` to the end, docstring apart."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path}:{node.lineno} {node.name}", (node.end_lineno or 0) - node.lineno + 1 - _docstring(node)


def _docstring(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = node.body[0]
    is_docstring = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    return (first.end_lineno or 0) - first.lineno + 1 if is_docstring else 0


def long_models(root: Path) -> Finding:
    """Models by their lines of SQL; comments and blank lines cost nothing."""
    files = sorted((root / "dbt_project" / "models").rglob("*.sql"))
    return len(files), [f"{path}: {lines} lines" for path in files if (lines := _sql_lines(path)) > LONGEST_MODEL]


def _sql_lines(path: Path) -> int:
    return sum(bool(line.strip()) for line in _SQL_COMMENT.sub("", path.read_text(encoding="utf-8")).splitlines())


@pytest.mark.parametrize(("check", "at_least"), [(long_dag_files, 5), (long_functions, 300), (long_models, 30)])
def test_nothing_is_too_long(check: Callable[[Path], Finding], at_least: int) -> None:
    looked_at, offenders = check(PROJECT)
    assert looked_at >= at_least
    assert offenders == []


@pytest.mark.parametrize(
    ("check", "file", "text"),
    [
        (long_dag_files, "dags/sync_x.py", "x = 1\n" * 41),
        (long_functions, "include/o2c/x.py", "async def f():\n" + "    x = 1\n" * 40),
        (long_functions, "include/o2c/x.py", "class C:\n    def f(self):\n" + "        x = 1\n" * 40),
        (long_models, "dbt_project/models/marts/x.sql", "select 1,\n" * 101),
    ],
)
def test_one_line_too_many_is_found(tmp_path: Path, check: Callable[[Path], Finding], file: str, text: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert len(check(tmp_path)[1]) == 1
    path.write_text(text[: text.rstrip("\n").rindex("\n") + 1])
    assert check(tmp_path) == (1, [])


def test_docstrings_and_comments_cost_nothing(tmp_path: Path) -> None:
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "x.py").write_text(
        'def f():\n    """One.\n' + "    more\n" * 50 + '    """\n    return 1\n'
    )
    (tmp_path / "dbt_project" / "models").mkdir(parents=True)
    (tmp_path / "dbt_project" / "models" / "x.sql").write_text("-- why\n" * 90 + "\n" * 20 + "{# a\nb #}\nselect 1\n")
    assert long_functions(tmp_path) == (1, [])
    assert long_models(tmp_path) == (1, [])
