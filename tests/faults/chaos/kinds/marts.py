"""Kinds 14 and 22: late news for closed periods, and builds that die, run twice, or are read while they run."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from random import Random
from typing import Any

import psycopg
from psycopg import sql

from chaos import checksum
from chaos.laboratory import Laboratory
from chaos.registry import Result, kind
from chaos.world import World

AS_OF = date(2026, 3, 31)
CLOSED = datetime(2026, 4, 10, tzinfo=UTC)
LATER = datetime(2026, 4, 20, tzinfo=UTC)
_COMMON: dict[str, Any] = {"source_system": "erp", "_row_hash": b"", "_key_hash": 0}
_PARTY = {"entity_code": "DE01", "customer_id": "C1", "currency_code": "EUR"}


def build_task(as_of: str, as_known: str | None = None) -> None:
    """Task ``build`` of ``build_warehouse``; with ``as_known`` as a report that is made again for a closed period."""
    from o2c.settings import Settings
    from o2c.warehouse.build import build_models
    from o2c.warehouse.dbt import run_dbt

    settings, day = Settings.load(), date.fromisoformat(as_of)
    if as_known is None:
        build_models(settings, day)
    else:
        run_dbt(settings, ["run"], day, date.fromisoformat(as_known))


def put(world: World, entity: str, published_at: datetime = CLOSED, **values: Any) -> None:
    """Publish one version of a record of the ERP behind the engine's back."""
    row = {
        **_COMMON,
        "_load_id": f"load-{published_at:%d}",
        "_published_at": published_at,
        "updated_at": published_at,
        **values,
    }
    statement = sql.SQL("insert into {} ({}) values ({})").format(
        sql.Identifier("raw", entity),
        sql.SQL(", ").join(map(sql.Identifier, row)),
        sql.SQL(", ").join(sql.Placeholder() * len(row)),
    )
    with world.connected() as connection:
        connection.execute(statement, list(row.values()))


def _ledger(world: World) -> None:
    """A quarter of a small company; figures are plain sums of what stands here."""
    put(world, "legal_entity", entity_code="DE01", legal_name="Company", country_code="DE",
        functional_currency_code="EUR", timezone="Europe/Berlin")  # fmt: skip
    put(world, "customer", customer_id="C1", legal_name="Customer", entity_code="DE01")
    put(world, "exchange_rate", from_currency_code="USD", to_currency_code="EUR", rate_type="closing",
        rate_date="2026-03-31", rate="0.9")  # fmt: skip
    for number, (issued, amount) in enumerate(
        (("2026-01-05", 1000), ("2026-02-10", 800), ("2026-03-15", 700)), start=1
    ):
        put(world, "invoice", invoice_id=f"I{number}", invoice_number=f"I{number}", document_type="invoice",
            sale_type="credit", issued_on=issued, posted_on=issued, due_on="2026-04-30", net_amount=amount,
            tax_amount=0, total_amount=amount, status="posted", **_PARTY)  # fmt: skip
    put(world, "receipt", receipt_id="P1", receipt_type="payment", received_on="2026-02-20", amount=1000,
        payment_method="bank_transfer", **_PARTY)  # fmt: skip
    put(world, "receipt_application", application_id="A1", entity_code="DE01", receipt_id="P1", invoice_id="I1",
        applied_on="2026-02-20", applied_amount=1000, discount_amount=0, currency_code="EUR")  # fmt: skip


@contextmanager
def built(laboratory: Laboratory) -> Iterator[World]:
    """A world with built marts, copied from one that was built once."""
    if not hasattr(laboratory, "built_marts"):
        with laboratory.world(0) as world:
            with psycopg.connect(world.superuser()) as connection:
                for table in ("invoice", "receipt", "opportunity"):
                    for what in ("disable trigger all", "enable trigger all"):
                        if what.startswith("enable"):
                            connection.execute(f"truncate raw.{table}")  # type: ignore[call-overload]
                        connection.execute(f"alter table raw.{table} {what}")  # type: ignore[call-overload]
            _ledger(world)
            build(world)
            with psycopg.connect(laboratory.cluster.url("postgres"), autocommit=True) as connection:
                connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [world.database]
                )
            laboratory.copy_database("base_marts", world.database)
            laboratory.built_marts = marts(world)  # type: ignore[attr-defined]
    with laboratory.world(0) as world:
        laboratory.drop_database(world.database)
        laboratory.copy_database(world.database, "base_marts")
        yield world


def build(world: World, *, as_known: str | None = None) -> None:
    """One build that must succeed."""
    done = world.workshop.run(build_task, AS_OF.isoformat(), as_known, environ=world.environ(), timeout=240)
    assert done.is_ok, done.text[-3000:]


def marts(world: World) -> dict[str, str]:
    """Checksums of every mart."""
    schemas = world.rows("select nspname from pg_namespace where nspname ~ '^marts' order by 1")
    # What the figures were asked for is no figure.
    without = checksum.VOLATILE | {"as_known"}
    return {name: value for (schema,) in schemas for name, value in checksum.of_schema(world, schema, without).items()}


