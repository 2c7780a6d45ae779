"""Reads ISO 20022 bank statements (camt.053, versions 02 and 08) after checking them against the official schema.

Option ``rows``: ``statements`` (one row per statement) or ``entries`` (one row per booked entry; a batch booking
with several transactions stays one row). Amounts are signed decimals in major units, credit positive.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from lxml import etree

from o2c.errors import FatalSourceError, UsageError
from o2c.formats.base import TableStream, csv_blocks

STATEMENT_COLUMNS = (
    "statement_id",
    "account_iban",
    "sequence_number",
    "created_at",
    "statement_on",
    "currency_code",
    "opening_balance_amount",
    "closing_balance_amount",
    "entry_count",
    "entry_net_amount",
)
ENTRY_COLUMNS = (
    "statement_id",
    "entry_number",
    "account_iban",
    "booked_on",
    "value_on",
    "amount",
    "currency_code",
    "bank_reference",
    "end_to_end_id",
    "remittance_text",
    "counterparty_name",
    "counterparty_iban",
    "is_reversal",
)
VERSIONS = ("02", "08")
# The elements that hold the long numbers of a column. Banks number their messages and bookings as they like.
ELEMENTS = {
    "account_iban": ("IBAN",),
    "counterparty_iban": ("IBAN",),
    "end_to_end_id": ("EndToEndId",),
    "bank_reference": ("AcctSvcrRef", "NtryRef", "MsgId", "PmtInfId", "InstrId", "TxId", "UETR", "ClrSysRef"),
}
_NAMESPACE = re.compile(r"\{urn:iso:std:iso:20022:tech:xsd:camt\.053\.001\.(\d\d)\}Document")
_SCHEMAS = Path(__file__).parent / "schemas"
_IN_MEMORY = 8 * 1024 * 1024
_LARGEST_TREE = 64 * 1024 * 1024
# Stated by a payer's bank when the payer gave no reference.
_NO_REFERENCE = "NOTPROVIDED"
_LARGE = ("{*}Ntry", "{*}Stmt")
_READ = ("{*}GrpHdr", *_LARGE)
# Comments and instructions inside a number would split its text.
_PARSER = {
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "huge_tree": False,
    "remove_comments": True,
    "remove_pis": True,
}

Row = tuple[str | None, ...]


def read(blocks: Iterator[bytes], options: Mapping[str, Any], where: str) -> TableStream:
    """Check the whole document, then give its statements or entries.

    ``created_at`` keeps the bank's offset; dates are the bank's own business dates.

    Args:
        blocks: the file's bytes; kept in memory up to 8 MB, in a temporary file beyond.
        options: ``rows``.
        where: file and flow, for error messages.

    Raises:
        UsageError: ``rows`` is neither ``statements`` nor ``entries``.
        FatalSourceError: ``malformed_file`` with the line, or ``statement_does_not_balance`` with the statement.
    """
    kinds: dict[str, tuple[tuple[str, ...], Callable[[IO[bytes], str], Iterator[Row]]]] = {
        "statements": (STATEMENT_COLUMNS, _statement_rows),
        "entries": (ENTRY_COLUMNS, _entry_rows),
    }
    if options.get("rows") not in kinds:
        raise UsageError(
            "The flow does not say which rows of the statement it reads.",
            where=f"{where}, key source.format.rows",
            next_step="Write rows: statements or rows: entries.",
        )
    columns, rows = kinds[str(options["rows"])]
    spool: IO[bytes] = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - closed by _closing
    try:
        for block in blocks:
            spool.write(block)
        _validate(spool, where)
    except BaseException:
        spool.close()
        raise
    return TableStream(columns, csv_blocks(_closing(spool, rows(spool, where))))


def _closing(spool: IO[bytes], rows: Iterator[Row]) -> Iterator[Row]:
    with spool:
        yield from rows


def _validate(spool: IO[bytes], where: str) -> None:
    """Check in constant memory: no DOCTYPE, well formed, and true to its schema."""
    schema = _schema(_version(spool, where))
    try:
        # Two passes: with a schema the parser keeps silent about a file that is cut off.
        _drain(spool, None)
    except etree.XMLSyntaxError as error:
        raise _malformed(_message(error), where, error.lineno) from None
    try:
        _drain(spool, schema)
    except etree.XMLSyntaxError as error:
        raise _malformed(_message(error), where, _line(spool, schema)) from None


def _drain(spool: IO[bytes], schema: etree.XMLSchema | None) -> None:
    spool.seek(0)
    for _, element in etree.iterparse(spool, events=("end",), tag=_LARGE, schema=schema, **_PARSER):
        _release(element)


def _line(spool: IO[bytes], schema: etree.XMLSchema) -> int | None:
    """The line of the first offence, which only a whole tree can tell; None for a file too large for that."""
    if spool.seek(0, os.SEEK_END) > _LARGEST_TREE:
        return None
    spool.seek(0)
    schema.validate(etree.parse(spool, etree.XMLParser(**_PARSER)))
    return min((error.line for error in schema.error_log), default=None)


def _version(spool: IO[bytes], where: str) -> str:
    """The message version of the root element; reads no further than that."""
    spool.seek(0)
    try:
        _, root = next(iter(etree.iterparse(spool, events=("start",), **_PARSER)))
    except etree.XMLSyntaxError as error:
        raise _malformed(_message(error), where, error.lineno) from None
    except StopIteration:
        raise _malformed("The file is empty", where, 1) from None
    if root.getroottree().docinfo.doctype:
        raise _malformed("The file declares a DOCTYPE, which a bank statement never does", where, 1)
    match = _NAMESPACE.fullmatch(root.tag)
    if match is None or match[1] not in VERSIONS:
        accepted = " or ".join(f"camt.053.001.{version}" for version in VERSIONS)
        raise _malformed(f"The document is {root.tag[:120]}, not {accepted}", where, root.sourceline)
    return match[1]


@lru_cache
def _schema(version: str) -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(_SCHEMAS / f"camt.053.001.{version}.xsd"))


def _message(error: etree.XMLSyntaxError) -> str:
    text = re.sub(r"\{urn:iso:[^}]*\}", "", str(error.msg or error))
    return re.sub(r", line \d+, column \d+.*$", "", text).rstrip(".")


def _malformed(what: str, where: str, line: int | None) -> FatalSourceError:
    return FatalSourceError(
        f"{what}.",
        reason="malformed_file",
        where=f"{where}, line {line}" if line else where,
        next_step="Nothing was loaded; ask the bank to send the statement again.",
    )


def _release(element: Any) -> None:
    """Forget an element that has been read, and the siblings before it."""
    element.clear()
    while element.getprevious() is not None:
        del element.getparent()[0]


@dataclass
class _Statement:
    """One statement while its entries go by."""

    statement_id: str
    account_iban: str
    sequence_number: str | None
    created_at: str | None
    statement_on: str
    currency_code: str
    opening: Decimal
    closing: Decimal
    count: int = 0
    net: Decimal = Decimal(0)

    def check(self, where: str) -> None:
        """Raise unless the booked entries lead from the opening to the closing balance."""
        if self.opening + self.net == self.closing:
            return
        raise FatalSourceError(
            f"Statement '{self.statement_id}' does not balance: opening {self.opening:f} and {self.count} entries of "
            f"{self.net:f} in all give {self.opening + self.net:f} {self.currency_code}, not {self.closing:f}.",
            reason="statement_does_not_balance",
            where=where,
            next_step="Nothing was loaded; ask the bank for the whole statement.",
        )


def _statement_rows(spool: IO[bytes], where: str) -> Iterator[Row]:
    for statement, entry in _walk(spool, where):
        if entry is None:
            yield (
                statement.statement_id,
                statement.account_iban,
                statement.sequence_number,
                statement.created_at,
                statement.statement_on,
                statement.currency_code,
                f"{statement.opening:f}",
                f"{statement.closing:f}",
                str(statement.count),
                f"{statement.net:f}",
            )


def _entry_rows(spool: IO[bytes], where: str) -> Iterator[Row]:
    return (_entry_row(statement, entry) for statement, entry in _walk(spool, where) if entry is not None)


def _walk(spool: IO[bytes], where: str) -> Iterator[tuple[_Statement, Any]]:
    """Yield each booked entry with its statement, and each statement once more, with None, after its entries."""
    spool.seek(0)
    statement: _Statement | None = None
    message_created_at: str | None = None
    for _, element in etree.iterparse(spool, events=("end",), tag=_READ, **_PARSER):
        name, parent = _local(element), element.getparent()
        if name == "GrpHdr":
            message_created_at = _find(element, "CreDtTm")
        elif name == "Ntry" and _local(parent) == "Stmt":
            statement = statement or _open(parent, message_created_at, where)
            if _is_booked(element):
                _add(statement, element, where)
                yield statement, element
            _release_entry(element)
        elif name == "Stmt":
            statement = statement or _open(element, message_created_at, where)
            statement.check(f"{where}, line {element.sourceline}")
            yield statement, None
            statement = None
            _release(element)


def _release_entry(element: Any) -> None:
    """Forget an entry and those before it, but not the statement's head, which stands before them."""
    element.clear()
    previous = element.getprevious()
    if previous is not None and _local(previous) == "Ntry":
        element.getparent().remove(previous)


