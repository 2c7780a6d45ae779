"""Against the SFTP counterpart of the sample company, on a free port of loopback."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import asyncssh
import pytest

from demo.counterparts import sftp_server
from o2c.connections import Connection
from o2c.connectors import sftp_file
from o2c.connectors.base import ExtractRequest
from o2c.errors import FatalSourceError, SourceError, UsageError

CREDENTIALS = sftp_server.Credentials("bank", "bank-password")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "bank"
    (root / "statements").mkdir(parents=True)
    return root / "statements"


@pytest.fixture
def server(folder: Path, tmp_path: Path) -> Iterator[sftp_server.SftpServer]:
    with sftp_server.serve(folder.parent, tmp_path / "host_key", CREDENTIALS) as running:
        yield running


def request(
    server: sftp_server.SftpServer,
    *,
    known: dict[str, str] | None = None,
    password: str = "bank-password",
    **changed: Any,
) -> ExtractRequest:
    extra = {"host_key": server.public_key, "timeout": "5", **changed.pop("extra", {})}
    port = changed.pop("port", server.port)
    connection = Connection("bank_sftp", "sftp", "127.0.0.1", port, "bank", password, extra=extra)
    source = {"path": "/statements", "pattern": "*.xml", **changed}
    return ExtractRequest("bank/statements", source, connection, Path(), known_files=known or {})


def test_files_arrive_whole_and_in_order(server: sftp_server.SftpServer, folder: Path) -> None:
    big = os.urandom(20 * 1024 * 1024 + 12_345)
    (folder / "b.xml").write_bytes(big)
    (folder / "a.xml").write_bytes(b"")
    (folder / "c.txt").write_bytes(b"no")
    os.utime(folder / "b.xml", (1_750_000_000, 1_750_000_000))
    seen = [
        (part.name, part.fingerprint, part.origin, b"".join(part.blocks)) for part in sftp_file.extract(request(server))
    ]
    assert [(name, data == expected) for (name, _, _, data), expected in zip(seen, (b"", big), strict=True)] == [
        ("a.xml", True),
        ("b.xml", True),
    ]
    _, fingerprint, origin, _ = seen[1]
    assert fingerprint == f"{len(big)}:1750000000"
    assert origin["path"] == "/statements/b.xml" and origin["size"] == len(big)
    assert origin["modified_at"] == "2025-06-15T15:06:40+00:00"
    key = asyncssh.import_public_key(server.public_key)
    assert origin["host_key"] == key.get_fingerprint("sha256")


def test_a_published_file_is_read_again_only_when_it_changed(server: sftp_server.SftpServer, folder: Path) -> None:
    (folder / "a.xml").write_text("<a/>")
    (part,) = sftp_file.extract(request(server))
    known = {part.name: str(part.fingerprint)}
    assert list(sftp_file.extract(request(server, known=known))) == []
    (folder / "a.xml").write_text("<aa/>")
    assert [part.name for part in sftp_file.extract(request(server, known=known))] == ["a.xml"]


def test_an_unpinned_host_key_is_refused(server: sftp_server.SftpServer) -> None:
    for unpinned in ("", "AAAAC3NzaC1lZDI1NTE5AAAA"):
        with pytest.raises(FatalSourceError, match="pins no host key") as refused:
            list(sftp_file.extract(request(server, extra={"host_key": unpinned})))
        assert refused.value.reason == "unknown_host_key" and "ssh-ed25519" in refused.value.next_step


def test_another_host_key_is_refused_before_the_password_is_sent(
    server: sftp_server.SftpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sftp_file, "_log_in", lambda *_: pytest.fail("the password was sent"))
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    with pytest.raises(FatalSourceError, match="not the pinned one") as refused:
        list(sftp_file.extract(request(server, extra={"host_key": other})))
    assert refused.value.reason == "unknown_host_key"


def test_a_pinned_key_of_a_kind_the_server_has_not_is_refused(server: sftp_server.SftpServer) -> None:
    for kind in ("ssh-rsa", "ecdsa-sha2-nistp256"):
        other = asyncssh.generate_private_key(kind).export_public_key().decode()
        with pytest.raises(FatalSourceError, match=f"pinned kind {kind}") as refused:
            list(sftp_file.extract(request(server, extra={"host_key": other})))
        assert refused.value.reason == "unknown_host_key"


def test_a_wrong_password_is_refused_and_not_shown(server: sftp_server.SftpServer) -> None:
    with pytest.raises(FatalSourceError, match="refused the login 'bank'") as refused:
        list(sftp_file.extract(request(server, password="wrong-secret")))
    assert refused.value.reason == "unauthorized" and "wrong-secret" not in str(refused.value)


def test_a_private_key_logs_in(folder: Path, tmp_path: Path) -> None:
    own = asyncssh.generate_private_key("ssh-ed25519")
    (tmp_path / "own").write_bytes(own.export_private_key())
    credentials = sftp_server.Credentials("bank", "bank-password", own.export_public_key().decode())
    (folder / "a.xml").write_text("<a/>")
    with sftp_server.serve(folder.parent, tmp_path / "key", credentials) as server:
        for extra in ({"private_key": own.export_private_key().decode()}, {"key_file": str(tmp_path / "own")}):
            (part,) = sftp_file.extract(request(server, password="", extra=extra))
            assert part.name == "a.xml"
        with pytest.raises(UsageError, match="private key cannot be read"):
            list(sftp_file.extract(request(server, extra={"key_file": str(tmp_path / "none")})))


def test_nobody_listening_is_a_clear_error(server: sftp_server.SftpServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(SourceError, match="cannot be reached: Connection refused") as refused:
        list(sftp_file.extract(request(server, port=port)))
    assert not isinstance(refused.value, FatalSourceError)


def test_a_server_that_speaks_no_ssh_is_a_clear_error(
    server: sftp_server.SftpServer, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf, pytest.raises(SourceError, match="transfer failed"):
        list(sftp_file.extract(request(server, port=deaf.getsockname()[1], extra={"timeout": "0.05"})))
    assert "Traceback" not in capfd.readouterr().err


def test_a_missing_folder_is_named(server: sftp_server.SftpServer) -> None:
    with pytest.raises(FatalSourceError, match="does not exist on the server") as missing:
        list(sftp_file.extract(request(server, path="/nowhere")))
    assert missing.value.reason == "missing_file" and "/nowhere" in missing.value.where


def test_a_forbidden_folder_is_named(server: sftp_server.SftpServer, folder: Path, tmp_path: Path) -> None:
    (folder / "outside").symlink_to(tmp_path)
    with pytest.raises(FatalSourceError, match="does not let this login read") as refused:
        list(sftp_file.extract(request(server, path="/statements/outside")))
    assert refused.value.reason == "unauthorized"


def test_a_hostile_name_stops_the_flow(server: sftp_server.SftpServer, folder: Path) -> None:
    (folder / "a\n;rm.xml").write_text("<a/>")
    with pytest.raises(FatalSourceError) as refused:
        list(sftp_file.extract(request(server)))
    assert refused.value.reason == "unsafe_file_name"


def test_links_and_folders_are_not_followed(server: sftp_server.SftpServer, folder: Path) -> None:
    (folder / "real.xml").write_text("<a/>")
    (folder / "link.xml").symlink_to(folder / "real.xml")
    (folder / "dir.xml").mkdir()
    assert [part.name for part in sftp_file.extract(request(server))] == ["real.xml"]


def test_a_growing_file_waits_for_the_next_run(server: sftp_server.SftpServer, folder: Path) -> None:
    (folder / "a.xml").write_text("<a>")
    (folder / "b.xml").write_text("<b/>")

    def sleep(seconds: float) -> None:
        assert seconds == 5
        (folder / "a.xml").write_text("<a></a>")

    parts = sftp_file.extract(request(server, extra={"stable_for": "5s"}), sleep=sleep)
    assert [part.name for part in parts] == ["b.xml"]


@pytest.mark.parametrize("after", [-40_000, -1, 1, 40_000])
def test_a_file_that_changes_while_it_is_read_fails(server: sftp_server.SftpServer, folder: Path, after: int) -> None:
    size = 400_000
    (folder / "a.xml").write_bytes(b"x" * size)

    def change(path: str, offset: int) -> None:
        os.truncate(path, size + after)

    server.faults.on_read = change
    with pytest.raises(SourceError):
        for part in sftp_file.extract(request(server)):
            list(part.blocks)


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("tenth", range(10))
def test_a_cut_at_any_tenth_fails_and_the_next_run_succeeds(
    server: sftp_server.SftpServer, folder: Path, tenth: int
) -> None:
    content = os.urandom(500_000)
    (folder / "a.xml").write_bytes(content)
    server.faults.cut_after = len(content) * tenth // 10
    with pytest.raises(SourceError, match="transfer failed") as cut:
        for part in sftp_file.extract(request(server)):
            list(part.blocks)
    assert not isinstance(cut.value, FatalSourceError)
    (part,) = [(part.name, b"".join(part.blocks)) for part in sftp_file.extract(request(server))]
    assert part == ("a.xml", content)


def test_a_server_that_answers_too_slowly_is_cut_off(server: sftp_server.SftpServer, folder: Path) -> None:
    (folder / "a.xml").write_bytes(b"x" * 2_000_000)
    server.faults.on_read = lambda path, offset: sleep(0.1)  # 6 s in all, and each answer in time
    began = monotonic()
    with pytest.raises(SourceError, match="did not deliver within 0.5 s"):
        for part in sftp_file.extract(request(server, extra={"deadline": "0.5"})):
            list(part.blocks)
    assert monotonic() - began < 3


@pytest.mark.parametrize("deadline", ["soon", "0", "-1"])
def test_a_deadline_is_a_number_of_seconds(server: sftp_server.SftpServer, deadline: str) -> None:
    with pytest.raises(UsageError, match="no number of seconds"):
        list(sftp_file.extract(request(server, extra={"deadline": deadline})))


def test_the_connection_closes_with_the_iterator(
    server: sftp_server.SftpServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    connect = sftp_file._connect
    monkeypatch.setattr(sftp_file, "_connect", lambda *args: opened.append(connect(*args)) or opened[-1])
    (folder / "a.xml").write_text("<a/>")
    (folder / "b.xml").write_text("<b/>")
    parts = sftp_file.extract(request(server))
    next(parts)
    assert opened[0].is_active()
    parts.close()
    opened[0].join(5)
    assert not opened[0].is_active()


def test_a_flow_without_a_connection_is_wrong_use() -> None:
    with pytest.raises(UsageError, match="names no connection"):
        list(sftp_file.extract(ExtractRequest("bank/x", {"path": "/"}, None, Path())))
