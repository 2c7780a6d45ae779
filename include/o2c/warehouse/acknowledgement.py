"""A COMMIT that was sent and never answered: ask the ledger what became of it."""

from __future__ import annotations

import time

from o2c.errors import WarehouseError
from o2c.settings import Settings
from o2c.warehouse.request import KINDS, Published
from o2c.warehouse.session import connect

_ATTEMPTS = 5
_FIRST_WAIT = 0.2


def settled(settings: Settings, load_id: str) -> Published | None:
    """What the ledger says of a load whose publication broke off, or None when it was not published.

    The lock on the fence makes it wait for a transaction that the server has not ended yet. None too when the
    warehouse cannot be reached within some seconds: then the load stays gated, and asking again is safe.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return _look_up(settings, load_id)
        except WarehouseError:
            time.sleep(_FIRST_WAIT * 2**attempt)
    return None


def _look_up(settings: Settings, load_id: str) -> Published | None:
    with connect(settings) as connection:
        connection.execute("set local lock_timeout = '60s'")
        connection.execute(
            "select from ops.fence where flow = (select flow from ops.load where load_id = %s) for update", [load_id]
        )
        row = connection.execute(
            "select flow, source_rows, published_rows, quarantined_rows, duplicate_rows from ops.load_ledger"
            " where load_id = %s",
            [load_id],
        ).fetchone()
        if row is None:
            return None
        result = Published(load_id, row[0], row[1], dict(zip(KINDS, row[2:], strict=True)))
        for currency, *amounts in connection.execute(
            "select currency_code, published_amount, quarantined_amount, duplicate_amount"
            " from ops.load_ledger_total where load_id = %s",
            [load_id],
        ):
            for kind, amount in zip(KINDS, amounts, strict=True):
                result.amounts[kind][currency] = amount
        return result
