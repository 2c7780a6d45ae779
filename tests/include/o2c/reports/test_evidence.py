from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

from o2c.reports.evidence import gather, hash_rows
from o2c.reports.facts import Facts


def test_the_hash_can_be_recomputed_by_hand() -> None:
    rows = [{"b": Decimal("1.50"), "a": date(2026, 3, 31)}, {"b": None, "a": "x"}]
    text = '{"a": "2026-03-31", "b": "1.5"}\n{"a": "x", "b": null}'
    assert hash_rows(rows) == hashlib.sha256(text.encode()).hexdigest()


def test_the_hash_knows_values_not_their_order_scale_or_time_zone() -> None:
    east = timezone(timedelta(hours=9))
    first = [{"a": Decimal("100.00"), "t": datetime(2026, 4, 1, tzinfo=UTC)}, {"a": Decimal("0.10"), "t": None}]
    second = [{"t": None, "a": Decimal("0.1")}, {"t": datetime(2026, 4, 1, 9, tzinfo=east), "a": Decimal("1E+2")}]
    assert hash_rows(first) == hash_rows(second)
    assert hash_rows(first) != hash_rows([*first, first[0]])


def test_long_amounts_are_hashed_exactly() -> None:
    one, other = Decimal("123456789012345678901234567890.01"), Decimal("123456789012345678901234567890.02")
    assert hash_rows([{"a": one}]) != hash_rows([{"a": other}])


def test_a_changed_cent_changes_the_hash_of_its_part_and_of_all(facts: Facts, broken: Callable[..., Facts]) -> None:
    before = gather(facts)
    after = gather(broken("leaks", 0, amount_txn=Decimal("4203.01")))
    changed = [a.name for a, b in zip(before.parts, after.parts, strict=True) if a.sha256 != b.sha256]
    assert changed == ["Leaks"]
    assert before.sha256 != after.sha256


def test_exclusions_name_their_amounts(facts: Facts, broken: Callable[..., Facts]) -> None:
    last = len(facts.ageing) - 1
    found = {item.name: item for item in gather(broken("ageing", last, closing_rate=None)).exclusions}
    assert found["Intercompany"].amounts == {"EUR": Decimal("12000.00")}
    assert found["No exchange rate"].amounts == {"USD": facts.ageing[last]["net_receivables_amount"]}
    assert (found["Quarantine"].rows, found["Quarantine"].amounts) == (
        3,
        {"EUR": Decimal("200.00"), "KWD": Decimal("0.125")},
    )


def test_control_totals_show_a_difference(facts: Facts, broken: Callable[..., Facts]) -> None:
    assert [check for check in gather(facts).checks if check.difference] == []
    short = broken("debtors", 0, net_receivables_amount=Decimal(0))
    (check,) = [check for check in gather(short).checks if check.difference]
    assert (check.currency, check.difference) == ("EUR", facts.debtors[0]["net_receivables_amount"])
