"""The receivables of one scope, under one set of parameters: balances, open items, sales, settlements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from fractions import Fraction
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from oracle.dates import Window, next_business_day
from oracle.events import Document, Event
from oracle.ledger import Ledger, Row
from oracle.rates import Rates

ZERO = Fraction(0)


@dataclass(frozen=True)
class Parameters:
    """Stored with every result. ``None`` in a scope means all.

    ``fx_basis``: ``transaction`` (nothing is converted: one currency in scope), ``constant`` (everything at the
    closing rate of as_of, A36), ``historical`` (flows at the spot rate of their day, balances at closing).
    """

    as_of: date
    as_known: date | datetime
    ar_basis: str = "net_of_unapplied"  # gross_invoices | net_of_unapplied | net_of_allowance
    tax_basis: str = "incl"
    intercompany: str = "excl"
    disputed: str = "incl"
    fx_basis: str = "transaction"
    days_basis: str = "actual"
    currency: str | None = None  # reporting currency
    pivot: str | None = None
    entity: str | None = None
    customer: str | None = None
    segment: str | None = None
    document_currency: str | None = None
    business_days: tuple[str, ...] = ()  # entities whose due dates move off weekends (A12)
    holidays: tuple[date, ...] = ()
    allowance: Fraction = ZERO  # of net_of_allowance (A39)
    without: frozenset[Document] = frozenset()  # documents left out, to compare over the same ones (W9)


@dataclass(frozen=True)
class Item:
    """One schedule line of an invoice. ``open`` and ``disputed`` as of a day, in the currency of the report."""

    invoice_id: str
    line: str
    customer_id: str
    entity_code: str
    currency: str
    issued_on: date
    posted_on: date
    due_on: date
    original_due_on: date
    is_retention: bool
    amount: Fraction
    open: Fraction
    disputed: Fraction = ZERO
    mark: str | None = None  # due_date_missing

    def late(self, day: date) -> int:
        return (day - self.due_on).days


@dataclass(frozen=True)
class Part:
    """A piece of what reduced an invoice, on one schedule line. Amount in document currency."""

    item: Item
    kind: str  # cash | discount | credit | write_off | cancel
    day: date
    amount: Fraction
    receipt: Row | None = None
    application: Row | None = None


@dataclass(frozen=True)
class Balance:
    """Receivables of a scope on a day. Credits are negative."""

    gross: Fraction
    unapplied_cash: Fraction
    unidentified_cash: Fraction
    deposits: Fraction
    unapplied_credits: Fraction

    @property
    def unapplied(self) -> Fraction:
        return self.unapplied_cash + self.unidentified_cash + self.deposits + self.unapplied_credits

    @property
    def net(self) -> Fraction:
        return self.gross + self.unapplied


@dataclass
class Book:
    """All figures start here. Ask a new one for other parameters: :meth:`with_`."""

    ledger: Ledger
    parameters: Parameters
    missing_rates: set[tuple[str, str, date]] = field(default_factory=set)
    _memory: dict[Any, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.known = self.ledger.known(self.parameters.as_known)
        self.facts = self.ledger.facts(self.parameters.as_known)
        self.rates = Rates(self.known, self.parameters.pivot)

    def with_(self, **changes: Any) -> Book:
        return Book(self.ledger, replace(self.parameters, **changes))

    # Scope

    def covers(self, row: Row) -> bool:
        """Whether a document is in scope; each stays with its own customer (A47)."""
        return self._in_group(row) and (self.parameters.intercompany == "incl" or not self.is_intercompany(row))

    def is_intercompany(self, row: Row) -> bool:
        """The flag known now holds for every date (A2)."""
        customer = self.known.get("customer", row.get("customer_id"))
        return bool(customer and customer.get("is_intercompany"))

    def _in_group(self, row: Row) -> bool:
        scope = self.parameters
        return (
            scope.entity in (None, row["entity_code"])
            and scope.customer in (None, row.get("customer_id"))
            and scope.segment in (None, self.segment(row.get("customer_id")))
            and scope.document_currency in (None, row["currency_code"])
        )

    def segment(self, customer_id: str | None) -> str | None:
        customer = self.known.get("customer", customer_id)
        return customer.get("segment") if customer else None

    def local_day(self, row: Row, moment: datetime) -> date:
        """The day of a time in the calendar of the document's entity."""
        entity = self.known.get("legal_entity", row["entity_code"])
        return moment.astimezone(ZoneInfo(entity["timezone"] if entity else "UTC")).date()

    def document(self, document: Document) -> Row:
        entity, key = document
        row = self.known.get("receivable_adjustment" if entity == "adjustment" else entity, key)
        assert row is not None
        return row

    @cached_property
    def events(self) -> list[Event]:
        """The receivable events in scope, of all dates."""
        left_out = self.parameters.without
        return [
            event
            for event in self.facts.events
            if event.is_receivable and event.document not in left_out and self.covers(self.document(event.document))
        ]

    # Conversion

    def factor(self, row: Row, kind: str, day: date) -> Fraction | None:
        """What one unit of a document is worth in the report on a day: exchange rate times tax share (A4)."""
        scope, rate = self.parameters, Fraction(1)
        if scope.fx_basis != "transaction":
            assert scope.currency is not None, "a converted report needs a currency"
            if scope.fx_basis == "constant":
                kind, day = "closing", scope.as_of
            found = self.rates.rate(row["currency_code"], scope.currency, kind, day)
            if found is None:
                self.missing_rates.add((row["currency_code"], kind, day))
                return None
            rate = found
        return rate * self.tax_share(row)

    def tax_share(self, row: Row) -> Fraction:
        """Without tax: the net share of invoices and memos; money has no tax (A4)."""
        if self.parameters.tax_basis == "incl" or not row.get("total_amount"):
            return Fraction(1)
        return Fraction(row["net_amount"]) / Fraction(row["total_amount"])

    def flow(self, events: Iterable[Event]) -> Fraction:
        """Sum of events at the rate of their day. What has no rate is left out and noted in ``missing_rates``."""
        total = ZERO
        for event in events:
            factor = self.factor(self.document(event.document), "spot", event.effective_date)
            total += event.amount * factor if factor is not None else ZERO
        return total

    # Balances

    def open_documents(self, day: date) -> dict[Document, Fraction]:
        """Open amounts in document currency: the sum of the events up to the day (rule 1)."""
        if ("open", day) not in self._memory:
            found: dict[Document, Fraction] = {}
            for event in self.events:
                if event.effective_date <= day:
                    found[event.document] = found.get(event.document, ZERO) + event.amount
            self._memory["open", day] = {document: value for document, value in found.items() if value}
        return self._memory["open", day]

    def balance(self, day: date) -> Balance:
        if ("balance", day) not in self._memory:
            self._memory["balance", day] = self._balance(day)
        return self._memory["balance", day]

    def _balance(self, day: date) -> Balance:
        parts = dict.fromkeys(("gross", "unapplied_cash", "unidentified_cash", "deposits", "unapplied_credits"), ZERO)
        for document, open_amount in self.open_documents(day).items():
            row = self.document(document)
            factor = self.factor(row, "closing", day)
            if factor is not None:
                parts[self._column(document, row, open_amount)] += open_amount * factor
        if self.parameters.disputed == "excl":
            parts["gross"] -= sum((item.disputed for item in self.items(day)), ZERO)
        return Balance(**parts)

    @staticmethod
    def _column(document: Document, row: Row, open_amount: Fraction) -> str:
        """Where an open amount stands. An invoice below zero is a credit, so buckets stay positive (A7)."""
        if document[0] == "invoice" and open_amount > 0:
            return "gross"
        if document[0] != "receipt":
            return "unapplied_credits"
        if row["receipt_type"] == "deposit":
            return "deposits"
        return "unapplied_cash" if row.get("customer_id") else "unidentified_cash"

    def receivables(self, day: date) -> Fraction:
        """On the basis of the parameters."""
        balance = self.balance(day)
        if self.parameters.ar_basis == "gross_invoices":
            return balance.gross
        return balance.net - (self.parameters.allowance if self.parameters.ar_basis == "net_of_allowance" else ZERO)

    # Open items

    def items(self, day: date) -> list[Item]:
        """The open schedule lines of invoices, at the rate of the day; a line without a rate is left out."""
        if ("items", day) not in self._memory:
            self._memory["items", day] = self._items(day)
        return self._memory["items", day]

    def _items(self, day: date) -> list[Item]:
        found = []
        for document, open_amount in sorted(self.open_documents(day).items()):
            if document[0] != "invoice" or open_amount <= 0:
                continue
            row = self.document(document)
            factor = self.factor(row, "closing", day)
            if factor is None:
                continue
            opened = self._dispute(row, self._open_lines(row, open_amount), day)
            found += [
                replace(i, amount=i.amount * factor, open=i.open * factor, disputed=i.disputed * factor)
                for i in opened
                if i.open
            ]
        if self.parameters.disputed == "excl":
            found = [replace(item, open=item.open - item.disputed) for item in found]
        return found

    def _open_lines(self, row: Row, open_amount: Fraction) -> list[Item]:
        """Payments settle the oldest due line first, retention last (A8): what is open lies on the newest."""
        left, found = open_amount, []
        for item in reversed(self.schedule(row)):
            here = min(left, item.amount)
            left -= here
            found.append(replace(item, open=here))
        found.reverse()
        if left and found:  # raised above its amount, by a reversal without a write-off: on the oldest line
            found[0] = replace(found[0], open=found[0].open + left)
        return found

    def _dispute(self, row: Row, items: list[Item], day: date) -> list[Item]:
        """At most the open amount, oldest line first; the closing day no longer counts (A45)."""
        left = sum((Fraction(d["amount"]) for d in self.disputes(row["invoice_id"]) if is_open(d, day)), ZERO)
        found = []
        for item in items:
            here = min(left, item.open)
            left -= here
            found.append(replace(item, disputed=here))
        return found

    def disputes(self, invoice_id: str) -> list[Row]:
        """In the currency of the invoice; others are not comparable and are left out."""
        if "disputes" not in self._memory:
            by_invoice: dict[str, list[Row]] = {}
            for row in self.known.all("dispute"):
                invoice = self.known.get("invoice", row["invoice_id"])
                if invoice and invoice["currency_code"] == row["currency_code"]:
                    by_invoice.setdefault(row["invoice_id"], []).append(row)
            self._memory["disputes"] = by_invoice
        return self._memory["disputes"].get(invoice_id, [])

    def schedule(self, row: Row) -> list[Item]:
        """The lines of an invoice in the order in which they are settled; they add up to its total.

        Where the schedule does not (a corrected total): what is missing is a line due with the invoice, what is too
        much is cut from the line that is settled last. The text is silent; the document owns the amount.
        """
        left, items = Fraction(row["total_amount"]), []
        for line in sorted(self._instalments(row["invoice_id"]), key=_settled_order):
            here = min(left, Fraction(line["amount"]))
            left -= here
            if here > 0:
                item = self._item(row, line["instalment_id"], line["due_on"], here)
                items.append(replace(item, original_due_on=item.due_on, is_retention=bool(line["is_retention"])))
        if left:
            items.append(self._item(row, "", row.get("due_on"), left))
            items.sort(key=lambda item: (item.is_retention, item.due_on))
        return items

    def _instalments(self, invoice_id: str) -> list[Row]:
        if "instalments" not in self._memory:
            by_invoice: dict[str, list[Row]] = {}
            for row in self.known.all("invoice_instalment"):
                by_invoice.setdefault(row["invoice_id"], []).append(row)
            self._memory["instalments"] = by_invoice
        return self._memory["instalments"].get(invoice_id, [])

    def _item(self, row: Row, line: str, due_on: date | None, amount: Fraction) -> Item:
        mark = None
        if due_on is None:  # kept with its terms, else the invoice date, and marked (A10)
            due_on, mark = row["issued_on"] + timedelta(days=row.get("payment_terms_days") or 0), "due_date_missing"
        original = row.get("original_due_on") or due_on
        if row["entity_code"] in self.parameters.business_days:
            due_on, original = (next_business_day(day, self.parameters.holidays) for day in (due_on, original))
        return Item(
            row["invoice_id"],
            line,
            row["customer_id"],
            row["entity_code"],
            row["currency_code"],
            row["issued_on"],
            row["posted_on"],
            due_on,
            original,
            False,
            amount,
            amount,
            mark=mark,
        )

    # Sales

    def gross_sales(self, window: Window) -> Fraction:
        """Credit sales by accounting date: invoices and debit memos, less cancellations on their own day (A3, A41)."""
        return self.flow(e for e in self._of("issue", "cancel", window) if self._is_credit_sale(e))

    def cash_sales(self, window: Window) -> Fraction:
        """Cash and prepaid sales: in receivables, not in credit sales (A5)."""
        return self.flow(
            e for e in self._of("issue", "cancel", window) if e.document[0] == "invoice" and not self._is_credit_sale(e)
        )

    def credit_memos(self, window: Window) -> Fraction:
        """Every memo reduces net credit sales (A41); positive."""
        return -self.flow(e for e in self._of("issue", "issue", window) if e.document[0] == "credit_memo")

    def applied_credit_memos(self, window: Window) -> Fraction:
        return self.flow(e for e in self._of("apply", "unapply", window) if e.document[0] == "credit_memo")

    def net_sales(self, window: Window) -> Fraction:
        return self.gross_sales(window) - self.credit_memos(window)

    def sales(self, window: Window) -> Fraction:
        """On the basis of the receivables: gross against gross, net against net."""
        return self.gross_sales(window) if self.parameters.ar_basis == "gross_invoices" else self.net_sales(window)

    def _is_credit_sale(self, event: Event) -> bool:
        return event.document[0] == "invoice" and self.document(event.document)["sale_type"] == "credit"

    def _of(self, first: str, second: str, window: Window) -> list[Event]:
        return [e for e in self.events if e.event_type in (first, second) and e.effective_date in window]

    @cached_property
    def first_sale(self) -> date | None:
        """The first credit sale of the entities in scope, whoever bought (A15)."""
        entity = self.parameters.entity
        days = [
            row["posted_on"]
            for row in self.known.all("invoice")
            if row["sale_type"] == "credit"
            and entity in (None, row["entity_code"])
            and (self.parameters.intercompany == "incl" or not self.is_intercompany(row))
        ]
        return min(days, default=None)

    def has_history(self, window: Window) -> bool:
        """By month: the window may start in the month of the first sale, not before it (A15)."""
        return self.first_sale is not None and self.first_sale.replace(day=1) <= window.start

    # Settlements

    def settlements(self, invoice: Row, day: date) -> list[Part]:
        """What reduced an invoice and still does on a day, oldest first, put on its lines (A8, W13).

        Taken-back and bounced applications are out: the state at the day, not the flow (A20).
        """
        memory = ("settlements", invoice["invoice_id"], day)
        if memory not in self._memory:
            self._memory[memory] = self._settlements(invoice, day)
        return self._memory[memory]

    def _settlements(self, invoice: Row, day: date) -> list[Part]:
        lines = self.schedule(invoice)
        if not lines:
            return []
        room, found = [line.amount for line in lines], []
        for moment, _, kind, amount, receipt, row in sorted(self._reductions(invoice, day), key=lambda r: r[:2]):
            left = amount
            for number, line in enumerate(lines):
                # More than the invoice asks for lands on the last line.
                here = left if number == len(lines) - 1 else min(left, room[number])
                room[number] -= here
                left -= here
                if here:
                    found.append(Part(line, kind, moment, here, receipt, row))
        return found

    def _reductions(self, invoice: Row, day: date) -> list[tuple[date, str, str, Fraction, Row | None, Row | None]]:
        found: list[tuple[date, str, str, Fraction, Row | None, Row | None]] = []
        for application in self._applications(invoice["invoice_id"]):
            if application.holds_at(day):
                row, kind = application.row, "cash" if application.is_cash else "credit"
                name = f"application {row['application_id']}"
                found.append((application.start, name, kind, Fraction(row["applied_amount"]), application.receipt, row))
                discount = Fraction(row["discount_amount"] or 0)
                found.append((application.start, f"{name} discount", "discount", discount, application.receipt, row))
        found += self._write_offs(invoice["invoice_id"], day)
        if invoice["status"] == "cancelled" and (invoice.get("cancelled_on") or invoice["posted_on"]) <= day:
            cancelled = invoice.get("cancelled_on") or invoice["posted_on"]
            found.append((cancelled, "cancel", "cancel", Fraction(invoice["total_amount"]), None, None))
        return [entry for entry in found if entry[3]]

    def _write_offs(self, invoice_id: str, day: date) -> list[tuple[date, str, str, Fraction, Row | None, Row | None]]:
        """Write-offs less their reversals; a reversal takes back the newest first."""
        rows = [
            a
            for a in self.facts.adjustments
            if a.get("invoice_id") == invoice_id and a["adjustment_type"] != "refund" and a["adjusted_on"] <= day
        ]
        stack: list[list[Any]] = []
        for row in sorted(rows, key=lambda a: (a["adjusted_on"], a["adjustment_type"], a["adjustment_id"])):
            amount = Fraction(row["amount"])
            if row["adjustment_type"] == "write_off":
                stack.append([row["adjusted_on"], row["adjustment_id"], amount])
            while row["adjustment_type"] == "write_off_reversal" and amount and stack:
                taken = min(amount, stack[-1][2])
                amount -= taken
                stack[-1][2] -= taken
                if not stack[-1][2]:
                    stack.pop()
        return [(when, f"adjustment {key}", "write_off", amount, None, None) for when, key, amount in stack]

    def _applications(self, invoice_id: str) -> list[Any]:
        if "applications" not in self._memory:
            by_invoice: dict[str, list[Any]] = {}
            for application in self.facts.applications:
                by_invoice.setdefault(application.row["invoice_id"], []).append(application)
            self._memory["applications"] = by_invoice
        return self._memory["applications"].get(invoice_id, [])

    def invoices(self) -> list[Row]:
        left_out = self.parameters.without
        rows = self.known.all("invoice")
        return [row for row in rows if ("invoice", row["invoice_id"]) not in left_out and self.covers(row)]

    def weight(self, row: Row, day: date) -> Fraction | None:
        """A weight, not a value (A33): functional currency at the invoice's rate inside one entity, else reporting."""
        entity = self.known.get("legal_entity", row["entity_code"])
        scope = self.parameters
        if scope.fx_basis == "transaction":
            return Fraction(1)
        single = scope.entity is not None and entity is not None
        target = entity["functional_currency_code"] if single and entity else scope.currency
        assert target is not None
        found = self.rates.rate(row["currency_code"], target, "spot", day)
        if found is None:
            self.missing_rates.add((row["currency_code"], "spot", day))
        return found


def is_open(dispute: Mapping[str, Any], day: date) -> bool:
    return dispute["opened_on"] <= day and (dispute.get("closed_on") is None or day < dispute["closed_on"])


def _settled_order(line: Mapping[str, Any]) -> tuple[Any, ...]:
    return bool(line["is_retention"]), line["due_on"], line["instalment_number"], line["instalment_id"]
