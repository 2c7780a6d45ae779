"""``python -m demo.stack demo|up|serve|down|clean``: what the Makefile calls.

The imports take a while; until they are done nothing runs that would have to be stopped, so a signal may simply end
the process, without a traceback.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

ACTIONS = ("demo", "up", "serve", "down", "clean")


def main(arguments: list[str]) -> int:
    """Do one action and return its exit code; 2 is wrong use."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: os._exit(128 + received))
    if len(arguments) != 1 or arguments[0] not in ACTIONS:
        print(f"Use: python -m demo.stack {'|'.join(ACTIONS)}", file=sys.stderr)
        return 2
    return _action(arguments[0])()


def _action(name: str) -> Callable[[], int]:
    from demo.stack import clean, demo_run, up

    return {"demo": demo_run.main, "clean": clean.main}.get(name, lambda: up.main(name))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
