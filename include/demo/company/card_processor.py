"""The card processor: charges, refunds, disputes, fees, and the payouts that settle them weekly.

Every movement has a gross amount, the fee the processor keeps and a net amount, in the settlement currency of the
merchant account (the entity's own). Days are the entity's.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from demo.company.calendar import business_day
from demo.company.documents import floor_amount
from demo.company.model import Customer, Entity, Record, Row
from demo.company.money import ZERO, rounded
from demo.company.world import World

_PERCENT = Decimal("1.4")
_PAYOUT_WEEKDAY = 0


def transaction(
    world: World, kind: str, customer: Customer, day: date, gross: Decimal, *, reference: str = "",
    charge_id: str | None = None, fee: Decimal = ZERO, settles: bool = True,
) -> tuple[str, Row]:  # fmt: skip
    """Record a movement; returns its id and row. With ``settles`` false no payout will hold it."""
    entity = customer.entity
    at, key = world.at(entity, day, "cash"), world.new_id("txn_")
    if kind == "charge":
        charge_id = f"ch_{key.removeprefix('txn_')}"
    row = world.book.add(
        "settlement", key, at, transaction_id=key, type=kind, charge_id=charge_id, payout_id=None,
        merchant=entity.code, order_reference=reference, occurred_at=at, available_on=day + timedelta(days=2),
        gross=gross, fee=fee, net=gross - fee, currency=entity.currency, dispute_reason=None, evidence_due_on=None,
        evidence_submitted_on=None, dispute_outcome=None, arrival_on=None, statement_descriptor=None,
    )  # fmt: skip
    if settles:
        world.unsettled.append((entity, day, row))
    return key, row


def charge(world: World, customer: Customer, day: date, amount: Decimal, reference: str) -> str:
    """Capture a card payment; returns the charge id the receipt refers to."""
    currency = customer.entity.currency
    fee = rounded(amount * _PERCENT / 100, currency) + floor_amount(customer, currency, "0.25")
    _, row = transaction(world, "charge", customer, day, amount, reference=reference, fee=fee)
    return str(row.values["charge_id"])


def dispute(
    world: World, customer: Customer, day: date, amount: Decimal, charge_id: str, *, evidence_on: date | None,
    decided_on: date, outcome: str,
) -> str:  # fmt: skip
    """Record a chargeback that is ``won`` or ``lost`` on ``decided_on``; won money comes back."""
    fee = floor_amount(customer, customer.entity.currency, "15")
    key, row = transaction(world, "dispute", customer, day, -amount, charge_id=charge_id, fee=fee)
    row.values.update(
        dispute_reason="product_not_received", evidence_due_on=day + timedelta(days=10), dispute_outcome="open"
    )
    if evidence_on is not None:
        row.change(world.at(customer.entity, evidence_on, "match"), evidence_submitted_on=evidence_on)
    row.change(world.at(customer.entity, decided_on, "correct"), dispute_outcome=outcome)
    if outcome == "won":
        transaction(world, "dispute_reversal", customer, decided_on, amount, charge_id=charge_id)
    return key


def pay_out(world: World, day: date, *, is_extra: bool = False) -> None:
    """On the weekly payout day, or as an extra payout, settle what happened before it, per merchant account."""
    if day.weekday() != _PAYOUT_WEEKDAY and not is_extra:
        return
    for entity in world.entities.values():
        due = [row for owner, occurred_on, row in world.unsettled if owner is entity and occurred_on < day]
        if due:
            _pay_out(world, entity, day, due)
    world.unsettled = [entry for entry in world.unsettled if entry[1] >= day]


def _pay_out(world: World, entity: Entity, day: date, due: list[Row]) -> None:
    at, key = world.at(entity, day, "match"), world.new_id("po_")
    amount = sum((row.values["net"] for row in due), ZERO)
    arrival = business_day(entity.code, day + timedelta(days=2))
    if entity.code in world.payouts_held and world.payouts_held[entity.code] is None:
        # The bank books this payout together with the next one.
        arrival = business_day(entity.code, day + timedelta(days=9))
    descriptor = f"CARDPAY {entity.code} {key}"
    for row in due:
        row.change(at, payout_id=key)
    world.book.add(
        "settlement", key, at, transaction_id=key, type="payout", charge_id=None, payout_id=key, merchant=entity.code,
        order_reference=None, occurred_at=at, available_on=arrival, gross=amount, fee=ZERO, net=amount,
        currency=entity.currency, dispute_reason=None, evidence_due_on=None, evidence_submitted_on=None,
        dispute_outcome=None, arrival_on=arrival, statement_descriptor=descriptor,
    )  # fmt: skip
    _note_payout(world, entity, day, (key, descriptor, amount, arrival))


def _note_payout(world: World, entity: Entity, day: date, payout: tuple[str, str, Decimal, date]) -> None:
    key, descriptor, amount, arrival = payout
    if amount < 0:
        world.truth.case("negative_payout", day, payout_id=key, amount=format(amount, "f"))
    if arrival > world.base_today >= day:
        world.truth.case("payout_in_transit", day, payout_id=key, arrival_on=arrival.isoformat())
    if entity.code in world.payouts_held:
        first = world.payouts_held[entity.code]
        if first is None:
            world.payouts_held[entity.code] = payout
            return
        del world.payouts_held[entity.code]
        descriptor, amount = f"{first[1]} {key}", amount + first[2]
        reference = world.bank.book(
            entity, entity.currency, arrival, amount, text=descriptor, party=("Cardpay Europe", "")
        )
        world.truth.case("two_payouts_in_one_bank_line", day, payout_ids=[first[0], key], bank_reference=reference)
        return
    world.bank.book(entity, entity.currency, arrival, amount, text=descriptor, party=("Cardpay Europe", ""))


def settlement_month(record: Record) -> str:
    """The month whose file holds the record."""
    return f"{record['occurred_at']:%Y-%m}"
