"""The mapping guide says what the flows say, and the page in docs is that guide."""

from __future__ import annotations

from pathlib import Path

from o2c.contracts.catalogue import load_catalogue
from o2c.contracts.guide import mapping_guide
from o2c.settings import Settings

PROJECT = Path(__file__).resolve().parents[4]


def test_the_page_is_in_step() -> None:
    guide = mapping_guide(load_catalogue(Settings.load({})))
    assert (PROJECT / "docs" / "mapping-guide.md").read_text() == guide, "run './o2c flow guide docs/mapping-guide.md'"


def test_it_names_every_flow_and_column() -> None:
    catalogue = load_catalogue(Settings.load({}))
    guide = mapping_guide(catalogue)
    assert len(catalogue.flows) >= 20
    for flow in catalogue.flows.values():
        assert f"## {flow.name} → `raw.{flow.entity.name}`" in guide
        assert all(f"| `{column}`" in guide for column in flow.entity.columns)
