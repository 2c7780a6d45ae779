"""Kinds 18, 19, 26: what the gate stops and holds back, and what becomes of it."""

from __future__ import annotations

import importlib.util
import sys
from functools import lru_cache
from random import Random
from typing import Any

import yaml

from chaos import checksum, oracle
from chaos.kinds.cursors import _needs
from chaos.laboratory import Laboratory
from chaos.registry import Result, delivered, judge, kind
from chaos.tasks import gate_task, run_dag, run_until_clean, start_task
from chaos.world import PROJECT, World

# --- 18: the gate ----------------------------------------------------------------------------------------------------


@kind(18, "a rule stops the load, the gate crashes, takes too long, or has nothing to check", weight=8)
def gate_trouble(laboratory: Laboratory, random: Random) -> Result:
    how = random.choice(("stop rule", "crash", "crash", "killed late", "no rules", "broken rule"))
    with delivered(laboratory, random, "crm") as (world, group, variant):
        result = Result(1, how)
        before = checksum.of_group(world, group)
        flow = world.flows_dir / "crm" / "opportunities.yml"
        shipped = flow.read_text()
        spoiled = {
            "stop rule": shipped.replace("on_fail: quarantine, reason: \"A won", "on_fail: stop, reason: \"A won"),
            # A text that is no number breaks the query itself, not the row.
            "broken rule": shipped.replace('"is_closed or not is_won"', '"opportunity_name > 1"'),
        }.get(how, shipped)  # fmt: skip
        flow.write_text(spoiled)
        assert (spoiled != shipped) is (how in ("stop rule", "broken rule")), "the shipped flow has changed"
        run = _run_with(world, group, how)
        result.expect(not run.is_success, f"{how}: the run went well")
        result.expect(not run.announced, f"{how}: the asset event was emitted")
        result.expect(before == checksum.of_group(world, group), f"{how}: something was published")
        result.violations += oracle.balance(world, all_arrived=False)
        flow.write_text(shipped)
        world.extra = {}
        run_until_clean(world, group)
        return judge(laboratory, world, group, variant, result)


def _run_with(world: World, group: str, how: str):  # type: ignore[no-untyped-def]
    world.extra = {
        "crash": {"O2C_FAILPOINT": "gate_ran:1:raise"},
        "killed late": {"O2C_FAILPOINT": "gate_ran:1:exit"},
        "no rules": {"CHAOS_WITHOUT_RULES": "1"},
    }.get(how, {})
    if how != "no rules":
        return run_dag(world, group, world.next_run_id())
    # The tasks of the run, with a gate that was handed an empty suite.
    run_id = world.next_run_id()
    world.touched.add(group)
    outcomes = {}
    for flow in world.flows(group):
        outcomes[f"extract {flow}"] = [start_task(world, group, f"extract {flow}", run_id).wait()]
    outcomes["gate"] = [world.workshop.run(gate_without_rules, group, run_id, environ=world.environ())]
    for task in ("publish", "reconcile"):
        outcomes[task] = [start_task(world, group, task, run_id).wait()]
    from chaos.tasks import Run

    return Run(run_id, outcomes)


def gate_without_rules(group: str, run_id: str) -> dict[str, int]:
    """Task ``gate`` with flows whose rules are all gone."""
    from o2c.contracts.flow import Flow

    Flow.all_rules = property(lambda _: ())  # type: ignore[method-assign,assignment]
    return gate_task(group, run_id)


@kind(18, "an empty batch", weight=2)
def empty_batch(laboratory: Laboratory, random: Random) -> Result:
    with delivered(laboratory, random) as (world, group, variant):
        run_until_clean(world, group)
        result = Result(1, f"{group} has nothing new")
        world.change(
            "insert into ops.build (as_of, started_at, finished_at, is_success, code_version)"
            " values ('2026-03-31', clock_timestamp(), clock_timestamp(), true, 'chaos')"
        )
        run = run_dag(world, group, world.next_run_id())
        result.expect(run.is_success, f"an empty batch failed: {run.errors}")
        result.expect(not run.announced, "an empty batch was announced")
        return judge(laboratory, world, group, variant, result)


# --- 19: quarantine decisions ----------------------------------------------------------------------------------------


def decide_task(records: list[int], decision: str, flows: str) -> list[str]:
    """``o2c quarantine release | reject | resync``; the refusal as text."""
    from o2c.contracts.catalogue import load_catalogue
    from o2c.errors import O2CError
    from o2c.loads.quarantine import decide
    from o2c.settings import Settings
    from o2c.warehouse.decisions import Decision

    settings = Settings.load()
    try:
        list(decide(settings, load_catalogue(settings).flows, records, Decision(decision, "ada", "chaos")))
    except O2CError as error:
        return [f"{type(error).__name__}: {error}"]
    return []


