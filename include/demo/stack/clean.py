"""Before ``make clean`` deletes the state: stop what still runs in it, and delete what lies outside of it."""

from __future__ import annotations

import shutil

from demo.stack import postgres, up
from demo.stack.stack import clear
from demo.stack.state import State, base_home


def main() -> int:
    """Stop and clear the stacks of this home; returns 0."""
    home = base_home()
    up.main("down")
    for name in ("demo", "up"):
        clear(State(home / name))
    if postgres.is_elsewhere():
        shutil.rmtree(postgres.public_place(), ignore_errors=True)
    return 0
