"""BALANCE: what must hold after every fault, asked in SQL and Python of its own.

Nothing here believes the ledger's columns: rows are counted in ``raw`` and in the quarantine by the load that brought
them, landing files are read again by other parsers than the engine's, and the sources are asked what they hold.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from chaos import reading
from chaos.reading import SPECS, Record

if TYPE_CHECKING:
    from chaos.world import World

Sums = dict[str, Decimal]


@dataclass(frozen=True)
class Violation:
    """What does not hold; ``kind`` is a column of the summary: lost, doubled, unbalanced, checksum or other."""

    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


def balance(world: World, *, all_arrived: bool = True) -> list[Violation]:
    """Every violation in the world; ``all_arrived`` asks too that everything the sources hold has come."""
    found = [*_ledger(world), *_doubled(world), *_orphaned(world), *_cursors(world), *_chain(world)]
    for load_id, flow in world.rows("select load_id, flow from ops.load_ledger order by load_id"):
        if flow in SPECS:
            found += _load(world, load_id, flow)
    if all_arrived:
        for group in sorted(world.touched):
            for flow in world.flows(group):
                if flow in SPECS:
                    found += _arrived(world, flow)
    return found


def compare(expected: dict[str, str], found: dict[str, str]) -> list[Violation]:
    """Differences to the checksums of a run without a fault."""
    return [
        Violation("checksum", f"{name} differs from the run without a fault")
        for name in sorted({*expected, *found})
        if expected.get(name) != found.get(name)
    ]


# --- each load closes ------------------------------------------------------------------------------------------------


def _load(world: World, load_id: str, flow: str) -> list[Violation]:
    spec = SPECS[flow]
    manifest = world.value("select manifest from ops.load_ledger where load_id = %s", load_id)
    if manifest.get("kind") == "reconcile":
        return _tombstones(world, spec, load_id, manifest["rows"])
    landed = reading.landed(world, load_id, flow, manifest)
    if isinstance(landed, str):
        return [Violation("unbalanced", f"{flow} {load_id}: {landed}")]
    raw, held = _raw_rows(world, spec, load_id), _held_rows(world, load_id)
    duplicates, duplicate_sums = _ledger_duplicates(world, load_id)
    found = []
    if len(landed) != len(raw) + len(held) + duplicates:
        what = f"{len(landed)} landed, {len(raw)} in raw, {len(held)} in quarantine, {duplicates} duplicates"
        found.append(Violation("unbalanced", f"{flow} {load_id}: {what}"))
    came, became = _sums(landed), _added(_sums(raw), _sums(held), duplicate_sums)
    if came != became:
        found.append(Violation("unbalanced", f"{flow} {load_id}: {came} landed, {became} accounted for"))
    known = Counter(_identity(record) for record in [*raw, *held])
    for record in set(landed):
        if not known[_identity(record)] and not _known_before(world, spec, record, load_id):
            found.append(Violation("lost", f"{flow} {load_id}: {record} landed and is nowhere"))
    return found


def _tombstones(world: World, spec: reading.Spec, load_id: str, rows: int) -> list[Violation]:
    query = f'select count(*) from raw."{spec.entity}" where _load_id = %s and _deleted'
    found = world.value(query, load_id)
    return [] if found == rows else [Violation("unbalanced", f"{load_id}: {rows} deletes, {found} tombstones")]


def _identity(record: Record) -> tuple[Any, ...]:
    # The quarantine keeps no version; its key and its money must do.
    return (record.key, record.amount)


def _known_before(world: World, spec: reading.Spec, record: Record, load_id: str) -> bool:
    return any(
        _identity(other) == _identity(record)
        for other in [*_raw_rows(world, spec, None, load_id), *_held_rows(world, None, spec.entity)]
    )


def _raw_rows(world: World, spec: reading.Spec, load_id: str | None, before: str | None = None) -> list[Record]:
    key = ", ".join(f'"{name}"::text' for name in spec.raw_key)
    version = f'"{spec.raw_version}"' if spec.raw_version else "null::timestamptz"
    money = f'coalesce("{spec.raw_amount}", 0), "{spec.raw_currency}"' if spec.raw_amount else "0::numeric, ''"
    where = "_load_id = %s" if load_id else "_load_id <= %s"
    query = (
        f'select array[{key}], {money}, {version} from raw."{spec.entity}" where not _deleted and source_system = %s'
    )
    rows = world.rows(f"{query} and {where}", spec.system, load_id or before or "Z")
    return [Record(tuple(row[0]), row[1], row[2] or "", row[3]) for row in rows]


def _held_rows(world: World, load_id: str | None, entity: str = "") -> list[Record]:
    where = "load_id = %s" if load_id else "entity = %s"
    query = f"select source_key, coalesce(amount, 0), coalesce(currency_code, '') from quarantine.record where {where}"
    return [Record(tuple(row[0].split("/")), row[1], row[2], None) for row in world.rows(query, load_id or entity)]


def _ledger_duplicates(world: World, load_id: str) -> tuple[int, Sums]:
    rows = world.value("select duplicate_rows from ops.load_ledger where load_id = %s", load_id)
    sums = world.rows("select currency_code, duplicate_amount from ops.load_ledger_total where load_id = %s", load_id)
    return rows, dict(sums)


def _sums(records: list[Record]) -> Sums:
    sums: Sums = defaultdict(Decimal)
    for record in records:
        sums[record.currency] += record.amount
    return _added(sums)


def _added(*sums: Sums) -> Sums:
    total: Sums = defaultdict(Decimal)
    for each in sums:
        for currency, amount in each.items():
            total[currency] += amount
    return {currency: amount for currency, amount in sorted(total.items()) if amount}


# --- nothing twice, nothing without a ledger row ---------------------------------------------------------------------


def _doubled(world: World) -> list[Violation]:
    """No record stands twice in one version; where the source gives no version, its content stands for it."""
    found = []
    for flow, spec in SPECS.items():
        key = ", ".join(f'"{name}"' for name in ("source_system", *spec.raw_key))
        version = f'"{spec.raw_version}", _deleted' if spec.raw_version else "_row_hash, _deleted"
        query = f'select {key}, count(*) from raw."{spec.entity}" group by {key}, {version} having count(*) > 1'
        found += [Violation("doubled", f"{flow}: {row}") for row in world.rows(query)]
    twice = world.rows("select load_id, count(*) from ops.load_ledger group by 1 having count(*) > 1")
    held = world.rows(
        "select flow, source_key, row_hash, count(*) from quarantine.record group by 1, 2, 3 having count(*) > 1"
    )
    return [*found, *(Violation("doubled", f"{row}") for row in [*twice, *held])]


def _orphaned(world: World) -> list[Violation]:
    """Rows of a load that the ledger does not know, and loads that call themselves published without a ledger row."""
    found = []
    for spec in SPECS.values():
        query = (
            f'select _load_id, count(*) from raw."{spec.entity}"'
            " where _load_id not in (select load_id from ops.load_ledger) group by 1"
        )
        found += [Violation("doubled", f"raw.{spec.entity}: {row} of no published load") for row in world.rows(query)]
    states = (
        "select l.load_id, l.state from ops.load as l left join ops.load_ledger as p using (load_id)"
        " where (l.state = 'published') <> (p.load_id is not null)"
    )
    return [*found, *(Violation("unbalanced", f"load {row} against the ledger") for row in world.rows(states))]


def _ledger(world: World) -> list[Violation]:
    """What the ledger states agrees with what is counted here, load by load."""
    found = []
    for load_id, flow, source, published, quarantined in world.rows(
        "select load_id, flow, source_rows, published_rows, quarantined_rows from ops.load_ledger order by load_id"
    ):
        if flow not in SPECS:
            continue
        table = f'raw."{SPECS[flow].entity}"'
        in_raw = world.value(f"select count(*) from {table} where _load_id = %s", load_id)
        held = world.value("select count(*) from quarantine.record where load_id = %s", load_id)
        if (in_raw, held) != (published, quarantined):
            what = f"ledger says {published} and {quarantined} of {source}, there are {in_raw} and {held}"
            kind = "lost" if in_raw + held < published + quarantined else "doubled"
            found.append(Violation(kind, f"{flow} {load_id}: {what}"))
    return found


# --- everything the sources hold has come ----------------------------------------------------------------------------


def _arrived(world: World, flow: str) -> list[Violation]:
    spec = SPECS[flow]
    raw = {(record.key, record.amount, record.currency, record.version) for record in _raw_rows(world, spec, None)}
    held = {(record.key, record.amount, record.currency) for record in _held_rows(world, None, spec.entity)}
    found = []
    for record in set(reading.source(world, flow)):
        identity = (record.key, record.amount, record.currency)
        if (*identity, record.version) not in raw and identity not in held:
            found.append(Violation("lost", f"{flow}: the source holds {record}, which is nowhere"))
    return found


# --- cursors and the chain -------------------------------------------------------------------------------------------


def _cursors(world: World) -> list[Violation]:
    """A cursor stands at or before the last position that the source has committed, and was moved by a load."""
    found = []
    for flow, position, load_id in world.rows(
        "select flow, (cursor_values ->> 0)::timestamptz, load_id from ops.watermark"
    ):
        if flow.split("/")[0] in world.touched and flow in SPECS:
            last = max((record.version for record in reading.source(world, flow) if record.version), default=None)
            if last is not None and position > last:
                found.append(Violation("lost", f"{flow}: the cursor {position} lies behind the last row {last}"))
        if not world.value("select count(*) from ops.load_ledger where load_id = %s", load_id):
            found.append(Violation("unbalanced", f"{flow}: the cursor was moved by {load_id}, which is not published"))
    return found


def _chain(world: World) -> list[Violation]:
    """The evidence chain, computed again from its text; every published load has its event."""
    rows = world.rows(
        "select sequence, to_char(recorded_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), kind, subject,"
        " actor, body, previous_hash, hash from ops.evidence order by sequence"
    )
    found, previous = [], hashlib.sha256(b"order-to-cash evidence").digest()
    for number, row in enumerate(rows, start=1):
        text = "\x1f".join([str(row[0]), *row[1:6]])
        if row[0] != number or bytes(row[6]) != previous:
            found.append(Violation("unbalanced", f"evidence {row[0]} does not follow the event before it"))
        previous = hashlib.sha256(previous + text.encode()).digest()
        if bytes(row[7]) != previous:
            found.append(Violation("unbalanced", f"evidence {row[0]} has been changed"))
            previous = bytes(row[7])
    published = {row[3] for row in rows if row[2] == "publish"}
    loads = {row[0] for row in world.rows("select load_id from ops.load_ledger")}
    return [*found, *(Violation("lost", f"no evidence of load {load_id}") for load_id in sorted(loads - published))]
