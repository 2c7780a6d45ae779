"""A small sample of the load benchmark: it measures what it says, and the loader's memory stays bounded.

Ratios belong to a quiet machine and a million rows; here they are only read, not judged.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_a_sample(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(PROJECT / "tests" / "performance" / "bench_load.py"), "--rows", "60000"],
        env={**os.environ, "PYTHONPATH": str(PROJECT / "include"), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    figures = {
        name: float(value.replace(",", ""))
        for name, value in re.findall(r"^(rows|landing|load|peak memory)[^\d]*?\s([\d.,]+)", done.stdout, re.MULTILINE)
    }
    assert figures["rows"] == 60_000, done.stdout + done.stderr
    assert 0 < figures["landing"] < figures["load"]
    assert 100 < figures["peak memory"] < 300
    assert "rows published" not in done.stdout
