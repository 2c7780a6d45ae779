"""How a card number is written that was found: as long as before, so that every file stays readable.

``#PAN#*******1111`` in text. A bare number of JSON becomes ``0e00000000001111``, which is a number too, and the
element ``PAN`` of a bank statement, which may hold digits only, zeros. The last four digits stay (PCI DSS 3.4.1).
"""

from __future__ import annotations

MARKER, NUMBER_MARKER = b"#PAN#", b"0e0000000"
# A regular expression of Postgres: does a text hold a mask?
MASK_PATTERN = r"#PAN#\*{4,}[0-9]{4}|^-?0e0{7,13}[0-9]{4}$"


def holds_mask(data: bytes) -> bool:
    """May ``data`` hold the mask of a card number? Fast; the database looks closer."""
    return MARKER in data or NUMBER_MARKER in data


def as_text(written: bytes, digits: str) -> bytes:
    """The mask of a number inside text; zero bytes of wide encodings stay where they are."""
    visible = len(written) - written.count(0)
    mask = MARKER + b"*" * (visible - len(MARKER) - 4) + digits[-4:].encode()
    if visible == len(written):
        return mask
    letters = iter(mask)
    return bytes(0 if byte == 0 else next(letters) for byte in written)


def as_number(written: bytes, digits: str) -> bytes:
    """The mask of a number that stands in JSON without quotes."""
    return b"0e" + b"0" * (len(written) - 6) + digits[-4:].encode()


def as_digits(written: bytes, digits: str) -> bytes:
    """The mask where only digits may stand."""
    return b"0" * (len(written) - 4) + digits[-4:].encode()
