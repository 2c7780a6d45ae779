"""Kinds 9 to 12: files that are cut, change, are corrupted, drift, or come twice."""

from __future__ import annotations

import csv
import gzip
import io
import os
from collections.abc import Callable
from pathlib import Path
from random import Random

from chaos import checksum, content, oracle
from chaos.laboratory import Laboratory
from chaos.registry import Result, delivered, judge, kind
from chaos.tasks import run_dag, run_until_clean
from chaos.world import World

CARD = "settlements/settlement_2026-02.csv"
BANK = "statements/STEUR2.xml"


@kind(9, "the SFTP connection is cut at each tenth of a file", weight=8)
def sftp_cut(laboratory: Laboratory, random: Random) -> Result:
    with delivered(laboratory, random, "payments") as (world, group, variant):
        name = random.choice((CARD, BANK))
        tenth = random.randint(0, 9)
        world.sftp.faults.cut_after = world.file(name).stat().st_size * tenth // 10
        result = Result(1, f"cut at {tenth}0% of the first file read")
        _parts_while_it_runs(world, group, result)
        run_until_clean(world, group)
        return judge(laboratory, world, group, variant, result)


def _parts_while_it_runs(world: World, group: str, result: Result) -> None:
    """One run under the fault; whatever stands under a final name belongs to a published or staged load."""
    run_dag(world, group, world.next_run_id())
    known = {row[0] for row in world.rows("select load_id from ops.load where manifest is not null")}
    for folder in (world.home / "landing").glob("*/*/*"):
        is_partial = folder.name.endswith(".part")
        result.expect(is_partial or folder.name in known, f"{folder.name} has a final name and no manifest")


@kind(9, "a file grows, shrinks, is renamed or hidden while it is read", weight=8)
def sftp_moving(laboratory: Laboratory, random: Random) -> Result:
    with delivered(laboratory, random, "payments") as (world, group, variant):
        name = random.choice((CARD, BANK))
        path, how = world.file(name), random.choice(("grow", "shrink", "hide", "touch", "rename"))
        whole, done = path.read_bytes(), []

        def spoil(read: str, _offset: int) -> None:
            if not done and read.endswith(path.name):
                done.append(read)
                _spoil(path, whole, how)

        world.sftp.faults.on_read = spoil
        result = Result(fault=f"{how} {name}")
        first = run_dag(world, group, world.next_run_id())
        result.injected = len(done)
        world.sftp.faults.on_read = None
        result.violations += oracle.balance(world, all_arrived=False)
        # A retry finds a file that is stable again, or none; what it finds must be whole to be loaded.
        wrong = how in ("grow", "shrink") and done and first.is_success
        result.expect(not wrong, f"the run went well while the file did {how}")
        # The sender ends what it was doing.
        path.with_name(path.name + ".moved").unlink(missing_ok=True)
        path.write_bytes(whole)
        later = path.stat().st_mtime + 5
        os.utime(path, (later, later))
        run_until_clean(world, group)
        return judge(laboratory, world, group, variant, result)


