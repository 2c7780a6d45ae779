"""Resync: replay a flow's loads by key, by load or by window, from their landing files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial

from o2c.contracts.flow import Flow
from o2c.errors import UsageError
from o2c.loads.dry_run import Planned, dry_run
from o2c.loads.replay import narrowed, parts, replay
from o2c.settings import Settings
from o2c.warehouse.decisions import Decision, open_records
from o2c.warehouse.replay_files import Origin, read_origin
from o2c.warehouse.request import Published
from o2c.warehouse.selection import Selection
from o2c.warehouse.session import connect


@dataclass(frozen=True)
class Scope:
    """What to replay of a flow: loads by id or by when they were published (UTC, from inclusive, to exclusive).

    ``keys`` takes only these rows of them, written as ``source_key`` of a quarantined record.
    """

    keys: tuple[str, ...] = ()
    load_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        if not (self.keys or self.load_id or self.since or self.until):
            raise UsageError(
                "Nothing was chosen to be replayed.",
                next_step="Give --key, --load, or --from and --to; or all of them.",
            )
        if self.since and self.until and self.since >= self.until:
            raise UsageError("The window ends before it begins.", next_step="Give --from before --to.")


@dataclass(frozen=True)
class Replayed:
    """One load that was replayed, or would be, and what became of its rows."""

    replay_of: str
    published: Published


def resync(
    settings: Settings, flow: Flow, scope: Scope, decision: Decision | None = None, *, is_dry: bool = False
) -> list[Replayed]:
    """Replay the loads in scope, oldest first. Rows known already count as duplicates.

    Raises:
        UsageError: no load of the flow is in scope, or none holds the keys.
        LandingChanged: a landing file is not what was landed; loads before it have been replayed.
        O2CError: a load failed; those before it have been replayed.
    """
    origins = _origins(settings, flow, scope)
    selection = Selection(keys=scope.keys or None)
    if scope.keys or is_dry:
        planned = [Planned(o.load_id, partial(parts, o), narrowed(flow, o, selection)) for o in origins]
        previews = [each for each in dry_run(settings, flow, planned) if each.source_rows]
        if not previews:
            raise UsageError(
                f"No load in scope holds a row with the key {', '.join(scope.keys)}.",
                where=flow.name,
                next_step="Write the key as 'o2c quarantine list' shows it, its columns joined by '/'.",
            )
        if is_dry:
            return [Replayed(each.load_id, each) for each in previews]
        found = {each.load_id for each in previews}
        origins = [origin for origin in origins if origin.load_id in found]
    return [_replay(settings, flow, origin, selection, decision) for origin in origins]


def _replay(
    settings: Settings, flow: Flow, origin: Origin, selection: Selection, decision: Decision | None
) -> Replayed:
    with connect(settings) as connection:
        records = open_records(connection, origin.load_id, selection.keys) if decision else ()
    return Replayed(origin.load_id, replay(settings, flow, origin, selection, decision, tuple(records)))


def _origins(settings: Settings, flow: Flow, scope: Scope) -> list[Origin]:
    with connect(settings) as connection:
        rows = connection.execute(
            # A replay holds no row that its origin does not hold.
            "select load_id from ops.load_ledger where flow = %(flow)s"
            " and coalesce(manifest ->> 'kind', 'extract') = 'extract'"
            " and (%(load)s::text is null or load_id = %(load)s)"
            " and (%(since)s::timestamptz is null or published_at >= %(since)s)"
            " and (%(until)s::timestamptz is null or published_at < %(until)s)"
            " and source_rows > 0 order by published_at, load_id",
            {"flow": flow.name, "load": scope.load_id, "since": scope.since, "until": scope.until},
        ).fetchall()
        if not rows:
            raise UsageError(
                "No load is in scope: none was published then, or it read nothing from the source itself.",
                where=flow.name,
                next_step="See the published_at of the flow's loads in ops.load_ledger.",
            )
        return [read_origin(connection, settings.landing_dir, load_id) for (load_id,) in rows]
