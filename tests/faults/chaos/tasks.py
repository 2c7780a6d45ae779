"""The tasks of the DAG ``sync_<source>``, one process each, and who tries again: as ``o2c.pipelines.sync`` does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chaos.workshop import Outcome, Task

if TYPE_CHECKING:
    from chaos.world import World

TRIES = {"extract": 3, "gate": 2, "publish": 3, "reconcile": 1}


def extract_task(flow: str, run_id: str) -> str:
    """Task ``extract`` of one flow."""
    from o2c.connections import from_environment
    from o2c.contracts.catalogue import load_catalogue
    from o2c.errors import O2CError
    from o2c.loads.extract import extract, is_fatal
    from o2c.settings import Settings

    settings = Settings.load()
    spec = load_catalogue(settings).flow(flow)
    try:
        return extract(settings, spec, from_environment, run_id).load_id
    except O2CError as error:
        print(error)
        if is_fatal(spec, error):
            raise Fatal(str(error)) from None
        raise


class Fatal(Exception):
    """What a task is not tried again after."""


def gate_task(group: str, run_id: str) -> dict[str, int]:
    """Task ``gate``."""
    from o2c.contracts.catalogue import load_catalogue
    from o2c.loads.gate import gate
    from o2c.loads.progress import loads_of_run
    from o2c.settings import Settings

    settings = Settings.load()
    flows = {flow.name: flow for flow in load_catalogue(settings).group(group)}
    outcomes = gate(settings, group, flows, loads_of_run(settings, run_id, group, "staged"))
    for outcome in outcomes:
        print(outcome.error or f"{outcome.flow} passes")
    return {"open": sum(outcome.is_open for outcome in outcomes), "loads": len(outcomes)}


def publish_task(group: str, run_id: str) -> int:
    """Task ``publish``; 0 stands for a skipped task, which announces nothing."""
    from o2c.contracts.catalogue import load_catalogue
    from o2c.errors import FenceLost, LoadNotClosed
    from o2c.loads.progress import loads_of_run, unbuilt_rows
    from o2c.loads.publish import publish
    from o2c.settings import Settings

    settings = Settings.load()
    catalogue = load_catalogue(settings)
    for load in loads_of_run(settings, run_id, group, "gated"):
        try:
            publish(settings, catalogue.flow(load.flow), load)
        except (FenceLost, LoadNotClosed) as error:
            print(f"{type(error).__name__}: {error}")
    return unbuilt_rows(settings, group)


def reconcile_task(group: str, run_id: str) -> None:
    """Task ``reconcile``."""
    from o2c.contracts.catalogue import load_catalogue
    from o2c.loads.progress import held_back
    from o2c.settings import Settings

    settings = Settings.load()
    held_back(settings, run_id, load_catalogue(settings).group(group))


@dataclass
class Run:
    """One DAG run: the outcomes of every try of every task."""

    run_id: str
    outcomes: dict[str, list[Outcome]] = field(default_factory=dict)

    @property
    def is_success(self) -> bool:
        return self.outcomes.get("reconcile", [Outcome("died")])[-1].is_ok

    @property
    def deaths(self) -> int:
        """How many tasks ended without a word."""
        return sum(outcome.status == "died" for tries in self.outcomes.values() for outcome in tries)

    @property
    def errors(self) -> list[str]:
        """What the failed tries said."""
        return [outcome.text for tries in self.outcomes.values() for outcome in tries if outcome.status == "error"]

    @property
    def announced(self) -> bool:
        """Whether the asset event left."""
        last = self.outcomes.get("publish", [Outcome("died")])[-1]
        return last.is_ok and bool(last.value)


def start_task(world: World, group: str, task: str, run_id: str, plan: Mapping[str, str] | None = None) -> Task:
    """One try of one task; ``task`` is ``extract <flow>``, ``gate``, ``publish`` or ``reconcile``.

    ``plan`` adds to its environment.
    """
    kind, _, flow = task.partition(" ")
    function = {"extract": extract_task, "gate": gate_task, "publish": publish_task, "reconcile": reconcile_task}[kind]
    environ = {**world.environ(), **(plan or {})}
    return world.workshop.start(function, flow or group, run_id, environ=environ)


def run_dag(
    world: World, group: str, run_id: str, plans: Mapping[str, Mapping[str, str]] | None = None, timeout: float = 60.0
) -> Run:
    """Run the DAG once; ``plans`` maps a task to what its first try finds in its environment."""
    world.touched.add(group)
    run = Run(run_id)
    for task in [*(f"extract {flow}" for flow in world.flows(group)), "gate", "publish", "reconcile"]:
        tries = run.outcomes[task] = []
        for number in range(TRIES[task.partition(" ")[0]]):
            plan = (plans or {}).get(task, {}) if number == 0 else {}
            tries.append(start_task(world, group, task, run_id, plan).wait(timeout))
            if tries[-1].is_ok or tries[-1].error == "Fatal":
                break
    return run


def run_until_clean(
    world: World, group: str, plans: Mapping[str, Mapping[str, str]] | None = None, most: int = 4
) -> list[Run]:
    """The scheduled runs after a fault, until one succeeds; raises :class:`NeverClean` when none does."""
    runs: list[Run] = []
    for number in range(most):
        runs.append(run_dag(world, group, world.next_run_id(), plans if number == 0 else None))
        if runs[-1].is_success:
            return runs
    first = [
        outcome.text.split("Traceback")[0] for tries in runs[-1].outcomes.values() for outcome in tries if outcome.text
    ]
    raise NeverClean("\n".join(first)[:1500])


class NeverClean(Exception):
    """The runs went on failing after the fault was gone."""
