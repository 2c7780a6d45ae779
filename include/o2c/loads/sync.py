"""Run flows from end to end in one process: what a DAG does, for a person at a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from o2c.connections import Resolver
from o2c.contracts.flow import Flow
from o2c.errors import O2CError
from o2c.loads.extract import Extracted, extract, is_fatal
from o2c.loads.gate import gate
from o2c.loads.publish import publish
from o2c.settings import Settings
from o2c.warehouse.request import Published


@dataclass(frozen=True)
class SyncResult:
    """What became of one flow: its publication, or the error that held it back."""

    flow: str
    published: Published | None
    error: O2CError | None = None


def sync(
    settings: Settings,
    flows: Sequence[Flow],
    resolve: Resolver,
    run_id: str | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> list[SyncResult]:
    """Extract, gate and publish ``flows``; a flow that fails does not hold back the others.

    Flows of one source folder share one gate run.
    """
    results: list[SyncResult] = []
    for group in dict.fromkeys(flow.group for flow in flows):
        results += _sync_group(settings, [flow for flow in flows if flow.group == group], resolve, run_id, sleep)
    return results


def _sync_group(
    settings: Settings, flows: list[Flow], resolve: Resolver, run_id: str | None, sleep: Callable[[float], None]
) -> list[SyncResult]:
    by_name = {flow.name: flow for flow in flows}
    loads: list[Extracted] = []
    results: list[SyncResult] = []
    for flow in flows:
        try:
            loads.append(_extract_with_retries(settings, flow, resolve, run_id, sleep))
        except O2CError as error:
            results.append(SyncResult(flow.name, None, error))
    by_load = {load.load_id: load for load in loads}
    for outcome in gate(settings, flows[0].group, by_name, loads):
        if outcome.error:
            results.append(SyncResult(outcome.flow, None, outcome.error))
            continue
        try:
            done = publish(settings, by_name[outcome.flow], by_load[outcome.load_id])
            results.append(SyncResult(outcome.flow, done))
        except O2CError as error:
            results.append(SyncResult(outcome.flow, None, error))
    return results


def _extract_with_retries(
    settings: Settings, flow: Flow, resolve: Resolver, run_id: str | None, sleep: Callable[[float], None]
) -> Extracted:
    wait = flow.retry.backoff_from.total_seconds()
    for attempt in range(1, flow.retry.attempts + 1):
        try:
            return extract(settings, flow, resolve, run_id)
        except O2CError as error:
            if attempt == flow.retry.attempts or is_fatal(flow, error):
                raise
            sleep(wait)
            wait = min(2 * wait, flow.retry.backoff_to.total_seconds())
    raise AssertionError("a flow has at least one attempt")
