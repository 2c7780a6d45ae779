"""Kinds 1, 2, 17: processes that die, live on as orphans, or run twice."""

from __future__ import annotations

import signal
import threading
import time
from random import Random

from chaos import oracle
from chaos.laboratory import Laboratory
from chaos.registry import Result, delivered, judge, kind
from chaos.tasks import Run, run_dag, run_until_clean, start_task
from chaos.world import World

POINTS = {
    "extract": ("extract_opened", "copy_block", "extract_copied", "landing_renamed", "extract_staged"),
    "gate": ("gate_ran", "gate_noted"),
    "publish": (
        "publish_opened", "publish_fenced", "publish_sorted", "publish_inserted", "publish_written",
        "publish_committed",
    ),
}  # fmt: skip


def choose(world: World, group: str, random: Random, kinds: tuple[str, ...] = tuple(POINTS)) -> tuple[str, str]:
    """A task of the group and a failpoint in it."""
    task = random.choice(kinds)
    point = random.choice(POINTS[task])
    return (f"extract {random.choice(world.flows(group))}" if task == "extract" else task), point


@kind(1, "a task is killed at a named point", weight=12)
def killed(laboratory: Laboratory, random: Random) -> Result:
    with delivered(laboratory, random) as (world, group, variant):
        plans, names = {}, []
        # Up to three tasks of the run die, each at a point of its own.
        for _ in range(random.choice((1, 1, 2, 3))):
            task, point = choose(world, group, random)
            action = random.choice(("kill", "kill", "kill", "exit", "raise"))
            nth = random.randint(1, len(world.flows(group))) if point.startswith("publish") else 1
            plans[task] = {"O2C_FAILPOINT": f"{point}:{nth}:{action}"}
            names.append(f"{point}:{nth}:{action}")
        result = Result(fault=" ".join(names))
        runs = run_until_clean(world, group, plans)
        result.injected = runs[0].deaths + sum("FailpointReached" in error for error in runs[0].errors)
        return judge(laboratory, world, group, variant, result)


@kind(1, "nothing of a dead load can be seen before its retry", weight=4)
def killed_and_looked_at(laboratory: Laboratory, random: Random) -> Result:
    with delivered(laboratory, random) as (world, group, variant):
        before = _visible(world)
        run_id = world.next_run_id()
        world.touched.add(group)
        for flow in world.flows(group):
            start_task(world, group, f"extract {flow}", run_id).wait()
        start_task(world, group, "gate", run_id).wait()
        point = random.choice(POINTS["publish"][:-1])
        died = start_task(world, group, "publish", run_id, {"O2C_FAILPOINT": f"{point}:1:kill"}).wait()
        result = Result(int(died.status == "died"), point)
        # The server takes a moment to see that its client is gone.
        _wait_for_server(world)
        result.expect(_visible(world) == before, f"killed at {point}, rows can be seen before the retry")
        result.violations += oracle.balance(world, all_arrived=False)
        run_until_clean(world, group)
        return judge(laboratory, world, group, variant, result)


def _visible(world: World) -> list[tuple[object, ...]]:
    return world.rows(
        "select 'raw', count(*) from raw.invoice union all select 'raw', count(*) from raw.receipt"
        " union all select 'raw', count(*) from raw.opportunity union all select 'raw', count(*) from raw.bank_line"
        " union all select 'held', count(*) from quarantine.record"
        " union all select 'ledger', count(*) from ops.load_ledger"
        " union all select 'cursor', count(*) from ops.watermark"
    )


def _wait_for_server(world: World, seconds: float = 10.0) -> None:
    ends = time.monotonic() + seconds
    query = "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'o2c'"
    while world.value(query) and time.monotonic() < ends:
        time.sleep(0.01)


