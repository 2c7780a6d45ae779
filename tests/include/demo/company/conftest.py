"""Companies are generated once per session: they are never changed."""

from __future__ import annotations

from importlib import util
from pathlib import Path
from types import ModuleType

import pytest

from demo.company.generate import advance, generate
from demo.company.model import Company


@pytest.fixture(scope="session")
def company() -> Company:
    return generate()


@pytest.fixture(scope="session")
def moved_on(company: Company) -> Company:
    return advance(company, 7)


@pytest.fixture(scope="session", params=[7, 11, 58])
def any_company(request: pytest.FixtureRequest) -> Company:
    return generate(seed=request.param, scale=0.5)


@pytest.fixture(scope="session")
def naive_rules() -> ModuleType:
    """The leak rules and the receivables balance a second time, from ``naive_rules.py`` beside this file."""
    spec = util.spec_from_file_location("naive_rules", Path(__file__).with_name("naive_rules.py"))
    assert spec is not None and spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
