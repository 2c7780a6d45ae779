"""``o2c trace``: from a record to the bytes it came from, on one page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from o2c.settings import Settings
from o2c.terminal.output import console, plain_errors, problems, show_table

if TYPE_CHECKING:
    from o2c.loads.trace import Trace


class TraceFormat(StrEnum):
    """How a trace is printed."""

    text = "text"
    json = "json"


def trace(
    entity: Annotated[str, typer.Argument(help="An entity, for example invoice.")],
    key: Annotated[str, typer.Argument(help="The record's key; parts joined by a slash.")],
    source: Annotated[str | None, typer.Option("--source", help="One source system; all when left out.")] = None,
    form: Annotated[TraceFormat, typer.Option("--format", help="How to print.")] = TraceFormat.text,
) -> None:
    """Follow a record to its file, load, rules, code and people. Exit code 1 when the evidence does not hold."""
    from o2c.loads.trace import trace as trace_record

    with plain_errors():
        found = trace_record(Settings.load(), entity, key, source)
        if form is TraceFormat.json:
            print(json.dumps(asdict(found), indent=2, default=_plain))
        else:
            _show(found)
        if found.problems:
            if form is TraceFormat.text:
                for problem in found.problems:
                    problems.print(f"[bold red]{escape(problem)}[/]", soft_wrap=True)
                problems.print("  next:  Restore what was changed from a backup, and find out who changed it.")
            raise typer.Exit(1)
        if form is TraceFormat.text:
            console.print("The evidence holds.")


def _show(found: Trace) -> None:
    for number, version in enumerate(found.versions, start=1):
        title = f"{found.entity} {found.key}, version {number} of {len(found.versions)}"
        show_table(["what", "value"], list(_lines(version)), title)
        rules = version.get("gate", {}).get("rules", [])
        if rules:
            columns = ["rule", "on_fail", "predicate", "evaluated_rows", "unexpected_rows"]
            show_table(columns, [[rule[name] for name in columns] for rule in rules], "Rules it met")
    for record in found.quarantine:
        rows = [(name, value) for name, value in record.items() if name != "decisions"]
        rows += [
            (each["decision"], f"{each['decided_at']:%Y-%m-%d %H:%M:%S} by {each['decided_by']}: {each['reason']}")
            for each in record["decisions"]
        ]
        show_table(["what", "value"], rows, f"Quarantine record {record['record_id']}")
    columns = ["sequence", "recorded_at", "kind", "subject", "actor", "hash"]
    show_table(columns, [[event[name] for name in columns] for event in found.events], "Evidence events")


def _lines(version: Mapping[str, Any]) -> list[tuple[str, Any]]:
    load, file, manifest = (version.get(part) or {} for part in ("load", "file", "manifest"))
    lines = [(name, version.get(name)) for name in ("source_system", "amount", "currency", "published_at", "deleted")]
    lines += [("published_by", version.get("published_by"))]
    lines += [(name, load.get(name)) for name in ("load_id", "flow", "run_id", "code_version")]
    lines += [
        ("rows of the load", ", ".join(f"{load.get(f'{kind}_rows')} {kind}" for kind in _KINDS)),
        ("file", file.get("path")),
        ("sha256 landed", file.get("sha256")),
        ("sha256 on disk", file.get("sha256_on_disk") or "missing"),
        ("record in the file", file.get("row")),
        ("made again from it", file.get("derived")),
        ("manifest", manifest.get("path")),
        ("manifest sha256", manifest.get("sha256_on_disk") or "missing"),
        ("rules sha256", version.get("gate", {}).get("rules_sha256")),
    ]
    for contract in version.get("contracts", []):
        seen = f"{contract['sha256']}, first seen {contract['first_seen_at']:%Y-%m-%d %H:%M}"
        lines.append((contract["contract"], f"{seen}, recorded by {contract['recorded_by']}"))
    return lines


_KINDS = ("source", "published", "quarantined", "duplicate")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    return str(value)
