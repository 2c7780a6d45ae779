"""``o2c alerts``: what does not hold, who has been told, and who takes it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.padding import Padding

from o2c.reports import numbers
from o2c.settings import Settings
from o2c.terminal.output import Format, console, plain_errors, show_rows
from o2c.warehouse import alerts
from o2c.warehouse.session import connect

app = typer.Typer(no_args_is_help=True, help="List alerts, and take them.")


@app.command("list")
def list_alerts(
    closed: Annotated[bool, typer.Option("--all", help="Closed ones too.")] = False,
    form: Annotated[Format, typer.Option("--format", help="How to print rows.")] = Format.table,
) -> None:
    """List open alerts, gravest first: owner, money, rule, and the next step."""
    with plain_errors():
        with connect(Settings.load()) as connection:
            rows = alerts.listed(connection, closed=closed)
        if form is not Format.table:
            columns = list(rows[0]) if rows else []
            show_rows(columns, [[_plain(row[name]) for name in columns] for row in rows], form)
            return
        console.print(f"[bold]{len(rows)} alert{'s' * (len(rows) != 1)}[/]{'' if closed else ' open'}")
        for row in rows:
            _print(row)


@app.command()
def acknowledge(
    alert_id: Annotated[int, typer.Argument(help="The number that 'o2c alerts list' shows.")],
    by: Annotated[str, typer.Option("--by", help="Who takes it.")],
) -> None:
    """Take an alert: escalation stops. It closes by itself when its cause is gone."""
    with plain_errors():
        with connect(Settings.load()) as connection:
            alerts.acknowledge(connection, alert_id, by, datetime.now(UTC))
        console.print(f"Alert {alert_id} is {escape(by.strip())}'s. It closes when its cause is gone.")


def _print(row: dict[str, Any]) -> None:
    money = ", ".join(numbers.money(amount, code) for code, amount in sorted(row["money"].items()))
    facts = [f"owner {row['owner']}", f"since {row['opened_at']:%Y-%m-%d %H:%M} UTC", _standing(row)]
    console.print(f"\n[bold]{row['alert_id']} {row['severity']}[/] {escape(row['what'])}", highlight=False)
    for text in ("; ".join(facts), f"rule: {row['rule']}" + (f"; money: {money}" if money else "")):
        console.print(Padding(escape(text), (0, 0, 0, 2)), highlight=False)
    console.print(Padding(f"next: {escape(row['next_step'])}", (0, 0, 0, 2)), highlight=False)


def _standing(row: dict[str, Any]) -> str:
    if row["closed_at"]:
        return f"closed {row['closed_at']:%Y-%m-%d %H:%M} UTC"
    if row["acknowledged_by"]:
        return f"acknowledged by {row['acknowledged_by']}"
    told = "nobody told yet" if row["told_level"] < 0 else "told"
    return f"escalated to level {row['level']}" if row["level"] else told


def _plain(value: Any) -> Any:
    return {code: str(amount) for code, amount in value.items()} if isinstance(value, dict) else value
