"""The chaos package on the path, and one laboratory for all tests of this folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent
if str(FOLDER) not in sys.path:
    sys.path.insert(0, str(FOLDER))


@pytest.fixture(scope="session")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Where worlds are made, with the seed of the fixed sample."""
    from chaos import kinds
    from chaos.laboratory import opened

    assert kinds.__path__
    with opened(tmp_path_factory.mktemp("laboratory"), "fixed") as running:
        yield running
