"""A fixed sample of chaos: one case of each kind that takes seconds; ``make chaos`` runs hundreds of all kinds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.integration, pytest.mark.slow]
# The others take longer, or need a build of the marts, a second server or the real scheduler: see `make chaos`.
SAMPLE = (1, 2, 4, 6, 8, 9, 10, 11, 13, 16, 17, 18, 19, 23, 24, 25, 26)


@pytest.mark.parametrize("number", SAMPLE)
def test_a_sample_of(laboratory: Any, number: int) -> None:
    from chaos import runner
    from chaos.registry import KINDS

    plan = [(number, KINDS[number][0])]
    (line,) = runner.run(laboratory, plan)
    assert (line.not_run, line.violations) == ("", [])
    assert line.injected > 0, "nothing was injected"


def test_every_kind_of_the_list_is_registered() -> None:
    import chaos.kinds
    from chaos.registry import KINDS

    assert chaos.kinds.__path__
    assert set(KINDS) == set(range(1, 27))


def test_a_schedule_can_be_replayed() -> None:
    from chaos import runner

    first, again, other = (runner.schedule(seed, 500) for seed in ("a", "a", "b"))
    assert [kind for _, kind in first] == [kind for _, kind in again] != [kind for _, kind in other]
    assert len(first) == 500
    assert {kind.number for _, kind in first} == set(range(1, 27))


@pytest.mark.parametrize(
    ("changed", "is_broken"),
    [
        ({}, False),
        ({"violations": [("lost", "x")]}, True),
        ({"not_run": "no root"}, True),
        ({"injected": 0}, True),
    ],
)
def test_a_run_counts_as_good_only_when_every_kind_was_injected_and_held(
    changed: dict[str, Any], is_broken: bool
) -> None:
    from chaos import summary
    from chaos.runner import Line

    lines = [Line(number, number, "x", injected=1) for number in range(1, 27)]
    for name, value in changed.items():
        setattr(lines[4], name, value)
    assert summary.is_broken(lines, whole=True) is is_broken
    assert len(summary.rows(lines)) == 27


def test_the_page_takes_the_summary_between_its_markers(tmp_path: Path) -> None:
    from chaos import summary
    from chaos.runner import Line

    page = tmp_path / "faults.md"
    page.write_text(f"before\n{summary.BEGIN}\noutdated\n{summary.END}\nafter\n")
    summary.write(page, [Line(0, 1, "x", injected=3, violations=[("lost", "y")])])
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "outdated" not in text
    assert re.search(r"\| 1 \| .* \| 1 \| 3 \| 1 \| 0 \| 0 \| 0 \| 0 \| 0 \|", text)


def test_wrong_use_of_the_command() -> None:
    environ = {"PYTHONPATH": f"{PROJECT}/include:{PROJECT}/tests/faults", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-m", "chaos", "--faults", "x"], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
