"""Kinds 20 and 24: rerun, rebuild, restore; and what somebody has changed behind everybody's back."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from random import Random

import psycopg

from chaos import checksum, oracle
from chaos.kinds.cursors import _needs
from chaos.laboratory import Laboratory
from chaos.registry import Result, delivered, judge, kind
from chaos.tasks import run_until_clean
from chaos.world import World

# --- 20 --------------------------------------------------------------------------------------------------------------


def replay_task(flows: list[str]) -> list[str]:
    """``o2c resync`` of everything a flow has ever loaded; errors as text."""
    from datetime import UTC, datetime

    from o2c.contracts.catalogue import load_catalogue
    from o2c.errors import O2CError
    from o2c.loads.resync import Scope, resync
    from o2c.settings import Settings

    settings, failed = Settings.load(), []
    for name in flows:
        try:
            resync(settings, load_catalogue(settings).flow(name), Scope(since=datetime(2020, 1, 1, tzinfo=UTC)))
        except O2CError as error:
            failed.append(f"{type(error).__name__}: {error}")
    return failed


@kind(20, "every window is run again from its landing files", weight=4)
def rerun(laboratory: Laboratory, random: Random) -> Result:
    _needs("o2c.loads.resync")
    with delivered(laboratory, random) as (world, group, variant):
        run_until_clean(world, group)
        if random.random() < 0.4:
            # The cursor is lost, or somebody has set it back: everything is read again.
            world.change("delete from ops.watermark where flow like %s", f"{group}/%")
            run_until_clean(world, group)
        result = Result(1, f"replay of {group}")
        for _ in range(random.choice((1, 2))):
            done = world.workshop.run(replay_task, world.flows(group), environ=world.environ())
            result.expect(done.is_ok and done.value == [], f"replay: {done.value} {done.text}")
        return judge(laboratory, world, group, variant, result)


def rebuild_task(scratch: str) -> list[str]:
    """``o2c verify rebuild``; differences as text."""
    from dataclasses import replace

    from o2c.contracts.catalogue import load_catalogue
    from o2c.loads.rebuild import rebuild
    from o2c.settings import Settings

    settings = Settings.load()
    done = rebuild(settings, replace(settings, url=scratch), load_catalogue(settings))
    return [] if done.holds else [repr(done)]


@kind(20, "raw is rebuilt from the landing files alone", weight=3)
def rebuilt(laboratory: Laboratory, random: Random) -> Result:
    _needs("o2c.loads.rebuild")
    with delivered(laboratory, random) as (world, group, variant):
        run_until_clean(world, group)
        scratch = f"scratch_{world.database}"
        laboratory.copy_database(scratch, "template1")
        try:
            url = laboratory.cluster.url(scratch, role="warehouse")
            done = world.workshop.run(rebuild_task, url, environ=world.environ())
            result = Result(1, f"rebuild of all, after {group}")
            result.expect(done.is_ok and done.value == [], f"rebuild: {done.value} {done.text[-1500:]}")
        finally:
            laboratory.drop_database(scratch)
        return judge(laboratory, world, group, variant, result)


@kind(20, "the warehouse is restored from a backup and goes on", weight=3)
def restored(laboratory: Laboratory, random: Random) -> Result:
    with delivered(laboratory, random) as (world, group, variant):
        if random.random() < 0.5:
            # The backup is older than the last load, which is therefore loaded once more.
            backup = _dump(world)
            run_until_clean(world, group)
        else:
            run_until_clean(world, group)
            backup = _dump(world)
        laboratory.drop_database(world.database)
        laboratory.copy_database(world.database, "template0")
        _restore(world, backup)
        result = Result(1, f"pg_dump, loss of the database, restore; {group}")
        run_until_clean(world, group)
        return judge(laboratory, world, group, variant, result)


def _dump(world: World) -> Path:
    path = world.directory / "backup.sql"
    _client(world, "pg_dump", "--file", str(path))
    return path


def _restore(world: World, path: Path) -> None:
    _client(
        world,
        "psql",
        "--quiet",
        "--no-psqlrc",
        "--single-transaction",
        "--set=ON_ERROR_STOP=1",
        "--output=/dev/null",
        "--file",
        str(path),
    )


def _client(world: World, program: str, *options: str) -> None:
    cluster = world.laboratory.cluster
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    done = subprocess.run(
        [cluster.binaries.program(program), world.superuser(), *options],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


# --- 24 --------------------------------------------------------------------------------------------------------------


def verify_task() -> str:
    """``o2c verify chain`` and ``o2c verify balance``: what they say when something does not hold."""
    from typer.testing import CliRunner

    from o2c.cli import app

    done = [CliRunner().invoke(app, ["verify", what]) for what in ("chain", "balance")]
    return "\n".join(each.output + repr(each.exception) for each in done if each.exit_code)


TAMPERINGS = {
    "an event is changed": "update ops.evidence set body = replace(body, 'rows', 'rOws') where sequence = 4",
    "an event is removed": "delete from ops.evidence where sequence = 4",
    "two events change places": "update ops.evidence set sequence = 1000 - sequence where sequence in (3, 4);"
    " update ops.evidence set sequence = sequence - 993 where sequence in (996, 997)",
    "the ledger is changed": "update ops.load_ledger set source_rows = source_rows + 1,"
    " published_rows = published_rows + 1 where load_id = (select max(load_id) from ops.load_ledger)",
    "the ledger's money is removed": "delete from ops.load_ledger_total",
    "an amount in raw is changed": "update raw.receipt set amount = amount + 1 where receipt_id = 'REC0001'",
    "a row of raw is removed": "delete from raw.receipt where receipt_id = 'REC0002'",
    "a row of raw is doubled": "insert into raw.receipt select * from raw.receipt where receipt_id = 'REC0003'",
}


@kind(24, "ledger, evidence or raw is changed behind everybody's back", weight=6)
def tampered(laboratory: Laboratory, random: Random) -> Result:
    _needs("o2c.loads.chain")
    with delivered(laboratory, random, "erp") as (world, group, variant):
        run_until_clean(world, group)
        name = random.choice(list(TAMPERINGS))
        statement = TAMPERINGS[name]
        table = next(word for word in statement.split() if "." in word)
        result = Result(1, name)
        before = world.workshop.run(verify_task, environ=world.environ())
        result.expect(before.value == "", f"verify finds something before anything was changed: {before}")
        for role in () if statement.startswith("insert") else ("warehouse", *_roles(world)):
            refused = _refused(world, role, statement)
            result.expect(refused, f"{role} may change {table}")
        judge(laboratory, world, group, variant, result)
        _as_superuser(world, table, statement)
        after = world.workshop.run(verify_task, environ=world.environ())
        result.expect(bool(after.value), f"{name}: verify does not see it {after.text}")
        seen = oracle.balance(world)
        result.expect(bool(seen), f"{name}: the oracle does not see it")
        return result


def _roles(world: World) -> list[str]:
    return [row[0] for row in world.rows("select rolname from pg_roles where rolname ~ '^o2c_'")]


def _refused(world: World, role: str, statement: str) -> bool:
    """Whether a role is stopped; nothing it does stays."""
    with psycopg.connect(world.superuser()) as connection:
        connection.execute(f'set role "{role}"')  # type: ignore[call-overload]
        try:
            connection.execute(statement)  # type: ignore[call-overload]
        except psycopg.Error:
            return True
        finally:
            connection.rollback()
    return False


def _as_superuser(world: World, table: str, statement: str) -> None:
    with psycopg.connect(world.superuser()) as connection:
        connection.execute(f"alter table {table} disable trigger all")  # type: ignore[call-overload]
        connection.execute(statement)  # type: ignore[call-overload]
        connection.execute(f"alter table {table} enable trigger all")  # type: ignore[call-overload]


@kind(24, "a landing file is changed or removed", weight=3)
def landing_tampered(laboratory: Laboratory, random: Random) -> Result:
    _needs("o2c.loads.resync")
    with delivered(laboratory, random) as (world, group, variant):
        run_until_clean(world, group)
        flow = random.choice(world.flows(group))
        files = [
            path
            for path in (world.home / "landing" / flow).rglob("*")
            if path.is_file() and path.name != "manifest.json"
        ]
        path, how = random.choice(sorted(files)), random.choice(("changed", "removed"))
        result = Result(1, f"{path.name} {how}")
        judge(laboratory, world, group, variant, result)
        before = checksum.of_group(world, group)
        if how == "changed":
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(bytes(data))
        else:
            path.unlink()
        done = world.workshop.run(replay_task, [flow], environ=world.environ())
        result.expect(bool(done.is_ok and done.value), f"a replay took a file that was {how}: {done.text}")
        result.expect(path.name in str(done.value), f"the message does not name {path.name}: {done.value}")
        result.expect(before == checksum.of_group(world, group), "the replay of a spoiled file changed something")
        result.expect(bool(oracle.balance(world)), "the oracle does not see it")
        return result
