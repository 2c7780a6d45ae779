"""What the generator keeps in memory: versioned rows, business objects and the finished company."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

Record = dict[str, Any]

_TABLE = re.compile(r"create table erp\.(\w+) \((.*?)\n\);", re.DOTALL)
_COLUMN = re.compile(r"^    (\w+) ", re.MULTILINE)


def _erp_tables() -> dict[str, tuple[str, ...]]:
    schema = (Path(__file__).parent / "erp_schema.sql").read_text(encoding="utf-8")
    return {name: tuple(_COLUMN.findall(body)) for name, body in _TABLE.findall(schema) if name != "origin"}


ERP_TABLES: Mapping[str, tuple[str, ...]] = _erp_tables()
"""Columns of every ERP table, ``updated_at`` last; the order of the tables respects their references."""

CRM_OBJECTS: Mapping[str, tuple[str, ...]] = {
    "Account": (
        "Id", "Name", "CurrencyIsoCode", "Type", "Industry", "BillingCountryCode", "ParentId", "TaxId__c",
        "ErpCustomerId__c", "LegalEntity__c", "PaymentTermsDays__c", "CreditLimit__c", "IsIntercompany__c", "IsTest__c",
    ),
    "Opportunity": (
        "Id", "Name", "AccountId", "CurrencyIsoCode", "LegalEntity__c", "StageName", "IsClosed", "IsWon", "CloseDate",
        "Amount", "Type", "ErpOrderNumber__c", "DuplicateOf__c", "PurchaseOrderPending__c", "SalesRep__c",
    ),
    "Quote": (
        "Id", "Name", "QuoteNumber", "OpportunityId", "CurrencyIsoCode", "Status", "ExpirationDate", "GrandTotal",
    ),
    "QuoteLineItem": (
        "Id", "QuoteId", "CurrencyIsoCode", "ProductCode", "Quantity", "ListPrice", "UnitPrice", "Discount",
        "ApprovedDiscount__c", "ApprovedBy__c", "ApprovedOn__c",
    ),
}  # fmt: skip
"""Fields of every CRM object, without ``SystemModstamp`` and ``IsDeleted``."""

SETTLEMENT_COLUMNS = (
    "transaction_id", "type", "charge_id", "payout_id", "merchant", "order_reference", "occurred_at", "available_on",
    "gross", "fee", "net", "currency", "dispute_reason", "evidence_due_on", "evidence_submitted_on",
    "dispute_outcome", "arrival_on", "statement_descriptor",
)  # fmt: skip
"""Columns of a settlement file of the card processor."""


@dataclass(slots=True)
class Row:
    """A row with its history: first values, later changes with the moment they were recorded, and its end (UTC)."""

    created_at: datetime
    values: Record
    changes: list[tuple[datetime, Record]] | None = None
    deleted_at: datetime | None = None

    def change(self, at: datetime, **values: Any) -> None:
        """Record that columns take other values from ``at`` on."""
        if self.changes is None:
            self.changes = []
        self.changes.append((at, values))

    def as_of(self, now: datetime) -> Record | None:
        """The row as it stood at ``now`` with its ``updated_at``; None before it existed and once it is deleted."""
        if self.created_at > now or self.is_deleted(now):
            return None
        record = dict(self.values)
        record["updated_at"] = self.created_at
        for at, values in sorted(self.changes or (), key=lambda change: change[0]):
            if at <= now:
                record.update(values)
                record["updated_at"] = max(record["updated_at"], at)
        return record

    def is_deleted(self, now: datetime) -> bool:
        """Whether the row is gone at ``now``."""
        return self.deleted_at is not None and self.deleted_at <= now


class Book:
    """All rows of ERP, CRM and card processor, by table and key."""

    def __init__(self) -> None:
        names = [*ERP_TABLES, *CRM_OBJECTS, "settlement"]
        self.tables: dict[str, dict[str, Row]] = {name: {} for name in names}

    def add(self, table: str, key: str, at: datetime, **values: Any) -> Row:
        """Add a row under a new key; raises :class:`KeyError` when the key is taken."""
        rows = self.tables[table]
        if key in rows:
            raise KeyError(f"{table} {key} exists already")
        row = rows[key] = Row(at, values)
        return row

    def as_of(self, names: Sequence[str] | Mapping[str, Any], now: datetime) -> dict[str, list[Record]]:
        """The named tables as they stood at ``now``."""
        return {name: list(_present(self.tables[name].values(), now)) for name in names}

    def deleted(self, now: datetime) -> dict[str, list[Record]]:
        """What was there once and is gone at ``now``, by table; ``updated_at`` is when it went."""
        return {
            name: [{**row.values, "updated_at": row.deleted_at} for row in rows.values() if row.is_deleted(now)]
            for name, rows in self.tables.items()
        }


def _present(rows: Any, now: datetime) -> Iterator[Record]:
    for row in rows:
        record = row.as_of(now)
        if record is not None:
            yield record


@dataclass(frozen=True, slots=True)
class Entity:
    """A legal entity of the group."""

    code: str
    name: str
    country: str
    currency: str
    zone: str
    tax_percent: Decimal
    warehouses: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Product:
    """Something that is sold; ``base_price`` is a level in euro."""

    id: str
    sku: str
    name: str
    kind: str
    unit: str
    base_price: Decimal
    billable: bool = True


@dataclass(frozen=True, slots=True)
class Agreement:
    """A contract price of one customer: the price of one ``unit`` from a quantity on, by order date."""

    product_id: str
    unit: str
    currency: str
    from_quantity: int
    price: Decimal
    start: date
    end: date | None


@dataclass(slots=True)
class Customer:
    """A debtor. ``pace`` is how it pays (prompt, normal, slow, bad)."""

    id: str
    entity: Entity
    name: str
    vat: str
    country: str
    currency: str
    terms: int
    pace: str
    segment: str
    iban: str
    discount_percent: Decimal | None = None
    discount_days: int = 0
    account_id: str = ""
    agreements: list[Agreement] = field(default_factory=list)
    agreed_products: list[Product] = field(default_factory=list)
    is_intercompany: bool = False
    is_test: bool = False
    proof_needed: bool = False


@dataclass(slots=True)
class OrderLine:
    """A position of an order."""

    id: str
    product: Product
    quantity: int
    unit: str
    price: Decimal
    net: Decimal
    tax_percent: Decimal
    is_free: bool = False
    parent_id: str | None = None
    billed: int = 0


@dataclass(slots=True)
class Order:
    """An order with its lines and its ERP row."""

    id: str
    number: str
    customer: Customer
    currency: str
    booked_on: date
    net: Decimal
    lines: list[OrderLine]
    row: Row
    terms: int

    @property
    def entity(self) -> Entity:
        """The legal entity that sells."""
        return self.customer.entity


@dataclass(slots=True)
class ShipLine:
    """A delivered quantity of an order line."""

    id: str
    line: OrderLine
    quantity: int
    shipped_on: date


@dataclass(slots=True)
class InvoiceLine:
    """A position of an invoice."""

    id: str
    order_line: OrderLine | None
    quantity: int
    price: Decimal
    net: Decimal
    tax: Decimal
    row: Row


@dataclass(slots=True)
class Invoice:
    """An invoice with its lines and its ERP row."""

    id: str
    number: str
    customer: Customer
    currency: str
    posted_on: date
    due_on: date
    total: Decimal
    lines: list[InvoiceLine]
    row: Row

    @property
    def entity(self) -> Entity:
        """The legal entity that bills."""
        return self.customer.entity


@dataclass(slots=True)
class Match:
    """An application of a receipt or credit memo to an invoice."""

    invoice: Invoice
    amount: Decimal
    discount: Decimal
    row: Row
    is_open: bool = True


@dataclass(slots=True)
class Receipt:
    """Money received, with its applications."""

    id: str
    customer: Customer
    currency: str
    amount: Decimal
    received_on: date
    kind: str
    row: Row
    matches: list[Match] = field(default_factory=list)


@dataclass(slots=True)
class Credit:
    """A credit memo."""

    id: str
    number: str
    customer: Customer
    currency: str
    total: Decimal
    row: Row


@dataclass(frozen=True, slots=True)
class Profile:
    """What a company is generated from; the same profile gives the same company, byte by byte.

    ``ticks`` are the days time moved on after the history of ``months`` months.
    """

    seed: int = 7
    scale: float = 1.0
    months: int = 18
    ticks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class BankEntry:
    """An entry of a bank account; ``amount`` is signed, credit to the account positive."""

    reference: str
    booked_on: date
    value_on: date
    amount: Decimal
    end_to_end_id: str = ""
    text: str = ""
    counterparty: str = ""
    counterparty_iban: str = ""
    is_reversal: bool = False


@dataclass(frozen=True, slots=True)
class Statement:
    """A bank statement. ``resent_on`` marks a second sending of the same statement."""

    id: str
    sequence: int
    iban: str
    entity_name: str
    currency: str
    first_day: date
    last_day: date
    opening: Decimal
    closing: Decimal
    entries: tuple[BankEntry, ...]
    resent_on: date | None = None


@dataclass(frozen=True, slots=True)
class Company:
    """The sample company as it stands at the end of ``today``.

    ``erp`` holds rows by table under the ERP's column names (with ``updated_at``, UTC), ``crm`` records by object
    (with ``updated_at`` for the modification stamp), ``settlements`` the card processor's rows by month
    (``YYYY-MM``). ``deleted`` holds what is gone from either, by table or object. Amounts are exact decimals.
    ``truth`` is what the pipeline has to find out by itself.
    """

    profile: Profile
    today: date
    erp: Mapping[str, list[Record]]
    crm: Mapping[str, list[Record]]
    statements: Sequence[Statement]
    settlements: Mapping[str, list[Record]]
    truth: Mapping[str, Any]
    deleted: Mapping[str, list[Record]] = field(default_factory=dict)
