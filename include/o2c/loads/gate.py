"""Gate the staged loads of one source and note the results in the warehouse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import psycopg

from o2c.contracts.flow import Flow
from o2c.failpoints import reached
from o2c.loads.events import gate_event
from o2c.loads.extract import Extracted
from o2c.quality.gate import GateOutcome, GateRequest, run_gate
from o2c.settings import Settings
from o2c.warehouse import continuity
from o2c.warehouse.anchors import write_or_warn
from o2c.warehouse.contract_version import contracts_of, record_versions
from o2c.warehouse.evidence import append_all
from o2c.warehouse.ledger import note_state, read_load
from o2c.warehouse.session import connect


def gate(settings: Settings, name: str, flows: Mapping[str, Flow], loads: Sequence[Extracted]) -> list[GateOutcome]:
    """Gate every staged load of one source; an empty window has nothing to check and passes.

    Returns:
        One outcome per load. A load that may not publish is noted as stopped and carries its error.
    """
    filled = [load for load in loads if load.rows]
    with connect(settings) as connection:
        requests = [_request(connection, flows[load.flow], load) for load in filled]
    outcomes = run_gate(settings, name, requests) if requests else []
    reached("gate_ran")
    outcomes += [GateOutcome(load.load_id, load.flow) for load in loads if not load.rows]
    with connect(settings) as connection:
        for outcome in outcomes:
            _check_continuity(connection, flows[outcome.flow], outcome)
        noted = [outcome for outcome in outcomes if _note(connection, flows[outcome.flow], outcome)]
        events = record_versions(connection, contracts_of(flows[outcome.flow] for outcome in noted))
        events += [gate_event(flows[outcome.flow], outcome) for outcome in noted]
        head = append_all(connection, events)
    write_or_warn(settings, head)
    reached("gate_noted")
    return outcomes


def _request(connection: psycopg.Connection, flow: Flow, extracted: Extracted) -> GateRequest:
    load, manifest = read_load(connection, extracted.load_id)
    return GateRequest(load.load_id, flow.name, load.stage_table, flow.all_rules, manifest["rows"])


def _check_continuity(connection: psycopg.Connection, flow: Flow, outcome: GateOutcome) -> None:
    """Set the load among what is published, which no rule over its own rows can see."""
    if flow.entity.continuity and outcome.is_open and outcome.evaluated_rows:
        load, _ = read_load(connection, outcome.load_id)
        outcome.unexpected[continuity.RULE], outcome.error = continuity.check(connection, flow, load)


def _note(connection: psycopg.Connection, flow: Flow, outcome: GateOutcome) -> bool:
    rules = {rule.name: (rule.on_fail, rule.predicate) for rule in flow.all_rules}
    rules[continuity.RULE] = ("stop", continuity.PREDICATE)
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into ops.gate_result (load_id, rule, on_fail, predicate, evaluated_rows, unexpected_rows,"
            " is_success) values (%s, %s, %s, %s, %s, %s, %s) on conflict (load_id, rule) do nothing",
            [
                (outcome.load_id, rule, *rules[rule], outcome.evaluated_rows, unexpected, unexpected == 0)
                for rule, unexpected in outcome.unexpected.items()
            ],
        )
    if outcome.error:
        return note_state(connection, outcome.load_id, "stopped", error=str(outcome.error))
    return note_state(connection, outcome.load_id, "gated")
