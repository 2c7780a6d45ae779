"""Carry out what a person decided about quarantined records: release, reject, resync."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from o2c.contracts.flow import Flow
from o2c.loads.replay import replay
from o2c.settings import Settings
from o2c.warehouse import decisions
from o2c.warehouse.decisions import Decision, Record
from o2c.warehouse.replay_files import Origin, read_origin
from o2c.warehouse.request import Published
from o2c.warehouse.selection import Selection
from o2c.warehouse.session import connect


@dataclass(frozen=True)
class Decided:
    """Records that were decided together, and the load that carried it out; a rejection needs none."""

    records: tuple[Record, ...]
    published: Published | None = None


def decide(
    settings: Settings, flows: Mapping[str, Flow], record_ids: Sequence[int], decision: Decision
) -> Iterator[Decided]:
    """Carry out one decision about records; what cannot be decided is refused before anything is done.

    Records that lie in the landing files of one load, and broke the same rules, share one load and one transaction.

    Raises:
        UsageError: there is no such record.
        DecisionRefused: a record is closed already, or lacks what a release needs. Records decided together with it
            are unchanged.
    """
    with connect(settings) as connection:
        records = decisions.read_records(connection, record_ids)
        decisions.check_open(connection, records, decision.kind)
    if decision.kind == "reject":
        with connect(settings) as connection:
            yield Decided(tuple(decisions.reject(connection, record_ids, decision)))
        return
    if decision.kind == "release":
        decisions.check_publishable(records)
    for group in _groups(records, by_rules=decision.kind == "release"):
        yield _carry_out(settings, decisions.flow_of(group[0], flows), group, decision)


def _carry_out(settings: Settings, flow: Flow, records: tuple[Record, ...], decision: Decision) -> Decided:
    origin = _origin(settings, records[0])
    rows = [record.landing_row for record in records]
    selection = Selection.of_rows(rows, with_siblings=decision.kind == "resync")
    return Decided(records, replay(settings, flow, origin, selection, decision, records))


def _origin(settings: Settings, record: Record) -> Origin:
    with connect(settings) as connection:
        return read_origin(connection, settings.landing_dir, record.origin_load_id)


def _groups(records: Sequence[Record], *, by_rules: bool) -> list[tuple[Record, ...]]:
    """Together goes what one load can carry: the waived rules of a release hold for all of its rows."""

    def together(record: Record) -> tuple[str, str, tuple[str, ...]]:
        return record.origin_load_id, record.flow, record.rules if by_rules else ()

    return [tuple(group) for _, group in groupby(sorted(records, key=together), key=together)]
