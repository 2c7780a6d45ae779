"""Kinds 7 and 13: what clocks, ties, late commits and deletes do to a cursor."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import psycopg

from chaos import checksum, content, oracle
from chaos.content import SECOND
from chaos.laboratory import Laboratory
from chaos.registry import NotRun, Result, delivered, kind
from chaos.tasks import run_until_clean
from chaos.world import World, put_records, put_rows

FLOW = "erp/receipts"


def _more(random: Random, numbers: range, at: Callable[[int], datetime]) -> list[dict[str, Any]]:
    return [content._receipt(random, number, at(number), good=True) for number in numbers]


def _write(world: World, rows: list[dict[str, Any]]) -> None:
    with world.connected(world.erp_url) as connection:
        put_rows(connection, "cash_receipt", rows)


def _as_in_one_go(laboratory: Laboratory, variant: int, world: World, rows: list[dict[str, Any]]) -> Result:
    """The oracle, and the checksum of a world that was given all rows before one single run."""
    result = Result()
    result.violations += oracle.balance(world)
    with laboratory.world(variant) as clean:
        clean.deliver("erp")
        _write(clean, rows)
        run_until_clean(clean, "erp")
        expected = checksum.of_group(clean, "erp")
    result.violations += oracle.compare(expected, checksum.of_group(world, "erp"))
    return result


@kind(7, "hundreds of rows with one timestamp, more of them after the load", weight=4)
def ties(laboratory: Laboratory, random: Random) -> Result:
    with delivered(laboratory, random, "erp") as (world, group, variant):
        moment = SECOND + timedelta(hours=2)
        many = random.choice((50, 200, 400))
        first = _more(random, range(1000, 1000 + many), lambda _: moment)
        later = _more(random, range(100, 100 + many // 2), lambda _: moment)
        _no_overlap(world, random.random() < 0.5)
        _write(world, first)
        run_until_clean(world, group)
        # Ids that sort before those that are known: (time, id) alone would not find them.
        _write(world, later)
        run_until_clean(world, group)
        result = _as_in_one_go(laboratory, variant, world, [*first, *later])
        result.injected, result.fault = 1, f"{many} rows of one moment, {many // 2} later"
        return result


def _no_overlap(world: World, without: bool) -> None:
    if without:
        for path in (world.flows_dir / "erp").glob("*.yml"):
            path.write_text(path.read_text().replace(", overlap: 20m", "").replace("overlap: 20m", "overlap: 0s"))


@kind(7, "rows committed late, behind the cursor", weight=6)
def late_commit(laboratory: Laboratory, random: Random) -> Result:
    with delivered(laboratory, random, "erp") as (world, group, variant):
        _no_overlap(world, True)
        now = datetime.now(UTC)
        late = _more(random, range(200, 206), lambda _: now)
        soon = _more(random, range(300, 304), lambda _: now + timedelta(seconds=0.2))
        result = Result(1, "a transaction that stamps its rows and commits after the load")
        with psycopg.connect(world.erp_url, options="-c timezone=UTC") as connection:
            stamp = connection.execute("select now()").fetchone()
            assert stamp is not None
            for row in late:
                row["updated_at"] = stamp[0]
            put_rows(connection, "cash_receipt", late)
            for row in soon:
                row["updated_at"] = stamp[0] + timedelta(seconds=random.choice((0.001, 0.05, 0.2)))
            _write(world, soon)
            run_until_clean(world, group)
            if random.random() < 0.5:
                run_until_clean(world, group)
            connection.commit()
        run_until_clean(world, group)
        judged = _as_in_one_go(laboratory, variant, world, [*late, *soon])
        result.violations += judged.violations
        return result


@kind(7, "clocks that are off, a DST change, a leap day", weight=4)
def clocks(laboratory: Laboratory, random: Random) -> Result:
    with delivered(laboratory, random, "erp") as (world, group, variant):
        zone = random.choice(("Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC"))
        with psycopg.connect(world.superuser("postgres"), autocommit=True) as connection:
            connection.execute(f"alter database {world.erp_database} set timezone = '{zone}'")  # type: ignore[call-overload]
        run_until_clean(world, group)
        how = random.choice(("skew", "dst", "leap"))
        moments = {
            # Up to a quarter of an hour behind the last row, which the overlap covers.
            "skew": [SECOND + timedelta(minutes=36 - random.randint(1, 15)) for _ in range(6)],
            "dst": [datetime(2026, 3, 29, 0, 30, tzinfo=UTC) + timedelta(minutes=20 * n) for n in range(6)],
            "leap": [datetime(2028, 2, 28, 22, tzinfo=UTC) + timedelta(hours=n) for n in range(6)],
        }[how]
        rows = []
        for number, moment in enumerate(moments):
            row = content._receipt(random, 400 + number, moment, good=True)
            rows.append(row)
            _write(world, [row])
            if random.random() < 0.5:
                run_until_clean(world, group)
        run_until_clean(world, group)
        result = _as_in_one_go(laboratory, variant, world, rows)
        result.injected, result.fault = 1, f"{how}, the ERP in {zone}"
        return result


# --- versions and deletes --------------------------------------------------------------------------------------------


@kind(13, "version 3 comes before version 2", weight=4)
def out_of_order(laboratory: Laboratory, random: Random) -> Result:
    with delivered(laboratory, random, "crm") as (world, group, _):
        path = world.directory / "crm" / "Opportunity.jsonl"
        newest = SECOND + timedelta(minutes=40)
        versions = [content._opportunity(random, 500, newest - timedelta(minutes=4 * n), good=True) for n in range(3)]
        order = [0, 1, 2] if random.random() < 0.5 else [0, 2, 1]
        for position in order:
            put_records(path, [versions[position]])
            run_until_clean(world, group)
        result = Result(2, f"versions in the order {[3 - n for n in order]}")
        found = world.rows(
            "select amount from raw.opportunity where opportunity_id = '0060500'"
            " order by updated_at desc nulls last, _published_at desc, _load_id desc"
        )
        result.expect([row[0] for row in found] == [each["Amount"] for each in versions], f"{found}")
        put_records(path, [versions[0]])
        result.violations += oracle.balance(world)
        return result


def reconcile_task(flow: str) -> list[str]:
    """What ``o2c reconcile`` does for one flow; errors as text."""
    from o2c.connections import from_environment
    from o2c.contracts.catalogue import load_catalogue
    from o2c.loads.reconcile import reconcile
    from o2c.settings import Settings

    settings = Settings.load()
    done = reconcile(settings, [load_catalogue(settings).flow(flow)], from_environment)
    return [str(each.error) for each in done if each.error]


@kind(13, "a record is deleted without a trace, missed behind the cursor, or comes back", weight=6)
def deleted(laboratory: Laboratory, random: Random) -> Result:
    _needs("o2c.loads.reconcile")
    with delivered(laboratory, random, "erp") as (world, group, variant):
        run_until_clean(world, group)
        result = Result(2, "delete without a trace, row far behind the cursor")
        with world.connected(world.erp_url) as connection:
            gone = connection.execute(
                "delete from erp.cash_receipt where id = any (select id from erp.cash_receipt where amt > 0"
                " order by md5(id || %s) limit 2) returning *", [str(random.random())]
            )  # fmt: skip
            names = [column.name for column in gone.description or ()]
            rows = [dict(zip(names, row, strict=True)) for row in gone.fetchall()]
        missed = _more(random, range(600, 602), lambda _: datetime(2026, 3, 1, tzinfo=UTC))
        _write(world, missed)
        done = world.workshop.run(reconcile_task, FLOW, environ=world.environ())
        result.expect(done.is_ok and done.value == [], f"reconcile: {done.text}{done.value}")
        result.violations += oracle.balance(world)
        tombstones = {row[0] for row in world.rows("select receipt_id from raw.receipt where _deleted")}
        result.expect(tombstones == {row["id"] for row in rows}, f"tombstones {tombstones}")
        _write(world, [row | {"updated_at": SECOND + timedelta(hours=3)} for row in rows])
        run_until_clean(world, group)
        result.violations += oracle.balance(world)
        result.expect(_living(world) == _in_source(world), "what lives in raw is not what the source holds")
        return result


def _living(world: World) -> set[str]:
    held = {row[0] for row in world.rows("select source_key from quarantine.record where entity = 'receipt'")}
    living = world.rows(
        "select receipt_id from raw.receipt as v where not _deleted and not exists (select from raw.receipt as t"
        " where t._deleted and t.receipt_id = v.receipt_id and t._published_at >= v._published_at)"
    )
    return {row[0] for row in living} | held


def _in_source(world: World) -> set[str]:
    with world.connected(world.erp_url) as connection:
        return {row[0] for row in connection.execute("select id from erp.cash_receipt").fetchall()}


def _needs(module: str) -> None:
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise NotRun(f"{module} is not there")
