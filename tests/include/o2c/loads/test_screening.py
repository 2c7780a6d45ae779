"""Screening of parts: by flow, before anything is kept, and once more as fields."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest

from o2c.connectors.base import Part
from o2c.contracts.entity import Entity
from o2c.contracts.flow import Flow, load_flow
from o2c.errors import FatalSourceError
from o2c.formats import csv, json_records
from o2c.loads.screening import Screening, allowed_places, screened_fields
from o2c.settings import Settings
from o2c.warehouse.landing_files import LandingFolder

PROJECT = Path(__file__).resolve().parents[4]
VISA = "4111111111111111"
MASK = "#PAN#*******1111"


@pytest.fixture
def shipped(entities: Mapping[str, Entity]) -> Any:
    return lambda name: load_flow(PROJECT / "include" / "flows" / f"{name}.yml", entities)


def landed(tmp_path: Path, flow: Flow, data: bytes, name: str = "part") -> bytes:
    """What would be written of one part."""

    def parts() -> Generator[Part, None, None]:
        yield Part(name, iter([data]))

    folder = LandingFolder(tmp_path / "landing", flow.name, "L1")
    screening = Screening(Settings.load({"O2C_HOME": str(tmp_path)}), flow, folder)
    for part in screening.parts(parts()):
        file, blocks = folder.tee(part.name, part.blocks)
        list(blocks)
        return file.path.read_bytes()
    raise AssertionError("no part")


def test_pages_of_the_crm(tmp_path: Path, shipped: Any) -> None:
    page = {"records": [{"Name": f"card {VISA}", "TaxId__c": VISA}]}
    (record,) = json.loads(landed(tmp_path, shipped("crm/accounts"), json.dumps(page).encode()))["records"]
    assert record == {"Name": f"card {MASK}", "TaxId__c": VISA}


def test_statements_of_the_bank(tmp_path: Path, shipped: Any) -> None:
    text = f"<Ntry><AcctSvcrRef>{VISA}</AcctSvcrRef><EndToEndId>{VISA}</EndToEndId><Ustrd>by {VISA}</Ustrd></Ntry>"
    kept = landed(tmp_path, shipped("payments/bank_lines"), text.encode()).decode()
    assert kept == text.replace(f"by {VISA}", f"by {MASK}")


def test_a_column_read_into_others_too_is_not_allowed(shipped: Any) -> None:
    flow = shipped("erp/receipts")
    assert allowed_places(flow) == {"payer_iban", "bank_ref"}
    mapping = {**flow.mapping, "payer_name": flow.mapping["bank_reference"]}
    object.__setattr__(flow, "mapping", mapping)
    assert allowed_places(flow) == {"payer_iban"}


def test_a_name_that_holds_a_number_is_refused(tmp_path: Path, shipped: Any) -> None:
    with pytest.raises(FatalSourceError) as caught:
        landed(tmp_path, shipped("payments/bank_lines"), b"x", f"{VISA}.xml")
    assert caught.value.reason == "card_number" and VISA not in str(caught.value) and "#PAN#" in str(caught.value)


@pytest.mark.parametrize("hidden", ["\\u0034" + VISA[1:], "\\uff14" + VISA[1:]])
def test_an_escape_hides_nothing(shipped: Any, hidden: str) -> None:
    flow = shipped("crm/accounts")
    page = f'{{"records": [{{"Name": "card {hidden}", "TaxId__c": "{hidden}"}}]}}'.encode()
    for fields, refused in ((["TaxId__c"], False), (["Name"], True)):
        stream = screened_fields(flow, json_records.read(iter([page]), {"fields": fields}, "crm"), "crm: page")
        if not refused:
            assert b"111111111111" in b"".join(stream.blocks)
            continue
        with pytest.raises(FatalSourceError) as caught:
            list(stream.blocks)
        assert caught.value.reason == "card_number" and "'Name'" in caught.value.what
        assert "111111111111" not in str(caught.value)


def test_an_encoding_the_screen_cannot_read_is_read_as_fields(shipped: Any) -> None:
    flow = shipped("payments/card_payouts")
    object.__setattr__(flow, "source", {**flow.source, "format": {"type": "csv", "encoding": "cp500"}})
    data = f"id,note\n1,{VISA}\n".encode("cp500")
    stream = csv.read(iter([data]), {"encoding": "cp500"}, "bank")
    with pytest.raises(FatalSourceError, match="'note' holds a card number"):
        list(screened_fields(flow, stream, "bank: file").blocks)
