"""The evidence chain of an installation: verify it, export it, anchor it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from o2c.errors import UsageError
from o2c.settings import Settings
from o2c.warehouse import anchors, chain_export
from o2c.warehouse.anchors import Anchor
from o2c.warehouse.chain import Report, check_ledger, recorded, verify
from o2c.warehouse.evidence import Head
from o2c.warehouse.session import connect
from o2c.warehouse.signing import public_keys, read_public_keys


def verify_chain(settings: Settings, keys: Sequence[Path] = ()) -> Report:
    """Verify the chain in the warehouse with its anchors and the ledger.

    Args:
        settings: which warehouse, which anchor file.
        keys: public keys that may have signed; default: those beside the signing key.

    Raises:
        ChainBroken: naming the first bad event, or the first ledger row without its event.
        AnchorsBroken: the anchor file does not hold.
    """
    # Anchors first: an event that is anchored meanwhile is not missed, one that is added meanwhile is not expected.
    signed = list_anchors(settings)
    with connect(settings) as connection:
        connection.execute("set transaction isolation level repeatable read, read only")
        return check_warehouse(settings, connection, signed, keys)


def check_warehouse(
    settings: Settings, connection: psycopg.Connection, signed: Iterator[Anchor], keys: Sequence[Path] = ()
) -> Report:
    """What :func:`verify_chain` does, in the caller's transaction and with the anchors that it has listed before."""
    known = read_public_keys(keys or own_public_keys(settings))
    where = str(settings.anchors_file)
    report = verify(recorded(connection), signed, partial(anchors.check_signature, keys=known, where=where))
    check_ledger(connection)
    return report


def verify_export(path: Path, keys: Sequence[Path] = ()) -> Report:
    """Verify an exported chain, without a warehouse; raises like :func:`verify_chain`.

    Args:
        path: a file written by :func:`export_chain`.
        keys: public keys that may have signed; default: those in the file, which prove less.
    """
    export = chain_export.Export(path)
    known = read_public_keys(keys) if keys else _keys_inside(export)
    return verify(export.events(), export.anchors(), partial(anchors.check_signature, keys=known, where=str(path)))


def export_chain(settings: Settings, path: Path) -> int:
    """Write the chain, its ledger rows and its anchors to ``path``; returns the number of events."""
    texts = {file.name: file.read_text(encoding="utf-8") for file in own_public_keys(settings)}
    with connect(settings) as connection:
        connection.execute("set transaction isolation level repeatable read, read only")
        return chain_export.write(path, recorded(connection), list_anchors(settings), texts)


def anchor_head(settings: Settings) -> tuple[Head, bool] | None:
    """Sign the newest event; returns it and whether that was needed, or None when the chain is empty.

    Raises:
        UsageError: the key cannot be used, or the file cannot be written.
    """
    with connect(settings) as connection:
        row = connection.execute("select sequence, hash from ops.evidence order by sequence desc limit 1").fetchone()
    if row is None:
        return None
    head = Head(*row)
    try:
        return head, anchors.write(settings, head)
    except OSError as error:
        raise UsageError(
            f"The anchor cannot be written: {error.strerror}.",
            where=str(settings.anchors_file),
            next_step="Check O2C_HOME, O2C_SIGNING_KEY and their rights.",
        ) from None


def list_anchors(settings: Settings) -> Iterator[Anchor]:
    """The anchors there are at this moment; those that are written while they are read are left out."""
    path = settings.anchors_file
    return anchors.read(path, path.stat().st_size if path.exists() else 0)


def own_public_keys(settings: Settings) -> list[Path]:
    """The public keys that lie beside the signing key, retired ones among them."""
    return sorted(settings.signing_key.parent.glob("*.pub"))


def _keys_inside(export: chain_export.Export) -> Mapping[str, Any]:
    return public_keys({f"{export.path}: {name}": text for name, text in export.public_keys.items()})
