from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko
import pytest

from demo.counterparts import sftp_server
from demo.counterparts.loopback import ServerFailed

CREDENTIALS = sftp_server.Credentials("bank", "bank-password")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "statements"
    root.mkdir()
    (root / "a.xml").write_text("<a/>")
    return root


@contextmanager
def client(port: int, password: str = CREDENTIALS.password) -> Iterator[paramiko.SFTPClient]:
    transport = paramiko.Transport(("127.0.0.1", port))
    try:
        transport.connect(username=CREDENTIALS.login, password=password)
        opened = paramiko.SFTPClient.from_transport(transport)
        assert opened is not None
        yield opened
    finally:
        transport.close()


def test_the_folder_is_the_root(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret.txt")
    with sftp_server.serve(folder, tmp_path / "key", CREDENTIALS) as server, client(server.port) as sftp:
        assert sorted(sftp.listdir("/")) == ["a.xml", "link"]
        assert sftp.open("/a.xml").read() == b"<a/>"
        with pytest.raises(FileNotFoundError):
            sftp.open("/../secret.txt")
        with pytest.raises(PermissionError):
            sftp.open("/link")


def test_it_reads_only_unless_told_otherwise(folder: Path, tmp_path: Path) -> None:
    with sftp_server.serve(folder, tmp_path / "key", CREDENTIALS) as server, client(server.port) as sftp:
        for forbidden in (
            lambda: sftp.open("/b.xml", "w"),
            lambda: sftp.open("/a.xml", "a"),
            lambda: sftp.remove("/a.xml"),
            lambda: sftp.rename("/a.xml", "/b.xml"),
            lambda: sftp.posix_rename("/a.xml", "/b.xml"),
            lambda: sftp.mkdir("/d"),
            lambda: sftp.truncate("/a.xml", 0),
            lambda: sftp.chmod("/a.xml", 0o777),
            lambda: sftp.symlink("/a.xml", "/c.xml"),
        ):
            with pytest.raises(PermissionError):
                forbidden()
    assert [path.name for path in folder.iterdir()] == ["a.xml"]
    assert (folder / "a.xml").read_text() == "<a/>"


def test_it_writes_when_told_to(folder: Path, tmp_path: Path) -> None:
    with (
        sftp_server.serve(folder, tmp_path / "key", CREDENTIALS, writable=True) as server,
        client(server.port) as sftp,
        sftp.open("/b.xml", "w") as file,
    ):
        file.write("<b/>")
    assert (folder / "b.xml").read_text() == "<b/>"


def test_the_host_key_is_made_once_and_is_private(folder: Path, tmp_path: Path) -> None:
    key = tmp_path / "keys" / "host"
    with sftp_server.serve(folder, key, CREDENTIALS) as first:
        pinned = first.public_key
    with sftp_server.serve(folder, key, CREDENTIALS) as second:
        assert second.public_key == pinned == sftp_server.public_key_text(key)
    assert pinned.startswith("ssh-ed25519 AAAA")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_key_may_log_in(folder: Path, tmp_path: Path) -> None:
    key, other = paramiko.Ed25519Key, _ed25519(tmp_path / "other")
    own = _ed25519(tmp_path / "own")
    text = f"{own.get_name()} {own.get_base64()}"
    credentials = sftp_server.Credentials("bank", "bank-password", public_key=text)
    assert isinstance(own, key)
    with sftp_server.serve(folder, tmp_path / "key", credentials) as server:
        for used, accepted in ((own, True), (other, False)):
            transport = paramiko.Transport(("127.0.0.1", server.port))
            try:
                transport.connect(username="bank", pkey=used)
                assert accepted
            except paramiko.AuthenticationException:
                assert not accepted
            finally:
                transport.close()


def _ed25519(path: Path) -> paramiko.Ed25519Key:
    import asyncssh

    asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(path))
    return paramiko.Ed25519Key.from_private_key_file(str(path))


def test_a_wrong_password_is_refused(folder: Path, tmp_path: Path) -> None:
    with (
        sftp_server.serve(folder, tmp_path / "key", CREDENTIALS) as server,
        pytest.raises(paramiko.AuthenticationException),
        client(server.port, "wrong"),
    ):
        pass


def test_the_connection_can_be_cut(folder: Path, tmp_path: Path) -> None:
    (folder / "big.bin").write_bytes(b"x" * 300_000)
    with sftp_server.serve(folder, tmp_path / "key", CREDENTIALS) as server:
        server.faults.cut_after = 100_000
        with client(server.port) as sftp, pytest.raises((paramiko.SSHException, OSError, EOFError)):
            sftp.open("/big.bin").read()
        with client(server.port) as sftp:
            assert len(sftp.open("/big.bin").read()) == 300_000


def test_it_serves_loopback_only_and_says_when_a_port_is_taken(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match="not a loopback"):
        sftp_server.serve(folder, tmp_path / "key", CREDENTIALS, host="0.0.0.0")
    with pytest.raises(ServerFailed, match="no folder"):
        sftp_server.serve(tmp_path / "none", tmp_path / "key", CREDENTIALS)
    with (
        sftp_server.serve(folder, tmp_path / "key", CREDENTIALS) as server,
        pytest.raises(ServerFailed, match="cannot be used"),
    ):
        sftp_server.serve(folder, tmp_path / "key", CREDENTIALS, port=server.port)


def start(folder: Path, tmp_path: Path, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "demo.counterparts.sftp_server", "--directory", str(folder)]
    command += ["--port-file", str(tmp_path / "port"), "--host-key", str(tmp_path / "key")]
    return subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True)


def test_the_program_serves_until_it_is_told_to_end(folder: Path, tmp_path: Path) -> None:
    process = start(folder, tmp_path, O2C_DEMO_SFTP_LOGIN="bank", O2C_DEMO_SFTP_PASSWORD="bank-password")
    try:
        for _ in range(400):
            if (tmp_path / "port").exists():
                break
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.025)
        with client(int((tmp_path / "port").read_text())) as sftp:
            assert sftp.listdir("/") == ["a.xml"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()


def test_the_program_says_what_is_missing(folder: Path, tmp_path: Path) -> None:
    process = start(folder, tmp_path, O2C_DEMO_SFTP_LOGIN="", O2C_DEMO_SFTP_PASSWORD="")
    _, message = process.communicate(timeout=20)
    assert process.returncode == 2 and "O2C_DEMO_SFTP_PASSWORD" in message and "Traceback" not in message
