from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from demo.stack import __main__ as command

PROJECT = Path(__file__).resolve().parents[4]


@pytest.mark.parametrize("arguments", [[], ["fly"], ["up", "down"]])
def test_wrong_use(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        assert command.main(arguments) == 2
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert "demo|up|serve|down|clean" in capsys.readouterr().err


def test_an_early_signal_ends_it_without_a_traceback(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "include"), "O2C_HOME": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "demo.stack", "demo"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    time.sleep(0.15)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in output or process.returncode == -signal.SIGINT
