"""Count what passes by: records, and money per currency, while COPY reads the same blocks.

The count is a second opinion. COPY parses in the server, this parses here; a load goes on only when both, and the
table afterwards, agree.
"""

from __future__ import annotations

import io
import re
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation, localcontext
from queue import Queue

import pandas as pd

from o2c.errors import FatalSourceError
from o2c.warehouse.mapping_sql import number_pattern

_DIGITS = 2_000
# Digits before the point that a numeric of Postgres holds.
_LIMIT = 131_072


@dataclass(frozen=True)
class MoneyColumns:
    """Where amounts stand in the records: positions from 0, and how numbers are written."""

    amount: int
    currency: int | str
    decimal: str = "."
    thousands: str = ""

    @property
    def is_plain(self) -> bool:
        """True for numbers written as Postgres writes them."""
        return self.decimal == "." and not self.thousands


@dataclass
class Totals:
    """Records and exact sums by currency text ('' where there is none); unreadable amounts count as zero."""

    rows: int = 0
    amounts: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))


def metered(
    blocks: Iterable[bytes], columns: int, delimiter: str, money: MoneyColumns | None, totals: Totals, where: str = ""
) -> Iterator[bytes]:
    """Pass ``blocks`` on and count them in a thread beside; ``totals`` is complete when the iterator ends.

    Raises:
        FatalSourceError: a block cannot be parsed as records.
    """
    queue: Queue[bytes | None] = Queue(maxsize=4)
    failure: list[Exception] = []
    worker = threading.Thread(target=_count, args=(queue, columns, delimiter, money, totals, failure), daemon=True)
    worker.start()
    try:
        for block in blocks:
            queue.put(block)
            yield block
    finally:
        queue.put(None)
        worker.join()
    if failure:
        raise FatalSourceError(
            f"The records cannot be counted: {failure[0]}",
            reason="malformed_file",
            where=where,
            next_step="Check the delimiter and the quoting of the file.",
        )


def _count(
    queue: Queue[bytes | None],
    columns: int,
    delimiter: str,
    money: MoneyColumns | None,
    totals: Totals,
    failure: list[Exception],
) -> None:
    wanted = _wanted(money)
    while (block := queue.get()) is not None:
        if failure:
            continue
        try:
            with localcontext(prec=_DIGITS):
                _count_block(block, columns, wanted, delimiter, money, totals)
        except Exception as error:
            failure.append(error)


def _wanted(money: MoneyColumns | None) -> list[int]:
    if money is None:
        return [0]
    return sorted({money.amount, *([money.currency] if isinstance(money.currency, int) else [])})


def _count_block(
    block: bytes, columns: int, wanted: list[int], delimiter: str, money: MoneyColumns | None, totals: Totals
) -> None:
    frame = pd.read_csv(
        io.BytesIO(block),
        header=None,
        names=range(columns),
        usecols=wanted,
        sep=delimiter,
        dtype=object,
        na_filter=False,
        skip_blank_lines=False,
        engine="c",
        low_memory=False,
    )
    totals.rows += len(frame)
    if money is None:
        return
    amounts = frame[money.amount].tolist()
    if isinstance(money.currency, int):
        currencies = frame[money.currency].tolist()
    else:
        currencies = [money.currency] * len(amounts)
    sums = totals.amounts
    for currency, amount in zip(currencies, amounts, strict=True):
        if amount:
            sums[currency] += _decimal(amount, money)


def _decimal(text: str, money: MoneyColumns) -> Decimal:
    if not money.is_plain:
        if not re.fullmatch(number_pattern(money.decimal, money.thousands), text):
            return Decimal(0)
        text = text.replace(money.thousands, "") if money.thousands else text
        text = text.replace(money.decimal, ".")
    # Python reads digits of every script and skips underscores.
    if not text.isascii() or "_" in text:
        return Decimal(0)
    try:
        value = Decimal(text)
    except InvalidOperation:
        return Decimal(0)
    return value if value.is_finite() and abs(value.adjusted()) < _LIMIT else Decimal(0)
