from __future__ import annotations

from typing import Any

import pytest

from o2c.errors import FatalSourceError, GateStopped, LoadNotClosed, SourceError, UsageError
from o2c.loads.extract import extract, is_fatal
from o2c.loads.gate import gate
from o2c.loads.progress import held_back, loads_of_run
from o2c.loads.publish import publish

COLUMNS = ["customer_id", "iban"]
CONTENT = "customer_id,iban\nA,DE00123456789012\n"


@pytest.fixture
def pair(warehouse: Any) -> list[Any]:
    flows = [warehouse.flows.csv(f"shop/{name}", "customer_bank_account", COLUMNS) for name in ("first", "second")]
    for name in ("first", "second"):
        warehouse.flows.put(f"shop/{name}.csv", CONTENT)
    return flows


def test_tasks_find_the_loads_of_their_run(warehouse: Any, pair: list[Any]) -> None:
    settings = warehouse.settings
    for flow in (*pair, pair[0]):  # the first flow was tried twice
        extract(settings, flow, warehouse.resolve, "run 1")
    extract(settings, pair[1], warehouse.resolve, "run 2")
    assert loads_of_run(settings, "run 1", "till", "staged") == [] == loads_of_run(settings, "run 1", "shop", "gated")
    loads = loads_of_run(settings, "run 1", "shop", "staged")
    # The second flow's load of run 2 has taken over from that of run 1.
    assert [(load.flow, load.load_id, load.rows) for load in loads] == [("shop/first", "L000000003", 1)]
    assert [load.load_id for load in loads_of_run(settings, "run 2", "shop", "staged")] == ["L000000004"]
    outcomes = gate(settings, "shop", {flow.name: flow for flow in pair}, loads)
    assert all(outcome.is_open for outcome in outcomes)
    assert loads_of_run(settings, "run 1", "shop", "staged") == []
    with pytest.raises(GateStopped, match="1 of 2 flows published nothing"):
        held_back(settings, "run 1", pair)
    publish(settings, pair[0], loads[0])
    held_back(settings, "run 1", pair)
    with pytest.raises(GateStopped, match="shop/second: staged"):
        held_back(settings, "run 2", pair[1:])
    with pytest.raises(GateStopped, match="shop/first: never started"):
        held_back(settings, "run 3", pair)


def test_a_run_that_published_all_is_content(warehouse: Any, pair: list[Any]) -> None:
    from o2c.loads.sync import sync

    assert all(result.published for result in sync(warehouse.settings, pair, warehouse.resolve, "run 1"))
    held_back(warehouse.settings, "run 1", pair)


def test_what_trying_again_cannot_cure(flows: Any) -> None:
    flow = flows.csv("shop/first", "customer_bank_account", COLUMNS)
    fatal = [UsageError("?"), LoadNotClosed("?")]
    fatal += [FatalSourceError("?", reason=reason) for reason in ("unauthorized", "schema_drift", "malformed_file")]
    assert all(is_fatal(flow, error) for error in fatal)
    assert not is_fatal(flow, SourceError("?")) and not is_fatal(flow, FatalSourceError("?", reason="missing_file"))
    assert not is_fatal(flow, ValueError("?"))