# --- 14 --------------------------------------------------------------------------------------------------------------


def _late_payment(world: World, amount: int) -> dict[str, Any]:
    put(world, "receipt", LATER, receipt_id="late", receipt_type="payment", received_on="2026-02-25", amount=amount,
        payment_method="cheque", **_PARTY)  # fmt: skip
    return {"total": 1500 - amount}


def _restated(world: World, amount: int) -> dict[str, Any]:
    put(world, "invoice", LATER, invoice_id="I2", invoice_number="I2", document_type="invoice", sale_type="credit",
        issued_on="2026-02-10", posted_on="2026-02-10", due_on="2026-04-30", net_amount=800 - amount, tax_amount=0,
        total_amount=800 - amount, status="posted", **_PARTY)  # fmt: skip
    return {"total": 1500 - amount}


def _rate(world: World, amount: int) -> dict[str, Any]:
    put(world, "exchange_rate", LATER, from_currency_code="USD", to_currency_code="EUR", rate_type="closing",
        rate_date="2026-03-31", rate=f"0.{amount}")  # fmt: skip
    return {"total": 1500}


@kind(14, "a late payment, a restated invoice or a corrected rate for a closed period", is_slow=True)
def late_news(laboratory: Laboratory, random: Random) -> Result:
    with built(laboratory) as world:
        news = random.choice((_late_payment, _restated, _rate))
        result = Result(1, news.__name__.strip("_"))
        before = marts(world)
        expected = news(world, random.randint(10, 99))
        build(world, as_known="2026-04-15")
        result.violations += _differences(before, marts(world), "as known before the news")
        build(world)
        after = marts(world)
        total = world.value(
            "select sum(net_receivables_amount) from marts_receivables.rpt_ageing_monthly where as_of_date = %s", AS_OF
        )
        result.expect(total == expected["total"], f"{total} instead of {expected['total']} after {result.fault}")
        changed = before["marts_receivables.fct_ar_event"] != after["marts_receivables.fct_ar_event"]
        result.expect(changed is (news is not _rate), "the news is not in the event ledger")
        build(world)
        result.violations += _differences(after, marts(world), "built twice")
        return result


def _differences(before: dict[str, str], after: dict[str, str], when: str) -> list[Any]:
    from chaos.oracle import Violation, compare

    return [Violation(each.kind, f"{each.what}, {when}") for each in compare(before, after)]


# --- 22 --------------------------------------------------------------------------------------------------------------


class Reader:
    """Reads a report again and again, and keeps every answer that is not the one it should be."""

    def __init__(self, world: World) -> None:
        self.wrong: set[str] = set()
        self.answers = 0
        self._world = world
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _read(self) -> None:
        query = (
            "select (select sum(net_receivables_amount) from marts_receivables.rpt_ageing_monthly where as_of_date ="
            " '2026-03-31'), (select sum(amount_txn) from marts_receivables.fct_ar_event)"
        )
        with self._world.connected() as connection:
            while not self._ended.wait(0.01):
                try:
                    row = connection.execute(query).fetchone()
                    if row != (1500, 1500):
                        self.wrong.add(f"a reader saw {row}")
                except psycopg.Error as error:
                    self.wrong.add(f"a reader got {type(error).__name__}: {str(error).splitlines()[0]}")
                self.answers += 1


@kind(22, "a build is killed, runs twice at once, and is read while it runs", is_slow=True)
def builds(laboratory: Laboratory, random: Random) -> Result:
    with built(laboratory) as world:
        how = random.choice(("killed", "killed", "twice"))
        result = Result(1, how)
        grants = _grants(world)
        with Reader(world) as reader:
            first = world.workshop.start(build_task, AS_OF.isoformat(), environ=world.environ())
            time.sleep(random.uniform(0.5, 6.0))
            if how == "killed":
                first.signal(signal.SIGKILL)
                first.wait()
            else:
                second = world.workshop.start(build_task, AS_OF.isoformat(), environ=world.environ())
                outcomes = [first.wait(240), second.wait(240)]
                result.expect(any(each.is_ok for each in outcomes), f"both failed: {outcomes}")
                refused = [each.text for each in outcomes if not each.is_ok]
                result.expect(all("Another build is running" in text for text in refused), f"{refused}")
            build(world)
        result.expect(reader.answers > 0, "nothing was read")
        result.violations += [oracle_violation(text) for text in sorted(reader.wrong)]
        result.violations += _differences(laboratory.built_marts, marts(world), how)  # type: ignore[attr-defined]
        result.expect(grants <= _grants(world), f"grants are gone: {sorted(grants - _grants(world))[:3]}")
        return result


def oracle_violation(text: str) -> Any:
    from chaos.oracle import Violation

    return Violation("other", text)


def _grants(world: World) -> set[tuple[Any, ...]]:
    return set(
        world.rows(
            "select grantee, table_schema, table_name, privilege_type from information_schema.role_table_grants"
            " where table_schema ~ '^marts'"
        )
    )
