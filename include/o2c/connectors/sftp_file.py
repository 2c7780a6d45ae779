"""Reads files over SFTP: one part per new or changed file of a folder, the original bytes.

``source`` keys: ``path`` (remote folder), ``pattern`` (glob over names). The connection must pin the server's key:
``extra['host_key']`` = ``ssh-ed25519 AAAA...``. Other extras: ``private_key`` (text) or ``key_file`` with
``private_key_passphrase`` instead of a password, ``stable_for`` (default ``0s``), and in seconds ``timeout`` of one
answer (default 30) and ``deadline`` of the whole extract (default 3600).
"""

from __future__ import annotations

import logging
import posixpath
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from stat import S_ISREG
from typing import Any

import paramiko

from o2c.connections import Connection
from o2c.connectors.base import BLOCK_SIZE, ExtractRequest, Part
from o2c.connectors.deadline import Deadline
from o2c.connectors.file_rules import FileState, check_whole, select, stable_for
from o2c.errors import FatalSourceError, SourceError, UsageError

log = logging.getLogger(__name__)
# Every failure becomes an error of ours; the library would print its traceback as well.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)

# Asked for ahead of reading: enough to hide the round trips, little enough to stay small for any size of file.
_AHEAD = 16 * 1024 * 1024
_LONGEST = 3600.0
_KEY_ALGORITHMS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}


def extract(request: ExtractRequest, *, sleep: Callable[[float], None] = time.sleep) -> Iterator[Part]:
    """Yield one part per file that is new, or differs from its published fingerprint, sorted by name.

    A file whose size still moves between listing and opening is left for the next run. The connection closes when
    the iterator ends or is closed.

    Raises:
        UsageError: the flow has no connection, or the connection pins no readable host key.
        FatalSourceError: ``unknown_host_key``, ``unauthorized``, ``missing_file`` or ``unsafe_file_name``.
        SourceError: the server cannot be reached, cut the transfer, or a file changed while it was read.
    """
    connection = request.connection
    if connection is None:
        raise UsageError(
            "The flow names no connection.", where=f"flow {request.flow}", next_step="Add source.connection."
        )
    where = f"flow {request.flow}, connection {connection.conn_id} ({connection.host}:{connection.port or 22})"
    folder = str(request.source.get("path") or "/")
    with (
        Deadline.of(connection, _LONGEST) as deadline,
        deadline.guard(where),
        _session(connection, deadline, where) as (client, fingerprint),
    ):
        listed = _list(client, folder, where)
        pattern = str(request.source.get("pattern") or "*")
        chosen = list(select(listed, pattern, request.known_files, where, request.seen))
        if chosen:
            sleep(stable_for(request))
        for file in chosen:
            path = posixpath.join(folder, file.name)
            if _peek(client, path, where) != file:
                log.warning("%s: %s is still being written; left for the next run", where, file.name)
                continue
            part = _part(client, path, file, fingerprint, where)
            yield replace(part, blocks=_in_time(deadline, part.blocks, f"{where}, file {path}"))


def _in_time(deadline: Deadline, blocks: Iterator[bytes], where: str) -> Iterator[bytes]:
    with deadline.guard(where):
        yield from blocks


@contextmanager
def _session(connection: Connection, deadline: Deadline, where: str) -> Iterator[tuple[paramiko.SFTPClient, str]]:
    timeout = float(connection.extra.get("timeout", 30))
    pinned_type, pinned_key = _pinned_key(connection, where)
    transport = _connect(connection, timeout, where)
    deadline.watch(transport.sock.fileno())
    try:
        key = _handshake(transport, pinned_type, timeout, where)
        if (key.get_name(), key.get_base64()) != (pinned_type, pinned_key):
            raise _unknown_host_key(f"The server shows the host key {key.fingerprint}, not the pinned one.", where)
        _log_in(transport, connection, where)
        with _translated(where):
            client = paramiko.SFTPClient.from_transport(transport)
        channel = client.get_channel() if client else None
        if client is None or channel is None:
            raise SourceError("The server opened no SFTP channel.", where=where, next_step="Check the server's set-up.")
        channel.settimeout(timeout)
        yield client, key.fingerprint
    finally:
        transport.close()


def _pinned_key(connection: Connection, where: str) -> tuple[str, str]:
    words = str(connection.extra.get("host_key") or "").split()
    if len(words) >= 2 and words[0].startswith(("ssh-", "ecdsa-")):
        return words[0], words[1]
    raise _unknown_host_key("The connection pins no host key.", where)


def _unknown_host_key(what: str, where: str) -> FatalSourceError:
    return FatalSourceError(
        what,
        reason="unknown_host_key",
        where=where,
        next_step="Ask the owner of the server for its public host key, compare it, and set it as 'host_key' "
        "(for example 'ssh-ed25519 AAAA...') in the connection's extra.",
    )


def _connect(connection: Connection, timeout: float, where: str) -> paramiko.Transport:
    try:
        raw = socket.create_connection((connection.host, connection.port or 22), timeout=timeout)
    except OSError as error:
        raise SourceError(
            f"The SFTP server cannot be reached: {error.strerror or error}.",
            where=where,
            next_step="Check host and port of the connection, and that the server is up.",
        ) from None
    return paramiko.Transport(raw)


