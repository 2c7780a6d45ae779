from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from demo.company.bank_writer import document, file_name
from demo.company.generate import generate
from demo.company.model import SETTLEMENT_COLUMNS, Company
from demo.company.write import read, write
from o2c.errors import UsageError
from o2c.formats import camt053


def table(content: bytes, rows: str, where: str) -> list[dict[str, str]]:
    stream = camt053.read(iter([content]), {"rows": rows}, where)
    text = b"".join(stream.blocks).decode()
    return [dict(zip(stream.columns, record, strict=True)) for record in csv.reader(io.StringIO(text))]


def stamps(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


def test_a_company_comes_back_from_its_folder(tmp_path: Path, moved_on: Company) -> None:
    write(moved_on, tmp_path, None)
    assert read(tmp_path) == moved_on


def test_what_did_not_change_is_left_alone(tmp_path: Path, company: Company) -> None:
    write(company, tmp_path, None)
    before = stamps(tmp_path)
    assert set(write(company, tmp_path, None).values()) == {0}
    assert stamps(tmp_path) == before


def test_moving_on_adds_statements_and_touches_no_old_one(tmp_path: Path, company: Company, moved_on: Company) -> None:
    write(company, tmp_path, None)
    before = stamps(tmp_path / "sftp" / "statements")
    written = write(moved_on, tmp_path, None)
    after = stamps(tmp_path / "sftp" / "statements")
    assert {path: after[path] for path in before} == before
    assert len(after) - len(before) == written["statements"] == 9


def test_another_company_leaves_no_file_of_the_first(tmp_path: Path, moved_on: Company) -> None:
    write(moved_on, tmp_path, None)
    other = generate(seed=3, scale=0.2, months=6)
    write(other, tmp_path, None)
    assert {path.name for path in (tmp_path / "sftp" / "statements").iterdir()} == {
        file_name(statement) for statement in other.statements
    }
    assert json.loads((tmp_path / "company.json").read_text()) == {"seed": 3, "scale": 0.2, "months": 6, "ticks": []}


@pytest.mark.parametrize("content", [None, "", "[]", '{"seed": 7}'])
def test_a_missing_or_broken_profile_is_explained(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "company.json").write_text(content)
    with pytest.raises(UsageError, match="no sample company"):
        read(tmp_path)


def test_statements_follow_the_standard_and_each_other(moved_on: Company) -> None:
    accounts: dict[str, list[dict[str, str]]] = {}
    for statement in moved_on.statements:
        (row,) = table(document(statement).encode(), "statements", file_name(statement))
        if statement.resent_on is None:
            accounts.setdefault(row["account_iban"], []).append(row)
    assert len(accounts) == 8
    for rows in accounts.values():
        assert [int(row["sequence_number"]) for row in rows] == list(range(1, len(rows) + 1))
        for earlier, later in pairwise(rows):
            assert later["opening_balance_amount"] == earlier["closing_balance_amount"]


def test_entries_come_back_as_they_were_booked(company: Company) -> None:
    for statement in company.statements[-40:]:
        rows = table(document(statement).encode(), "entries", file_name(statement))
        assert [(row["bank_reference"], Decimal(row["amount"]), row["is_reversal"]) for row in rows] == [
            (entry.reference, entry.amount, str(entry.is_reversal).lower()) for entry in statement.entries
        ]
        assert [row["counterparty_name"] for row in rows] == [entry.counterparty for entry in statement.entries]
        assert [row["counterparty_iban"] for row in rows] == [entry.counterparty_iban for entry in statement.entries]


def test_a_statement_sent_again_has_other_bytes_and_the_same_content(moved_on: Company) -> None:
    (again,) = [statement for statement in moved_on.statements if statement.resent_on]
    (first,) = [s for s in moved_on.statements if s.id == again.id and s.resent_on is None]
    assert document(again) != document(first)
    for rows in ("statements", "entries"):
        assert table(document(again).encode(), rows, "again") == table(document(first).encode(), rows, "first")


def test_crm_records_look_like_salesforce(tmp_path: Path, company: Company) -> None:
    write(company, tmp_path, None)
    lines = (tmp_path / "crm" / "Opportunity.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line, parse_float=Decimal) for line in lines]
    assert len(records) == len(company.crm["Opportunity"])
    for record, source in zip(records, company.crm["Opportunity"], strict=True):
        assert len(record["Id"]) == 18
        assert record["Amount"] == source["Amount"]
        assert record["SystemModstamp"] == f"{source['updated_at']:%Y-%m-%dT%H:%M:%S}.000+0000"
        assert record["IsDeleted"] is False


def test_settlement_files_hold_exact_rows(tmp_path: Path, company: Company) -> None:
    write(company, tmp_path, None)
    for month, records in company.settlements.items():
        with (tmp_path / "sftp" / "settlements" / f"settlement_{month}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert tuple(rows[0]) == SETTLEMENT_COLUMNS
        assert [Decimal(row["net"]) for row in rows] == [record["net"] for record in records]
        assert {row["type"] for row in rows} <= {"charge", "refund", "dispute", "dispute_reversal", "fee", "payout"}
        assert all(row["occurred_at"].startswith(month) and row["occurred_at"].endswith("Z") for row in rows)


def test_the_truth_is_written_beside_the_data(tmp_path: Path, company: Company) -> None:
    write(company, tmp_path, None)
    truth = json.loads((tmp_path / "truth.json").read_text(encoding="utf-8"))
    assert truth == company.truth
    assert set(truth["leaks"][0]) == {
        "rule_id", "business_key", "entity_code", "customer_id", "currency_code", "amount", "event_on",
        "detectable_from", "closed_on",
    }  # fmt: skip
