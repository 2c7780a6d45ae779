"""The Ed25519 key that signs anchors: made on first use, kept outside the database, its public half beside it."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from o2c.errors import UsageError


def signing_key(path: Path) -> Ed25519PrivateKey:
    """Read the private key, or make it (mode 0600) with its public half beside it.

    Raises:
        UsageError: the file is no such key, or others may read it.
    """
    if not path.exists():
        _make(path)
    if path.stat().st_mode & 0o077:
        raise UsageError(
            "Others may read the key that signs the evidence.",
            where=str(path),
            next_step="Run 'chmod 600' on it, and make a new key if it may have been copied.",
        )
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(
            "This is no Ed25519 key without a password.",
            where=str(path),
            next_step="Set O2C_SIGNING_KEY to a key in PEM (PKCS 8), or move the file away to have one made.",
        )
    return key


def public_file(path: Path) -> Path:
    """Where the public half of the key in ``path`` lies."""
    return path.with_suffix(".pub")


def key_id(key: Ed25519PublicKey) -> str:
    """The name of a key: sha256 of its 32 bytes, in hex."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()


def read_public_keys(paths: Iterable[Path]) -> Mapping[str, Ed25519PublicKey]:
    """Public keys in PEM files, by :func:`key_id`; raises :class:`UsageError` when one cannot be read."""
    return public_keys({str(path): path.read_text("utf-8") if path.is_file() else "" for path in paths})


def public_keys(texts: Mapping[str, str]) -> Mapping[str, Ed25519PublicKey]:
    """Public keys in PEM, given by where they stand; raises :class:`UsageError` when one cannot be read."""
    keys = {}
    for where, text in texts.items():
        try:
            key = serialization.load_pem_public_key(text.encode())
        except ValueError:
            key = None
        if not isinstance(key, Ed25519PublicKey):
            raise UsageError("This is no public Ed25519 key.", where=where, next_step="Name the .pub file of the key.")
        keys[key_id(key)] = key
    return keys


def holds(key: Ed25519PublicKey, signature: bytes, text: bytes) -> bool:
    """Whether ``text`` was signed with the private half of ``key``."""
    try:
        key.verify(signature, text)
    except InvalidSignature:
        return False
    return True


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    descriptor, draft = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(private)
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:  # another process was faster; its key is the one
            return
    finally:
        os.unlink(draft)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    public_file(path).write_bytes(public)
