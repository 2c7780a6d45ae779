"""Short hands to write ledgers with: rows of the canonical entities, as versions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from oracle.ledger import Ledger, Version

START = datetime(2020, 1, 1, tzinfo=UTC)
GOLDEN = Path(__file__).with_name("golden_metrics.json")


def day(text: str | date) -> date:
    return text if isinstance(text, date) else date.fromisoformat(text)


def version(entity: str, recorded: date | datetime | None = None, deleted: bool = False, **row: Any) -> Version:
    """A version, recorded (and last changed in the source) at the start of a day unless a time is given."""
    moment = recorded or START
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    return Version(entity, {**row, "updated_at": row.get("updated_at", moment)}, moment, deleted)


def entity(code: str = "E1", currency: str = "EUR", **more: Any) -> Version:
    row: dict[str, Any] = {
        "entity_code": code,
        "legal_name": code,
        "country_code": "DE",
        "functional_currency_code": currency,
    }
    return version("legal_entity", **{**row, "timezone": "UTC", **more})


def customer(key: str = "C1", **more: Any) -> Version:
    row: dict[str, Any] = {
        "customer_id": key,
        "entity_code": "E1",
        "legal_name": key,
        "segment": None,
        "is_intercompany": False,
    }
    return version("customer", **{**row, **more})


def invoice(key: str, issued: str | date, due: str | date | None, amount: Any, **more: Any) -> Version:
    """Without tax, posted on the day of issue, unless told otherwise."""
    issued = day(issued)
    row: dict[str, Any] = {
        "invoice_id": key,
        "invoice_number": key,
        "entity_code": "E1",
        "customer_id": "C1",
        "document_type": "invoice",
        "sale_type": "credit",
        "issued_on": issued,
        "posted_on": day(more.pop("posted", issued)),
        "sent_at": datetime(issued.year, issued.month, issued.day, 12, tzinfo=UTC),
        "due_on": day(due) if due else None,
        "original_due_on": None,
        "payment_terms_days": None,
        "currency_code": "EUR",
        "total_amount": Decimal(str(amount)),
        "tax_amount": Decimal(0),
        "status": "posted",
        "cancelled_on": None,
        "replaces_invoice_id": None,
    }
    row |= more
    row["net_amount"] = row["total_amount"] - row["tax_amount"]
    return version("invoice", **row)


def instalment(key: str, invoice_id: str, number: int, due: str | date, amount: Any, **more: Any) -> Version:
    row: dict[str, Any] = {
        "instalment_id": key,
        "invoice_id": invoice_id,
        "instalment_number": number,
        "due_on": day(due),
    }
    row |= {"amount": Decimal(str(amount)), "currency_code": "EUR", "is_retention": False, **more}
    return version("invoice_instalment", **row)


def memo(key: str, issued: str | date, amount: Any, **more: Any) -> Version:
    row: dict[str, Any] = {
        "credit_memo_id": key,
        "credit_memo_number": key,
        "entity_code": "E1",
        "customer_id": "C1",
        "invoice_id": None,
        "reason": "goodwill",
        "issued_on": day(issued),
        "posted_on": day(issued),
        "currency_code": "EUR",
        "total_amount": Decimal(str(amount)),
        "tax_amount": Decimal(0),
        **more,
    }
    return version("credit_memo", **{**row, "net_amount": row["total_amount"] - row["tax_amount"]})


def receipt(key: str, received: str | date, amount: Any, reversed_on: str | None = None, **more: Any) -> Version:
    row: dict[str, Any] = {
        "receipt_id": key,
        "entity_code": "E1",
        "customer_id": "C1",
        "receipt_type": "payment",
        "received_on": day(received),
        "value_on": day(received),
        "amount": Decimal(str(amount)),
        "currency_code": "EUR",
        "payment_method": "bank_transfer",
        "reversed_on": day(reversed_on) if reversed_on else None,
        "reversal_reason": "insufficient_funds" if reversed_on else None,
    }
    return version("receipt", **{**row, **more})


def application(key: str, source: str, invoice_id: str, applied: str | date, amount: Any, **more: Any) -> Version:
    """``source`` is a receipt, or a credit memo where its name starts with CM."""
    row: dict[str, Any] = {
        "application_id": key,
        "entity_code": "E1",
        "receipt_id": None if source.startswith("CM") else source,
        "credit_memo_id": source if source.startswith("CM") else None,
        "invoice_id": invoice_id,
        "applied_on": day(applied),
        "applied_amount": Decimal(str(amount)),
        "discount_amount": Decimal(0),
        "discount_kind": None,
        "currency_code": "EUR",
        "unapplied_on": None,
        "is_automatic": True,
    }
    return version("receipt_application", **{**row, **more})


def adjustment(key: str, kind: str, adjusted: str | date, amount: Any, **more: Any) -> Version:
    row: dict[str, Any] = {
        "adjustment_id": key,
        "entity_code": "E1",
        "customer_id": "C1",
        "invoice_id": None,
        "receipt_id": None,
    }
    row |= {"adjustment_type": kind, "adjusted_on": day(adjusted), "amount": Decimal(str(amount))}
    return version("receivable_adjustment", **{**row, "currency_code": "EUR", **more})


def dispute(
    key: str, invoice_id: str, opened: str | date, amount: Any, closed: str | None = None, **more: Any
) -> Version:
    row: dict[str, Any] = {
        "dispute_id": key,
        "invoice_id": invoice_id,
        "dispute_type": "price",
        "amount": Decimal(str(amount)),
    }
    row |= {"currency_code": "EUR", "opened_on": day(opened), "closed_on": day(closed) if closed else None}
    return version("dispute", **{**row, "outcome": "approved" if closed else "open", **more})


def rate(source: str, target: str, kind: str, on: str | date, value: Any, **more: Any) -> Version:
    row: dict[str, Any] = {
        "from_currency_code": source,
        "to_currency_code": target,
        "rate_type": kind,
        "rate_date": day(on),
    }
    return version("exchange_rate", **{**row, "rate": Decimal(str(value)), **more})


def ledger(*versions: Version | Iterable[Version], deposits_as_receivables: Iterable[str] = ()) -> Ledger:
    flat: list[Version] = []
    for found in versions:
        flat += [found] if isinstance(found, Version) else list(found)
    return Ledger.of(flat, deposits_as_receivables)


def golden() -> Mapping[str, Any]:
    return json.loads(GOLDEN.read_text(encoding="utf-8"), parse_float=Decimal)


def golden_ledger() -> Ledger:
    """The ledger of the golden vectors; a discount stands on the application it came with."""
    book = golden()["ledger"]
    found = [entity(), customer()]
    for key, kind, issued, due, amount in book["docs"]:
        found.append(invoice(key, issued, due, amount) if kind == "INV" else memo(key, issued, amount))
    found += [receipt(*row) for row in book["receipts"]]
    discounts = {row[:2][0] + row[1]: row[3] for row in book["applications"] if row[4] == "discount"}
    for number, (source, target, on, amount, kind) in enumerate(book["applications"]):
        if kind != "discount":
            allowed = Decimal(discounts.get(source + target, 0))
            found.append(application(f"A{number}", source, target, on, amount, discount_amount=allowed))
    return Ledger.of(found)


def later(moment: datetime, days: int) -> datetime:
    return moment + timedelta(days=days)


def order(key: str, booked: str | date, amount: Any, **more: Any) -> Version:
    booked = day(booked)
    row: dict[str, Any] = {
        "order_id": key,
        "order_number": key,
        "entity_code": "E1",
        "customer_id": "C1",
        "channel": "direct",
        "order_type": "standard",
        "billing_trigger": "shipment",
        "booked_at": datetime(booked.year, booked.month, booked.day, 9, tzinfo=UTC),
        "booked_on": booked,
        "requested_on": None,
        "currency_code": "EUR",
        "total_amount": Decimal(str(amount)),
        "status": "open",
        "cancelled_on": None,
    }
    return version("sales_order", **{**row, **more})


def order_line(key: str, order_id: str, quantity: Any, price: Any, **more: Any) -> Version:
    row: dict[str, Any] = {"order_line_id": key, "order_id": order_id, "line_number": 1, "parent_order_line_id": None}
    row |= {"product_id": "P1", "ordered_quantity": Decimal(quantity), "unit_of_measure": "EA"}
    row |= {"unit_price": Decimal(str(price)), "net_amount": Decimal(quantity) * Decimal(str(price))}
    row |= {"currency_code": "EUR", "promised_on": None, "is_free_of_charge": False, "cancelled_on": None}
    return version("sales_order_line", **{**row, **more})


def delivery(key: str, issued: str | date, arrived: str | date | None = None, **more: Any) -> Version:
    issued = day(issued)
    noon = datetime(issued.year, issued.month, issued.day, 12, tzinfo=UTC)
    row: dict[str, Any] = {"delivery_id": key, "delivery_number": key, "entity_code": "E1", "customer_id": "C1"}
    row |= {"warehouse_code": "W1", "picked_at": noon - timedelta(hours=3), "goods_issue_at": noon}
    row |= {"goods_issue_on": issued, "proof_of_delivery_on": day(arrived) if arrived else None}
    return version("delivery", **{**row, **more})


def delivery_line(key: str, delivery_id: str, order_line_id: str, quantity: Any, **more: Any) -> Version:
    row: dict[str, Any] = {"delivery_line_id": key, "delivery_id": delivery_id, "order_line_id": order_line_id}
    row |= {"shipped_quantity": Decimal(quantity), "delivered_quantity": None}
    return version("delivery_line", **{**row, **more})


def invoice_line(key: str, invoice_id: str, number: int, quantity: Any, price: Any, **more: Any) -> Version:
    row: dict[str, Any] = {
        "invoice_line_id": key,
        "invoice_id": invoice_id,
        "line_number": number,
        "order_line_id": None,
    }
    row |= {"delivery_line_id": None, "quantity": Decimal(quantity), "unit_price": Decimal(str(price))}
    row |= {"net_amount": Decimal(quantity) * Decimal(str(price)), "tax_amount": Decimal(0), "currency_code": "EUR"}
    return version("invoice_line", **{**row, **more})


def return_line(key: str, order_line_id: str, received: str | date, quantity: Any) -> Version:
    row: dict[str, Any] = {"return_line_id": key, "order_line_id": order_line_id, "delivery_line_id": None}
    return version("return_line", **row, received_on=day(received), quantity=Decimal(quantity), condition=None)


def hold(key: str, order_id: str, start: datetime, end: datetime | None = None, **more: Any) -> Version:
    row: dict[str, Any] = {
        "hold_id": key,
        "order_id": order_id,
        "hold_type": "credit",
        "set_at": start,
        "set_by": "rule",
    }
    return version("credit_hold", **{**row, "released_at": end, "released_by": None, "reason": None, **more})
