from __future__ import annotations

from pathlib import Path

import pytest

from demo.company.generate import generate
from demo.stack import sample


def test_the_day_is_known_without_making_the_company() -> None:
    assert sample.as_of() == generate(scale=0.05, months=sample.MONTHS).today


def test_a_wrong_scale_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("O2C_DEMO_SCALE", "big")
    assert sample.main(["--directory", str(tmp_path)]) == 2
    assert "'big' is not a number." in capsys.readouterr().err
