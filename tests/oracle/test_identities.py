"""What must hold for every ledger, on random ones."""

from __future__ import annotations

import random
from datetime import date
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.book import ZERO, Book, Parameters
from oracle.catalogue import ALL
from oracle.dates import DAY, calendar_window
from oracle.ledger import Ledger
from oracle.metrics import ageing, bridge, currency, dso, fulfilment, payment
from oracle.random_ledger import LAST, Shape, random_ledger

EURO = Shape(currencies=("EUR",))
SEEDS = st.integers(0, 10_000)
DAYS = st.sampled_from([date(2025, month, day) for month in range(4, 13) for day in (10, 30)] + [LAST])
MIXED = {"fx_basis": "constant", "currency": "EUR", "pivot": "USD"}
LATEST = date(2027, 1, 1)
few = settings(max_examples=12)
some = settings(max_examples=6)


def book(seed: int, day: date, shape: Shape = EURO, **changes: object) -> Book:
    return Book(random_ledger(seed, shape), Parameters(day, LATEST, **changes))  # type: ignore[arg-type]


@few
@given(SEEDS, DAYS, st.sampled_from(["due", "invoice"]), st.booleans(), st.sampled_from(["incl", "excl"]))
def test_buckets_and_unapplied_are_the_net_receivable(seed: int, day: date, basis: str, own: bool, tax: str) -> None:
    found = book(seed, day, tax_basis=tax, intercompany="incl")
    aged = ageing.ageing(found, basis=basis, age_credits_by_own_date=own)
    assert aged.total == found.balance(day).net
    if tax == "incl":
        assert found.balance(day).net == sum(
            (e.amount for e in found.facts.events if e.is_receivable and e.effective_date <= day), ZERO
        )
    if not own:
        assert all(left >= 0 for left in aged.buckets.values())
    assert all(aged.disputed[name] <= aged.buckets[name] for name in aged.buckets if not own)


@few
@given(SEEDS, DAYS)
def test_the_edges_of_buckets_move_money_only_between_them(seed: int, day: date) -> None:
    found = book(seed, day)
    assert sum(ageing.ageing(found).buckets.values()) == sum(ageing.ageing(found, edges=(7, 45)).buckets.values())


@few
@given(SEEDS, DAYS)
def test_the_roll_forward_closes(seed: int, day: date) -> None:
    found = book(seed, day)
    parts = ageing.roll_forward(found, calendar_window(day, 3))
    assert parts["fx"] == 0
    assert sum(value for name, value in parts.items() if name != "closing") == parts["closing"]
    assert parts["write_offs"] <= 0 <= parts["write_off_reversals"]


@few
@given(SEEDS, DAYS)
def test_the_roll_forward_of_one_customer_names_transfers(seed: int, day: date) -> None:
    """What a parent pays for its child leaves one scope and enters the other; deposits are no transfers."""
    found = book(seed, day, intercompany="incl")
    window = calendar_window(day, 3)
    whole = ageing.roll_forward(found, window)
    single = [
        ageing.roll_forward(found.with_(customer=name), window)
        for name in dso.groups(found, "customer")
        if name is not None
    ]
    assert whole["transfers"] == 0
    assert sum(parts["transfers"] for parts in single) == 0
    assert all(parts["fx"] == 0 for parts in single)


@few
@given(SEEDS, DAYS)
def test_dso_is_best_possible_and_delinquent(seed: int, day: date) -> None:
    gross, net = book(seed, day, ar_basis="gross_invoices"), book(seed, day)
    for found in (gross, net):
        parts = [dso.best_possible(found), dso.delinquent(found)]
        parts += [dso.unapplied_effect(found)] if found is net else []
        values = [part.value for part in parts]
        whole = dso.simple(found).value
        assert whole == (None if None in values else sum(values))  # type: ignore[arg-type]


@few
@given(SEEDS, DAYS)
def test_days_to_pay_is_terms_and_days_late(seed: int, day: date) -> None:
    found = book(seed, day, business_days=("E1",))
    paid, terms, late = payment.days_to_pay(found), payment.terms(found, population="settled"), payment.days_late(found)
    floored = payment.days_late(found, floored=True)
    if paid.value is not None:
        assert paid.value == terms.value + late.value  # type: ignore[operator]
        assert floored.value >= max(late.value, 0)  # type: ignore[operator,type-var]
    assert paid.denominator == terms.denominator == late.denominator


@few
@given(SEEDS)
def test_the_bridges_add_up(seed: int) -> None:
    found = book(seed, date(2025, 12, 31))
    before, after = found.with_(as_of=date(2025, 9, 30)), found
    values = [dso.simple(side).value for side in (before, after)]
    if None in values:
        return
    change = values[1] - values[0]  # type: ignore[operator]
    customers = bridge.by_customer(before, after)
    assert sum((effect.total for effect in customers.values()), ZERO) == change
    assert sum(bridge.by_component(before, after).values(), ZERO) == change


@few
@given(SEEDS, DAYS)
def test_groups_add_up_to_the_whole(seed: int, day: date) -> None:
    """Sides of a ratio are sums: entities to the company, customers to all but money of nobody."""
    found = book(seed, day)
    whole = dso.simple(found)
    by_entity = dso.by(found, "entity", dso.simple)
    by_customer = dso.by(found, "customer", dso.simple)
    assert sum(part.numerator or 0 for part in by_entity.values()) == whole.numerator
    assert sum(part.denominator or 0 for part in by_customer.values()) == whole.denominator
    of_nobody = found.balance(day).unidentified_cash
    assert sum(part.numerator or 0 for part in by_customer.values()) + of_nobody == whole.numerator


