"""Who may publish: one load of a flow, once, whatever hangs, dies or loses its answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from o2c.errors import FenceLost, WarehouseError
from o2c.loads import publish as publishing
from o2c.loads.extract import extract
from o2c.loads.gate import gate
from o2c.loads.progress import held_back, loads_of_run, unbuilt_rows
from o2c.loads.publish import publish
from o2c.warehouse import acknowledgement, build, fence

COLUMNS = ["customer_id", "iban"]
CONTENT = "customer_id,iban\nA,DE00123456789012\nB,DE00123456789013\n"


@pytest.fixture
def accounts(warehouse: Any) -> Any:
    flow = warehouse.flows.csv("shop/accounts", "customer_bank_account", COLUMNS)
    warehouse.flows.put("shop/accounts.csv", CONTENT)
    return flow


def gated(warehouse: Any, flow: Any, run_id: str | None = None) -> Any:
    extracted = extract(warehouse.settings, flow, warehouse.resolve, run_id)
    (outcome,) = gate(warehouse.settings, flow.group, {flow.name: flow}, [extracted])
    assert outcome.is_open, str(outcome.error)
    return extracted


def state(warehouse: Any, load: Any) -> Any:
    return warehouse.value("select state from ops.load where load_id = %s", load.load_id)


def landing_tables(warehouse: Any) -> Any:
    return warehouse.value(
        "select count(*) from pg_class where relnamespace = 'landing'::regnamespace and relkind in ('r', 'v', 'm')"
    )


@contextmanager
def holding(warehouse: Any, statement: str, *parameters: Any) -> Iterator[psycopg.Connection]:
    with psycopg.connect(warehouse.settings.warehouse_url) as connection:
        connection.execute(statement, parameters)
        yield connection
        connection.rollback()


def test_a_newer_load_takes_over_and_clears_away(warehouse: Any, accounts: Any) -> None:
    old = gated(warehouse, accounts)
    assert landing_tables(warehouse) > 0
    folder = warehouse.settings.landing_dir / "shop/accounts" / old.load_id
    assert folder.is_dir()
    new = extract(warehouse.settings, accounts, warehouse.resolve)
    assert state(warehouse, old) == "superseded" and not folder.exists()
    error = warehouse.value("select error from ops.load where load_id = %s", old.load_id)
    assert error == f"Load {new.load_id} of the flow has taken over."
    gate(warehouse.settings, "shop", {accounts.name: accounts}, [new])
    publish(warehouse.settings, accounts, new)
    assert landing_tables(warehouse) == 0


@pytest.mark.parametrize("last", ["stopped", "failed"])
def test_what_a_stopped_load_staged_goes_with_the_next_one(warehouse: Any, accounts: Any, last: str) -> None:
    old = gated(warehouse, accounts)
    warehouse.run("update ops.load set state = %s", last)
    warehouse.load(accounts)
    assert landing_tables(warehouse) == 0
    assert state(warehouse, old) == last
    # Evidence of what was refused stays.
    assert (warehouse.settings.landing_dir / "shop/accounts" / old.load_id).is_dir()


def test_a_table_that_somebody_reads_is_left_for_the_next_load(warehouse: Any, accounts: Any) -> None:
    old = gated(warehouse, accounts)
    table = f"landing.shop__accounts__{old.load_id.lower()}"
    with holding(warehouse, f"select from {table}"):
        began = time.monotonic()
        warehouse.load(accounts)
        assert time.monotonic() - began < 20
        assert landing_tables(warehouse) > 0
    warehouse.load(accounts)
    assert landing_tables(warehouse) == 0


def test_a_load_that_was_overtaken_while_it_read_is_not_staged(
    warehouse: Any, accounts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from o2c.loads import extract as module

    land = module.land_parts
    newer = []

    def slow(*arguments: Any) -> Any:
        result = land(*arguments)
        monkeypatch.setattr(module, "land_parts", land)
        newer.append(gated(warehouse, accounts))
        return result

    monkeypatch.setattr(module, "land_parts", slow)
    with pytest.raises(FenceLost, match="a newer load of the flow has started"):
        extract(warehouse.settings, accounts, warehouse.resolve)
    assert publish(warehouse.settings, accounts, newer[0]).rows["published"] == 2
    assert warehouse.rows("select load_id from ops.load_ledger") == [(newer[0].load_id,)]
    folders = [path.name for path in (warehouse.settings.landing_dir / "shop/accounts").iterdir()]
    assert folders == [newer[0].load_id]


def test_who_is_late_is_refused_at_once_though_the_table_is_busy(warehouse: Any, accounts: Any) -> None:
    old = gated(warehouse, accounts)
    gated(warehouse, accounts)
    lock = "select pg_advisory_xact_lock(hashtextextended(%s, 0))"
    with holding(warehouse, lock, "table customer_bank_account"):
        began = time.monotonic()
        with pytest.raises(FenceLost):
            publish(warehouse.settings, accounts, old)
        assert time.monotonic() - began < 1


def test_waiting_for_another_publication_has_an_end(
    warehouse: Any, accounts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fence, "_LONGEST_WAIT", "300ms")
    load = gated(warehouse, accounts)
    lock = "select pg_advisory_xact_lock(hashtextextended('flow shop/accounts', 0))"
    with holding(warehouse, lock), pytest.raises(WarehouseError, match="publishing for longer than 300ms"):
        publish(warehouse.settings, accounts, load)
    assert state(warehouse, load) == "gated"
    assert publish(warehouse.settings, accounts, load).rows["published"] == 2


def test_a_process_that_stops_in_the_middle_of_publishing_loses_its_hold(
    warehouse: Any, accounts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The orphan sleeps inside its transaction; the server ends it, and the next load is not kept waiting."""
    monkeypatch.setattr(fence, "_LONGEST_SILENCE", "200ms")
    old, asleep, awake = gated(warehouse, accounts), threading.Event(), threading.Event()
    whole, errors = publishing.publish_load, []

    def orphan(*arguments: Any) -> Any:
        with monkeypatch.context() as patched:
            patched.setattr("o2c.warehouse.publish.drop_landing", lambda *_: (asleep.set(), awake.wait(20)))
            return whole(*arguments)

    def run() -> None:
        with pytest.raises(WarehouseError) as caught:
            publish(warehouse.settings, accounts, old, orphan)
        errors.append(caught.value)

    thread = threading.Thread(target=run)
    thread.start()
    assert asleep.wait(10)
    new = gated(warehouse, accounts)
    awake.set()
    thread.join(20)
    assert len(errors) == 1
    assert publish(warehouse.settings, accounts, new).rows["published"] == 2
    assert warehouse.rows("select load_id from ops.load_ledger") == [(new.load_id,)]