def _handshake(transport: paramiko.Transport, key_type: str, timeout: float, where: str) -> paramiko.PKey:
    """Agree on keys, asking only for the pinned kind: a server with several keys then shows the right one."""
    try:
        transport.get_security_options().key_types = _KEY_ALGORITHMS.get(key_type, (key_type,))
        transport.start_client(timeout=timeout)
        return transport.get_remote_server_key()
    except (paramiko.ssh_exception.IncompatiblePeer, ValueError):
        raise _unknown_host_key(f"The server has no host key of the pinned kind {key_type}.", where) from None
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise _failed(error, where) from None


def _log_in(transport: paramiko.Transport, connection: Connection, where: str) -> None:
    key = _private_key(connection, where)
    try:
        if key is not None:
            transport.auth_publickey(connection.login, key)
        else:
            transport.auth_password(connection.login, connection.password, fallback=False)
    except paramiko.AuthenticationException:
        raise FatalSourceError(
            f"The server refused the login '{connection.login}'.",
            reason="unauthorized",
            where=where,
            next_step="Correct login and password or key of the connection.",
        ) from None
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise _failed(error, where) from None


def _private_key(connection: Connection, where: str) -> paramiko.PKey | None:
    extra = connection.extra
    passphrase = extra.get("private_key_passphrase")
    try:
        if "private_key" in extra:
            return paramiko.Ed25519Key.from_private_key(StringIO(extra["private_key"]), passphrase)
        if "key_file" in extra:
            return paramiko.PKey.from_path(Path(extra["key_file"]), passphrase.encode() if passphrase else None)
    except (paramiko.SSHException, OSError, ValueError, TypeError):
        raise UsageError(
            "The private key cannot be read.", where=where, next_step="Check key_file or private_key (ed25519)."
        ) from None
    return None


def _list(client: paramiko.SFTPClient, folder: str, where: str) -> list[FileState]:
    with _translated(f"{where}, folder {folder}"):
        # Links and folders are not followed: a link could lead anywhere on the server.
        return [
            _state(attributes.filename, attributes)
            for attributes in client.listdir_attr(folder)
            if S_ISREG(attributes.st_mode or 0)
        ]


def _peek(client: paramiko.SFTPClient, path: str, where: str) -> FileState | None:
    with _translated(f"{where}, file {path}"):
        try:
            return _state(posixpath.basename(path), client.lstat(path))
        except FileNotFoundError:
            return None


def _state(name: str, attributes: paramiko.SFTPAttributes) -> FileState:
    return FileState(name, attributes.st_size or 0, int(attributes.st_mtime or 0))


def _part(client: paramiko.SFTPClient, path: str, file: FileState, fingerprint: str, where: str) -> Part:
    return Part(
        name=file.name,
        blocks=_blocks(client, path, file, f"{where}, file {path}"),
        origin={
            "path": path,
            "size": file.size,
            "modified_at": datetime.fromtimestamp(file.modified, UTC).isoformat(),
            "host_key": fingerprint,
        },
        fingerprint=file.fingerprint,
    )


def _blocks(client: paramiko.SFTPClient, path: str, file: FileState, where: str) -> Iterator[bytes]:
    read = asked = 0
    with _translated(where):
        remote = client.open(path, "rb")
    _hush(remote)
    try:
        while True:
            if read >= asked and asked < file.size:
                asked = min(file.size, read + _AHEAD)
                with _translated(where):
                    remote.prefetch(asked)
            block = _read(remote, where)
            if not block:
                break
            read += len(block)
            yield block
    finally:
        _close(remote)
    check_whole(file, _peek(client, path, where), read, where)


def _hush(remote: Any) -> None:
    """Let the thread that asks ahead end quietly when the connection goes: the reader meets the same failure."""
    ask_ahead = remote._prefetch_thread

    def quiet(*arguments: Any) -> None:
        with suppress(paramiko.SSHException, OSError, EOFError):
            ask_ahead(*arguments)

    remote._prefetch_thread = quiet


def _read(remote: Any, where: str) -> bytes:
    with _translated(where):
        return bytes(remote.read(BLOCK_SIZE))


def _close(remote: Any) -> None:
    # The server may be gone before the file can be closed.
    with suppress(paramiko.SSHException, OSError, EOFError):
        remote.close()


@contextmanager
def _translated(where: str) -> Iterator[None]:
    """Turn the library's failures into errors a person can act on."""
    try:
        yield
    except FileNotFoundError:
        raise FatalSourceError(
            "The file or folder does not exist on the server.",
            reason="missing_file",
            where=where,
            next_step="Correct source.path of the flow.",
        ) from None
    except PermissionError:
        raise FatalSourceError(
            "The server does not let this login read there.",
            reason="unauthorized",
            where=where,
            next_step="Ask the owner of the server for the right to read.",
        ) from None
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise _failed(error, where) from None


def _failed(error: Exception, where: str) -> SourceError:
    detail = "no answer in time" if isinstance(error, TimeoutError) else str(error) or "the connection was cut"
    return SourceError(
        f"The SFTP transfer failed: {detail}.", where=where, next_step="Nothing was loaded; run the flow again."
    )
