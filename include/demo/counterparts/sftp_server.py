"""A bank's SFTP server: one folder behind an ed25519 host key, on loopback only.

Run alone: ``python -m demo.counterparts.sftp_server --directory D --port P --port-file F --host-key K`` with the
login in ``O2C_DEMO_SFTP_LOGIN`` and ``O2C_DEMO_SFTP_PASSWORD``. The private host key is made once in ``K``; its
public half is written to ``K.pub`` so that a client can pin it.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

from demo.counterparts.loopback import ServerFailed, check_loopback, write_port

_WRITING = asyncssh.FXF_WRITE | asyncssh.FXF_APPEND | asyncssh.FXF_CREAT | asyncssh.FXF_TRUNC


@dataclass(frozen=True)
class Credentials:
    """Who may log in: by password, and by public key where one is given."""

    login: str
    password: str = field(repr=False)
    public_key: str | None = None


@dataclass
class Faults:
    """What a test may break. ``cut_after`` ends the connection once so many bytes were sent (then resets itself);
    ``on_read`` is called with path and offset before each read, for example to let a file grow.
    """

    cut_after: int | None = None
    on_read: Callable[[str, int], None] | None = None
    sent: int = 0


class SftpServer:
    """A running server; ``close()`` ends it. ``public_key`` is the text to pin."""

    def __init__(self, host: str, port: int, public_key: str, faults: Faults, stop: Callable[[], None]) -> None:
        self.host = host
        self.port = port
        self.public_key = public_key
        self.faults = faults
        self._stop = stop

    def close(self) -> None:
        """Stop listening, drop every connection and wait until the thread has ended."""
        self._stop()

    def __enter__(self) -> SftpServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Login(asyncssh.SSHServer):
    def __init__(self, credentials: Credentials, connections: set[asyncssh.SSHServerConnection]) -> None:
        self._credentials = credentials
        self._connections = connections
        self._keys = [asyncssh.import_public_key(credentials.public_key)] if credentials.public_key else []

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self._connection)

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        given = f"{username}\0{password}".encode()
        return hmac.compare_digest(given, f"{self._credentials.login}\0{self._credentials.password}".encode())

    def public_key_auth_supported(self) -> bool:
        return bool(self._keys)

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == self._credentials.login and key in self._keys


class _Folder(asyncssh.SFTPServer):
    """One folder as the root; nothing outside of it can be read, and nothing written unless ``writable``."""

    def __init__(self, chan: Any, directory: Path, writable: bool, faults: Faults) -> None:
        super().__init__(chan, chroot=str(directory).encode())
        self._root = str(directory.resolve())
        self._writable = writable
        self._faults = faults

    def map_path(self, path: bytes) -> bytes:
        mapped = super().map_path(path)
        real = os.path.realpath(os.fsdecode(mapped))
        # A link inside the folder may point outside of it.
        if real != self._root and not real.startswith(self._root + os.sep):
            raise asyncssh.SFTPPermissionDenied("outside of the folder")
        return mapped

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> Any:
        if pflags & _WRITING:
            self._need_write()
        return super().open(path, pflags, attrs)

    def open56(self, path: bytes, desired_access: int, flags: int, attrs: asyncssh.SFTPAttrs) -> Any:
        self._need_write()
        return super().open56(path, desired_access, flags, attrs)

    def read(self, file_obj: Any, offset: int, size: int) -> Any:
        faults = self._faults
        if faults.on_read:
            faults.on_read(os.fsdecode(file_obj.name), offset)
        if faults.cut_after is not None and faults.sent + size > faults.cut_after:
            faults.cut_after = None
            self.connection.abort()
            raise asyncssh.SFTPConnectionLost("cut by the test")
        faults.sent += size
        return super().read(file_obj, offset, size)

    def write(self, file_obj: object, offset: int, data: bytes) -> Any:
        self._need_write()
        return super().write(file_obj, offset, data)

    def setstat(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> Any:
        self._need_write()
        return super().setstat(path, attrs)

    def lsetstat(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> Any:
        self._need_write()
        return super().lsetstat(path, attrs)

    def fsetstat(self, file_obj: object, attrs: asyncssh.SFTPAttrs) -> Any:
        self._need_write()
        return super().fsetstat(file_obj, attrs)

    def remove(self, path: bytes) -> Any:
        self._need_write()
        return super().remove(path)

    def mkdir(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> Any:
        self._need_write()
        return super().mkdir(path, attrs)

    def rmdir(self, path: bytes) -> Any:
        self._need_write()
        return super().rmdir(path)

    def rename(self, oldpath: bytes, newpath: bytes) -> Any:
        self._need_write()
        return super().rename(oldpath, newpath)

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> Any:
        self._need_write()
        return super().posix_rename(oldpath, newpath)

    def symlink(self, oldpath: bytes, newpath: bytes) -> Any:
        raise asyncssh.SFTPPermissionDenied("links are not made here")

    def link(self, oldpath: bytes, newpath: bytes) -> Any:
        raise asyncssh.SFTPPermissionDenied("links are not made here")

    def _need_write(self) -> None:
        if not self._writable:
            raise asyncssh.SFTPPermissionDenied("read only")


def serve(
    directory: Path,
    host_key: Path,
    credentials: Credentials,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    writable: bool = False,
) -> SftpServer:
    """Start the server in a thread and return it once it listens; ``port`` 0 takes a free one.

    Raises:
        ServerFailed: the folder does not exist, the address is not loopback, or the port is taken.
    """
    check_loopback(host)
    if not directory.is_dir():
        raise ServerFailed(f"There is no folder {directory}.")
    key = _host_key(host_key)
    faults = Faults()
    connections: set[asyncssh.SSHServerConnection] = set()

    def make_folder(chan: Any) -> _Folder:
        return _Folder(chan, directory, writable, faults)

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="sftp-server", daemon=True)
    thread.start()
    listening = asyncio.run_coroutine_threadsafe(_listen(host, port, key, credentials, make_folder, connections), loop)
    try:
        acceptor = listening.result(timeout=20)
    except OSError as error:
        _end(loop, thread)
        raise ServerFailed(f"Port {port} on {host} cannot be used: {error.strerror}.") from None

    def stop() -> None:
        if not loop.is_closed():
            asyncio.run_coroutine_threadsafe(_shut(acceptor, connections), loop).result(timeout=20)
            _end(loop, thread)

    return SftpServer(host, acceptor.get_port(), public_key_text(host_key), faults, stop)


async def _listen(
    host: str,
    port: int,
    key: asyncssh.SSHKey,
    credentials: Credentials,
    make_folder: Callable[[Any], _Folder],
    connections: set[asyncssh.SSHServerConnection],
) -> asyncssh.SSHAcceptor:
    return await asyncssh.listen(
        host,
        port,
        server_host_keys=[key],
        server_factory=lambda: _Login(credentials, connections),
        sftp_factory=make_folder,
        allow_pty=False,
        line_editor=False,
        # Version 3 is what clients speak; later ones open files by other calls.
        sftp_version=3,
    )


async def _shut(acceptor: asyncssh.SSHAcceptor, connections: set[asyncssh.SSHServerConnection]) -> None:
    acceptor.close()
    still_open = list(connections)
    for connection in still_open:
        connection.abort()
    await asyncio.gather(acceptor.wait_closed(), *(connection.wait_closed() for connection in still_open))
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _end(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    loop.call_soon_threadsafe(loop.stop)
    thread.join(timeout=20)
    loop.close()


def _host_key(path: Path) -> asyncssh.SSHKey:
    """Read the private host key, or make it once, readable by its owner only."""
    if not path.exists():
        key = asyncssh.generate_private_key("ssh-ed25519")
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(key.export_private_key())
    key = asyncssh.read_private_key(path)
    path.with_name(path.name + ".pub").write_bytes(key.export_public_key())
    return key


def public_key_text(path: Path) -> str:
    """The public half of the host key file as ``ssh-ed25519 AAAA...``, ready to be pinned."""
    words = path.with_name(path.name + ".pub").read_text().split()
    return " ".join(words[:2])


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code (0 ended, 1 could not start, 2 wrong use)."""
    parser = argparse.ArgumentParser(prog="sftp_server", description="Serve a folder over SFTP on loopback.")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--port-file", type=Path, required=True, help="the port is written here once it listens")
    parser.add_argument("--host-key", type=Path, required=True)
    parser.add_argument("--writable", action="store_true")
    options = parser.parse_args(arguments)
    login, password = os.environ.get("O2C_DEMO_SFTP_LOGIN", ""), os.environ.get("O2C_DEMO_SFTP_PASSWORD", "")
    if not (login and password):
        print("Set O2C_DEMO_SFTP_LOGIN and O2C_DEMO_SFTP_PASSWORD.", file=sys.stderr)
        return 2
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        server = serve(
            options.directory,
            options.host_key,
            Credentials(login, password),
            port=options.port,
            writable=options.writable,
        )
    except ServerFailed as error:
        print(error, file=sys.stderr)
        return 1
    with server:
        write_port(options.port_file, server.port)
        ended.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
