"""``o2c verify``: does the evidence hold? And ``o2c sign-off``: a person says so."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from o2c.errors import UsageError
from o2c.settings import Settings
from o2c.terminal import verify_data
from o2c.terminal.output import console, plain_errors

app = typer.Typer(no_args_is_help=True, help="Check that evidence and data hold; exit code 1 when they do not.")


@app.command("chain")
def verify_chain(
    export: Annotated[Path | None, typer.Option("--export", help="Write the chain to a file, verify later.")] = None,
    offline: Annotated[Path | None, typer.Option("--offline", help="Verify such a file, without a warehouse.")] = None,
    public_key: Annotated[
        list[Path] | None, typer.Option("--public-key", help="The key that signed the anchors; repeat for several.")
    ] = None,
) -> None:
    """Recompute every hash, check anchors and ledger; names the first bad event."""
    from o2c.loads import chain

    with plain_errors():
        if export and offline:
            raise UsageError("Either --export or --offline.", next_step="Leave one of them out.")
        if export:
            console.print(f"{chain.export_chain(Settings.load(), export):,} events written to {export}.")
            return
        keys = public_key or ()
        if offline:
            report = chain.verify_export(offline, keys)
            if not keys:
                console.print("Signatures were checked with the key in the file; give --public-key to use your own.")
        else:
            report = chain.verify_chain(Settings.load(), keys)
        console.print(
            f"The chain holds: {report.events:,} events, {report.publications:,} publications as in the ledger,"
            f" {report.anchors:,} anchors; {report.unanchored:,} events since the last anchor."
        )
        console.print(f"Head: {report.head}", highlight=False, soft_wrap=True)


@app.command("anchor")
def anchor() -> None:
    """Sign the newest event into the anchor file outside the database."""
    from o2c.loads.chain import anchor_head

    with plain_errors():
        settings = Settings.load()
        done = anchor_head(settings)
        if done is None:
            raise UsageError("The chain is empty; there is nothing to anchor.", next_step="Run a load first.")
        head, is_new = done
        console.print(f"Event {head.sequence} {'is anchored' if is_new else 'was anchored already'}.")
        console.print(f"Anchors: {settings.anchors_file}", highlight=False, soft_wrap=True)
        console.print(f"Hash:    {head.hash.hex()}", highlight=False, soft_wrap=True)


def sign_off(
    subject: Annotated[str, typer.Argument(help="A load, a run, a contract, or a period such as 'close 2026-06'.")],
    by: Annotated[str, typer.Option("--by", help="Who signs; not who published.")],
    conclusion: Annotated[str, typer.Option("--conclusion", help="What was looked at and found.")],
) -> None:
    """Record in the evidence chain that a person has checked something."""
    from o2c.warehouse.anchors import write_or_warn
    from o2c.warehouse.session import connect
    from o2c.warehouse.sign_off import sign_off as append_sign_off

    with plain_errors():
        settings = Settings.load()
        with connect(settings) as connection:
            head = append_sign_off(connection, subject, by, conclusion)
        write_or_warn(settings, head)
        console.print(f"Signed off as event {head.sequence} of the evidence chain.")


app.command("balance")(verify_data.balance)
app.command("checksum")(verify_data.show_checksums)
app.command("rebuild")(verify_data.rebuild)