def breaking(monkeypatch: pytest.MonkeyPatch, *, after_commit: bool) -> None:
    """The connection of the next publication breaks off, before its COMMIT has reached the server or after."""
    whole = publishing.connect

    @contextmanager
    def connect(settings: Any) -> Iterator[Any]:
        monkeypatch.setattr(publishing, "connect", whole)
        with whole(settings) as connection:
            yield connection
            if not after_commit:
                raise WarehouseError("The warehouse broke off: server closed the connection unexpectedly.")
        raise WarehouseError("The warehouse broke off: server closed the connection unexpectedly.")

    monkeypatch.setattr(publishing, "connect", connect)


def test_a_commit_without_an_answer_is_found_in_the_ledger(
    warehouse: Any, accounts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = gated(warehouse, accounts)
    breaking(monkeypatch, after_commit=True)
    published = publish(warehouse.settings, accounts, load)
    assert (published.source_rows, published.rows) == (2, {"published": 2, "quarantined": 0, "duplicate": 0})
    assert warehouse.rows("select load_id, published_rows from ops.load_ledger") == [(load.load_id, 2)]
    assert warehouse.value("select count(*) from raw.customer_bank_account") == 2


def test_a_commit_that_never_arrived_can_be_sent_again(
    warehouse: Any, accounts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = gated(warehouse, accounts, "run 1")
    breaking(monkeypatch, after_commit=False)
    with pytest.raises(WarehouseError, match="broke off"):
        publish(warehouse.settings, accounts, load)
    assert warehouse.value("select count(*) from raw.customer_bank_account") == 0
    (again,) = loads_of_run(warehouse.settings, "run 1", "shop", "gated")
    assert publish(warehouse.settings, accounts, again).rows["published"] == 2


def test_while_the_warehouse_is_away_nothing_is_claimed(
    warehouse: Any, accounts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(acknowledgement.time, "sleep", waits.append)
    away = replace(warehouse.settings, url="postgresql://nobody@127.0.0.1:1/none")
    assert acknowledgement.settled(away, "L000000001") is None
    assert len(waits) == 5


def test_money_of_a_found_publication_is_the_ledgers(warehouse: Any) -> None:
    columns = ["receipt_id", "entity_code", "receipt_type", "received_on", "amount", "currency_code", "payment_method"]
    flow = warehouse.flows.csv("shop/receipts", "receipt", columns)
    rows = ("R1,DE01,payment,2026-03-01,10.50,EUR,card", "R2,DE01,payment,2026-03-01,-4,USD,card")
    warehouse.flows.put("shop/receipts.csv", "\n".join([",".join(columns), *rows]) + "\n")
    published = warehouse.load(flow)
    found = acknowledgement.settled(warehouse.settings, published.load_id)
    assert found is not None and found.rows == {"published": 1, "quarantined": 1, "duplicate": 0}
    assert str(found.amounts["published"]["EUR"]) == "10.50" and str(found.amounts["quarantined"]["USD"]) == "-4"


def test_a_run_that_was_overtaken_leaves_it_to_the_newer_one(warehouse: Any, accounts: Any) -> None:
    gated(warehouse, accounts, "run 1")
    new = gated(warehouse, accounts, "run 2")
    assert loads_of_run(warehouse.settings, "run 1", "shop", "gated") == []
    held_back(warehouse.settings, "run 1", [accounts])
    publish(warehouse.settings, accounts, new)
    held_back(warehouse.settings, "run 2", [accounts])


def test_published_rows_are_told_of_until_a_build_has_begun(
    warehouse: Any, accounts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from datetime import date

    warehouse.load(accounts)
    assert unbuilt_rows(warehouse.settings, "shop") == 2 and unbuilt_rows(warehouse.settings, "till") == 0

    def fails(*_: Any) -> None:
        raise WarehouseError("The disk is full.")

    monkeypatch.setattr(build, "run_dbt", fails)
    with pytest.raises(WarehouseError, match="disk"):
        build.build_models(warehouse.settings, date(2026, 3, 31))
    assert unbuilt_rows(warehouse.settings, "shop") == 2
    monkeypatch.setattr(build, "run_dbt", lambda *_: None)
    build.build_models(warehouse.settings, date(2026, 3, 31))
    assert unbuilt_rows(warehouse.settings, "shop") == 0
    assert warehouse.rows("select as_of, is_success from ops.build order by build_id") == [
        (date(2026, 3, 31), False),
        (date(2026, 3, 31), True),
    ]


def test_a_second_build_is_refused_while_one_runs(warehouse: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import date

    def second(*_: Any) -> None:
        with pytest.raises(WarehouseError, match="Another build is running"):
            build.build_models(warehouse.settings, date(2026, 3, 31))

    monkeypatch.setattr(build, "run_dbt", second)
    build.build_models(warehouse.settings, date(2026, 3, 31))
    assert warehouse.value("select count(*) from ops.build") == 1
