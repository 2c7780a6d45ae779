"""Waits until its parent is gone, however it went, and then stops what the parent had started.

Run as ``python -m demo.stack.keeper <directory of process records>`` with a pipe from the parent as standard input.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from demo.stack.processes import stop_recorded


def main(arguments: list[str] | None = None) -> int:
    """Read until the pipe closes, then stop every recorded process; returns 0."""
    (directory,) = sys.argv[1:] if arguments is None else arguments
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while sys.stdin.buffer.read(1024):
        pass
    stop_recorded(Path(directory))
    return 0


if __name__ == "__main__":
    sys.exit(main())
