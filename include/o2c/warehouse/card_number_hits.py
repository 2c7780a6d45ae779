"""Card numbers that came, as a keyed hash and the last four digits: enough to find them at the source again."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from o2c.protection.screen import Hit
from o2c.warehouse.ledger import Load


def note_hits(connection: psycopg.Connection, load: Load, file: str, hits: Sequence[Hit]) -> None:
    """Keep the hits of one landing file."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into quarantine.card_number_hit (load_id, flow, landing_file, place, byte_offset, keyed_hash,"
            " last_four) values (%s, %s, %s, %s, %s, %s, %s)",
            [
                (load.load_id, load.flow, file, hit.place, hit.byte_offset, hit.keyed_hash, hit.last_four)
                for hit in hits
            ],
        )