def _open(element: Any, message_created_at: str | None, where: str) -> _Statement:
    """Read the statement's head, which the schema puts before its entries."""
    line = element.sourceline
    statement_id = _find(element, "Id") or ""
    balances = {_find(balance, "Tp/CdOrPrtry/Cd"): balance for balance in _all(element, "Bal")}
    # Some banks state the previous statement's closing balance in place of an opening one.
    opening = balances["OPBD"] if "OPBD" in balances else balances.get("PRCD")
    closing = balances.get("CLBD")
    iban = _find(element, "Acct/Id/IBAN")
    if opening is None or closing is None:
        missing = "opening (OPBD or PRCD)" if opening is None else "closing (CLBD)"
        raise _malformed(f"Statement '{statement_id}' has no {missing} balance", where, line)
    if iban is None:
        raise _malformed(f"Statement '{statement_id}' names no IBAN of the account", where, line)
    currency = _currency(closing)
    if _currency(opening) != currency:
        raise _malformed(f"Statement '{statement_id}' has balances in two currencies", where, line)
    return _Statement(
        statement_id=statement_id,
        account_iban=iban,
        sequence_number=_find(element, "ElctrncSeqNb") or _find(element, "LglSeqNb"),
        created_at=_find(element, "CreDtTm") or message_created_at,
        statement_on=_day(closing, "Dt") or "",
        currency_code=currency,
        opening=_signed(opening),
        closing=_signed(closing),
    )


