"""What a named person decides about a quarantined record: release, reject, resync. Each is kept and chained.

A record is decided once. The records concerned are locked first, so of two people who decide at the same moment one
is told what the other did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from o2c.contracts.flow import Flow
from o2c.errors import O2CError, UsageError
from o2c.warehouse import evidence
from o2c.warehouse.fence import hold_table
from o2c.warehouse.request import PublishRequest

# Rules that say a value is not there, or two are: the row cannot be published as it stands, whoever vouches for it.
_NOT_PUBLISHABLE = ("type:", "required:", "currency:", "unique_key", "no_card_number")
_COLUMNS = "record_id, load_id, origin_load_id, landing_row, flow, entity, rules, state"


class DecisionRefused(O2CError):
    """A record cannot be decided this way: it is closed already, or its values are not there."""


@dataclass(frozen=True)
class Record:
    """One quarantined record, as far as a decision needs it."""

    record_id: int
    load_id: str
    origin_load_id: str
    landing_row: int
    flow: str
    entity: str
    rules: tuple[str, ...]
    state: str


@dataclass(frozen=True)
class Decision:
    """Who decides what, and why; ``kind`` is release, reject or resync."""

    kind: str
    by: str
    reason: str

    def __post_init__(self) -> None:
        for name, text in (("name", self.by), ("reason", self.reason)):
            if not text.strip() or not text.isprintable():
                raise UsageError(
                    f"A decision needs a {name}: one line of text.",
                    next_step="Give --by NAME and --reason TEXT; both are kept with the decision.",
                )

    def manifest(self, records: Sequence[Record]) -> dict[str, Any]:
        """What the manifest of the load that carries it out keeps."""
        waived = sorted({rule for record in records for rule in record.rules}) if self.kind == "release" else []
        named = [[record.record_id, record.load_id, record.landing_row] for record in records]
        return {"kind": self.kind, "by": self.by, "reason": self.reason, "records": named, "waived_rules": waived}


def read_records(connection: psycopg.Connection, record_ids: Sequence[int]) -> list[Record]:
    """The records of these ids, in order of their ids.

    Raises:
        UsageError: there is no such record.
    """
    rows = connection.execute(
        f"select {_COLUMNS} from quarantine.record where record_id = any(%s) order by record_id",  # noqa: S608
        [list(record_ids)],
    ).fetchall()
    missing = sorted(set(record_ids) - {row[0] for row in rows})
    if missing:
        raise UsageError(f"There is no record {missing[0]}.", next_step="See 'o2c quarantine list --state all'.")
    return [_record(row) for row in rows]


def open_records(
    connection: psycopg.Connection, origin_load_id: str, keys: Sequence[str] | None = None
) -> list[Record]:
    """The open records of rows in the landing files of one load, all of them or those of these keys."""
    rows = connection.execute(
        f"select {_COLUMNS} from quarantine.record where state = 'open' and origin_load_id = %s"  # noqa: S608
        " and (%s::text[] is null or source_key = any(%s)) order by record_id",
        [origin_load_id, keys and list(keys), keys and list(keys)],
    ).fetchall()
    return [_record(row) for row in rows]


def check_open(connection: psycopg.Connection, records: Sequence[Record], kind: str) -> None:
    """Refuse what has been decided, or closed by a newer version, already."""
    for record in records:
        if record.state != "open":
            raise DecisionRefused(
                f"Record {record.record_id} is {record.state} already{_by_whom(connection, record)}.",
                where=f"{record.flow}, load {record.load_id}, row {record.landing_row}",
                next_step=f"Nothing was changed; leave it out to {kind} the others.",
            )


def check_publishable(records: Sequence[Record]) -> None:
    """Refuse a release of rows that lack a value or contradict another row."""
    for record in records:
        lacking = [rule for rule in record.rules if rule.startswith(_NOT_PUBLISHABLE)]
        if lacking:
            raise DecisionRefused(
                f"Record {record.record_id} cannot be published as it is: {', '.join(lacking)}.",
                where=f"{record.flow}, load {record.load_id}, row {record.landing_row}",
                next_step="Reject it, or correct the cause and resync it.",
            )


def reject(connection: psycopg.Connection, record_ids: Sequence[int], decision: Decision) -> list[Record]:
    """Close records for good, in the caller's transaction: their rows will never be loaded."""
    for entity in sorted({record.entity for record in read_records(connection, record_ids)}):
        # A load that is being published reads which rows are rejected; it must not see half an answer.
        hold_table(connection, entity)
    records = _locked(connection, read_records(connection, record_ids))
    check_open(connection, records, decision.kind)
    _note(connection, records, decision, None, "rejected")
    _append(connection, records, decision, None)
    return records


def carry_out(connection: psycopg.Connection, request: PublishRequest) -> None:
    """What a publication does for the decision that it carries out, if there is one.

    Raises:
        DecisionRefused: a record has been closed meanwhile, or a row of a release is not what was decided on.
    """
    told = request.manifest.get("decision")
    if not told:
        return
    decision = Decision(told["kind"], told["by"], told["reason"])
    records = _locked(connection, _named(connection, told["records"]))
    if decision.kind == "release":
        check_open(connection, records, decision.kind)
        _check_unchanged(connection, request, records)
    records = [record for record in records if record.state == "open"]
    _note(connection, records, decision, request.load.load_id, "released" if decision.kind == "release" else None)


