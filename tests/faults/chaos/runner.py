"""Runs a seeded schedule of faults and adds up what the oracle says."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random

from chaos.laboratory import Laboratory
from chaos.registry import KINDS, Kind, NotRun


@dataclass
class Line:
    """One fault that was run, as it is written down."""

    index: int
    number: int
    name: str
    fault: str = ""
    injected: int = 0
    seconds: float = 0.0
    violations: list[tuple[str, str]] = field(default_factory=list)
    not_run: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def schedule(seed: str, faults: int, only: set[int] | None = None) -> list[tuple[int, Kind]]:
    """A random order of kinds: every kind once, then by weight. Slow kinds come once for every 250 faults."""
    random = Random(f"{seed}/schedule")
    every = [kind for number in sorted(KINDS) for kind in KINDS[number] if not only or number in only]
    chosen = [kind for kind in every for _ in range(1 + faults // 250 if kind.is_slow else 1)]
    quick = [kind for kind in every if not kind.is_slow]
    while quick and len(chosen) < faults:
        chosen += random.choices(quick, [kind.weight for kind in quick])
    random.shuffle(chosen)
    return list(enumerate(chosen))


def run(laboratory: Laboratory, plan: Iterable[tuple[int, Kind]]) -> Iterator[Line]:
    """Run the faults one after the other."""
    for index, kind in plan:
        line = Line(index, kind.number, kind.name)
        started = time.monotonic()
        try:
            result = kind.function(laboratory, Random(f"{laboratory.seed}/{index}/{kind.number}"))
            line.fault, line.injected = result.fault, result.injected
            line.violations = [(violation.kind, violation.what) for violation in result.violations]
        except NotRun as reason:
            line.not_run = str(reason)
        except Exception:
            line.violations = [("other", traceback.format_exc()[-3000:])]
        line.seconds = time.monotonic() - started
        yield line


def read(path: Path) -> list[Line]:
    """Lines written by another process."""
    if not path.exists():
        return []
    return [Line(**json.loads(text)) for text in path.read_text().splitlines() if text.endswith("}")]
