"""What the evidence chain is told of staged and gated loads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from o2c.contracts.flow import Flow
from o2c.version import code_version
from o2c.warehouse.contract_version import entity_contract, flow_contract
from o2c.warehouse.evidence import Event
from o2c.warehouse.landing_files import manifest_text

if TYPE_CHECKING:  # an extract needs no Great Expectations
    from o2c.quality.gate import GateOutcome

_FILE = ("name", "sha256", "bytes", "rows")


def load_event(manifest: Mapping[str, Any]) -> Event:
    """A load is staged: which bytes came, what was counted in them, and what the source itself counts."""
    body = {
        "flow": manifest["flow"],
        "files": [{key: file[key] for key in _FILE} for file in manifest["files"]],
        "rows": manifest["rows"],
        "amounts": manifest["amounts"],
        "control_totals": manifest["control_totals"],
        "cursor_from": manifest["cursor_from"],
        "cursor_to": manifest["cursor_to"],
        "manifest_sha256": hashlib.sha256(manifest_text(manifest).encode()).hexdigest(),
        "code_version": manifest["code_version"],
    }
    return Event("load", manifest["load_id"], body)


def gate_event(flow: Flow, outcome: GateOutcome) -> Event:
    """A load passed the gate or was stopped: rows that break each rule, and which rules and contracts these were."""
    body = {
        "flow": flow.name,
        "outcome": "passed" if outcome.is_open else "stopped",
        "reason": outcome.error.what if outcome.error else None,
        "evaluated_rows": outcome.evaluated_rows,
        "unexpected_rows": outcome.unexpected,
        "rules_sha256": rules_sha256(flow),
        "contracts": {each.name: each.sha256 for each in (entity_contract(flow.entity), flow_contract(flow))},
        "code_version": code_version(),
    }
    return Event("gate", outcome.load_id, body)


def rules_sha256(flow: Flow) -> str:
    """sha256 over the rules of a flow, in order: name, what it does, its SQL and its reason, as canonical JSON."""
    rules: Sequence[Sequence[str]] = [[r.name, r.on_fail, r.predicate, r.reason] for r in flow.all_rules]
    return hashlib.sha256(json.dumps(rules, separators=(",", ":")).encode()).hexdigest()
