"""Trace a record: from the row in ``raw`` to the bytes it came from, the rules it met, and who did what."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from o2c.contracts.catalogue import Catalogue, load_catalogue
from o2c.contracts.entity import Entity
from o2c.contracts.flow import Flow
from o2c.errors import O2CError, UsageError
from o2c.loads.derivation import derive
from o2c.settings import Settings
from o2c.warehouse.chain import ChainBroken, Recorded, check_hash, check_publication, recorded_about
from o2c.warehouse.contract_version import contracts_of
from o2c.warehouse.lineage import contracts_of_load, gate_of, load_of, quarantine_of, versions
from o2c.warehouse.session import connect

_NOT_SHOWN = ("manifest",)


@dataclass
class Trace:
    """What is known of one record. ``versions`` oldest first; ``problems`` is empty when the evidence holds.

    Money is exact and in the currency beside it, times are UTC.
    """

    entity: str
    key: str
    versions: list[dict[str, Any]] = field(default_factory=list)
    quarantine: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def trace(settings: Settings, entity: str, key: str, system: str | None = None) -> Trace:
    """Trace every version of one record.

    Args:
        settings: which warehouse, where landing files lie.
        entity: name of the entity, for example ``invoice``.
        key: the key's columns as text, joined by '/'.
        system: one source system; all when None.

    Raises:
        UsageError: there is no such entity, or no such record in ``raw`` or in quarantine.
    """
    catalogue = load_catalogue(settings)
    if entity not in catalogue.entities:
        known = ", ".join(catalogue.entities)
        raise UsageError(f"There is no entity '{entity}'.", next_step=f"Entities: {known}")
    spec = catalogue.entities[entity]
    result = Trace(entity, key)
    with connect(settings) as connection:
        connection.execute("set transaction isolation level repeatable read, read only")
        rows = versions(connection, spec, key, system)
        result.quarantine = quarantine_of(connection, spec, key, system)
        if not rows and not result.quarantine:
            raise UsageError(
                f"There is no {entity} '{key}', neither in raw nor in quarantine.",
                next_step=f"The key is {'/'.join(spec.key)}, as it stands in raw.{entity}.",
            )
        _add_events(connection, result, rows)
        result.versions = [_Version(settings, catalogue, connection, result, row).describe() for row in rows]
    return result


def _add_events(connection: psycopg.Connection, result: Trace, rows: Sequence[Mapping[str, Any]]) -> None:
    """Events about the loads and decisions that touched the record, each proven by its own hash."""
    loads = {row["_load_id"] for row in rows} | {record["load_id"] for record in result.quarantine}
    subjects = sorted(loads | {f"{result.entity} {result.key}"})
    for event in recorded_about(connection, subjects, [record["record_id"] for record in result.quarantine]):
        try:
            check_hash(event)
            if event.kind == "publish":
                check_publication(event)
        except ChainBroken as error:
            result.problems.append(error.what)
        result.events.append(_event(event))


def _event(event: Recorded) -> dict[str, Any]:
    shown = {name: getattr(event, name) for name in ("sequence", "recorded_at", "kind", "subject", "actor")}
    return {**shown, "hash": event.hash.hex(), "body": json.loads(event.body)}


class _Version:
    """One version of a record, followed back to its file."""

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        connection: psycopg.Connection,
        result: Trace,
        row: Mapping[str, Any],
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._connection = connection
        self._result = result
        self._row = row
        self._load_id = str(row["_load_id"])

    def describe(self) -> dict[str, Any]:
        """The version with everything behind it; what does not hold is added to the problems."""
        entity = self._catalogue.entities[self._result.entity]
        load = load_of(self._connection, self._load_id)
        story = {
            "source_system": self._row["source_system"],
            "published_at": self._row["_published_at"],
            "deleted": self._row["_deleted"],
            "row_hash": self._row["_row_hash"].hex(),
            **_money(entity, self._row),
        }
        if load is None:
            self._problem("is not in the ledger")
            return {**story, "load": {"load_id": self._load_id}}
        publish, gate, staged = (self._event_of(kind) for kind in ("publish", "gate", "load"))
        if publish is None:
            self._problem("has no publish event in the evidence chain")
        contracts = (gate or {}).get("body", {}).get("contracts", {})
        return {
            **story,
            "load": {name: value for name, value in load.items() if name not in _NOT_SHOWN},
            "published_by": publish["actor"] if publish else None,
            "file": self._file(load, publish, contracts),
            "manifest": self._manifest(load, staged),
            "gate": {
                "rules_sha256": (gate or {}).get("body", {}).get("rules_sha256"),
                "rules": gate_of(self._connection, self._load_id),
            },
            "contracts": contracts_of_load(self._connection, contracts),
        }

    def _file(self, load: Mapping[str, Any], publish: Any, contracts: Mapping[str, str]) -> dict[str, Any]:
        """The landing file: its bytes against the manifest and the chain, and the row made from it again."""
        name = self._row["_landing_file"]
        path = self._settings.landing_dir / load["flow"] / self._load_id / str(name)
        promised = {file["name"]: file["sha256"] for file in load["manifest"]["files"]}.get(name)
        chained = {file["name"]: file["sha256"] for file in publish["body"]["files"]}.get(name) if publish else None
        found = _sha256(path)
        story = {"path": str(path), "sha256": promised, "sha256_on_disk": found}
        if found is None:
            self._problem(f"came from {path}, which is missing")
        elif found != promised or (publish and found != chained):
            self._problem(f"came from {path}, whose bytes are not those that were landed")
        else:
            return {**story, **self._derived(load, path, contracts)}
        return {**story, "row": None, "derived": "not tried"}

    def _derived(self, load: Mapping[str, Any], path: Path, contracts: Mapping[str, str]) -> dict[str, Any]:
        flow = self._catalogue.flows.get(load["flow"])
        if self._row["_deleted"]:
            return {"row": None, "derived": "a tombstone: the file is the key list that does not name the record"}
        if flow is None:
            return {"row": None, "derived": f"not tried: the flow {load['flow']} is gone"}
        row = None
        try:
            made = derive(self._connection, flow, path, self._row)
        except O2CError as error:
            reason = f"today's contract cannot read the file: {error.what}"
        else:
            row, reason = made.row, f"differs in {', '.join(made.differing)}"
            if made.holds:
                return {"row": row, "derived": "the same row"}
            if row is None:
                reason = "no record of the file has its hash"
        if _changed_since(flow, contracts):
            return {"row": row, "derived": f"not proven: the contract has changed since; {reason}"}
        self._problem(f"is not what the file says: {reason}")
        return {"row": row, "derived": reason}

    def _manifest(self, load: Mapping[str, Any], staged: Any) -> dict[str, Any]:
        path = self._settings.landing_dir / load["flow"] / self._load_id / "manifest.json"
        found, told = _sha256(path), (staged or {}).get("body", {}).get("manifest_sha256")
        if found is None:
            self._problem(f"has the manifest {path}, which is missing")
        elif told and found != told:
            self._problem(f"has the manifest {path}, which was changed")
        return {"path": str(path), "sha256": told, "sha256_on_disk": found}

    def _event_of(self, kind: str) -> Any:
        return next((e for e in self._result.events if (e["kind"], e["subject"]) == (kind, self._load_id)), None)

    def _problem(self, what: str) -> None:
        text = f"The version of load {self._load_id} {what}."
        if text not in self._result.problems:
            self._result.problems.append(text)


def _changed_since(flow: Flow, contracts: Mapping[str, str]) -> bool:
    return any(contracts.get(contract.name) != contract.sha256 for contract in contracts_of([flow]))


def _money(entity: Entity, row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[column] for name, column in (("amount", entity.amount), ("currency", entity.currency)) if column}


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None