def _add(statement: _Statement, entry: Any, where: str) -> None:
    if _currency(entry) != statement.currency_code:
        what = f"An entry in {_currency(entry)} stands on statement '{statement.statement_id}'"
        raise _malformed(f"{what} of an account in {statement.currency_code}", where, entry.sourceline)
    statement.count += 1
    statement.net += _signed(entry)


def _entry_row(statement: _Statement, entry: Any) -> Row:
    details = _all(entry, "NtryDtls/TxDtls")
    is_reversal = _find(entry, "RvslInd") in ("true", "1")
    parties = [_counterparty(details_of, entry, is_reversal, statement.account_iban) for details_of in details]
    reference = _one(_find(one, "Refs/EndToEndId") for one in details)
    return (
        statement.statement_id,
        str(statement.count),
        statement.account_iban,
        _day(entry, "BookgDt"),
        _day(entry, "ValDt"),
        f"{_signed(entry):f}",
        statement.currency_code,
        _find(entry, "AcctSvcrRef")
        or _one(_find(one, "Refs/AcctSvcrRef") for one in details)
        or _find(entry, "NtryRef"),
        None if reference == _NO_REFERENCE else reference,
        _remittance(details),
        _one(name for name, _ in parties),
        _one(iban for _, iban in parties),
        "true" if is_reversal else "false",
    )


def _counterparty(details: Any, entry: Any, is_reversal: bool, own_iban: str) -> tuple[str | None, str | None]:
    """Name and IBAN of the other side: the debtor of money that came in, the creditor of money that went out.

    A reversal keeps the roles of the payment that it takes back.
    """
    came_in = (_find(entry, "CdtDbtInd") == "CRDT") is not is_reversal
    role = "Dbtr" if came_in else "Cdtr"
    iban = _find(details, f"RltdPties/{role}Acct/Id/IBAN")
    if iban == own_iban:
        role = "Cdtr" if came_in else "Dbtr"
        iban = _find(details, f"RltdPties/{role}Acct/Id/IBAN")
    # Version 08 wraps a party in Pty, version 02 does not.
    name = _find(details, f"RltdPties/{role}/Pty/Nm") or _find(details, f"RltdPties/{role}/Nm")
    return name, iban


def _remittance(details: Sequence[Any]) -> str | None:
    """Structured references, document numbers and free text of all transactions, each once, in order."""
    texts: list[str | None] = []
    for one in details:
        texts += [_find(structured, "CdtrRefInf/Ref") for structured in _all(one, "RmtInf/Strd")]
        texts += [_text(number) for number in _all(one, "RmtInf/Strd/RfrdDocInf/Nb")]
        texts.append(" ".join(filter(None, map(_text, _all(one, "RmtInf/Ustrd")))))
    return " / ".join(dict.fromkeys(filter(None, texts))) or None


def _one(values: Iterator[str | None]) -> str | None:
    """The value that all transactions share; None when they differ."""
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else None


def _is_booked(entry: Any) -> bool:
    return (_find(entry, "Sts/Cd") or _find(entry, "Sts")) == "BOOK"


def _signed(element: Any) -> Decimal:
    amount = Decimal(_find(element, "Amt") or "")
    return amount if _find(element, "CdtDbtInd") == "CRDT" else -amount


def _currency(element: Any) -> str:
    return str(_all(element, "Amt")[0].get("Ccy"))


def _day(element: Any, name: str) -> str | None:
    """The bank's own day; an offset behind it, or behind an instant, does not move it."""
    text = _find(element, f"{name}/Dt") or _find(element, f"{name}/DtTm")
    return text[:10] if text else None


def _local(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


@lru_cache
def _any_version(path: str) -> str:
    return "/".join(f"{{*}}{name}" for name in path.split("/"))


def _all(element: Any, path: str) -> list[Any]:
    return list(element.findall(_any_version(path)))


def _find(element: Any, path: str) -> str | None:
    found = element.find(_any_version(path))
    return None if found is None else _text(found)


def _text(element: Any) -> str | None:
    return (element.text or "").strip() or None
