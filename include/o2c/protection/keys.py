"""The key of the hashes that stand for card numbers: random, made when first needed, readable by its owner only."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from o2c.errors import UsageError

_BYTES = 32


def keyed_hash(key: bytes, digits: str) -> bytes:
    """HMAC-SHA256 of a card number (PCI DSS 3.5.1.1): equal numbers are seen to be equal, and nothing else."""
    return hmac.new(key, digits.encode(), hashlib.sha256).digest()


def masking_key(home: Path) -> bytes:
    """The key from ``O2C_MASKING_KEY`` (64 hex digits), else from ``keys/masking.key`` below ``home``.

    Raises:
        UsageError: the key is not 32 bytes in hex, or others may read its file.
    """
    text = os.environ.get("O2C_MASKING_KEY")
    if text:
        return _decoded(text, "environment variable O2C_MASKING_KEY")
    path = home / "keys" / "masking.key"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Two loads may need the first key at once: who comes second reads what the first has written, all of it.
    draft = path.with_name(f".{secrets.token_hex(8)}")
    if not path.exists():
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(_BYTES) + "\n")
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    if path.stat().st_mode & 0o077:
        raise UsageError("Others may read the masking key.", where=str(path), next_step=f"Run: chmod 600 {path}")
    return _decoded(path.read_text(encoding="ascii"), str(path))


def _decoded(text: str, where: str) -> bytes:
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != _BYTES:
        raise UsageError("The masking key is not 32 bytes.", where=where, next_step="Write 64 hex digits.")
    return key
