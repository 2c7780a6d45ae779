"""What the sources of a world hold: a small company in two deliveries, with all that makes loading hard.

Several currencies (with 0, 2 and 3 decimals), rows that a rule holds back, rows that come twice, records with a
newer version in the second delivery, and a bad record that the second delivery makes good.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from demo.company.bank_writer import document
from demo.company.model import SETTLEMENT_COLUMNS, BankEntry, Statement

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
SECOND = START + timedelta(hours=6)
MINOR = {"EUR": 2, "USD": 2, "JPY": 0, "KWD": 3}
IBANS = {"EUR": "DE89370400440532013000", "USD": "GB29NWBK60161331926819"}
Row = dict[str, Any]


@dataclass
class Content:
    """Rows by ERP table or CRM object, and files by folder; a delivery replaces or adds."""

    tables: dict[str, list[Row]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


def amount(random: Random, currency: str, low: int = 100, high: int = 900_000) -> Decimal:
    """An exact amount with the currency's decimals."""
    return Decimal(random.randrange(low, high)).scaleb(-MINOR[currency])


def deliveries(seed: str, rows: int = 24) -> tuple[Content, Content]:
    """What the sources hold before the first load, and what the second one brings."""
    random = Random(seed)
    first, second = Content(), Content()
    for name, make in (("bill_header", _invoice), ("cash_receipt", _receipt), ("Opportunity", _opportunity)):
        known = [make(random, number, START + timedelta(minutes=3 * number)) for number in range(rows)]
        first.tables[name] = known
        later = SECOND + timedelta(minutes=1)
        changed = [make(random, number, later + timedelta(minutes=number)) for number in random.sample(range(rows), 6)]
        # The last one was bad; now it is good.
        changed += [make(random, rows - 1, later + timedelta(minutes=rows), good=True)] * (
            not any(row_number(row) == rows - 1 for row in changed)
        )
        new = [make(random, rows + n, later + timedelta(minutes=rows + 1 + n)) for n in range(10)]
        second.tables[name] = [*changed, *new]
    _bank(random, first, second)
    _card(random, first, second)
    return first, second


def row_number(row: Row) -> int:
    """The number a record was made from."""
    return int(str(row.get("id") or row.get("Id"))[3:])


def _is_bad(number: int, good: bool) -> bool:
    return not good and number % 8 == 7


def _invoice(random: Random, number: int, at: datetime, good: bool = False) -> Row:
    currency = random.choice(list(MINOR))
    net = amount(random, currency)
    tax = amount(random, currency, 10, 9_000)
    issued = date(2026, 2, 1) + timedelta(days=number % 28)
    return {
        "id": f"INV{number:04}", "bill_no": f"B{number:05}", "company_id": "DE01", "debtor_id": f"C{number % 5}",
        "doc_kind": "I", "sale_kind": "C", "doc_day": issued, "acct_day": issued,
        "due_day": issued + timedelta(days=-3 if _is_bad(number, good) else 30), "ccy": currency,
        "net": net, "tax": tax, "gross": net + tax, "state": "P", "updated_at": at,
    }  # fmt: skip


def _receipt(random: Random, number: int, at: datetime, good: bool = False) -> Row:
    currency = random.choice(list(MINOR))
    sign = -1 if _is_bad(number, good) else 1
    return {
        "id": f"REC{number:04}", "company_id": "DE01", "debtor_id": f"C{number % 5}", "kind": "P",
        "acct_day": date(2026, 2, 10), "amt": sign * amount(random, currency), "ccy": currency, "method": "T",
        "ref_text": random.choice(["INV 12, thank you", 'said "now"', "zwei\nZeilen", None]), "updated_at": at,
    }  # fmt: skip


def _opportunity(random: Random, number: int, at: datetime, good: bool = False) -> Row:
    currency = random.choice(list(MINOR))
    return {
        "Id": f"006{number:04}", "Name": f"Geschäft {number}", "AccountId": f"001{number % 5}",
        "CurrencyIsoCode": currency, "LegalEntity__c": "DE01", "StageName": "Won",
        "IsClosed": not _is_bad(number, good), "IsWon": True, "CloseDate": "2026-02-20",
        "Amount": amount(random, currency), "Type": "Renewal", "ErpOrderNumber__c": None, "DuplicateOf__c": None,
        "PurchaseOrderPending__c": False, "SalesRep__c": "Ada", "SystemModstamp": at,
    }  # fmt: skip


def _bank(random: Random, first: Content, second: Content) -> None:
    for currency in IBANS:
        balance = amount(random, currency)
        for month, content in ((1, first), (2, second)):
            entries = tuple(_entry(random, currency, month, position) for position in range(7))
            closing = balance + sum((entry.amount for entry in entries), Decimal(0))
            statement = Statement(
                f"ST{currency}{month}", month, IBANS[currency], "Company", currency, date(2026, month, 1),
                date(2026, month, 28), balance, closing, entries,
            )  # fmt: skip
            content.files[f"statements/{statement.id}.xml"] = document(statement).encode()
            balance = closing


def _entry(random: Random, currency: str, month: int, position: int) -> BankEntry:
    sign = -1 if position % 3 == 2 else 1
    # One entry of a statement moves no money, which a rule holds back.
    value = Decimal("0.00") if position == 5 else sign * amount(random, currency)
    day = date(2026, month, 2 + position)
    return BankEntry(f"R{currency}{month}{position}", day, day, value, f"E2E{position}", f"INV {position}")


def _card(random: Random, first: Content, second: Content) -> None:
    for month, content in ((1, first), (2, second)):
        rows = [_movement(random, month, number) for number in range(16)]
        rows.append(dict(rows[3]))  # the same line twice
        rows.append({**rows[4], "fee": "1.00", "net": str(Decimal(rows[4]["gross"]) - 1)})  # contradicts the fifth
        content.files[f"settlements/settlement_2026-0{month}.csv"] = settlement(rows)


def _movement(random: Random, month: int, number: int) -> Row:
    currency = ("EUR", "USD")[number % 2]
    gross, fee = amount(random, currency, 1_000), amount(random, currency, 10, 90)
    payout = number % 6 == 5
    fee = -fee if number == 7 else fee
    return {
        "transaction_id": f"TXN{month}{number:05}", "type": "payout" if payout else "charge",
        "charge_id": f"CH{number}", "payout_id": f"PO{month}{number}", "merchant": "DE01", "order_reference": "",
        "occurred_at": f"2026-0{month}-05T10:00:{number % 60:02}Z", "available_on": f"2026-0{month}-09",
        "gross": str(gross), "fee": str(fee), "net": str(gross - fee), "currency": currency,
        "arrival_on": f"2026-0{month}-12" if payout else "",
    }  # fmt: skip


def settlement(rows: list[Row]) -> bytes:
    """A settlement file of the card processor."""
    text = io.StringIO()
    writer = csv.DictWriter(text, SETTLEMENT_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def json_line(row: Row) -> str:
    """A CRM record as the CRM server reads it: exact numbers."""
    parts = []
    for name, value in {**row, "IsDeleted": row.get("IsDeleted", False)}.items():
        if isinstance(value, Decimal):
            text = format(value, "f")
        elif isinstance(value, datetime):
            text = f'"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000+0000"'
        else:
            text = json.dumps(value, ensure_ascii=False)
        parts.append(f"{json.dumps(name)}: {text}")
    return "{" + ", ".join(parts) + "}\n"
