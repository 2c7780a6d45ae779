"""The kinds of faults by their number in the list, and what a fault of a kind gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

from chaos import checksum, oracle
from chaos.laboratory import VARIANTS, Laboratory
from chaos.oracle import Violation
from chaos.world import GROUPS, World


@dataclass
class Result:
    """What happened: how many faults really were injected, by what name, and what does not hold."""

    injected: int = 0
    fault: str = ""
    violations: list[Violation] = field(default_factory=list)

    def add(self, kind: str, what: str) -> None:
        """Note something that does not hold."""
        self.violations.append(Violation(kind, what))

    def expect(self, holds: bool, what: str) -> None:
        """Note ``what`` as a violation unless it holds."""
        if not holds:
            self.add("other", what)


Function = Callable[[Laboratory, Random], Result]


@dataclass(frozen=True)
class Kind:
    """One kind of fault; ``weight`` is how often it comes in a random schedule, ``is_slow`` keeps it rare."""

    number: int
    name: str
    function: Function
    weight: int = 4
    is_slow: bool = False


KINDS: dict[int, list[Kind]] = {}


class NotRun(Exception):
    """The fault cannot be injected here; the text says why."""


def kind(number: int, name: str, *, weight: int = 4, is_slow: bool = False) -> Callable[[Function], Function]:
    """Register a function as (one way to inject) kind ``number``."""

    def register(function: Function) -> Function:
        KINDS.setdefault(number, []).append(Kind(number, name, function, weight, is_slow))
        return function

    return register


@contextmanager
def delivered(laboratory: Laboratory, random: Random, group: str = "") -> Iterator[tuple[World, str, int]]:
    """A world whose sources hold the second delivery of a group, not loaded yet: world, group, variant."""
    variant = random.randrange(VARIANTS)
    group = group or random.choice(list(GROUPS))
    with laboratory.world(variant) as world:
        world.deliver(group)
        yield world, group, variant


def judge(laboratory: Laboratory, world: World, group: str, variant: int, result: Result) -> Result:
    """The oracle at the end: BALANCE, and the checksum of a run without a fault."""
    result.violations += oracle.balance(world)
    result.violations += oracle.compare(laboratory.clean_checksums(variant, group), checksum.of_group(world, group))
    return result
