"""What sources and landing files hold, read by other means than the engine's: csv, json, and a regular XML parser."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from chaos.world import World

# A field may be longer than the reader expects of a spreadsheet.
csv.field_size_limit(2**31 - 1)
_CAMT = "{urn:iso:std:iso:20022:tech:xsd:camt.053.001.08}"


@dataclass(frozen=True)
class Record:
    """One record: key, exact amount in major units, currency as the source gave it, version (UTC) if it has one."""

    key: tuple[str, ...]
    amount: Decimal
    currency: str
    version: datetime | None


@dataclass(frozen=True)
class Spec:
    """Where key, money and version of a flow stand, in the source and in ``raw``."""

    entity: str
    system: str
    kind: str
    key: str
    amount: str
    currency: str
    version: str | None
    raw_key: tuple[str, ...]
    raw_amount: str
    raw_currency: str = "currency_code"
    raw_version: str | None = None
    where: str = ""


SPECS = {
    "crm/opportunities": Spec(
        "opportunity", "crm", "json", "Id", "Amount", "CurrencyIsoCode", "SystemModstamp",
        ("opportunity_id",), "amount", raw_version="updated_at",
    ),
    "erp/invoices": Spec(
        "invoice", "erp", "csv", "id", "gross", "ccy", "updated_at",
        ("invoice_id",), "total_amount", raw_version="updated_at", where="bill_header",
    ),
    "erp/receipts": Spec(
        "receipt", "erp", "csv", "id", "amt", "ccy", "updated_at",
        ("receipt_id",), "amount", raw_version="updated_at", where="cash_receipt",
    ),
    "payments/bank_lines": Spec(
        "bank_line", "bank", "entries", "", "", "", None, ("statement_id", "entry_number"), "amount",
        where="statements",
    ),
    "payments/bank_statements": Spec(
        "bank_statement", "bank", "statements", "", "", "", None, ("statement_id",), "closing_balance_amount",
        where="statements",
    ),
    "payments/card_payouts": Spec(
        "processor_payout", "card_processor", "payout", "payout_id", "net", "currency", None, ("payout_id",),
        "amount", where="settlements",
    ),
    "payments/card_transactions": Spec(
        "processor_transaction", "card_processor", "charge", "transaction_id", "net", "currency", None,
        ("transaction_id",), "net_amount", where="settlements",
    ),
}  # fmt: skip


def landed(world: World, load_id: str, flow: str, manifest: dict[str, Any]) -> list[Record] | str:
    """The records of a load's landing files, or what is wrong with the files."""
    folder = world.home / "landing" / flow / load_id
    records: list[Record | None] = []
    for file in manifest["files"]:
        path = folder / file["name"]
        if not path.is_file():
            return f"the landing file {file['name']} is missing"
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != file["sha256"]:
            return f"the landing file {file['name']} is not what was received"
        records += _rows(SPECS[flow], data)
    taken = _selected(manifest.get("rows_selected"), len(records))
    return [record for number, record in enumerate(records, start=1) if record and number in taken]


def _selected(ranges: str | None, rows: int) -> set[int]:
    """Numbers of the rows that a replay took, from ranges such as ``{[3,5),[9,10)}``; all when it says nothing."""
    if not ranges:
        return set(range(1, rows + 1))
    found = re.findall(r"\[(\d+),(\d+)\)", ranges)
    return {number for first, end in found for number in range(int(first), int(end))}


def source(world: World, flow: str) -> list[Record]:
    """The records that the source of a flow holds now."""
    spec = SPECS[flow]
    if spec.kind == "csv":
        query = f"select {spec.key}, {spec.amount}, {spec.currency}, {spec.version} from erp.{spec.where}"
        with world.connected(world.erp_url) as connection:
            rows = connection.execute(query).fetchall()  # type: ignore[call-overload]
        return [Record((row[0],), row[1], row[2], row[3]) for row in rows]
    if spec.kind == "json":
        text = (world.directory / "crm" / "Opportunity.jsonl").read_text(encoding="utf-8")
        return [_json_record(spec, json.loads(line, parse_float=Decimal)) for line in text.splitlines()]
    files = sorted((world.directory / "files" / spec.where).glob("*.*"))
    return [record for path in files for record in parse(spec, path.read_bytes())]


def parse(spec: Spec, data: bytes) -> list[Record]:
    """The records of one file that belong to the flow."""
    return [record for record in _rows(spec, data) if record]


def _rows(spec: Spec, data: bytes) -> list[Record | None]:
    """One entry for every row of a file; None for those of other flows."""
    if spec.kind == "json":
        pages = [json.loads(line, parse_float=Decimal) for line in data.decode().splitlines()]
        return [_json_record(spec, record) for page in pages for record in page["records"]]
    if spec.kind in ("entries", "statements"):
        return list(_camt(spec.kind, data))
    rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
    return [_csv_record(spec, row) if _is_wanted(spec, row) else None for row in rows]


def _is_wanted(spec: Spec, row: dict[str, str]) -> bool:
    if spec.kind == "csv":
        return True
    return (row["type"] == "payout") is (spec.kind == "payout")


def _csv_record(spec: Spec, row: dict[str, str]) -> Record:
    version = datetime.fromisoformat(row[spec.version]) if spec.version else None
    return Record((row[spec.key],), _number(row[spec.amount]), row[spec.currency], version)


def _number(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        return Decimal(0)
    return value if value.is_finite() else Decimal(0)


def _json_record(spec: Spec, record: dict[str, Any]) -> Record:
    version = datetime.strptime(record["SystemModstamp"], "%Y-%m-%dT%H:%M:%S.%f%z")
    return Record((record["Id"],), Decimal(record["Amount"] or 0), record["CurrencyIsoCode"], version)


def _camt(kind: str, data: bytes) -> Iterator[Record]:
    for statement in ElementTree.fromstring(data).iter(f"{_CAMT}Stmt"):
        number = statement.findtext(f"{_CAMT}Id") or ""
        if kind == "statements":
            (closing,) = (each for each in statement.iter(f"{_CAMT}Bal") if each.findtext(f".//{_CAMT}Cd") == "CLBD")
            yield _money((number,), closing)
        else:
            for position, entry in enumerate(statement.iter(f"{_CAMT}Ntry"), start=1):
                yield _money((number, str(position)), entry)


def _money(key: tuple[str, ...], element: ElementTree.Element) -> Record:
    amount = element.find(f"{_CAMT}Amt")
    assert amount is not None
    sign = -1 if element.findtext(f"{_CAMT}CdtDbtInd") == "DBIT" else 1
    return Record(key, sign * Decimal(amount.text or "0"), amount.get("Ccy", ""), None)


def landing_files(world: World) -> list[Path]:
    """Every file below the landing folder."""
    return sorted(path for path in (world.home / "landing").rglob("*") if path.is_file())
