"""``o2c demo``: make the sample company and let it live on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from o2c.errors import UsageError
from o2c.settings import Settings
from o2c.terminal.output import console, plain_errors

app = typer.Typer(no_args_is_help=True, help="The sample company: generate it, or let days go by there.")

ERP_URL = "O2C_DEMO_ERP_URL"
Directory = Annotated[
    Path | None, typer.Option("--directory", help="Where the company lies; default: that of the running stack.")
]
ErpUrl = Annotated[
    str | None, typer.Option("--erp-url", envvar=ERP_URL, help="The company's ERP database, with the right to write.")
]


@app.command()
def generate(
    directory: Directory = None,
    erp_url: ErpUrl = None,
    seed: Annotated[int, typer.Option(help="Another seed is another company.")] = 7,
    scale: Annotated[float, typer.Option(min=0.01, help="Multiplies the number of orders.")] = 1.0,
    months: Annotated[int, typer.Option(min=3, help="How many months of history.")] = 18,
) -> None:
    """Make a sample company: CRM records, bank statements, card settlements, ERP database, and the truth."""
    from demo.company.generate import generate as make
    from demo.company.write import write

    with plain_errors():
        root = _root(directory)
        written = write(make(seed, scale, months), root, erp_url)
        console.print(f"{root}: {_counts(written)}")


@app.command()
def tick(
    days: Annotated[int, typer.Option("--days", min=1, help="How many days go by.")],
    directory: Directory = None,
    erp_url: ErpUrl = None,
) -> None:
    """Let days go by: new orders, shipments, invoices, late payments, corrections, a bank statement sent again."""
    from demo.company.generate import advance
    from demo.company.write import read, write

    with plain_errors():
        root = _root(directory)
        company = advance(read(root), days)
        written = write(company, root, erp_url)
        (Settings.load().home / "as_of").write_text(f"{company.today}\n", encoding="utf-8")
        console.print(f"It is {company.today} there now: {_counts(written)}.")
        console.print("Load it with './o2c sync', or let the scheduler do it.")


def _root(directory: Path | None) -> Path:
    root = directory or (Path(os.environ["O2C_DEMO_DIRECTORY"]) if "O2C_DEMO_DIRECTORY" in os.environ else None)
    if root is None:
        raise UsageError(
            "Which company?", next_step=f"Run 'make up' first, or give --directory (state: {Settings.load().home})."
        )
    return root


def _counts(written: dict[str, int]) -> str:
    return ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in written.items())
