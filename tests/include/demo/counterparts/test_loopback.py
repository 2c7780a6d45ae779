from __future__ import annotations

from pathlib import Path

import pytest

from demo.counterparts.loopback import ServerFailed, check_loopback, write_port


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "example.org", ""])
def test_only_loopback_may_be_served(host: str) -> None:
    with pytest.raises(ServerFailed):
        check_loopback(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_is_allowed(host: str) -> None:
    check_loopback(host)


def test_the_port_file_is_whole(tmp_path: Path) -> None:
    write_port(tmp_path / "deep" / "port", 4711)
    assert (tmp_path / "deep" / "port").read_text() == "4711\n"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["port"]