def _spoil(path: Path, whole: bytes, how: str) -> None:
    if how == "grow":
        path.write_bytes(whole + whole[-40:])
    elif how == "shrink":
        path.write_bytes(whole[: len(whole) // 2])
    elif how == "hide":
        path.unlink()
    elif how == "rename":
        path.rename(path.with_name(path.name + ".moved"))
    else:
        os.utime(path, (1, 1))


# --- corruption ------------------------------------------------------------------------------------------------------


def _with_field(data: bytes, value: str, column: str = "order_reference", row: int = 2) -> bytes:
    """The settlement with one field of one row set to ``value``, quoted as need be."""
    rows = list(csv.DictReader(io.StringIO(data.decode())))
    rows[row][column] = value
    return content.settlement(rows)


def _csv_line(data: bytes, line: bytes) -> bytes:
    lines = data.split(b"\n")
    return b"\n".join([*lines[:4], line, *lines[4:]])


# What is done to the file, and whether the file still means the same ("same"), must be refused ("refused"), or may
# be refused or quarantined as long as nothing gets lost ("either").
CORRUPTIONS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "gzip": (lambda data: gzip.compress(data, mtime=0), "refused"),
    "gzip, cut": (lambda data: gzip.compress(data, mtime=0)[:-30], "refused"),
    "utf-16": (lambda data: data.decode().encode("utf-16"), "refused"),
    "latin-1": (lambda data: _with_field(data, "Müller").decode().encode("latin-1"), "refused"),
    "NUL in a field": (lambda data: data.replace(b"DE01", b"DE\x0001", 1), "refused"),
    "NULs at the end": (lambda data: data + b"\0" * 512, "refused"),
    "cut in the middle of a line": (lambda data: data[: len(data) * 2 // 3 - 9], "either"),
    "backslash and dot alone": (lambda data: _csv_line(data, b"\\."), "refused"),
    "an open quote": (lambda data: data.replace(b",DE01,", b',"DE01,', 1), "refused"),
    "a field too many": (lambda data: _csv_line(data, b"a,b" * 30), "refused"),
    "a field too few": (lambda data: _csv_line(data, b"TXN9,charge,x"), "refused"),
    "empty": (lambda _: b"", "refused"),
    "random bytes": (lambda data: bytes((byte * 7 + 3) % 256 for byte in data), "refused"),
    "BOM": (lambda data: b"\xef\xbb\xbf" + data, "same"),
    "CRLF": (lambda data: data.replace(b"\n", b"\r\n"), "same"),
    "no last newline": (lambda data: data.rstrip(b"\n"), "same"),
}


@kind(10, "a file is corrupted on its way", weight=12)
def corrupted(laboratory: Laboratory, random: Random) -> Result:
    with delivered(laboratory, random, "payments") as (world, group, variant):
        name = random.choice(list(CORRUPTIONS))
        spoil, meant = CORRUPTIONS[name]
        path = world.file(CARD)
        whole = path.read_bytes()
        path.write_bytes(spoil(whole))
        result = Result(1, name)
        before = checksum.of_table(world, "raw", "processor_transaction")
        first = run_dag(world, group, world.next_run_id())
        after = checksum.of_table(world, "raw", "processor_transaction")
        result.violations += oracle.balance(world, all_arrived=False) if meant != "either" else []
        if meant == "refused":
            result.expect(not first.is_success, f"{name}: the run went well")
            result.expect(before == after, f"{name}: rows were published")
        if meant == "same":
            result.expect(first.is_success, f"{name}: {first.errors}")
            return judge(laboratory, world, group, variant, result)
        _send_again(path, whole)
        run_until_clean(world, group)
        if meant == "either" and before != after:
            result.violations += oracle.balance(world)
            return result
        return judge(laboratory, world, group, variant, result)


def _send_again(path: Path, data: bytes) -> None:
    later = path.stat().st_mtime + 5
    path.write_bytes(data)
    os.utime(path, (later, later))


@kind(10, "fields that look like the end of a record", weight=4)
def awkward_fields(laboratory: Laboratory, random: Random) -> Result:
    with delivered(laboratory, random, "payments") as (world, group, _):
        value = random.choice(
            ("two\nlines", "two\r\nlines", 'say "x"', "a,b;c", "\\.", "\\N", "NULL", " spaces ", "\\n")
        )
        path = world.file(CARD)
        path.write_bytes(_with_field(path.read_bytes(), value))
        result = Result(1, repr(value))
        run_until_clean(world, group)
        found = world.rows("select order_reference from raw.processor_transaction where order_reference is not null")
        result.expect([(value,)] == found, f"{value!r} became {found}")
        result.violations += oracle.balance(world)
        return result


# --- drift -----------------------------------------------------------------------------------------------------------


def _columns(data: bytes, change: Callable[[list[str], list[list[str]]], None]) -> bytes:
    rows = list(csv.reader(io.StringIO(data.decode())))
    change(rows[0], rows[1:])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _rename(head: list[str], _: list[list[str]]) -> None:
    head[head.index("net")] = "net_amount"


def _remove(head: list[str], rows: list[list[str]]) -> None:
    position = head.index("currency")
    for row in (head, *rows):
        del row[position]


def _add(head: list[str], rows: list[list[str]]) -> None:
    head.append("surprise")
    for number, row in enumerate(rows):
        row.append(str(number))


def _reorder(head: list[str], rows: list[list[str]]) -> None:
    for row in (head, *rows):
        row.reverse()


def _retype(head: list[str], rows: list[list[str]]) -> None:
    for row in rows:
        row[head.index("occurred_at")] = "a week ago"


def _grow(head: list[str], rows: list[list[str]]) -> None:
    rows[1][head.index("type")] = "levy"


DRIFTS = {
    "renamed": (_rename, "stops"),
    "removed": (_remove, "stops"),
    # The quarantine keeps the payload whole, with the new column.
    "added": (_add, "more"),
    "reordered": (_reorder, "same"),
    "retyped": (_retype, "held"),
    "enum grown": (_grow, "held"),
}


@kind(11, "columns of a file are added, removed, renamed, retyped, reordered; an enum grows", weight=8)
def drifted(laboratory: Laboratory, random: Random) -> Result:
    with delivered(laboratory, random, "payments") as (world, group, variant):
        name = random.choice(list(DRIFTS))
        change, meant = DRIFTS[name]
        path = world.file(CARD)
        whole = path.read_bytes()
        path.write_bytes(_columns(whole, change))
        result = Result(1, name)
        before = checksum.of_table(world, "raw", "processor_transaction")
        first = run_dag(world, group, world.next_run_id())
        after = checksum.of_table(world, "raw", "processor_transaction")
        if meant in ("same", "more"):
            result.expect(first.is_success, f"{name}: {first.errors}")
            return (judge if meant == "same" else _good_at_last)(laboratory, world, group, variant, result)
        if meant == "stops":
            result.expect(not first.is_success and before == after, f"{name}: the load went on")
        result.violations += oracle.balance(world, all_arrived=False)
        _send_again(path, whole)
        run_until_clean(world, group)
        if meant == "stops":
            return judge(laboratory, world, group, variant, result)
        return _good_at_last(laboratory, world, group, variant, result)


def _good_at_last(laboratory: Laboratory, world: World, group: str, variant: int, result: Result) -> Result:
    """Rows were held back and came again in order: ``raw`` as without a fault, and no more money held than then."""
    expected = laboratory.clean_checksums(variant, group)
    found = checksum.of_group(world, group)
    result.violations += oracle.balance(world)
    result.violations += oracle.compare(
        {name: value for name, value in expected.items() if name.startswith("raw.")},
        {name: value for name, value in found.items() if name.startswith("raw.")},
    )
    return result


@kind(11, "a table of the ERP loses, renames or retypes a column", weight=4)
def erp_drifted(laboratory: Laboratory, random: Random) -> Result:
    changes = {
        "renamed": (
            "alter table erp.cash_receipt rename amt to amount",
            "alter table erp.cash_receipt rename amount to amt",
        ),
        "removed": (
            "alter table erp.cash_receipt rename method to hidden",
            "alter table erp.cash_receipt rename hidden to method",
        ),
        "retyped": (
            "alter table erp.cash_receipt alter updated_at type text",
            "alter table erp.cash_receipt alter updated_at type timestamptz using updated_at::timestamptz",
        ),
        "added": ("alter table erp.cash_receipt add surprise text default 'x'", "select 1"),
    }  # fmt: skip
    with delivered(laboratory, random, "erp") as (world, group, variant):
        name = random.choice(list(changes))
        result = Result(1, f"ERP column {name}")
        world.change(changes[name][0], url=world.erp_url)
        before = checksum.of_table(world, "raw", "receipt")
        first = run_dag(world, group, world.next_run_id())
        if name in ("renamed", "removed"):
            is_same = before == checksum.of_table(world, "raw", "receipt")
            result.expect(not first.is_success and is_same, f"{name}: the load went on")
        world.change(changes[name][1], url=world.erp_url)
        run_until_clean(world, group)
        return judge(laboratory, world, group, variant, result)


# --- twice -----------------------------------------------------------------------------------------------------------


@kind(12, "the same bytes under a new name, new bytes under an old one, overlapping statements", weight=8)
def delivered_twice(laboratory: Laboratory, random: Random) -> Result:
    with delivered(laboratory, random, "payments") as (world, group, variant):
        how = random.choice(("same bytes", "same statement", "new bytes", "before the first"))
        name = random.choice((CARD, BANK)) if how != "same statement" else BANK
        path = world.file(name)
        result = Result(1, f"{how}: {name}")
        twin = path.with_name("a_" + path.name if how == "before the first" else path.stem + "_again" + path.suffix)
        if how == "new bytes":
            # One more movement, and the file has the name that is known already.
            run_until_clean(world, group)
            _send_again(path, _one_more(name, path.read_bytes()))
        elif how == "same statement":
            twin.write_bytes(path.read_bytes().replace(b"<MsgId>", b"<MsgId>AGAIN-"))
        else:
            twin.write_bytes(path.read_bytes())
        if random.random() < 0.5:
            run_until_clean(world, group)
        run_until_clean(world, group)
        if how == "new bytes":
            result.violations += oracle.balance(world, all_arrived=name == CARD)
            return result
        return _same_rows(laboratory, world, group, variant, result)


def _one_more(name: str, data: bytes) -> bytes:
    if name == BANK:
        return data.replace(b"<NtryDtls>", b"<NtryDtls><!-- sent again -->", 1)
    rows = list(csv.DictReader(io.StringIO(data.decode())))
    return content.settlement(
        [*rows, {**rows[0], "transaction_id": "TXN999", "gross": "3.00", "fee": "1.00", "net": "2.00"}]
    )


def _same_rows(laboratory: Laboratory, world: World, group: str, variant: int, result: Result) -> Result:
    """The rows are those of a run without a fault; which of two equal files they came from does not matter."""
    result.violations += oracle.balance(world)
    counts = {table: world.value(f'select count(*) from raw."{table}"') for table in checksum.TABLES[group]}
    money = {
        table: world.rows(f'select currency_code, sum({column}) from raw."{table}" group by 1 order by 1')
        for table, column in (("bank_line", "amount"), ("processor_transaction", "net_amount"))
    }
    with laboratory.world(variant) as clean:
        clean.deliver(group)
        run_until_clean(clean, group)
        for table, rows in counts.items():
            result.expect(rows == clean.value(f'select count(*) from raw."{table}"'), f"rows of {table}")
        for table, sums in money.items():
            column = "amount" if table == "bank_line" else "net_amount"
            query = f'select currency_code, sum({column}) from raw."{table}" group by 1 order by 1'
            result.expect(sums == clean.rows(query), f"money of {table}: {sums}")
    return result
