"""``o2c resync`` and the windows of ``o2c sync``: loads again, from landing files or from the source."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from o2c.connections import from_environment
from o2c.contracts.catalogue import load_catalogue
from o2c.contracts.flow import Flow
from o2c.errors import UsageError
from o2c.settings import Settings
from o2c.terminal.output import console, plain_errors, show_table
from o2c.warehouse.decisions import Decision
from o2c.warehouse.request import KINDS, Published

_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f"]
From = Annotated[datetime | None, typer.Option("--from", formats=_FORMATS, help="Begin of the window, UTC, inclusive.")]
To = Annotated[datetime | None, typer.Option("--to", formats=_FORMATS, help="End of the window, UTC, exclusive.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would change; write nothing.")]


def resync(
    flow: Annotated[str, typer.Argument(help="A flow.")],
    key: Annotated[list[str] | None, typer.Option("--key", help="A key, its parts joined by '/'; repeatable.")] = None,
    load: Annotated[str | None, typer.Option("--load", help="One load.")] = None,
    since: From = None,
    until: To = None,
    by: Annotated[str | None, typer.Option("--by", help="Who asks for it; with --reason kept as a decision.")] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Load a flow's landing files again: by key, by load, or by when loads were published. The source is not asked."""
    with plain_errors():
        settings = Settings.load()
        chosen = load_catalogue(settings).flow(flow)
        decision = _decision(by, reason)
        from o2c.loads.resync import Scope
        from o2c.loads.resync import resync as run

        scope = Scope(tuple(key or ()), load, in_utc(since), in_utc(until))
        done = run(settings, chosen, scope, decision, is_dry=dry_run)
        show_loads([(each.replay_of, each.published) for each in done], is_dry=dry_run)


def _decision(by: str | None, reason: str | None) -> Decision | None:
    if by is None and reason is None:
        return None
    return Decision("resync", by or "", reason or "")


def in_utc(moment: datetime | None) -> datetime | None:
    """The moment that was typed, which is UTC."""
    return moment.replace(tzinfo=UTC) if moment else None


def backfill(flows: Sequence[Flow], since: datetime | None, until: datetime | None, *, is_dry: bool) -> None:
    """Read a window of one flow again from its source; raises :class:`UsageError` when there is no such window."""
    from o2c.loads.backfill import backfill as run

    begin = in_utc(since)
    if begin is None or len(flows) != 1:
        raise UsageError("A window is of one flow and has a begin.", next_step="Give one flow and --from.")
    published = run(Settings.load(), flows[0], from_environment, begin, in_utc(until), is_dry=is_dry)
    show_loads([(flows[0].name, published)], is_dry=is_dry)


def show_loads(done: Sequence[tuple[str, Published]], *, is_dry: bool) -> None:
    """Print one line per load and currency: rows and money by what became of them, or would."""
    columns = ["load", "as load", "currency", "source", *KINDS]
    rows: list[tuple[object, ...]] = []
    for name, published in done:
        load_id = "dry run" if is_dry else published.load_id
        rows.append((name, load_id, "rows", published.source_rows, *published.rows.values()))
        for currency in sorted({code for by in published.amounts.values() for code, sum_ in by.items() if sum_}):
            sums = [published.amounts[kind].get(currency, 0) for kind in KINDS]
            rows.append(("", "", currency, sum(sums), *sums))
    show_table(columns, rows)
    if is_dry:
        console.print("Dry run: nothing was written.")
