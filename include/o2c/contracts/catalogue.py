"""The flows and entities of one installation, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from o2c.contracts.entity import Entity, load_entities
from o2c.contracts.flow import Flow, load_flows
from o2c.errors import UsageError
from o2c.settings import Settings


@dataclass(frozen=True)
class Catalogue:
    """All contracts, checked."""

    entities: Mapping[str, Entity]
    flows: Mapping[str, Flow]

    def flow(self, name: str) -> Flow:
        """One flow by name; raises :class:`UsageError` that lists the names when there is none."""
        if name not in self.flows:
            raise UsageError(f"There is no flow '{name}'.", next_step=f"Flows: {', '.join(self.flows)}")
        return self.flows[name]

    def group(self, name: str) -> list[Flow]:
        """The flows of one source folder; raises :class:`UsageError` when there is none."""
        flows = [flow for flow in self.flows.values() if flow.group == name]
        if not flows:
            groups = sorted({flow.group for flow in self.flows.values()})
            raise UsageError(f"There is no source '{name}'.", next_step=f"Sources: {', '.join(groups)}")
        return flows


def load_catalogue(settings: Settings) -> Catalogue:
    """Read and check all contracts; raises :class:`UsageError` with file, line and key."""
    entities = load_entities(settings.entities_dir)
    return Catalogue(entities, load_flows(settings.flows_dir, entities))
