"""Kind 25: input that somebody has made to do harm."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from random import Random

from chaos import checksum, oracle
from chaos.kinds.files import CARD, _with_field
from chaos.laboratory import Laboratory
from chaos.registry import Result, delivered, judge, kind
from chaos.tasks import run_dag, run_until_clean
from chaos.world import World

SQL = "'; drop table raw.invoice; --"


def _file_names(world: World, random: Random) -> str:
    data = world.file(CARD).read_bytes()
    name = random.choice(
        (
            "..evil.csv",
            "a\nb.csv",
            "\x1b[2J.csv",
            "-rf.csv",
            ".hidden.csv",
            "a;rm -rf.csv",
            SQL.replace("/", "") + ".csv",
        )
    )
    world.file(CARD).with_name(name).write_bytes(data)
    return f"file name {name!r}"


def _symlink(world: World, random: Random) -> str:
    target = random.choice(("/etc/passwd", "../../home", "/proc/self/environ"))
    world.file(CARD).with_name("link.csv").symlink_to(target)
    return f"symlink to {target}"


def _sql_header(world: World, random: Random) -> str:
    rows = list(csv.reader(io.StringIO(world.file(CARD).read_text())))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*rows[0], 'x"); drop schema raw cascade; --', "_row", "c001"])
    writer.writerows([*row, "1", "2", "3"] for row in rows[1:])
    world.file(CARD).write_text(text.getvalue())
    return "SQL in a header"


def _values(value: str) -> Callable[[World, Random], str]:
    def put(world: World, _: Random) -> str:
        world.file(CARD).write_bytes(_with_field(world.file(CARD).read_bytes(), value))
        return f"a field {value[:40]!r} of {len(value)} characters"

    return put


ATTACKS: dict[str, tuple[Callable[[World, Random], str], str]] = {
    "file name": (_file_names, "either"),
    "symlink": (_symlink, "ignored"),
    "header": (_sql_header, "more"),
    "value with SQL": (_values(SQL), "kept"),
    "formula": (_values("=cmd|' /C calc'!A0"), "kept"),
    "10 MB field": (_values("x" * 10_000_000), "kept"),
    "placeholder": (_values("%s %(x)s {} {0} $1"), "kept"),
    "card number": (_values("4111 1111 1111 1111"), "card"),
}


@kind(25, "hostile names, links, headers, formulas, fields, card numbers", weight=8)
def hostile(laboratory: Laboratory, random: Random) -> Result:
    with delivered(laboratory, random, "payments") as (world, group, variant):
        name = random.choice(list(ATTACKS))
        attack, meant = ATTACKS[name]
        whole = world.file(CARD).read_bytes()
        tables = _tables(world)
        result = Result(1, attack(world, random))
        first = run_dag(world, group, world.next_run_id(), timeout=120)
        result.expect(_tables(world) == tables, "tables have come or gone")
        written = [path for path in world.directory.rglob("*") if path.is_file() and "evil" in path.name]
        result.expect(
            all(world.home / "landing" in path.parents or path.parent == world.file(CARD).parent for path in written),
            f"{written}",
        )
        if meant == "card":
            return _no_card_number(world, result)
        result.violations += oracle.balance(world, all_arrived=False)
        if meant == "ignored":
            result.expect(first.is_success, f"{name}: {first.errors}")
        if meant == "kept":
            result.expect(first.is_success, f"{name}: {first.errors}")
            result.violations += oracle.balance(world)
            return result
        if meant == "more":
            return result
        _clean_up(world, whole)
        run_until_clean(world, group)
        if meant == "either" and first.is_success:
            result.violations += oracle.balance(world, all_arrived=False)
            return result
        return judge(laboratory, world, group, variant, result)


def _tables(world: World) -> list[tuple[object, ...]]:
    return world.rows(
        "select schemaname, tablename from pg_tables where schemaname in ('raw', 'ops', 'quarantine') order by 1, 2"
    )


def _clean_up(world: World, whole: bytes) -> None:
    for path in world.file(CARD).parent.iterdir():
        if not path.name.startswith("settlement"):
            path.unlink()
    world.file(CARD).write_bytes(whole)


def _no_card_number(world: World, result: Result) -> Result:
    """The number is nowhere: not in the warehouse, not in the state folder."""
    for digits in ("4111 1111 1111 1111", "4111111111111111"):
        for path in world.home.rglob("*"):
            if path.is_file() and digits.encode() in path.read_bytes():
                result.add("other", f"a card number lies in {path.relative_to(world.home)}")
        for schema, table in world.rows(
            "select schemaname, tablename from pg_tables where schemaname in ('raw', 'ops', 'quarantine', 'landing')"
        ):
            found = world.value(f'select count(*) from "{schema}"."{table}" as t where t::text like %s', f"%{digits}%")
            result.expect(found == 0, f"a card number stands in {schema}.{table}")
    return result


@kind(25, "a next link to another host", weight=2)
def foreign_link(laboratory: Laboratory, random: Random) -> Result:
    with delivered(laboratory, random, "crm") as (world, group, variant):
        fault = random.choice(("foreign_next", "redirect"))
        world.crm.faults.add(fault, times=20, after=random.randint(0, 2))
        before = checksum.of_group(world, group)
        first = run_dag(world, group, world.next_run_id())
        result = Result(1, fault)
        tries = first.outcomes["extract crm/opportunities"]
        result.expect(not first.is_success and before == checksum.of_group(world, group), "the load went on")
        result.expect("another" in tries[-1].text, f"{tries[-1].text[:200]}")
        while world.crm.faults._queue:
            world.crm.faults.take()
        run_until_clean(world, group)
        return judge(laboratory, world, group, variant, result)
