"""Kinds 3, 15, 16, 23: what the server, the disk, the amount of data and other sessions do to a load."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import psycopg

from chaos import content, oracle
from chaos.kinds.processes import POINTS
from chaos.laboratory import Laboratory
from chaos.registry import NotRun, Result, delivered, judge, kind
from chaos.tasks import extract_task, run_dag, run_until_clean, start_task
from chaos.world import World

# --- 3: the server ---------------------------------------------------------------------------------------------------


@kind(3, "Postgres is shut down at once and restarted while a load copies, gates or publishes", weight=5)
def server_restarted(laboratory: Laboratory, random: Random) -> Result:
    server, second = laboratory.restartable()
    with delivered(second, random) as (world, group, variant):
        step = random.choice(("extract", "gate", "publish", "publish"))
        point = random.choice(POINTS[step])
        run_id, result = world.next_run_id(), Result(fault=f"immediate shutdown at {point}")
        world.touched.add(group)
        for task in [*(f"extract {flow}" for flow in world.flows(group)), "gate", "publish"]:
            plan = {"O2C_FAILPOINT": f"{point}:1:stop"} if task.startswith(step) and not result.injected else {}
            child = start_task(world, group, task, run_id, plan)
            if plan and child.wait_until_stopped():
                result.injected = 1
                server.stop()
                server.start()
                child.signal(signal.SIGCONT)
            child.wait()
        result.violations += oracle.balance(world, all_arrived=False)
        run_until_clean(world, group)
        return judge(second, world, group, variant, result)


# --- 15: volume ------------------------------------------------------------------------------------------------------

LARGEST_GROWTH = 150


def measured_extract(flow: str, run_id: str) -> float:
    """Task ``extract``; returns by how many MB the peak of its memory lies above where it began."""
    extract_task_with_reset = Path("/proc/self/clear_refs")
    extract_task_with_reset.write_text("5")
    began = _peak()
    extract_task(flow, run_id)
    return _peak() - began


def _peak() -> float:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


@kind(15, "ten times the volume", is_slow=True)
def volume(laboratory: Laboratory, random: Random) -> Result:
    growth, seconds = {}, {}
    result = Result(1, "3,000 and 30,000 movements")
    for rows in (3_000, 30_000):
        with delivered(laboratory, random, "payments") as (world, group, _):
            movements = [content._movement(random, 3, number) for number in range(rows)]
            world.file("settlements/settlement_2026-03.csv").write_bytes(content.settlement(movements))
            run_id = world.next_run_id()
            started = time.monotonic()
            done = world.workshop.run(
                measured_extract, "payments/card_transactions", run_id, environ=world.environ(), timeout=300
            )
            seconds[rows] = time.monotonic() - started
            growth[rows] = done.value
            result.expect(done.is_ok, done.text)
            run_until_clean(world, group)
            if rows == 3_000:
                result.violations += oracle.balance(world)
            else:
                counted = world.rows("select count(*), count(distinct transaction_id) from raw.processor_transaction")
                held = world.value("select count(*) from quarantine.record where entity = 'processor_transaction'")
                wanted = sum(row["type"] != "payout" for row in movements)
                result.expect(counted[0][0] + held >= wanted, f"{counted} and {held} of {wanted} rows")
                result.violations += oracle._doubled(world)
    if all(value is not None for value in growth.values()):
        result.fault += f": memory grew by {growth[3_000]:.0f} and {growth[30_000]:.0f} MB"
        result.expect(growth[30_000] < LARGEST_GROWTH, f"memory grew by {growth[30_000]:.0f} MB")
    return result


# --- 16: the disk ----------------------------------------------------------------------------------------------------


@contextmanager
def small_disk(laboratory: Laboratory, name: str) -> Iterator[None]:
    """A tablespace of 3 MB on a disk in memory, which only root can make."""
    if os.getuid() != 0:
        raise NotRun("only root can mount a small disk")
    account = laboratory.cluster.binaries.account
    place = Path("/var/tmp") / f"o2c-chaos-{os.getpid()}-{name}"
    place.mkdir()
    options = f"size=3m,mode=700,uid={account.uid if account else 0},gid={account.gid if account else 0}"
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, text=True)
    try:
        if done.returncode:
            raise NotRun(f"no small disk can be mounted: {done.stderr.strip()}")
        with psycopg.connect(laboratory.cluster.url("postgres"), autocommit=True) as connection:
            connection.execute(f"create tablespace {name} location '{place}'")  # type: ignore[call-overload]
            connection.execute(f"grant create on tablespace {name} to public")  # type: ignore[call-overload]
        yield
        with psycopg.connect(laboratory.cluster.url("postgres"), autocommit=True) as connection:
            connection.execute(f"drop tablespace {name}")  # type: ignore[call-overload]
    finally:
        subprocess.run(["umount", "-l", str(place)], capture_output=True)
        place.rmdir()


@kind(16, "the disk of the warehouse is full", weight=2)
def disk_full(laboratory: Laboratory, random: Random) -> Result:
    name = f"tiny{os.getpid()}_{random.randrange(10**9)}"
    with small_disk(laboratory, name), delivered(laboratory, random, random.choice(("erp", "crm"))) as delivery:
        world, group, variant = delivery
        where = random.choice(("landing", "raw"))
        table = {"erp": "receipt", "crm": "opportunity"}[group]
        result = Result(1, f"no space for {where}")
        with world.connected(world.superuser()) as connection:
            # All that a load creates lies on the small disk; or the table into which it publishes.
            if where == "landing":
                connection.execute(f"alter database {world.database} set default_tablespace = {name}")  # type: ignore[call-overload]
            else:
                connection.execute(f"alter table raw.{table} set tablespace {name}")  # type: ignore[call-overload]
                # Every row gets its own page, so that the second delivery does not fit beside what is there.
                connection.execute(f"alter table raw.{table} set (fillfactor = 10)")  # type: ignore[call-overload]
            connection.execute(f"create table public.filler tablespace {name} as select repeat('x', 900) as x")  # type: ignore[call-overload]
            _fill(connection)
        first = run_dag(world, group, world.next_run_id())
        if where == "landing":
            result.expect(not first.is_success, "the run went well without space")
            said = " ".join(
                [*first.errors, *(world.value("select string_agg(error, ' ') from ops.load") or "").split()]
            )
            result.expect(
                "space" in said.lower() or "full" in said.lower(), f"the message says nothing of space: {said[:300]}"
            )
        result.violations += oracle.balance(world, all_arrived=False)
        with world.connected(world.superuser()) as connection:
            connection.execute("drop table public.filler")
        run_until_clean(world, group)
        judged = judge(laboratory, world, group, variant, result)
        with world.connected(world.superuser()) as connection:
            connection.execute(f"alter database {world.database} reset default_tablespace")  # type: ignore[call-overload]
        laboratory.drop_database(world.database)
        return judged


def _fill(connection: psycopg.Connection[Any]) -> None:
    rows = 4096
    while rows:
        try:
            connection.execute("insert into public.filler select repeat('x', 900) from generate_series(1, %s)", [rows])
        except psycopg.errors.DiskFull:
            rows //= 2


@kind(16, "landing files find no space", weight=3)
def landing_full(laboratory: Laboratory, random: Random) -> Result:
    with delivered(laboratory, random) as (world, group, variant):
        limit = random.choice((0, 512, 1024, 2048))
        result = Result(1, f"no file may exceed {limit} bytes")
        plan = {"CHAOS_LARGEST_FILE": str(limit)}
        first = run_dag(world, group, world.next_run_id(), {f"extract {flow}": plan for flow in world.flows(group)})
        texts = [t.text for tries in first.outcomes.values() for t in tries]
        result.expect(any("landing files cannot be written" in t for t in texts), "no load was stopped by the limit")
        result.expect(not list((world.home / "landing").glob("*/*/*.part")), "a partial landing folder was left")
        run_until_clean(world, group)
        return judge(laboratory, world, group, variant, result)


# --- 23: other sessions ----------------------------------------------------------------------------------------------


@kind(23, "a long report, a vacuum, an exclusive lock or a statement timeout meets a load", weight=8)
def locks(laboratory: Laboratory, random: Random) -> Result:
    with delivered(laboratory, random, random.choice(("erp", "crm"))) as (world, group, variant):
        table = {"erp": "receipt", "crm": "opportunity"}[group]
        how = random.choice(("report", "vacuum", "exclusive", "timeout", "killed backend"))
        result = Result(1, how)
        started = time.monotonic()
        if how == "report":
            with psycopg.connect(world.url) as report:
                report.execute(f"select count(*) from raw.{table}")  # type: ignore[call-overload]
                run_until_clean(world, group)
        elif how == "vacuum":
            _while_running(world, group, f"vacuum (analyze) raw.{table}")
        elif how == "exclusive":
            with psycopg.connect(world.superuser()) as admin:
                admin.execute(f"lock table raw.{table} in access exclusive mode")  # type: ignore[call-overload]
                timer = threading.Timer(0.7, admin.rollback)
                timer.start()
                run_until_clean(world, group)
                timer.join()
        elif how == "timeout":
            _timed_out(world, group, table, result)
        else:
            _while_running(
                world, group, "select pg_terminate_backend(pid) from pg_stat_activity where datname ="
                " current_database() and application_name = 'o2c'", pause=random.uniform(0.02, 0.2),
            )  # fmt: skip
        result.expect(time.monotonic() - started < 30, f"{how}: the load waited for more than 30 s")
        return judge(laboratory, world, group, variant, result)


def _while_running(world: World, group: str, statement: str, pause: float = 0.02) -> None:
    """Run a statement again and again during one run; then run until clean."""
    ended = threading.Event()

    def repeat() -> None:
        with world.connected(world.superuser()) as connection:
            while not ended.wait(pause):
                connection.execute(statement)  # type: ignore[call-overload]

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        run_dag(world, group, world.next_run_id())
    finally:
        ended.set()
        thread.join()
    run_until_clean(world, group)


def _timed_out(world: World, group: str, table: str, result: Result) -> None:
    """Whoever operates the warehouse has set a statement timeout, and a lock is held for longer than that."""
    run_id = world.next_run_id()
    world.touched.add(group)
    for task in [*(f"extract {flow}" for flow in world.flows(group)), "gate"]:
        start_task(world, group, task, run_id).wait()
    with psycopg.connect(world.superuser()) as admin:
        admin.execute(f"alter database {world.database} set statement_timeout = '300ms'")  # type: ignore[call-overload]
        admin.commit()
        admin.execute(f"lock table raw.{table} in access exclusive mode")  # type: ignore[call-overload]
        stopped = start_task(world, group, "publish", run_id).wait()
        result.expect(not stopped.is_ok, "a publication went past an exclusive lock")
        result.expect("Traceback" in stopped.text and "Error" in stopped.text, f"it says {stopped.text[:200]}")
        admin.rollback()
        admin.execute(f"alter database {world.database} reset statement_timeout")  # type: ignore[call-overload]
        admin.commit()
    result.violations += oracle.balance(world, all_arrived=False)
    run_until_clean(world, group)