def append_decision(connection: psycopg.Connection, request: PublishRequest) -> None:
    """Chain the decision that a publication carries out, if there is one; the transaction's last but one statement."""
    told = request.manifest.get("decision")
    if told:
        records = _named(connection, told["records"])
        decision = Decision(told["kind"], told["by"], told["reason"])
        _append(connection, records, decision, request.load.load_id, told["waived_rules"])


def _named(connection: psycopg.Connection, names: Sequence[Sequence[Any]]) -> list[Record]:
    return records_of(connection, [(name[1], name[2]) for name in names])


def records_of(connection: psycopg.Connection, rows: Sequence[tuple[str, int]]) -> list[Record]:
    """Records by load and row: those stay the same in a warehouse that is rebuilt, numbers do not."""
    found = connection.execute(
        f"select {_COLUMNS} from quarantine.record"  # noqa: S608
        " inner join unnest(%s::text[], %s::bigint[]) as n (load_id, landing_row) using (load_id, landing_row)"
        " order by record_id",
        [[load_id for load_id, _ in rows], [row for _, row in rows]],
    ).fetchall()
    return [_record(row) for row in found]


def _locked(connection: psycopg.Connection, records: Sequence[Record]) -> list[Record]:
    connection.execute(
        "select from quarantine.record where record_id = any(%s) order by record_id for update",
        [[record.record_id for record in records]],
    )
    return read_records(connection, [record.record_id for record in records])


def _record(row: Sequence[Any]) -> Record:
    record_id, load_id, origin_load_id, landing_row, flow, entity, rules, state = row
    return Record(record_id, load_id, origin_load_id, landing_row, flow, entity, tuple(rules), state)


def _by_whom(connection: psycopg.Connection, record: Record) -> str:
    row = connection.execute(
        "select coalesce(d.decided_by, 'load ' || q.closed_by_load_id), q.closed_at, d.reason"
        " from quarantine.record as q left join quarantine.decision as d"
        " on d.record_id = q.record_id and d.decision in ('release', 'reject') where q.record_id = %s",
        [record.record_id],
    ).fetchone()
    if row is None or row[0] is None:
        return ""
    return f" by {row[0]} on {row[1]:%Y-%m-%d %H:%M} UTC{f': {row[2]}' if row[2] else ''}"


def _check_unchanged(connection: psycopg.Connection, request: PublishRequest, records: Sequence[Record]) -> None:
    row = connection.execute(
        sql.SQL(
            "select count(*), count(*) filter (where o.is_broken), count(*) filter (where q.row_hash <> s._row_hash)"
            " from quarantine.record as q inner join {stage} as s on s._row = q.landing_row"
            " left join sorted_out as o on o._row = s._row where q.record_id = any({records})"
        ).format(
            stage=sql.Identifier("landing", request.load.stage_table),
            records=sql.Literal([record.record_id for record in records]),
        )
    ).fetchone()
    assert row is not None
    why = ""
    if row[1]:
        why = f"{row[1]} of the rows break other rules than those they were held back for"
    if row[2]:
        why = f"{row[2]} of the rows read differently now, for the mapping has changed"
    if row[0] != len(records) or row[0] != request.manifest["rows"]:
        why = f"{len(records)} records were named, {request.manifest['rows']} rows were found in the landing files"
    if why:
        raise DecisionRefused(
            f"Nothing was released: {why}.",
            where=f"{request.flow.name}, load {request.load.load_id}",
            next_step="Resync the records, look at what they say then, and decide again.",
        )


def _note(
    connection: psycopg.Connection,
    records: Sequence[Record],
    decision: Decision,
    load_id: str | None,
    state: str | None,
) -> None:
    numbers = [record.record_id for record in records]
    connection.execute(
        "insert into quarantine.decision (record_id, decision, decided_by, reason, load_id)"
        " select n, %s, %s, %s, %s from unnest(%s::bigint[]) as n",
        [decision.kind, decision.by, decision.reason, load_id, numbers],
    )
    if state:
        connection.execute(
            "update quarantine.record set state = %s, closed_at = clock_timestamp(), closed_by_load_id = %s"
            " where record_id = any(%s)",
            [state, load_id, numbers],
        )


def _append(
    connection: psycopg.Connection,
    records: Sequence[Record],
    decision: Decision,
    load_id: str | None,
    waived: Sequence[str] = (),
) -> None:
    numbers = [record.record_id for record in records]
    body: Mapping[str, Any] = {
        "decision": decision.kind,
        "reason": decision.reason,
        "flow": sorted({record.flow for record in records}),
        "records": numbers,
        "rows": [[record.load_id, record.landing_row] for record in records],
        "waived_rules": list(waived),
        "load_id": load_id,
    }
    subject = f"load {load_id}, no record" if not numbers else f"record {numbers[0]}"
    if len(numbers) > 1:
        subject = f"{len(numbers)} records, {numbers[0]} to {numbers[-1]}"
    evidence.append(connection, "quarantine", subject, body, by=decision.by)


def flow_of(record: Record, flows: Mapping[str, Flow]) -> Flow:
    """The flow a record came by, which replays it."""
    if record.flow not in flows:
        raise UsageError(
            f"The flow '{record.flow}' is gone, and with it the mapping of record {record.record_id}.",
            next_step="Put its file back, or reject the record.",
        )
    return flows[record.flow]
