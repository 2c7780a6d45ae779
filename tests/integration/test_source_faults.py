"""A source that fails while it is read: nothing is kept, no cursor moves, and the next run loads all of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.counterparts import crm_server, sftp_server
from o2c.connections import Connection
from o2c.errors import SourceError

MAPPING = {"quote_id": "Id", "opportunity_id": "OpportunityId", "quote_number": "QuoteNumber", "status": "Status"}
MAPPING |= {"total_amount": "GrandTotal", "currency_code": "CurrencyIsoCode", "updated_at": "SystemModstamp"}
CREDENTIALS = crm_server.Credentials("ada@example.com", "pass-word", "app", "app-secret", "token")


@pytest.fixture
def crm(tmp_path: Path) -> Iterator[Any]:
    folder = tmp_path / "crm"
    folder.mkdir()
    with crm_server.serve(folder, CREDENTIALS, smallest_page=1) as server:

        def write(numbers: range) -> None:
            (folder / "Quote.jsonl").write_text("".join(json.dumps(quote(number)) + "\n" for number in numbers))

        server.write = write  # type: ignore[attr-defined]
        yield server


def quote(number: int) -> dict[str, Any]:
    return {
        "Id": f"0Q0{number:03}",
        "OpportunityId": "006001",
        "QuoteNumber": str(number),
        "Status": "Draft",
        "GrandTotal": 10,
        "CurrencyIsoCode": "EUR",
        "SystemModstamp": f"2026-01-{number:02}T10:00:00.000+0000",
    }


@pytest.fixture
def quotes(warehouse: Any, crm: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    extra = {"client_id": "app", "client_secret": "app-secret", "security_token": "token", "scheme": "http"}
    extra |= {"page_size": "10", "attempts": "2", "backoff": "0.001", "timeout": "0.2", "deadline": "2"}
    connection = Connection("crm_api", "http", "127.0.0.1", crm.port, "ada@example.com", "pass-word", extra=extra)
    monkeypatch.setattr(warehouse, "resolve", lambda name: connection)
    document = {
        "source": {
            "system": "crm", "connection": "crm_api", "connector": "salesforce", "object": "Quote",
            "cursor": ["SystemModstamp", "Id"], "overlap": "20m",
        },
        "target": "raw.quote", "entity": "quote", "mapping": MAPPING, "validation": [], "run_mode": "incremental",
        "retry": {"attempts": 1, "backoff": "1s..1s", "fatal": ["unauthorized"]},
        "monitoring": {"owner": "sales", "freshness": "1d", "alert": "mail"},
    }  # fmt: skip
    warehouse.flows.write("crm/quotes", document)
    return warehouse.flows.load("crm/quotes")


@pytest.mark.parametrize(
    "kind",
    [
        "rate_limit", "request_limit", "server_error", "html_error", "html", "malformed", "truncated", "error_body",
        "hang", "drip", "short", "shift", "repeat_next", "empty_next", "foreign_next", "redirect",
    ],
)  # fmt: skip
def test_a_crm_that_fails_midway(warehouse: Any, crm: Any, quotes: Any, kind: str) -> None:
    crm.write(range(1, 3))
    warehouse.load(quotes)
    crm.write(range(1, 31))
    before = warehouse.everything()
    crm.faults.add(kind, after=1, times=9, seconds=0.5)
    error = warehouse.refused(quotes)
    assert isinstance(error, SourceError) and error.next_step and "Traceback" not in str(error)
    assert warehouse.everything() == before
    assert len([path for path in warehouse.settings.landing_dir.rglob("*") if path.is_file()]) == 2
    while crm.faults.take():
        pass
    assert warehouse.load(quotes).rows["published"] == 28
    assert warehouse.value("select count(distinct quote_id) from raw.quote") == 30


def test_a_token_that_ends_midway_costs_nothing(warehouse: Any, crm: Any, quotes: Any) -> None:
    crm.write(range(1, 31))
    crm.faults.add("expire_token", after=1)
    assert warehouse.load(quotes).rows["published"] == 30 and crm.logins == 2


@pytest.fixture
def bank(tmp_path: Path, warehouse: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    folder = tmp_path / "bank" / "files"
    folder.mkdir(parents=True)
    with sftp_server.serve(folder.parent, tmp_path / "key", sftp_server.Credentials("bank", "secret")) as server:
        extra = {"host_key": server.public_key, "timeout": "5"}
        connection = Connection("bank_sftp", "sftp", "127.0.0.1", server.port, "bank", "secret", extra=extra)
        monkeypatch.setattr(warehouse, "resolve", lambda name: connection)
        server.folder = folder  # type: ignore[attr-defined]
        yield server


@pytest.mark.parametrize("tenth", range(10))
def test_a_transfer_that_is_cut_leaves_no_file(warehouse: Any, bank: Any, tenth: int) -> None:
    columns = ["receipt_id", "entity_code", "receipt_type", "received_on", "amount", "currency_code", "payment_method"]
    flow = warehouse.flows.csv("shop/receipts", "receipt", columns)
    text = flow.path.read_text().replace("local_file", "sftp_file\n  connection: bank_sftp")
    flow.path.write_text(text.replace("path: in", "path: /files"))
    flow = warehouse.flows.load("shop/receipts")
    lines = [f"{number},DE01,payment,2026-03-01,1,EUR,card\n" for number in range(5_000)]
    content = ",".join(columns) + "\n" + "".join(lines)
    (bank.folder / "receipts.csv").write_text(content)
    bank.faults.cut_after = len(content) * tenth // 10
    error = warehouse.refused(flow)
    assert isinstance(error, SourceError) and "transfer failed" in error.what
    assert [found for found in warehouse.settings.landing_dir.rglob("*") if found.is_file()] == []
    assert warehouse.rows("select * from ops.file_delivery") == []
    published = warehouse.load(flow)
    assert published.rows["published"] == 5_000
    landed = warehouse.settings.landing_dir / "shop/receipts" / published.load_id / "receipts.csv"
    assert os.path.getsize(landed) == len(content)
