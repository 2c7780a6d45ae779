"""Random ledgers, the same for the same seed: what a company's documents do to receivables, and in which disorder.

The versions are rows of the canonical entities; :func:`loads` gives them as the loads in which they arrive, so that
a warehouse can be fed with the same ledger. Amounts have no more places than their currency; every row keeps the
rules of its contract.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from random import Random
from typing import Any

from oracle import build
from oracle.dates import last_of_month
from oracle.ledger import Ledger, Version
from oracle.rates import minor_units

FIRST, LAST = date(2025, 1, 1), date(2025, 12, 31)
ENTITIES = (("E1", "EUR", "Europe/Berlin"), ("E2", "USD", "America/New_York"))
# Roughly what one unit is worth in euro; every rate of the ledger lies around it.
WORTH = {"EUR": Decimal(1), "USD": Decimal("0.92"), "JPY": Decimal("0.0061"), "KWD": Decimal("3.01")}
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Shape:
    """How large and how disorderly a ledger is. Shares are of documents."""

    invoices: int = 24
    customers: int = 6
    batches: int = 12  # loads: the distinct recorded times
    currencies: tuple[str, ...] = ("EUR", "USD", "JPY", "KWD")
    late: float = 0.25  # arrives some loads later than it could
    corrected: float = 0.3  # has a second version
    missing_rates: float = 0.03


@dataclass
class Writer:
    """Collects versions; knows when what is said on a day can be recorded."""

    random: Random
    shape: Shape
    versions: list[Version] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)

    def key(self, prefix: str) -> str:
        self.numbers[prefix] = self.numbers.get(prefix, 0) + 1
        return f"{prefix}{self.numbers[prefix]:04d}"

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def days(self, low: int, high: int) -> timedelta:
        return timedelta(days=self.random.randint(low, high))

    def money(self, low: int, high: int, currency: str) -> Decimal:
        """A round figure of euros, in units of the currency with all its places."""
        worth = Decimal(self.random.randint(low, high)) / WORTH[currency]
        return places(worth + Decimal(self.random.randint(0, 999)) / 1000, currency)

    def recorded(self, changed: date, late: float | None = None) -> datetime:
        """The first load after a day; some come later."""
        step = (LAST - FIRST).days // self.shape.batches + 1
        number = (changed - FIRST).days // step + 1
        if self.chance(self.shape.late if late is None else late):
            number += self.random.randint(1, 3)
        number = min(max(number, 1), self.shape.batches)
        return datetime(FIRST.year, 1, 1, 6, tzinfo=UTC) + timedelta(days=number * step)

    def put(
        self, made: Version, changed: date, late: float | None = None, *, deleted: bool = False, **changes: Any
    ) -> dict[str, Any]:
        """A version that the source made on a day, after all the ones it made of the same document before."""
        # Minutes count the versions of a document, so that its source versions never tie.
        same = self.numbers.get(repr((made.entity, made.key)), 0)
        self.numbers[repr((made.entity, made.key))] = same + 1
        at = datetime(changed.year, changed.month, changed.day, 4, tzinfo=UTC) + timedelta(minutes=same)
        row = {**made.row, **changes, "updated_at": at}
        self.versions.append(Version(made.entity, row, self.recorded(changed, late), deleted))
        return row

    def change(self, entity: str, row: Mapping[str, Any], changed: date, **changes: Any) -> dict[str, Any]:
        """A later version of a row; ``deleted=True`` for its end."""
        day = max(changed, row["updated_at"].date())
        return self.put(Version(entity, row, build.START), day, **changes)


def places(value: Decimal, currency: str) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-minor_units(currency)), ROUND_HALF_EVEN)


def random_ledger(seed: int, shape: Shape | None = None) -> Ledger:
    """The ledger of a seed, with its versions in an order that says nothing."""
    return Ledger.of(random_versions(seed, shape))


def random_versions(seed: int, shape: Shape | None = None) -> list[Version]:
    shape = shape or Shape()
    writer = Writer(Random(seed), shape)
    customers = _masters(writer)
    for _ in range(shape.invoices):
        _sale(writer, writer.random.choice(customers))
    for _ in range(shape.invoices // 6):
        _money_on_account(writer, writer.random.choice(customers))
    _rates(writer)
    writer.random.shuffle(writer.versions)
    return writer.versions


def _masters(writer: Writer) -> list[dict[str, Any]]:
    for code, currency, zone in ENTITIES:
        writer.put(build.entity(code, currency, timezone=zone), FIRST, 0)
    found: list[dict[str, Any]] = []
    for number in range(writer.shape.customers):
        parent = found[0]["customer_id"] if number and writer.chance(0.2) else None
        code = writer.random.choice(ENTITIES)[0]
        row = writer.put(
            build.customer(
                writer.key("C"),
                entity_code=code,
                currency_code=writer.random.choice(writer.shape.currencies),
                segment=writer.random.choice(["retail", "industry"]),
                parent_customer_id=parent,
                credit_limit_amount=Decimal(writer.random.randint(1, 9) * 1000) if writer.chance(0.7) else None,
                credit_limit_currency_code="EUR",
                is_intercompany=number > 1 and writer.chance(0.15),
            ),
            FIRST,
            0,
        )
        found.append(row)
        if number > 1 and writer.chance(0.1):  # found out later; holds for every date (A2)
            writer.change("customer", row, FIRST + writer.days(60, 300), is_intercompany=True)
        elif writer.chance(0.1):
            writer.change("customer", row, FIRST + writer.days(60, 300), segment="retail")
    return found


def _sale(writer: Writer, customer: Mapping[str, Any]) -> None:
    """An invoice, perhaps from an order, and what becomes of it."""
    issued = FIRST + writer.days(0, 340)
    currency = customer["currency_code"] if writer.chance(0.8) else writer.random.choice(writer.shape.currencies)
    net = writer.money(50, 2000, currency)
    tax = places(net * Decimal("0.19"), currency) if writer.chance(0.5) else Decimal(0)
    made = build.invoice(
        writer.key("INV"),
        issued,
        issued + timedelta(days=writer.random.choice([0, 14, 30, 30, 45, 60])),
        net + tax,
        posted=issued + (writer.days(1, 4) if writer.chance(0.1) else timedelta(0)),
        tax_amount=tax,
        entity_code=customer["entity_code"],
        customer_id=customer["customer_id"],
        currency_code=currency,
        document_type="debit_memo" if writer.chance(0.05) else "invoice",
        sale_type=writer.random.choices(["credit", "cash", "prepaid"], [90, 6, 4])[0],
    )
    row = writer.put(made, made.row["posted_on"])
    _schedule(writer, row)
    if writer.chance(0.6):
        _order(writer, row)
    left = _credits(writer, row, _payments(writer, row, row["total_amount"]))
    _end(writer, row, left)
    _dispute(writer, row)
    if writer.chance(writer.shape.corrected):
        _correct(writer, row)


def _schedule(writer: Writer, row: Mapping[str, Any]) -> None:
    if row["total_amount"] < 10 or not writer.chance(0.2):
        return
    count, left = writer.random.choice([2, 3]), row["total_amount"]
    for number in range(1, count + 1):
        last = number == count
        part = left if last else places(row["total_amount"] / count, row["currency_code"])
        left -= part
        made = build.instalment(
            f"{row['invoice_id']}-{number}",
            row["invoice_id"],
            number,
            row["due_on"] + timedelta(days=30 * (number - 1)),
            part,
            currency_code=row["currency_code"],
            is_retention=last and writer.chance(0.4),
        )
        writer.put(made, row["posted_on"])


def _payments(writer: Writer, row: Mapping[str, Any], left: Decimal) -> Decimal:
    """None, one or several payments; early, late, in part, bounced, taken back, by the parent."""
    for _ in range(writer.random.choices([0, 1, 2, 3], [20, 50, 20, 10])[0]):
        day = row["due_on"] + writer.days(-20, 70)
        day = max(day, row["posted_on"])
        if left <= 0 or day > LAST:
            break
        amount = left if writer.chance(0.5) else places(left * Decimal(writer.random.randint(20, 80)) / 100, _of(row))
        discount = places(amount * Decimal("0.02"), _of(row)) if day <= row["due_on"] and writer.chance(0.3) else None
        if amount <= 0:
            break
        left -= _pay(writer, row, day, amount, discount or Decimal(0))
    return left


def _of(row: Mapping[str, Any]) -> str:
    return row["currency_code"]


def _pay(writer: Writer, row: Mapping[str, Any], day: date, amount: Decimal, discount: Decimal) -> Decimal:
    """One receipt and its application; gives back how much of the invoice stays settled."""
    extra = writer.money(1, 200, _of(row)) if writer.chance(0.1) else Decimal(0)  # stays on account
    payer = "C0001" if writer.chance(0.05) else row["customer_id"]  # parent pays for child
    money = writer.put(
        build.receipt(
            writer.key("R"),
            day,
            amount - discount + extra,
            entity_code=row["entity_code"],
            customer_id=payer,
            currency_code=_of(row),
            value_on=day - writer.days(0, 2),
            receipt_type="deposit" if writer.chance(0.05) else "payment",
        ),
        day,
    )
    applied = day + (writer.days(1, 12) if writer.chance(0.4) else timedelta(0))
    made = build.application(
        writer.key("A"),
        money["receipt_id"],
        row["invoice_id"],
        applied,
        amount - discount,
        entity_code=row["entity_code"],
        currency_code=_of(row),
        discount_amount=discount,
        discount_kind="earned" if discount else None,
        is_automatic=writer.chance(0.7),
    )
    application = writer.put(made, applied)
    return Decimal(0) if _undone(writer, money, application) else amount


def _undone(writer: Writer, money: Mapping[str, Any], application: Mapping[str, Any]) -> bool:
    """Bounced, taken back, or known to be earlier than it was said."""
    fate, day = writer.random.random(), application["applied_on"] + writer.days(1, 40)
    if fate < 0.1 and day <= LAST:
        reason = writer.random.choice(["insufficient_funds", "chargeback"])
        writer.change("receipt", money, day, reversed_on=day, reversal_reason=reason)
        return True
    if fate < 0.16 and day <= LAST:
        writer.change("receipt_application", application, day, unapplied_on=day)
        return True
    if fate < 0.26:  # backdated, but not before the money came
        earlier = max(money["received_on"], application["applied_on"] - writer.days(1, 30))
        writer.change("receipt_application", application, min(day, LAST), applied_on=earlier)
    return False


def _credits(writer: Writer, row: Mapping[str, Any], left: Decimal) -> Decimal:
    """A credit memo for a part: applied later, or left on account."""
    day = row["posted_on"] + writer.days(3, 60)
    if left <= 1 or day > LAST or not writer.chance(0.25):
        return left
    total = places(left * Decimal(writer.random.randint(10, 90)) / 100, _of(row))
    tax = places(total * Decimal("0.16"), _of(row)) if row["tax_amount"] else Decimal(0)
    memo = writer.put(
        build.memo(
            writer.key("CM"),
            day,
            total,
            tax_amount=tax,
            entity_code=row["entity_code"],
            customer_id=row["customer_id"],
            currency_code=_of(row),
            invoice_id=row["invoice_id"] if writer.chance(0.8) else None,
            reason=writer.random.choice(["return", "price", "quantity", "goodwill", "tax", "rebate"]),
        ),
        day,
    )
    applied = day + writer.days(0, 30)
    if not total or applied > LAST or writer.chance(0.3):
        return left
    made = build.application(writer.key("A"), memo["credit_memo_id"], row["invoice_id"], applied, total)
    writer.put(made, applied, entity_code=row["entity_code"], currency_code=_of(row))
    return left - total


def _end(writer: Writer, row: Mapping[str, Any], left: Decimal) -> None:
    """Written off, and sometimes brought back; or cancelled."""
    day = row["due_on"] + writer.days(40, 160)
    if left > 0 and day <= LAST and writer.chance(0.25):
        same: dict[str, Any] = {
            "entity_code": row["entity_code"],
            "customer_id": row["customer_id"],
            "currency_code": _of(row),
        }
        same |= {"invoice_id": row["invoice_id"], "reason": "bad debt"}
        writer.put(build.adjustment(writer.key("ADJ"), "write_off", day, left, **same), day)
        back = day + writer.days(5, 60)
        if back <= LAST and writer.chance(0.4):
            half = places(left / 2, _of(row)) or left
            writer.put(build.adjustment(writer.key("ADJ"), "write_off_reversal", back, half, **same), back)
    elif left == row["total_amount"] and writer.chance(0.08):
        day = min(row["posted_on"] + writer.days(1, 30), LAST)
        writer.change("invoice", row, day, status="cancelled", cancelled_on=day)


def _dispute(writer: Writer, row: Mapping[str, Any]) -> None:
    opened = row["issued_on"] + writer.days(2, 50)
    if opened > LAST or not writer.chance(0.15):
        return
    amount = places(row["total_amount"] * Decimal(writer.random.randint(10, 120)) / 100, _of(row))
    kind = writer.random.choice(["price", "quantity", "quality", "delivery", "tax", "other"])
    made = build.dispute(writer.key("D"), row["invoice_id"], opened, amount, currency_code=_of(row), dispute_type=kind)
    dispute = writer.put(made, opened)
    closed = opened + writer.days(1, 60)
    if closed <= LAST and writer.chance(0.6):
        outcome = writer.random.choice(["approved", "rejected"])
        writer.change("dispute", dispute, closed, closed_on=closed, outcome=outcome)


def _correct(writer: Writer, row: Mapping[str, Any]) -> None:
    """The invoice itself is not what it was: another amount, another due date, or gone."""
    newest = max(
        (v.row for v in writer.versions if v.entity == "invoice" and v.row["invoice_id"] == row["invoice_id"]),
        key=lambda found: found["updated_at"],
    )
    day, kind = min(row["posted_on"] + writer.days(5, 120), LAST), writer.random.random()
    if kind < 0.45:
        net = places(newest["net_amount"] * Decimal(writer.random.randint(50, 130)) / 100, _of(row))
        writer.change("invoice", newest, day, net_amount=net, total_amount=net + newest["tax_amount"])
    elif kind < 0.9:
        moved = newest["due_on"] + writer.days(10, 45)
        writer.change("invoice", newest, day, due_on=moved, original_due_on=newest["due_on"])
    else:
        writer.change("invoice", newest, day, deleted=True)


def _money_on_account(writer: Writer, customer: Mapping[str, Any]) -> None:
    """Money nobody applied: unidentified until somebody finds out, paid back, or left."""
    day, currency = FIRST + writer.days(20, 350), customer["currency_code"]
    unknown = writer.chance(0.4)
    made = build.receipt(
        writer.key("R"),
        day,
        writer.money(20, 500, currency),
        entity_code=customer["entity_code"],
        customer_id=None if unknown else customer["customer_id"],
        currency_code=currency,
    )
    row = writer.put(made, day)
    later = day + writer.days(3, 60)
    if unknown and writer.chance(0.5) and later <= LAST:
        row = writer.change("receipt", row, later, customer_id=customer["customer_id"])
    if later <= LAST and writer.chance(0.4):
        same: dict[str, Any] = {
            "entity_code": row["entity_code"],
            "customer_id": customer["customer_id"],
            "currency_code": currency,
        }
        part = row["amount"] if writer.chance(0.5) else places(row["amount"] / 2, currency) or row["amount"]
        made = build.adjustment(writer.key("ADJ"), "refund", later, part, receipt_id=row["receipt_id"], **same)
        writer.put(made, later)


def _order(writer: Writer, row: Mapping[str, Any]) -> None:
    """The order behind an invoice: one line, shipped in one or two goes."""
    booked = row["issued_on"] - writer.days(3, 40)
    promised = booked + writer.days(2, 40)
    same: dict[str, Any] = {"currency_code": _of(row)}
    order = writer.key("SO")
    quantity = Decimal(writer.random.randint(2, 20))
    price = (row["net_amount"] / quantity).quantize(Decimal("0.0001"))
    writer.put(
        build.order(order, booked, row["net_amount"], entity_code=row["entity_code"], requested_on=promised,
                    customer_id=row["customer_id"], status="complete" if writer.chance(0.7) else "open", **same),
        max(booked, FIRST),
    )  # fmt: skip
    made = build.order_line(f"{order}-1", order, quantity, price, net_amount=row["net_amount"], promised_on=promised)
    writer.put(made, max(booked, FIRST), **same)
    for line, shipped in enumerate(_shipments(writer, row, order, quantity), 1):
        net = row["net_amount"] if line == 1 else Decimal(0)
        tax = row["tax_amount"] if line == 1 else Decimal(0)
        made = build.invoice_line(f"{row['invoice_id']}/{line}", row["invoice_id"], line, shipped[1], price)
        writer.put(
            made, row["posted_on"], net_amount=net, tax_amount=tax, order_line_id=f"{order}-1",
            delivery_line_id=shipped[0], **same,
        )  # fmt: skip
    if writer.chance(0.1):
        back = build.return_line(f"{order}-R", f"{order}-1", row["issued_on"] + writer.days(2, 30), 1)
        writer.put(back, back.row["received_on"])
    _hold(writer, order, booked)


def _shipments(writer: Writer, row: Mapping[str, Any], order: str, quantity: Decimal) -> Sequence[tuple[str, Decimal]]:
    """Delivery lines of an order with their quantities; what is short was never sent."""
    first = quantity if writer.chance(0.7) else quantity - 1
    parts = [first, quantity - first] if writer.chance(0.5) and first < quantity else [first]
    found = []
    for number, part in enumerate(parts, 1):
        issued = row["issued_on"] - writer.days(-1, 3)
        arrived = issued + writer.days(1, 5) if writer.chance(0.9) else None
        key = f"{order}-D{number}"
        made = build.delivery(key, issued, arrived, entity_code=row["entity_code"], customer_id=row["customer_id"])
        writer.put(made, max(issued, FIRST))
        line = build.delivery_line(f"{key}-1", key, f"{order}-1", part)
        writer.put(line, max(issued, FIRST))
        found.append((f"{key}-1", part))
    return found


def _hold(writer: Writer, order: str, booked: date) -> None:
    for _ in range(writer.random.choices([0, 1, 2], [80, 15, 5])[0]):
        start = datetime(booked.year, booked.month, booked.day, 23, 30, tzinfo=UTC) + writer.days(0, 5)
        end = start + writer.days(0, 20) if writer.chance(0.7) else None
        writer.put(build.hold(writer.key("H"), order, start, end), max(start.date(), FIRST))


def _rates(writer: Writer) -> None:
    """Spot for every day on which something happened, closing for every month end; some are missing.

    The dinar is quoted against the dollar only: it needs the pivot.
    """
    days = {v.row[name] for v in writer.versions for name in _DATES if v.row.get(name)}
    ends = {last_of_month(day) for day in days}
    for kind, dates in (("spot", days | ends), ("closing", ends)):
        for day in sorted(dates):
            for source, target in (("USD", "EUR"), ("EUR", "USD"), ("JPY", "EUR"), ("JPY", "USD"), ("KWD", "USD")):
                used = {source, target} <= {*writer.shape.currencies, "EUR", "USD"}
                if used and not writer.chance(writer.shape.missing_rates):
                    drift = Decimal(writer.random.randint(950, 1050)) / 1000
                    value = (WORTH[source] / WORTH[target] * drift).quantize(Decimal("0.00000001"))
                    writer.put(build.rate(source, target, kind, day, value), max(day, FIRST), 0)


_DATES = ("posted_on", "received_on", "applied_on", "adjusted_on", "unapplied_on", "reversed_on", "cancelled_on")


def rows_by_entity(versions: Iterable[Version]) -> dict[str, list[dict[str, Any]]]:
    """Every version as a row of its entity, with ``recorded_at`` and ``is_deleted``, in the order of recording."""
    found: dict[str, list[dict[str, Any]]] = {}
    for version in sorted(versions, key=lambda v: (v.recorded_at, v.entity, v.key, v.row["updated_at"])):
        row = {**version.row, "recorded_at": version.recorded_at, "is_deleted": version.deleted}
        found.setdefault(version.entity, []).append(row)
    return found


def loads(versions: Iterable[Version]) -> list[tuple[datetime, list[Version]]]:
    """The versions by recorded time, oldest first: one load each."""
    found: dict[datetime, list[Version]] = {}
    for version in versions:
        found.setdefault(version.recorded_at, []).append(version)
    return [(moment, found[moment]) for moment in sorted(found)]