@kind(19, "release, reject and resync of quarantined rows, twice, and killed in the middle", weight=8)
def decisions(laboratory: Laboratory, random: Random) -> Result:
    _needs("o2c.loads.quarantine")
    with delivered(laboratory, random, "erp") as (world, group, _):
        run_until_clean(world, group)
        open_ones = world.rows(
            "select record_id from quarantine.record where state = 'open' and entity in ('invoice', 'receipt')"
            " order by 1"
        )
        record = random.choice(open_ones)[0]
        first, second = random.choice(("release", "reject")), random.choice(("release", "reject", "resync"))
        result = Result(2, f"{first}, then {second}")
        if random.random() < 0.5:
            point = random.choice(("publish_sorted", "publish_inserted", "publish_written", "publish_committed"))
            environ = {**world.environ(), "O2C_FAILPOINT": f"{point}:1:kill"}
            died = world.workshop.run(decide_task, [record], first, group, environ=environ)
            result.injected += died.status == "died"
            result.fault = f"{point} killed, {result.fault}"
        done = world.workshop.run(decide_task, [record], first, group, environ=world.environ())
        was_done = world.value("select state from quarantine.record where record_id = %s", record)
        result.expect(
            was_done == {"release": "released", "reject": "rejected"}[first], f"{first} gave {was_done}: {done}"
        )
        again = world.workshop.run(decide_task, [record], second, group, environ=world.environ())
        result.expect(again.is_ok and bool(again.value), f"decided twice: {again}")
        copies = world.value(
            "select count(*) from raw.invoice as r, quarantine.record as q where q.record_id = %s"
            " and r._row_hash = q.row_hash", record
        ) + world.value(
            "select count(*) from raw.receipt as r, quarantine.record as q where q.record_id = %s"
            " and r._row_hash = q.row_hash", record
        )  # fmt: skip
        result.expect(copies == (first == "release"), f"after {first} the row stands {copies} times in raw")
        told = world.value("select count(*) from ops.evidence where kind = 'quarantine' and actor = 'ada'")
        result.expect(told >= 1, "no evidence of the decision")
        run_until_clean(world, group)
        result.violations += oracle.balance(world)
        return result


# --- 26: one defect per rule -----------------------------------------------------------------------------------------


@lru_cache
def _defects() -> Any:
    """The bad row of every rule, which the tests of the gate hold."""
    path = PROJECT / "tests" / "integration" / "test_gate_rules.py"
    spec = importlib.util.spec_from_file_location("defects_of_rules", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@kind(26, "one defect for each rule of an entity", weight=8)
def each_rule_broken(laboratory: Laboratory, random: Random) -> Result:
    from o2c.contracts.entity import load_entities

    entities = load_entities(PROJECT / "include" / "entities")
    entity = entities[random.choice(sorted(entities))]
    defects = _defects()
    with laboratory.world(0) as world:
        rows, broken = [defects.good_row(entity, 1)], {}
        for number, rule in enumerate((rule for rule in entity.rules if rule.on_fail == "quarantine"), start=2):
            for row in defects.bad_rows(entity, rule, number):
                rows.append(row)
                broken[len(rows)] = rule.name
        clean = [defects.good_row(entity, 900 + n) for n in range(20)]
        _write_flow(world, entity.name, list(entity.columns), defects.write([*rows, *clean]))
        run_until_clean(world, "every")
        held = dict(world.rows("select landing_row, rules from quarantine.record where flow like 'every/%%'"))
        caught = sum(rule in held.get(row, ()) for row, rule in broken.items())
        result = Result(len(broken), entity.name)
        result.expect(caught == len(broken), f"{caught} of {len(broken)} defects caught")
        result.expect(set(held) <= set(broken), f"clean rows held: {set(held) - set(broken)}")
        kept = world.value(f"select count(*) from raw.\"{entity.name}\" where source_system = 'every'")
        result.expect(kept == 21, f"{kept} of 21 clean rows are in raw")
        result.violations += oracle.balance(world)
        return result


def _write_flow(world: World, entity: str, columns: list[str], text: str) -> None:
    folder = world.flows_dir / "every"
    folder.mkdir()
    (folder / "rows.csv").write_text(text)
    document = {
        "source": {"system": "every", "connector": "local_file", "path": "rows.csv", "format": {"type": "csv"}},
        "target": f"raw.{entity}",
        "entity": entity,
        "mapping": {column: column for column in columns},
        "validation": [],
        "run_mode": "file",
        "retry": {"attempts": 1, "backoff": "1s..1s", "fatal": []},
        "monitoring": {"owner": "chaos", "freshness": "1d", "alert": "log"},
    }
    (folder / "rows.yml").write_text(yaml.safe_dump(document, sort_keys=False))
