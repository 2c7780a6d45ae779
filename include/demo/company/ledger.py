"""The company's own general ledger: postings as they happen, balances at chosen days.

This is the reference the receivables sub-ledger is tied out to, so it is kept apart from the documents: every
business event posts here once, with its accounting date and the moment it was recorded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from demo.company.calendar import closing_moment
from demo.company.model import Record

RECEIVABLES = "1200"
DEPOSITS = "2150"
WRITE_OFFS = "6300"
DISCOUNTS = "4730"
ACCOUNT_NAMES = {
    RECEIVABLES: "Trade receivables",
    DEPOSITS: "Customer deposits",
    WRITE_OFFS: "Bad debt expense",
    DISCOUNTS: "Cash discounts granted",
}


@dataclass(frozen=True, slots=True)
class Posting:
    """One side of a booking in document currency; debit positive."""

    recorded_at: datetime
    effective_on: date
    entity_code: str
    account: str
    currency: str
    amount: Decimal


class Ledger:
    """All postings, in the order they were planned."""

    def __init__(self) -> None:
        self.postings: list[Posting] = []

    def post(self, at: datetime, on: date, entity: str, account: str, currency: str, amount: Decimal) -> None:
        """Book ``amount`` (debit positive) with accounting date ``on``, recorded at ``at``."""
        if amount:
            self.postings.append(Posting(at, on, entity, account, currency, amount))

    def balances(self, cuts: Sequence[date], now: datetime) -> Iterator[Record]:
        """A ``gl_balance`` row per cut day, entity, account and currency, as known at ``now``.

        A balance exists from the first cut day on or after the first posting of its account.
        """
        known = sorted((p for p in self.postings if p.recorded_at <= now), key=lambda p: p.effective_on)
        balance: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
        touched: dict[tuple[str, str, str], datetime] = {}
        position = 0
        for cut in cuts:
            while position < len(known) and known[position].effective_on <= cut:
                posting = known[position]
                key = (posting.entity_code, posting.account, posting.currency)
                balance[key] += posting.amount
                touched[key] = max(touched.get(key, posting.recorded_at), posting.recorded_at)
                position += 1
            for key in sorted(balance):
                yield _balance_row(key, cut, balance[key], touched[key])


def _balance_row(key: tuple[str, str, str], cut: date, amount: Decimal, touched: datetime) -> Record:
    entity, account, currency = key
    return {
        "id": f"{entity}-{account}-{currency}-{cut:%Y%m%d}",
        "company_id": entity,
        "account": account,
        "acct_name": ACCOUNT_NAMES[account],
        "ar_control": account == RECEIVABLES,
        "ccy": currency,
        "day": cut,
        "bal": amount,
        # A late posting moves a balance that was already closed.
        "updated_at": max(closing_moment(cut), touched),
    }
