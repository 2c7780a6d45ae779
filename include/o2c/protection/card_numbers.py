"""Find payment card numbers in bytes: length, the networks' number ranges, Luhn, and what stands around.

A number may be written in one piece or in the groups that people and machines write; digits may be full width, and
the bytes may be ASCII, UTF-8, a one-byte encoding, or UTF-16 and UTF-32 (the zeros between are passed over). IBANs,
creditor references, hex strings, UUIDs and fractions are no card numbers, whatever their digits add up to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter

import numpy as np

from o2c.protection.context import is_innocent

SHORTEST, LONGEST = 13, 19
# How far to look to both sides of a number for what it belongs to.
CONTEXT = 128
# (first and last prefix, lengths); a prefix counts with as many digits as it is written with.
_NETWORKS: tuple[tuple[int, int, tuple[int, ...]], ...] = (
    (4, 4, (13, 16, 19)),  # Visa
    (51, 55, (16,)),  # Mastercard
    (2221, 2720, (16,)),
    (34, 34, (15,)),  # American Express
    (37, 37, (15,)),
    (6011, 6011, (16, 17, 18, 19)),  # Discover
    (644, 649, (16, 17, 18, 19)),
    (65, 65, (16, 17, 18, 19)),
    (300, 305, (14, 16, 17, 18, 19)),  # Diners Club
    (3095, 3095, (14, 16, 17, 18, 19)),
    (36, 36, (14, 16, 17, 18, 19)),
    (38, 39, (14, 16, 17, 18, 19)),
    (3528, 3589, (16, 17, 18, 19)),  # JCB
    (62, 62, (16, 17, 18, 19)),  # UnionPay
    (8100, 8171, (16, 17, 18, 19)),
    (2200, 2204, (16, 17, 18, 19)),  # Mir
    # Maestro: the ranges in use; all of 50 and 56 to 69 would take in every sixth long number.
    *((bin_, bin_, tuple(range(13, 20))) for bin_ in (5018, 5020, 5038, 5612, 5893, 6304, 6390, 6759)),
    (6761, 6763, tuple(range(13, 20))),
    (6799, 6799, tuple(range(13, 20))),
)
_BIN = {
    length: re.compile(
        "|".join(
            str(prefix) for first, last, lengths in _NETWORKS if length in lengths for prefix in range(first, last + 1)
        )
    )
    for length in range(SHORTEST, LONGEST + 1)
}
_GROUPS = {(4, 6, 5), (4, 6, 4), (4, 5, 6), (6, 10), (6, 9), (6, 13), (5, 5, 6), (5, 5, 5)}
_GROUP_SIZES = (1, 2, 4, 8)
_DOUBLED = str.maketrans("0123456789", "0246813579")

_DIGITS = bytes(range(0x30, 0x3A))
_SEPARATORS = b" -._\x00"
# Trail bytes of full-width digits, and of the blanks and dashes of UTF-8 and of Latin-1.
_WIDE_DIGITS = bytes(range(0x90, 0x9A))
_WIDE_SEPARATORS = b"\xa0\xc2\xe2\xe3\xef\xbc\xaf" + bytes(b for b in range(0x80, 0x96) if b not in _WIDE_DIGITS)
_ALL_ZERO = bytes(0x30 if byte in _DIGITS else byte for byte in range(256))
_ALL_ZERO_WIDE = bytes(0x30 if byte in _DIGITS + _WIDE_DIGITS else byte for byte in range(256))
_RUN = b"0" * SHORTEST
_KIND = bytes(1 if byte in _DIGITS else 2 if byte in _SEPARATORS else 0 for byte in range(256))
_KIND_WIDE = bytes(
    1 if byte in _DIGITS + _WIDE_DIGITS else 2 if byte in _SEPARATORS + _WIDE_SEPARATORS else 0 for byte in range(256)
)
_PIECE = re.compile(
    rb"(?P<zero>\x00)|(?P<digit>[0-9]|\xef\xbc[\x90-\x99])"
    rb"|(?P<separator>[ ._-]|\xc2?\xa0|\xe2\x80[\x80-\x95\xaf]|\xe3\x80\x80)|(?P<other>.)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Found:
    """One card number: where its bytes start and end, and its digits."""

    start: int
    end: int
    digits: str


@dataclass
class _Group:
    """Digits that stand together. ``gap`` has a character per separator before them; None where something else is."""

    start: int
    end: int
    digits: str
    gap: str | None


def may_hold(data: bytes) -> bool:
    """False when there is no row of digits long enough; fast, for almost all data stop here."""
    if data.isascii():
        return _RUN in data.translate(_ALL_ZERO, _SEPARATORS)
    return _RUN in data.translate(_ALL_ZERO_WIDE, _SEPARATORS + _WIDE_SEPARATORS)


def find(data: bytes) -> Iterator[Found]:
    """Give every card number in ``data``, in order, none overlapping the one before."""
    if not may_hold(data):
        return
    for start, end in _runs(data):
        run = data[start:end]
        if run.isdigit() and (len(run) > LONGEST or not _is_number(run.decode())):
            continue
        yield from _in_run(data, _groups(run, start))


def _runs(data: bytes) -> list[tuple[int, int]]:
    """Stretches of digits and separators with enough digits, exactly bounded, found without a loop."""
    kinds = np.frombuffer(data.translate(_KIND if data.isascii() else _KIND_WIDE), dtype=np.uint8)
    inside = np.concatenate(([False], kinds > 0, [False]))
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    starts, ends = edges[::2], edges[1::2]
    long = ends - starts >= SHORTEST
    starts, ends = starts[long], ends[long]
    digits = np.concatenate(([0], np.cumsum(kinds == 1, dtype=np.int32)))
    enough = digits[ends] - digits[starts] >= SHORTEST
    return list(zip(starts[enough].tolist(), ends[enough].tolist(), strict=True))


def _groups(run: bytes, base: int) -> list[_Group]:
    groups: list[_Group] = []
    gap: str | None = None
    is_open = False
    for piece in _PIECE.finditer(run):
        kind, text = piece.lastgroup, piece.group()
        if kind == "zero":
            continue
        if kind == "digit":
            digit = text.decode() if len(text) == 1 else chr(text[2] - 0x60)
            if is_open:
                groups[-1].digits += digit
                groups[-1].end = base + piece.end()
            else:
                groups.append(_Group(base + piece.start(), base + piece.end(), digit, gap))
            is_open = True
        else:
            before = "" if is_open else gap
            gap = None if kind == "other" or before is None else before + ("." if text == b"." else " ")
            is_open = False
    return groups


def _in_run(data: bytes, groups: list[_Group]) -> Iterator[Found]:
    first = 0
    while first < len(groups):
        # The longest, so that no digit of it is left over.
        size, found = max(_from_group(data, groups[first:]), key=itemgetter(0), default=(1, None))
        if found:
            yield found
        first += size


def _from_group(data: bytes, groups: list[_Group]) -> Iterator[tuple[int, Found]]:
    """Card numbers that begin with the first group, each with the groups that it takes."""
    digits = ""
    sizes: list[int] = []
    for group in groups:
        if sizes and (group.gap is None or len(group.gap) > 2):
            return
        digits, sizes = digits + group.digits, [*sizes, len(group.digits)]
        if len(digits) > LONGEST:
            return
        # Digits behind a decimal point are a fraction.
        is_fraction = len(sizes) == 1 and group.gap == "."
        if is_fraction or not (_is_dress(sizes) and _is_number(digits)):
            continue
        found = Found(groups[0].start, group.end, digits)
        begin = max(0, found.start - CONTEXT)
        context = data[begin : found.end + CONTEXT]
        if not is_innocent(context, found.start - begin, found.end - found.start):
            yield len(sizes), found


def _is_dress(sizes: list[int]) -> bool:
    """Is this how a card number is grouped?"""
    if len(sizes) == 1 or tuple(sizes) in _GROUPS:
        return True
    size = sizes[0]
    return size in _GROUP_SIZES and all(each == size for each in sizes[:-1]) and sizes[-1] <= size


def _is_number(digits: str) -> bool:
    pattern = _BIN.get(len(digits))
    if pattern is None or pattern.match(digits) is None or not passes_luhn(digits):
        return False
    # Thirteen digits were given up by Visa; what is left with them are articles: EAN, GTIN, ISBN.
    return len(digits) != SHORTEST or not _is_article_number(digits)


def passes_luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    odd, even = digits[-1::-2], digits[-2::-2].translate(_DOUBLED)
    return sum(map(int, odd + even)) % 10 == 0


def _is_article_number(digits: str) -> bool:
    return (sum(map(int, digits[-1::-2])) + 3 * sum(map(int, digits[-2::-2]))) % 10 == 0
