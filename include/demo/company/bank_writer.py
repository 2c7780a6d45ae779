"""Writes bank statements as camt.053.001.08 documents, one file per statement.

Amounts are unsigned with a credit or debit mark, as the standard wants; a second sending of a statement has the same
statement inside another message.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from xml.sax.saxutils import escape

from demo.company.files import remove_others, write_if_changed
from demo.company.model import BankEntry, Company, Statement

_NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"


def write_statements(company: Company, directory: Path) -> list[Path]:
    """Write every statement; returns the files that changed."""
    wanted, changed = set(), []
    for statement in company.statements:
        path = directory / file_name(statement)
        wanted.add(path)
        if write_if_changed(path, document(statement).encode()):
            changed.append(path)
    remove_others(directory, "*.xml", wanted)
    return changed


def file_name(statement: Statement) -> str:
    """The name the bank gives the file; a second sending has the day in its name."""
    again = f"_resent_{statement.resent_on:%Y%m%d}" if statement.resent_on else ""
    return f"{statement.id}{again}.xml"


def document(statement: Statement) -> str:
    """The whole XML document."""
    created = _created(statement.last_day)
    sent = _created(statement.resent_on) if statement.resent_on else created
    message = f"MSG-{statement.id}" + (f"-{statement.resent_on:%y%m%d}" if statement.resent_on else "")
    entries = "".join(_entry(entry, statement.currency) for entry in statement.entries)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Document xmlns="{_NAMESPACE}">\n<BkToCstmrStmt>\n'
        f"<GrpHdr><MsgId>{message}</MsgId><CreDtTm>{sent}</CreDtTm></GrpHdr>\n"
        f"<Stmt>\n<Id>{statement.id}</Id><ElctrncSeqNb>{statement.sequence}</ElctrncSeqNb><CreDtTm>{created}</CreDtTm>\n"
        f"<FrToDt><FrDtTm>{statement.first_day}T00:00:00Z</FrDtTm><ToDtTm>{statement.last_day}T23:59:59Z</ToDtTm></FrToDt>\n"
        f"<Acct><Id><IBAN>{statement.iban}</IBAN></Id><Ccy>{statement.currency}</Ccy>"
        f"<Ownr><Nm>{escape(statement.entity_name)}</Nm></Ownr></Acct>\n"
        f"{_balance('OPBD', statement.opening, statement.currency, statement.first_day)}"
        f"{_balance('CLBD', statement.closing, statement.currency, statement.last_day)}"
        f"{entries}</Stmt>\n</BkToCstmrStmt>\n</Document>\n"
    )


def _created(day: date) -> str:
    """Statements are made in the early morning of the day after."""
    return f"{day + timedelta(days=1)}T03:00:00Z"


def _signed(amount: Decimal, currency: str) -> str:
    mark = "DBIT" if amount < 0 else "CRDT"
    return f'<Amt Ccy="{currency}">{format(abs(amount), "f")}</Amt><CdtDbtInd>{mark}</CdtDbtInd>'


def _balance(kind: str, amount: Decimal, currency: str, day: date) -> str:
    code = f"<Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp>"
    return f"<Bal>{code}{_signed(amount, currency)}<Dt><Dt>{day}</Dt></Dt></Bal>\n"


def _entry(entry: BankEntry, currency: str) -> str:
    reversal = "<RvslInd>true</RvslInd>" if entry.is_reversal else ""
    family = "RCDT" if entry.amount > 0 else "ICDT"
    return (
        f"<Ntry>{_signed(entry.amount, currency)}{reversal}<Sts><Cd>BOOK</Cd></Sts>"
        f"<BookgDt><Dt>{entry.booked_on}</Dt></BookgDt><ValDt><Dt>{entry.value_on}</Dt></ValDt>"
        f"<AcctSvcrRef>{entry.reference}</AcctSvcrRef>"
        f"<BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>{family}</Cd><SubFmlyCd>ESCT</SubFmlyCd></Fmly></Domn></BkTxCd>"
        f"<NtryDtls><TxDtls>{_details(entry)}</TxDtls></NtryDtls></Ntry>\n"
    )


def _details(entry: BankEntry) -> str:
    reference = f"<EndToEndId>{escape(entry.end_to_end_id or 'NOTPROVIDED')}</EndToEndId>"
    text = f"<RmtInf><Ustrd>{escape(entry.text)}</Ustrd></RmtInf>" if entry.text else ""
    return f"<Refs>{reference}</Refs>{_party(entry)}{text}"


def _party(entry: BankEntry) -> str:
    if not entry.counterparty:
        return ""
    # A reversal keeps the roles of the payment it takes back.
    role = "Dbtr" if (entry.amount > 0) is not entry.is_reversal else "Cdtr"
    iban = entry.counterparty_iban
    account = f"<{role}Acct><Id><IBAN>{iban}</IBAN></Id></{role}Acct>" if iban else ""
    return f"<RltdPties><{role}><Pty><Nm>{escape(entry.counterparty)}</Nm></Pty></{role}>{account}</RltdPties>"
