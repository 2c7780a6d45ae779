"""Versions of contracts: whatever an entity or a flow has ever said is kept, and every change is an event."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import psycopg

from o2c.contracts.entity import Entity
from o2c.contracts.flow import Flow
from o2c.version import actor, code_version
from o2c.warehouse.evidence import CHAIN_LOCK, Event

_LATEST = (
    "select distinct on (contract) contract, sha256 from ops.contract_version where contract = any (%s)"
    " order by contract, version_id desc"
)


@dataclass(frozen=True)
class Contract:
    """One contract as it stands: ``name`` is ``entity <name>`` or ``flow <folder>/<file>``."""

    name: str
    text: str

    @property
    def sha256(self) -> str:
        """sha256 of the text in UTF-8, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def entity_contract(entity: Entity) -> Contract:
    """The file of an entity, as it was read."""
    return Contract(f"entity {entity.name}", entity.text)


def flow_contract(flow: Flow) -> Contract:
    """The file of a flow, as it was read, with its query behind it where it has one."""
    query = flow.source.get("query")
    path = flow.path.parent / str(query) if query else None
    below = f"\n-- {query}\n{path.read_text(encoding='utf-8')}" if path and path.is_file() else ""
    return Contract(f"flow {flow.name}", flow.document.text + below)


def contracts_of(flows: Iterable[Flow]) -> list[Contract]:
    """The contracts that the loads of these flows obey, each once, by name."""
    found = [contract for flow in flows for contract in (entity_contract(flow.entity), flow_contract(flow))]
    return sorted({contract.name: contract for contract in found}.values(), key=lambda contract: contract.name)


def record_versions(connection: psycopg.Connection, contracts: Sequence[Contract]) -> list[Event]:
    """Keep what differs from the version recorded last, in the caller's transaction.

    Returns:
        One event of kind rule per contract that is new or has changed, to be appended by the caller.
    """
    if not _changed(connection, contracts):
        return []
    # Somebody may be recording the same; whoever comes second then finds nothing to do.
    connection.execute(CHAIN_LOCK)
    changed = _changed(connection, contracts)
    version = code_version()
    for contract, _ in changed:
        connection.execute(
            "insert into ops.contract_version (contract, sha256, contract_text, code_version, recorded_by)"
            " values (%s, %s, %s, %s, %s)",
            [contract.name, contract.sha256, contract.text, version, actor()],
        )
    return [
        Event("rule", contract.name, {"sha256": contract.sha256, "before": before, "code_version": version})
        for contract, before in changed
    ]


def _changed(connection: psycopg.Connection, contracts: Sequence[Contract]) -> list[tuple[Contract, str | None]]:
    known: dict[str, str] = dict(connection.execute(_LATEST, [[contract.name for contract in contracts]]).fetchall())
    return [(each, known.get(each.name)) for each in contracts if known.get(each.name) != each.sha256]
