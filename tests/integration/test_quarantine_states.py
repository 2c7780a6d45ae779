"""Arrive, release, reject, resync, repeat, in any order: a model foretells rows, states and balance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from o2c.contracts.catalogue import load_catalogue
from o2c.loads.quarantine import decide
from o2c.loads.resync import Scope, resync
from o2c.warehouse.balance import imbalances
from o2c.warehouse.decisions import Decision, DecisionRefused
from o2c.warehouse.session import connect

COLUMNS = ["receipt_id", "entity_code", "receipt_type", "received_on", "amount", "currency_code", "payment_method"]
HEADER = ",".join([*COLUMNS, "note"]) + "\n"
# Small on purpose: the same rows must meet again. A row is a key and an amount; a negative amount breaks a rule.
ROWS = st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from([-2, -1, 1, 2])), min_size=1, max_size=3)

pytestmark = pytest.mark.usefixtures("quick_gate")


@dataclass
class Record:
    """What the model knows of one record."""

    key: str
    amount: int
    state: str = "open"


@dataclass
class Model:
    """A warehouse in dictionaries: what was published per key in order, and the records."""

    published: dict[str, list[int]] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    loads: int = 0

    def arrive(self, rows: list[tuple[str, int]]) -> dict[str, int]:
        """Without versions the latest arrival counts; of copies in one file one counts, of contradictions none."""
        counts = {"published": 0, "quarantined": 0, "duplicate": 0}
        held: list[Record] = []
        good: list[str] = []
        for index, (key, amount) in enumerate(rows):
            is_copy = (key, amount) in rows[:index]
            is_contradicted = any(k == key and a != amount for k, a in rows)
            latest = self.published.get(key, [None])[-1]
            lies = {r.state for r in self.records if (r.key, r.amount) == (key, amount)}
            is_broken = amount < 0 or is_contradicted
            if (
                is_copy
                or "rejected" in lies
                or (latest == amount and (not is_broken or lies))
                or is_broken
                and "open" in lies
            ):
                counts["duplicate"] += 1
            elif is_broken:
                counts["quarantined"] += 1
                held.append(Record(key, amount))
            else:
                counts["published"] += 1
                good.append(key)
                self.published.setdefault(key, []).append(amount)
        self._supersede({record.key for record in held} | set(good))
        self.records += held
        self.loads += 1
        return counts

    def _supersede(self, keys: set[str]) -> None:
        for record in self.records:
            if record.state == "open" and record.key in keys:
                record.state = "superseded"

    def release(self, number: int) -> None:
        """Publish the row as it stands; what else is open under its key has been overtaken."""
        record = self.records[number]
        record.state = "released"
        self.published.setdefault(record.key, []).append(record.amount)
        self._supersede({record.key})


class Quarantine(RuleBasedStateMachine):
    """Drives the warehouse and the model with the same steps."""

    warehouse: Any
    entities: Any
    files = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).files += 1000
        self.model = Model()
        # Every run is a flow and a source system of its own, in one warehouse.
        self.system = f"s{self.files}"
        self.name = f"{self.system}/receipts"
        self.flow = self.warehouse.flows.csv(self.name, "receipt", COLUMNS)
        self.last: list[tuple[str, int]] = []

    @rule(rows=ROWS)
    def arrive(self, rows: list[tuple[str, int]]) -> None:
        type(self).files += 1
        # Bytes differ each time, or the file would be known as a file.
        lines = [f"{key},DE01,payment,2026-03-01,{amount},EUR,card,{self.files}\n" for key, amount in rows]
        self.warehouse.flows.put(f"{self.system}/receipts_{self.files}.csv", HEADER + "".join(lines))
        self.last = rows
        assert self.warehouse.load(self.flow).rows == self.model.arrive(rows)

    @precondition(lambda self: self.last)
    @rule()
    def repeat(self) -> None:
        self.arrive(self.last)

    @precondition(lambda self: self.model.records)
    @rule(data=st.data(), kind=st.sampled_from(["release", "reject"]))
    def decide(self, data: st.DataObject, kind: str) -> None:
        number = data.draw(st.integers(0, len(self.model.records) - 1))
        record = self.model.records[number]
        numbers = [row[0] for row in self._rows("record_id")]
        flows = load_catalogue(self.warehouse.settings).flows
        is_contradiction = "unique_key" in self._rows("rules")[number][0]
        refused = record.state != "open" or (kind == "release" and is_contradiction)
        try:
            list(decide(self.warehouse.settings, flows, [numbers[number]], Decision(kind, "Ada", "why")))
            assert not refused
        except DecisionRefused:
            assert refused
            return
        if kind == "reject":
            record.state = "rejected"
        else:
            self.model.release(number)

    @precondition(lambda self: self.model.loads)
    @rule()
    def resync(self) -> None:
        """Everything that ever came comes again, and nothing may change."""
        done = resync(self.warehouse.settings, self.flow, Scope(load_id=None, since=_EARLY))
        assert {kind for each in done for kind, count in each.published.rows.items() if count} == {"duplicate"}

    @invariant()
    def warehouse_and_model_agree(self) -> None:
        published = self.warehouse.rows(
            "select receipt_id, array_agg(amount::int order by _published_at) from raw.receipt where source_system = %s"
            " group by 1",
            self.system,
        )
        assert dict(published) == self.model.published
        states = [(record.key, record.amount, record.state) for record in self.model.records]
        assert self._rows("source_key, amount::int, state") == states

    @invariant()
    def every_load_closes(self) -> None:
        with connect(self.warehouse.settings) as connection:
            assert imbalances(connection, [self.entities["receipt"]]) == []

    def _rows(self, columns: str) -> list[tuple[Any, ...]]:
        query = f"select {columns} from quarantine.record where source_system = %s order by record_id"
        return self.warehouse.rows(query, self.system)  # type: ignore[no-any-return]


_EARLY = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def machine(warehouse: Any, entities: Any) -> Iterator[type[Quarantine]]:
    yield type("Machine", (Quarantine,), {"warehouse": warehouse, "entities": entities, "files": 0})


def test_states_of_the_quarantine(machine: type[Quarantine]) -> None:
    run_state_machine_as_test(machine, settings=settings(max_examples=6, stateful_step_count=6, deadline=None))
