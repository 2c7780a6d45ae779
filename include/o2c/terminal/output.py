"""Tables on a terminal, CSV and JSON for programs, and errors without tracebacks."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import psycopg
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from o2c.errors import O2CError

# In a pipe or a log there is no window to fit.
_WIDTH = None if sys.stdout.isatty() else 160
# What begins like a formula and is no number.
_FORMULA = re.compile(r"(?![-+]?[0-9]+([.,][0-9]+)*$)[=+\-@\t\r]")
console = Console(width=_WIDTH)
problems = Console(stderr=True, width=None if sys.stderr.isatty() else 160)


class Format(StrEnum):
    """How rows are printed."""

    table = "table"
    csv = "csv"
    json = "json"


def show_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]], form: Format, title: str = "") -> None:
    """Print rows; numbers are printed exactly, timestamps in UTC."""
    if form is Format.json:
        records = [dict(zip(columns, map(_plain, row), strict=True)) for row in rows]
        print(json.dumps(records, indent=2, default=lambda value: str(_plain(value))))
    elif form is Format.csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(map(_cell, columns))
        writer.writerows([_cell(value) for value in row] for row in rows)
    else:
        show_table(columns, rows, title)


def show_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> None:
    """Print one table for people."""
    table = Table(title=title or None, title_justify="left", header_style="bold")
    for index, column in enumerate(columns):
        numeric = any(isinstance(row[index], int | Decimal) for row in rows)
        table.add_column(
            escape(str(column)), justify="right" if numeric else "left", overflow="fold", no_wrap=index == 0
        )
    for row in rows:
        table.add_row(*(escape(_text(value)) for value in row))
    console.print(table)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn errors into a message and an exit code: 1 a check failed, 2 wrong use."""
    try:
        yield
    except O2CError as error:
        problems.print(f"[bold red]{escape(error.what)}[/]")
        if error.where:
            problems.print(f"  where: {escape(error.where)}", highlight=False)
        if error.next_step:
            problems.print(f"  next:  {escape(error.next_step)}", highlight=False)
        raise typer.Exit(error.exit_code) from None
    except psycopg.Error as error:
        message = (error.diag.message_primary or str(error)).strip()
        problems.print(f"[bold red]The warehouse refuses: {escape(message)}[/]")
        problems.print("  next:  Run 'o2c init' if its schemas are missing, or correct the statement.")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        problems.print("Stopped. Nothing is half loaded: a load publishes whole or not at all.")
        raise typer.Exit(130) from None


def _cell(value: Any) -> Any:
    """A cell of CSV. Text that a spreadsheet would take for a formula (CWE-1236) gets an apostrophe before it."""
    if isinstance(value, str) and _FORMULA.match(value):
        return f"'{value}"
    return "" if value is None else _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal | datetime | date):
        return str(value)
    if isinstance(value, bytes | memoryview):
        return "\\x" + bytes(value).hex()
    return value


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return f"{value:,}" if isinstance(value, int | Decimal) and not isinstance(value, bool) else str(value)
