"""What happens when time moves on: corrections of documents that were known already.

Each month a few invoices are kept aside, some unpaid and some paid by money nobody applied. Moving time on takes the
oldest of them for a changed due date, a late credit memo and a backdated application; what is not taken ends in the
ordinary way after two months.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from demo.company import documents as doc
from demo.company import order_to_cash as flow
from demo.company.calendar import add_months, business_day
from demo.company.leaks import unpaid_invoice
from demo.company.model import Invoice, Receipt
from demo.company.money import ZERO, share
from demo.company.world import World

_SPOTS = (("DE01", "EUR"), ("JP01", "JPY"), ("GB01", "GBP"), ("KW01", "KWD"))
_KEPT_DAYS = 62
_MATURE_DAYS = 21


@dataclass(slots=True)
class Kept:
    """An invoice kept aside; ``receipt`` is money of the customer that is not applied to it yet."""

    invoice: Invoice
    receipt: Receipt | None
    credited: Decimal = ZERO
    is_used: bool = False
    is_settled: bool = False


class Corrections:
    """Keeps invoices aside and corrects them when time moves on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._kept: list[Kept] = []

    def plan(self) -> None:
        """Put the monthly candidates and the corrections of every tick on the agenda."""
        world, month, index = self._world, self._world.first, 0
        while month <= world.today:
            for offset, is_paid in ((2, False), (9, True), (16, False), (20, True)):
                self._plan_candidate(month + timedelta(days=offset), _SPOTS[index % len(_SPOTS)], is_paid)
                index += 1
            month = add_months(month, 1)
        last = world.base_today
        for days in world.profile.ticks:
            day = business_day("DE01", last + timedelta(days=1 + days // 2))
            last += timedelta(days=days)
            self._plan_corrections(min(day, last))

    def _plan_candidate(self, day: date, spot: tuple[str, str], is_paid: bool) -> None:
        booked = business_day(spot[0], day)
        self._world.plan(booked, lambda: self._keep(booked, spot, is_paid))

    def _keep(self, day: date, spot: tuple[str, str], is_paid: bool) -> None:
        world = self._world
        customer = world.customer_of(spot[0], currency=spot[1])
        _, invoice = unpaid_invoice(world, customer, day)
        receipt = None
        if is_paid:
            paid_on = world.after(invoice.entity, invoice.posted_on, 9)
            receipt = doc.receive(world, customer, invoice.currency, paid_on, invoice.total, "PAYMENT ON ACCOUNT")
        kept = Kept(invoice, receipt)
        self._kept.append(kept)
        ends_on = business_day(spot[0], day + timedelta(days=_KEPT_DAYS))
        world.plan(ends_on, lambda: self._settle(kept, ends_on))

    def _settle(self, kept: Kept, day: date) -> None:
        if kept.is_settled:
            return
        kept.is_settled = True
        if kept.receipt is not None:
            doc.match(self._world, kept.receipt, kept.invoice, day, kept.receipt.amount, auto=False)
        else:
            flow.pay(self._world, kept.invoice, day, kept.invoice.total - kept.credited)

    def _take(self, day: date, *, is_paid: bool) -> Kept | None:
        """The oldest kept invoice that is old enough to be corrected on ``day``."""
        for kept in self._kept:
            since = kept.receipt.received_on if kept.receipt else kept.invoice.posted_on
            is_open = not (kept.is_used or kept.is_settled) and (kept.receipt is not None) == is_paid
            if is_open and since + timedelta(days=_MATURE_DAYS) <= day:
                kept.is_used = True
                return kept
        return None

    def _plan_corrections(self, day: date) -> None:
        for correct in (self._move_due_date, self._credit_late, self._apply_backdated):
            self._world.plan(day, lambda correct=correct: correct(day))  # type: ignore[misc]

    def _move_due_date(self, day: date) -> None:
        kept = self._take(day, is_paid=False)
        if kept is None:
            return
        invoice, was = kept.invoice, kept.invoice.due_on
        invoice.due_on = was + timedelta(days=30)
        at = self._world.at(invoice.entity, day, "correct")
        invoice.row.change(at, due_day=invoice.due_on, first_due_day=was)
        self._world.truth.case("due_date_moved", day, invoice_id=invoice.id, original_due_on=was.isoformat())

    def _credit_late(self, day: date) -> None:
        kept = self._take(day, is_paid=False)
        if kept is None:
            return
        invoice, line = kept.invoice, kept.invoice.lines[0]
        dated = self._world.after(invoice.entity, invoice.posted_on, 3)
        parts = [(line, line.quantity, share(line.net, 10, invoice.currency))]
        note = doc.credit(self._world, invoice, dated, parts, "PRI", recorded_on=day)
        doc.apply_credit(self._world, note, invoice, day, note.total)
        kept.credited = note.total
        self._world.truth.case("late_arriving_credit_memo", day, credit_memo_id=note.id, invoice_id=invoice.id)

    def _apply_backdated(self, day: date) -> None:
        kept = self._take(day, is_paid=True)
        if kept is None or kept.receipt is None:
            return
        kept.is_settled = True
        dated = self._world.after(kept.invoice.entity, kept.receipt.received_on, 1)
        found = doc.match(
            self._world, kept.receipt, kept.invoice, dated, kept.receipt.amount, recorded_on=day, auto=False
        )
        keys = {"application_id": found.row.values["id"], "receipt_id": kept.receipt.id}
        self._world.truth.case("backdated_application", day, **keys)