@few
@given(SEEDS, DAYS)
def test_the_stages_of_the_cycle_add_up(seed: int, day: date) -> None:
    cycle = fulfilment.order_to_cash(book(seed, day))
    if cycle.whole.value is not None:
        assert sum(stage.value for stage in cycle.stages.values()) == cycle.whole.value  # type: ignore[misc]
    paid = payment.days_to_pay(book(seed, day)).denominator or ZERO
    assert (cycle.whole.denominator or ZERO) + cycle.untraced == paid


@few
@given(SEEDS, DAYS)
def test_open_lines_and_settlements_agree(seed: int, day: date) -> None:
    """Two ways to the open amount of a line: from the events, and from what settled it."""
    found = book(seed, day, intercompany="incl")
    by_line = {(item.invoice_id, item.line): item.open for item in found.items(day)}
    for invoice in found.invoices():
        parts = found.settlements(invoice, day)
        for line in found.schedule(invoice) if invoice["posted_on"] <= day else []:
            left = line.amount - sum((part.amount for part in parts if part.item.line == line.line), ZERO)
            assert by_line.get((line.invoice_id, line.line), ZERO) == max(left, ZERO)


@few
@given(SEEDS)
def test_events_tell_the_same_as_documents(seed: int) -> None:
    """The append-only list, cut at any recorded time, has the balances of the documents known then."""
    ledger = random_ledger(seed)
    events = ledger.events()
    for moment in ledger.recorded_times[::4]:
        listed: dict[object, Fraction] = {}
        for event in events:
            if event.recorded_at is not None and event.recorded_at <= moment:
                key = (event.document, event.effective_date, event.is_receivable)
                listed[key] = listed.get(key, ZERO) + event.amount
        direct: dict[object, Fraction] = {}
        for event in ledger.facts(moment).events:
            key = (event.document, event.effective_date, event.is_receivable)
            direct[key] = direct.get(key, ZERO) + event.amount
        assert {k: v for k, v in listed.items() if v} == {k: v for k, v in direct.items() if v}


def figures(ledger: Ledger, day: date, known: object, **changes: object) -> dict[str, object]:
    found = Book(ledger, Parameters(day, known, **changes))  # type: ignore[arg-type]
    results = {name: metric(found) for name, metric in ALL.items()}
    return {name: (r.numerator, r.denominator, r.value, r.reason) for name, r in results.items()}


@some
@given(SEEDS, st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(seed: int, shuffler: random.Random) -> None:
    ledger = random_ledger(seed)
    versions = list(ledger.versions)
    shuffler.shuffle(versions)
    other = Ledger.of(versions)
    day = date(2025, 10, 31)
    assert figures(ledger, day, LATEST, **MIXED) == figures(other, day, LATEST, **MIXED)
    assert ledger.events() == other.events()


@some
@given(SEEDS, st.integers(5, 11))
def test_what_was_known_never_changes(seed: int, batch: int) -> None:
    """As-known figures are the same before and after all that is recorded later; so are the events."""
    ledger = random_ledger(seed)
    moment = ledger.recorded_times[batch - 1]
    then = ledger.until(moment)
    assert len(then.versions) < len(ledger.versions)
    day = moment.date() - DAY
    assert figures(then, day, LATEST, **MIXED) == figures(ledger, day, moment, **MIXED)
    events = ledger.events()
    assert events[: len(then.events())] == then.events()


def test_later_knowledge_does_change_as_of_figures() -> None:
    """The test above would say nothing if what comes later never mattered."""
    moved = 0
    for seed in range(5):
        ledger = random_ledger(seed, EURO)
        moment = ledger.recorded_times[7]
        day = moment.date() - DAY
        moved += figures(ledger, day, moment) != figures(ledger, day, LATEST)
    assert moved == 5


@few
@given(SEEDS, DAYS)
def test_a_missing_rate_leaves_out_what_it_says(seed: int, day: date) -> None:
    found = book(seed, LAST, Shape(missing_rates=0.2), **MIXED)
    left_out = currency.excluded_balance(found, day)
    excluded = found.balance(day).net
    complete = sum(
        (
            left * rate
            for document, left in found.open_documents(day).items()
            if (rate := found.rates.rate(found.document(document)["currency_code"], "EUR", "closing", LAST)) is not None
        ),
        ZERO,
    )
    assert excluded == complete
    priced = [name for name in ("EUR", "USD", "JPY", "KWD") if found.rates.rate(name, "EUR", "closing", LAST)]
    assert not set(left_out) & set(priced)


@few
@given(SEEDS)
def test_the_fx_effect_is_over_the_same_documents(seed: int) -> None:
    found = book(seed, LAST, Shape(missing_rates=0.1), **MIXED)
    effect = currency.fx_effect(found, dso.simple)
    assert effect.historical.numerator == effect.constant.numerator  # balances stand at closing on both sides
    if effect.value is not None:
        assert effect.value == effect.historical.value - effect.constant.value  # type: ignore[operator]


@pytest.mark.parametrize("seed", range(3))
def test_every_metric_carries_its_parts(seed: int) -> None:
    found = book(seed, date(2025, 11, 30))
    for name, metric in ALL.items():
        result = metric(found)
        assert (result.value is None) == (result.reason is not None), name
        if result.value is not None and result.denominator:
            assert result.value == result.numerator / result.denominator * result.scale, name  # type: ignore[operator]
