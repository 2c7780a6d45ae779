"""What every counterpart needs to start: an address that only this machine reaches, and a file that tells its port."""

from __future__ import annotations

import ipaddress
from pathlib import Path


class ServerFailed(Exception):
    """A counterpart could not start; the text says why."""


def check_loopback(host: str) -> None:
    """Raise :class:`ServerFailed` unless ``host`` is a loopback address."""
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    if not is_loopback:
        raise ServerFailed(f"{host} is not a loopback address; the sample company serves this machine only.")


def write_port(path: Path, port: int) -> None:
    """Write the port so that a reader sees the whole number or no file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    draft.write_text(f"{port}\n")
    draft.replace(path)
