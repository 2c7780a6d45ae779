"""From documents to receivable events. One event per economic event and document: an application is two (A38)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oracle.ledger import Row, Snapshot

Document = tuple[str, str]  # ("invoice" | "credit_memo" | "receipt" | "adjustment", id)


@dataclass(frozen=True)
class Event:
    """Signed amount in document currency, debit to receivables positive.

    ``is_receivable`` is false for the side of a deposit that is a liability (A37).
    """

    entity_code: str
    customer_id: str | None
    document: Document
    document_type: str
    event_type: str
    effective_date: date
    amount: Fraction
    currency: str
    apply_to: Document | None
    source: Document
    is_receivable: bool = True
    recorded_at: datetime | None = None
    takes_back: bool = False


@dataclass(frozen=True)
class Application:
    """Money or credit that is set against an invoice from ``start`` until ``end`` (that day no longer)."""

    row: Row
    invoice: Row
    receipt: Row | None
    credit_memo: Row | None
    start: date
    end: date | None
    bounced: bool

    @property
    def is_cash(self) -> bool:
        return self.receipt is not None

    @property
    def origin(self) -> Row:
        found = self.receipt or self.credit_memo
        assert found is not None
        return found

    def holds_at(self, day: date) -> bool:
        return self.start <= day and (self.end is None or day < self.end)


@dataclass
class Facts:
    """What a picture of the documents says: events, live applications, and what does not count."""

    events: list[Event] = field(default_factory=list)
    applications: list[Application] = field(default_factory=list)
    adjustments: list[Row] = field(default_factory=list)
    pending: list[tuple[str, str]] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


def derive(known: Snapshot, deposits_as_receivables: frozenset[str]) -> Facts:
    facts = Facts()
    for row in known.all("invoice"):
        facts.events += _invoice(row)
    for row in known.all("credit_memo"):
        facts.events.append(_event(_memo(row), "issue", row["posted_on"], -Fraction(row["total_amount"])))
    for row in known.all("receipt"):
        facts.events += _receipt(row, deposits_as_receivables)
    for row in known.all("receipt_application"):
        _apply(known, row, facts, deposits_as_receivables)
    for row in known.all("receivable_adjustment"):
        _adjust(known, row, facts, deposits_as_receivables)
    facts.events = [event for event in facts.events if event.amount]
    return facts


@dataclass(frozen=True)
class _Side:
    """A document to which an event belongs: each stays with its own customer (A47)."""

    row: Row
    document: Document
    document_type: str
    is_receivable: bool = True


def _debit(row: Row) -> _Side:
    return _Side(row, ("invoice", row["invoice_id"]), row["document_type"])


def _memo(row: Row) -> _Side:
    return _Side(row, ("credit_memo", row["credit_memo_id"]), "credit_memo")


def _money(row: Row, deposits_as_receivables: frozenset[str]) -> _Side:
    is_deposit = row["receipt_type"] == "deposit"
    counts = not is_deposit or row["entity_code"] in deposits_as_receivables
    return _Side(row, ("receipt", row["receipt_id"]), "deposit" if is_deposit else "receipt", counts)


def _event(side: _Side, kind: str, day: date, amount: Fraction, **more: Any) -> Event:
    row = side.row
    values: dict[str, Any] = {"apply_to": None, "source": side.document, **more}
    return Event(
        row["entity_code"],
        row.get("customer_id"),
        side.document,
        side.document_type,
        kind,
        day,
        amount,
        row["currency_code"],
        is_receivable=side.is_receivable,
        **values,
    )


def _invoice(row: Row) -> Iterator[Event]:
    total = Fraction(row["total_amount"])
    yield _event(_debit(row), "issue", row["posted_on"], total)  # accounting date for balances (A3)
    if row["status"] == "cancelled":
        # Not in the text: a cancellation takes the sale back on its own day; what was paid becomes a credit (A7).
        yield _event(_debit(row), "cancel", row.get("cancelled_on") or row["posted_on"], -total)


def _receipt(row: Row, deposits_as_receivables: frozenset[str]) -> Iterator[Event]:
    side = _money(row, deposits_as_receivables)
    yield _event(side, "receive", row["received_on"], -Fraction(row["amount"]))
    if row.get("reversed_on"):
        yield _event(side, "reverse", row["reversed_on"], Fraction(row["amount"]))


def _apply(known: Snapshot, row: Row, facts: Facts, deposits_as_receivables: frozenset[str]) -> None:
    application = _matched(known, row, facts)
    if application is None:
        return
    facts.applications.append(application)
    debit = _debit(application.invoice)
    credit = (
        _money(application.receipt, deposits_as_receivables)
        if application.receipt is not None
        else _memo(application.origin)
    )
    source = ("application", row["application_id"])
    amount, discount = Fraction(row["applied_amount"]), Fraction(row["discount_amount"] or 0)
    steps = [("apply", "discount", application.start, 1)]
    if application.end is not None:
        # What came with the receipt or was taken back with it goes too: the discount (A6).
        steps.append(("unapply", "discount_reversal", application.end, -1))
    for applied, allowed, day, sign in steps:
        facts.events += [
            _event(debit, applied, day, -sign * amount, apply_to=credit.document, source=source),
            _event(credit, applied, day, sign * amount, apply_to=debit.document, source=source),
            _event(debit, allowed, day, -sign * discount, apply_to=credit.document, source=source),
        ]


def _matched(known: Snapshot, row: Row, facts: Facts) -> Application | None:
    """Waits for its two documents (A27); two currencies are refused (A43)."""
    invoice = known.get("invoice", row["invoice_id"])
    receipt = known.get("receipt", row.get("receipt_id"))
    memo = known.get("credit_memo", row.get("credit_memo_id"))
    origin = receipt or memo
    if invoice is None or origin is None:
        facts.pending.append(("receipt_application", row["application_id"]))
        return None
    if len({row["currency_code"], invoice["currency_code"], origin["currency_code"]}) > 1:
        facts.refused.append(("receipt_application", row["application_id"]))
        return None
    start = row["applied_on"]
    bounce = receipt["reversed_on"] if receipt and receipt.get("reversed_on") else None
    ends = [max(day, start) for day in (row.get("unapplied_on"), bounce) if day]
    end = min(ends, default=None)
    bounced = bounce is not None and end == max(bounce, start)
    return Application(row, invoice, receipt, memo, start, end, bounced)


_ADJUSTMENTS = {"write_off": ("invoice", -1), "write_off_reversal": ("invoice", 1), "refund": ("receipt", 1)}


def _adjust(known: Snapshot, row: Row, facts: Facts, deposits_as_receivables: frozenset[str]) -> None:
    entity, sign = _ADJUSTMENTS[row["adjustment_type"]]
    target = row.get(f"{entity}_id")
    found = known.get(entity, target)
    if target and found is None:
        facts.pending.append(("receivable_adjustment", row["adjustment_id"]))
        return
    if found is None:
        # Names no document: a balance of its own, on account.
        side = _Side(row, ("adjustment", row["adjustment_id"]), "adjustment")
    elif found["currency_code"] != row["currency_code"]:
        facts.refused.append(("receivable_adjustment", row["adjustment_id"]))
        return
    else:
        side = _debit(found) if entity == "invoice" else _money(found, deposits_as_receivables)
    facts.adjustments.append(row)
    source = ("adjustment", row["adjustment_id"])
    facts.events.append(
        _event(side, row["adjustment_type"], row["adjusted_on"], sign * Fraction(row["amount"]), source=source)
    )
