"""The oracle seen failing: whatever is lost, doubled, changed or unchained is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

pytestmark = [pytest.mark.integration]


@pytest.fixture(scope="module")
def loaded(laboratory: Any) -> Iterator[Any]:
    """A world after its second load, to copy from."""
    from chaos.tasks import run_until_clean

    with laboratory.world(0) as world:
        for group in ("erp", "payments"):
            world.deliver(group)
            run_until_clean(world, group)
        yield world


def kinds(world: Any) -> set[str]:
    from chaos import oracle

    return {violation.kind for violation in oracle.balance(world)}


def spoil(world: Any, statement: str) -> Callable[[], None]:
    """Change something that nobody may change, in a copy of the database; returns how to undo it."""
    laboratory, name = world.laboratory, world.database
    copy = f"spoiled_{name}"
    laboratory.drop_database(copy)
    laboratory.copy_database(copy, name)
    world.database = copy
    with psycopg.connect(world.superuser()) as connection:
        table = next(word for word in statement.split() if "." in word)
        connection.execute(f"alter table {table} disable trigger all")
        assert connection.execute(statement).rowcount > 0

    def undo() -> None:
        world.database = name
        laboratory.drop_database(copy)

    return undo


def test_a_world_without_a_fault_holds(loaded: Any) -> None:
    from chaos import oracle

    assert oracle.balance(loaded) == []


LAST = "(select max(load_id) from ops.load_ledger)"
CASES = {
    "a row is gone": ("delete from raw.receipt where receipt_id = 'REC0001'", "lost"),
    "a row stands twice": (
        "insert into raw.receipt select * from raw.receipt where receipt_id = 'REC0001'",
        "doubled",
    ),
    "a row of a file stands twice": (
        "insert into raw.bank_line select * from raw.bank_line where entry_number = 1",
        "doubled",
    ),
    "an amount is changed": (
        "update raw.invoice set total_amount = total_amount + 0.01 where invoice_id = 'INV0001'",
        "unbalanced",
    ),
    "a currency is changed": (
        "update raw.invoice set currency_code = 'CHF' where invoice_id = 'INV0001'",
        "unbalanced",
    ),
    "a held row is gone": ("delete from quarantine.record where entity = 'receipt'", "lost"),
    "a held amount is changed": ("update quarantine.record set amount = 0 where entity = 'receipt'", "unbalanced"),
    "a row belongs to no load": (
        "update raw.receipt set _load_id = 'L999999999' where receipt_id = 'REC0001'",
        "doubled",
    ),
    "the ledger is changed": (
        "update ops.load_ledger set duplicate_rows = duplicate_rows + 1, source_rows = source_rows + 1",
        "unbalanced",
    ),
    "the ledger's money is changed": (
        "update ops.load_ledger_total set duplicate_amount = duplicate_amount + 1, source_amount = source_amount + 1"
        " where duplicate_amount > 0",
        "unbalanced",
    ),
    "the cursor has run ahead": (
        "update ops.watermark set cursor_values = jsonb_build_array('2030-01-01 00:00:00+00', 'x')",
        "lost",
    ),
    "the cursor is nobody's": ("update ops.watermark set load_id = 'L999999999'", "unbalanced"),
    "an event is changed": ("update ops.evidence set body = '{}' where sequence = 3", "unbalanced"),
    "an event is gone": ("delete from ops.evidence where sequence = 3", "unbalanced"),
    "a load denies its publication": (f"update ops.load set state = 'failed' where load_id = {LAST}", "unbalanced"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_oracle_sees(loaded: Any, name: str) -> None:
    statement, kind = CASES[name]
    undo = spoil(loaded, statement)
    try:
        assert kind in kinds(loaded)
    finally:
        undo()


def test_the_oracle_sees_a_row_that_never_came(loaded: Any) -> None:
    with loaded.connected(loaded.erp_url) as connection:
        connection.execute(
            "update erp.cash_receipt set updated_at = updated_at + interval '1 day' where id = 'REC0001'"
        )
        try:
            assert kinds(loaded) == {"lost"}
        finally:
            connection.execute(
                "update erp.cash_receipt set updated_at = updated_at - interval '1 day' where id = 'REC0001'"
            )
    assert kinds(loaded) == set()


def test_the_oracle_sees_a_changed_landing_file(loaded: Any) -> None:
    path = next((loaded.home / "landing" / "erp" / "receipts").rglob("receipts.csv"))
    whole = path.read_bytes()
    try:
        path.write_bytes(whole.replace(b"DE01", b"DE02"))
        assert kinds(loaded) == {"unbalanced"}
        path.unlink()
        assert kinds(loaded) == {"unbalanced"}
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize(
    ("statement", "differs"),
    [
        ("update raw.receipt set remittance_text = 'x' where receipt_id = 'REC0001'", {"raw.receipt"}),
        ("update raw.receipt set _load_id = 'L1', _published_at = now()", set()),
    ],
)
def test_the_checksum_sees_content_and_nothing_volatile(loaded: Any, statement: str, differs: set[str]) -> None:
    from chaos import checksum, oracle

    before = checksum.of_group(loaded, "erp")
    undo = spoil(loaded, statement)
    try:
        found = oracle.compare(before, checksum.of_group(loaded, "erp"))
        assert {violation.what.split()[0] for violation in found} == differs
    finally:
        undo()
