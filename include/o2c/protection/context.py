"""What a long number belongs to: an account, a reference or a hash is no card number."""

from __future__ import annotations

import re

_IBAN_LENGTHS = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18 "
    "FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 "
    "LU20 LV21 LY25 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SE24 "
    "SI19 SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20"
)
_IBAN = {item[:2]: int(item[2:]) for item in _IBAN_LENGTHS.split()}
_ACCOUNT = re.compile(r"(?<![A-Z0-9])(?=([A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9])+))")
_WORD = re.compile(r"[0-9A-Za-z-]*$")
_REST = re.compile(r"[0-9A-Za-z-]*")
_HEX = re.compile(r"[0-9a-fA-F]{24,}")
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")


def is_innocent(context: bytes, start: int, length: int) -> bool:
    """Is the number at ``context[start:start + length]`` part of something else?

    An IBAN (ISO 13616), a creditor reference (ISO 11649) or a legal entity identifier (ISO 17442) counts only with
    its own check digits.
    """
    text = context.replace(b"\x00", b"").decode("latin-1")
    start -= context.count(b"\x00", 0, start)
    end = start + length - context.count(b"\x00", start, start + length)
    return _is_in_hash(text, start, end) or _is_in_account(text, start, end)


def _is_in_hash(text: str, start: int, end: int) -> bool:
    before, behind = _WORD.search(text[:start]), _REST.match(text[end:])
    word = (before.group() if before else "") + text[start:end] + (behind.group() if behind else "")
    if _UUID.search(word):
        return True
    if len(word) == 20 and word.isalnum() and word[:4].isdigit() and _remainder(word.upper()) == 1:
        return True
    bare = word.strip("-")
    return bool(_HEX.fullmatch(bare)) and not bare.isdigit()


def _is_in_account(text: str, start: int, end: int) -> bool:
    for match in _ACCOUNT.finditer(text):
        if match.start() >= start:
            break
        written = match.group(1)
        for number, stop in _account_numbers(written):
            if match.start() + stop >= end and _remainder(number[4:] + number[:4]) == 1:
                return True
    return False


def _account_numbers(written: str) -> list[tuple[str, int]]:
    """What may be an account or a reference at the start of this text, and where it stops."""
    bare, stops = "", []
    for index, character in enumerate(written):
        if character not in " -":
            bare += character
            stops.append(index + 1)
    length = _IBAN.get(bare[:2])
    if length is not None:
        return [(bare[:length], stops[length - 1])] if len(bare) >= length else []
    if bare[:2] != "RF":
        return []
    ends = [size for size in range(5, min(25, len(bare)) + 1) if written[stops[size - 1] :][:1] in ("", " ", "-")]
    return [(bare[:size], stops[size - 1]) for size in ends]


def _remainder(text: str) -> int:
    return int("".join(str(int(character, 36)) for character in text)) % 97
