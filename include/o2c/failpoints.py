"""Failpoints: named places where a test lets a process die, stop or fail. In normal use they are empty calls.

``O2C_FAILPOINT=<name>:<n>:<action>`` acts the n-th time the place is reached.
"""

from __future__ import annotations


def reached(name: str) -> None:
    """Say that ``name`` has been reached."""