@kind(2, "an orphan wakes up after a newer load has published", weight=8)
def orphan(laboratory: Laboratory, random: Random) -> Result:
    with delivered(laboratory, random) as (world, group, variant):
        run_id = world.next_run_id()
        task, point = _orphan_point(world, group, random)
        result = Result(fault=f"{task} stopped at {point}, newer run, continued")
        world.touched.add(group)
        sleeper = _stop_at(world, group, run_id, task, point)
        if sleeper is None:
            return result
        result.injected = 1
        run_until_clean(world, group)
        ledger = world.rows("select load_id from ops.load_ledger order by 1")
        sleeper.signal(signal.SIGCONT)
        started = time.monotonic()
        sleeper.wait()
        if task == "publish":
            result.expect(time.monotonic() - started < 2, "the orphan was not refused within a second")
            result.expect("FenceLost" in sleeper.output, f"the orphan was not refused: {sleeper.output[-300:]}")
        # What is left of the orphan's run goes on as well.
        for late in ("gate", "publish"):
            start_task(world, group, late, run_id).wait()
        now = world.rows("select load_id from ops.load_ledger order by 1")
        result.expect(now == ledger, f"the orphan published: {set(now) - set(ledger)}")
        return judge(laboratory, world, group, variant, result)


def _orphan_point(world: World, group: str, random: Random) -> tuple[str, str]:
    """A point at which the orphan holds no lock of the warehouse that the newer load needs."""
    task = random.choice(("extract", "gate", "publish"))
    if task == "extract":
        flow = random.choice(world.flows(group))
        return f"extract {flow}", random.choice(("extract_opened", "extract_staged", "copy_block", "landing_renamed"))
    return task, {"gate": random.choice(("gate_ran", "gate_noted")), "publish": "publish_opened"}[task]


def _stop_at(world: World, group: str, run_id: str, task: str, point: str):  # type: ignore[no-untyped-def]
    """Run the tasks before ``task``, start it, and return it stopped at ``point``; None when it went past."""
    for before in [*(f"extract {flow}" for flow in world.flows(group)), "gate", "publish"]:
        if before == task:
            sleeper = start_task(world, group, task, run_id, {"O2C_FAILPOINT": f"{point}:1:stop"})
            return sleeper if sleeper.wait_until_stopped() else None
        start_task(world, group, before, run_id).wait()
    return None


@kind(2, "an orphan publishes while the newer load begins", weight=6)
def racing_orphan(laboratory: Laboratory, random: Random) -> Result:
    with delivered(laboratory, random) as (world, group, variant):
        run_id = world.next_run_id()
        point = random.choice(POINTS["publish"])
        result = Result(fault=f"publish stopped at {point}, newer run at the same time, continued")
        world.touched.add(group)
        sleeper = _stop_at(world, group, run_id, "publish", point)
        if sleeper is None:
            return result
        result.injected = 1
        runs: list[Run] = []
        newer = threading.Thread(target=lambda: runs.append(run_dag(world, group, world.next_run_id())))
        newer.start()
        time.sleep(random.uniform(0.0, 0.5))
        sleeper.signal(signal.SIGCONT)
        sleeper.wait()
        newer.join()
        run_until_clean(world, group)
        return judge(laboratory, world, group, variant, result)


@kind(17, "the same DAG runs twice at once", weight=8)
def twice(laboratory: Laboratory, random: Random) -> Result:
    with delivered(laboratory, random) as (world, group, variant):
        many = random.choice((2, 2, 3))
        result = Result(many - 1, f"{many} runs of sync_{group} at once")
        same_id = random.random() < 0.3
        ids = [world.next_run_id()] * many if same_id else [world.next_run_id() for _ in range(many)]
        started = time.monotonic()
        threads = [threading.Thread(target=run_dag, args=(world, group, run_id)) for run_id in ids]
        for thread in threads:
            thread.start()
            time.sleep(random.choice((0.0, 0.03, 0.1)))
        for thread in threads:
            thread.join()
        result.expect(time.monotonic() - started < 30, "the runs waited for each other for more than 30 s")
        deadlocks = world.value("select deadlocks from pg_stat_database where datname = current_database()")
        result.expect(deadlocks == 0, f"{deadlocks} deadlocks")
        run_until_clean(world, group)
        return judge(laboratory, world, group, variant, result)
