"""``o2c trace``: from a published row to its bytes, and every break on the way named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from o2c.loads.trace import trace

COLUMNS = [
    "receipt_id", "entity_code", "receipt_type", "received_on", "amount", "currency_code", "payment_method",
    "remittance_text",
]  # fmt: skip
HEADER = ",".join(COLUMNS) + "\n"


def line(number: object, amount: str = "10.00") -> str:
    return f'{number},DE01,payment,2026-03-01,{amount},EUR,card,"for, or\nfrom R"\n'


@pytest.fixture
def files(warehouse: Any) -> Any:
    return warehouse.flows.csv("shop/receipts", "receipt", COLUMNS)


@pytest.fixture
def traced(warehouse: Any, files: Any) -> Any:
    """Receipt R/3 in two versions; the first load has R/2 in quarantine."""
    warehouse.flows.put("shop/receipts1.csv", HEADER + line("R/1") + line("R/2", "-3") + line("R/3", "12.50"))
    warehouse.load(files)
    warehouse.flows.put("shop/receipts2.csv", HEADER + line("R/3", "13.00"))
    warehouse.load(files)
    return warehouse


def landed(warehouse: Any, load_id: str, name: str) -> Path:
    return warehouse.settings.landing_dir / "shop" / "receipts" / load_id / name


def follow(warehouse: Any, key: str = "R/3") -> Any:
    return trace(warehouse.settings, "receipt", key)


def test_a_row_is_followed_to_its_bytes(traced: Any) -> None:
    found = follow(traced)
    assert found.problems == []
    first, second = found.versions
    sent = (HEADER + line("R/1") + line("R/2", "-3") + line("R/3", "12.50")).encode()
    assert first["file"] == {
        "path": str(landed(traced, "L000000001", "receipts1.csv")),
        "sha256": hashlib.sha256(sent).hexdigest(),
        "sha256_on_disk": hashlib.sha256(sent).hexdigest(),
        "row": 3,
        "derived": "the same row",
    }
    assert [str(version["amount"]) for version in found.versions] == ["12.50", "13.00"]
    assert (second["file"]["row"], second["load"]["load_id"]) == (1, "L000000002")
    assert first["load"]["quarantined_rows"] == 1
    assert first["published_by"] == traced.value("select actor from ops.evidence where kind = 'publish' limit 1")
    rules = {rule["rule"]: rule for rule in first["gate"]["rules"]}
    assert (rules["amount > 0"]["unexpected_rows"], rules["amount > 0"]["evaluated_rows"]) == (1, 3)
    flow = (traced.flows.directory / "shop" / "receipts.yml").read_bytes()
    assert {each["contract"]: each["sha256"] for each in first["contracts"]} == {
        "entity receipt": hashlib.sha256((traced.settings.entities_dir / "receipt.yml").read_bytes()).hexdigest(),
        "flow shop/receipts": hashlib.sha256(flow).hexdigest(),
    }
    assert [(e["sequence"], e["kind"]) for e in found.events] == [
        (1, "load"), (4, "gate"), (5, "publish"), (6, "load"), (7, "gate"), (8, "publish"),
    ]  # fmt: skip


def test_a_quarantined_record_is_found_by_its_key(traced: Any) -> None:
    found = follow(traced, "R/2")
    assert (found.versions, found.problems) == ([], [])
    (record,) = found.quarantine
    assert (record["rules"], str(record["amount"]), record["state"]) == (["amount > 0"], "-3", "open")


def _change(path: Path, old: bytes, new: bytes) -> None:
    path.write_bytes(path.read_bytes().replace(old, new))


@pytest.mark.parametrize(
    ("name", "tamper", "named"),
    [
        ("file", lambda w: _change(landed(w, "L000000001", "receipts1.csv"), b"R/1", b"R/9"), "whose bytes are not"),
        ("gone", lambda w: landed(w, "L000000001", "receipts1.csv").unlink(), "receipts1.csv, which is missing"),
        ("manifest", lambda w: _change(landed(w, "L000000001", "manifest.json"), b"EUR", b"USD"), "which was changed"),
        ("row", lambda w: w.run("update raw.receipt set amount = 12.51 where amount = 12.50"), "differs in amount"),
        (
            "text",
            lambda w: w.run("update raw.receipt set remittance_text = 'cash' where amount = 12.50"),
            "differs in remittance_text",
        ),
        (
            "hash",
            lambda w: w.run("update raw.receipt set _row_hash = '\\x00' where amount = 12.50"),
            "no record of the file has its hash",
        ),
        (
            "load",
            lambda w: w.run("update raw.receipt set _load_id = 'L7' where amount = 12.50"),
            "is not in the ledger",
        ),
        (
            "ledger",
            lambda w: w.run(
                "update ops.load_ledger set duplicate_rows = 1, quarantined_rows = 0 where load_id = 'L000000001'"
            ),
            "the ledger differ in rows",
        ),
        (
            "event",
            lambda w: w.run("update ops.evidence set actor = 'x' where sequence = 4"),
            "Event 4 (gate L000000001) has been changed",
        ),
        ("no event", lambda w: w.run("delete from ops.evidence where sequence = 5"), "has no publish event"),
    ],
)
def test_a_break_is_named(traced: Any, name: str, tamper: Callable[[Any], None], named: str) -> None:
    tamper(traced)
    found = follow(traced)
    assert any(named in problem for problem in found.problems), found.problems
    assert len(found.problems) == 1


def test_both_ledger_and_file_changed_is_found_by_the_chain(traced: Any) -> None:
    """Who changes the file and its sha256 in the ledger has still to change the event."""
    path = landed(traced, "L000000001", "receipts1.csv")
    _change(path, b"12.50", b"12.60")
    traced.run(
        "update ops.load_ledger set manifest = jsonb_set(manifest, '{files,0,sha256}', to_jsonb(%s::text))"
        " where load_id = 'L000000001'",
        hashlib.sha256(path.read_bytes()).hexdigest(),
    )
    problems = follow(traced).problems
    assert any("the ledger differ in files" in problem for problem in problems)
    assert any("whose bytes are not those that were landed" in problem for problem in problems)


def test_a_contract_that_has_changed_since_is_no_break(traced: Any) -> None:
    path = traced.flows.directory / "shop" / "receipts.yml"
    path.write_text(path.read_text().replace("remittance_text: remittance_text", "payer_name: remittance_text"))
    found = follow(traced)
    assert found.problems == []
    assert "the contract has changed since" in found.versions[0]["file"]["derived"]


def test_a_query_of_a_database_is_traced(warehouse: Any, erp: psycopg.Connection) -> None:
    erp.execute("create table rate (a text, b text, kind text, day date, value numeric)")
    erp.execute(
        "insert into rate values ('EUR', 'USD', 'spot', '2026-01-01', 1.1), ('EUR', 'GBP', 'spot', '2026-01-02', .8)"
    )
    mapping = {
        "from_currency_code": "a", "to_currency_code": "b", "rate_type": "kind", "rate_date": "day", "rate": "value",
    }  # fmt: skip
    flow = warehouse.flows.query("bank/rates", "exchange_rate", mapping, "select a, b, kind, day, value from rate")
    warehouse.load(flow)
    found = trace(warehouse.settings, "exchange_rate", "EUR/GBP/spot/2026-01-02")
    assert found.problems == []
    assert [version["file"]["derived"] for version in found.versions] == ["the same row"]
    assert found.versions[0]["file"]["row"] == 2


def test_the_command(traced: Any, command: Callable[..., Any]) -> None:
    done = command("trace", "receipt", "R/3", "--format", "json")
    assert done.exit_code == 0
    told = json.loads(done.output)
    assert [version["amount"] for version in told["versions"]] == ["12.50", "13.00"]
    done = command("trace", "receipt", "R/3")
    assert done.exit_code == 0 and "The evidence holds." in done.output and "min_scale" in done.output
    assert command("trace", "receipt", "R/2").exit_code == 0
    landed(traced, "L000000002", "receipts2.csv").unlink()
    done = command("trace", "receipt", "R/3")
    assert done.exit_code == 1 and "is missing" in done.output
    assert command("trace", "receipt", "R/3", "--format", "json").exit_code == 1
    for arguments in (("receipt", "R/9"), ("receipt", "R/3", "--source", "other"), ("recipe", "R/3")):
        done = command("trace", *arguments)
        assert done.exit_code == 2 and "There is no" in done.output
