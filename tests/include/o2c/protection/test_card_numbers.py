"""What is a card number and what is not: published test numbers in many dresses, and corpora that hold none."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from o2c.protection.card_numbers import find, passes_luhn

# Published by networks and processors for tests.
CARDS = {
    "visa": ("4111111111111111", "4012888888881881", "4000056655665556", "4222222222222", "4988080000000000"),
    "mastercard": ("5555555555554444", "5105105105105100", "5200828282828210", "2223003122003222", "2720994326581252"),
    "american express": ("378282246310005", "371449635398431", "343434343434343"),
    "discover": ("6011111111111117", "6011000990139424", "6445644564456445", "6510000000000018"),
    "diners": ("30569309025904", "38520000023237", "36227206271667", "3056930009020004"),
    "jcb": ("3566002020360505", "3530111333300000", "3566111111111113"),
    "unionpay": ("6200000000000005", "6205500000000000004", "8171999927660000"),
    "maestro": ("6759649826438453", "5018000000000009", "6304000000000000"),
}
NUMBERS = [number for numbers in CARDS.values() for number in numbers]


def found(text: str, encoding: str = "utf-8") -> list[str]:
    return [each.digits for each in find(text.encode(encoding))]


def grouped(digits: str, sizes: tuple[int, ...], separator: str) -> str:
    parts, at = [], 0
    for size in sizes:
        parts.append(digits[at : at + size])
        at += size
    return separator.join([*parts, *([digits[at:]] if digits[at:] else [])])


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "cp1252"])
def test_every_network(number: str, encoding: str) -> None:
    assert found(f"paid by {number}, thanks", encoding) == [number]


@given(st.data())
def test_every_dress(data: st.DataObject) -> None:
    number = data.draw(st.sampled_from([number for number in NUMBERS if len(number) in (15, 16)]))
    separator = data.draw(
        st.sampled_from([" ", "-", ".", "_", "  ", " - "[:2], "\u00a0", "\u2009", "\u2011", "\u3000"])
    )
    sizes = (4, 6) if len(number) == 15 else data.draw(st.sampled_from([(4, 4, 4), (8,), (2,) * 7, (1,) * 15, (6,)]))
    text = grouped(number, sizes, separator)
    if data.draw(st.booleans()):
        text = text.translate({48 + digit: 0xFF10 + digit for digit in range(10)})
    before = data.draw(st.sampled_from(["", "card ", "PAN:", "%B", "(", "\u20ac ", "no. 12, ", "A1 x ", '"']))
    behind = data.draw(st.sampled_from(["", " exp 12/27", "=2712", "^N/N", ")", "\u20ac", '"', ", 77"]))
    assert found(before + text + behind) == [number]


# Written out, so that the code's own table is not the judge of itself.
DE_IBAN, GB_IBAN, MT_IBAN = "DE89370400440532013000", "GB29NWBK60161331926819", "MT84MALT011000012345MTLCAST001S"


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",  # fails Luhn
        "1111111111111117",  # passes Luhn, belongs to no network
        "41111111111111112222",  # part of a longer number
        "99994111111111111111",
        "2221000000000009x"[:15],
        DE_IBAN,
        "DE89 3704 0044 0532 0130 00",
        GB_IBAN,
        "GB29 NWBK 6016 1331 9268 19 and more",
        MT_IBAN,
        "RF18 5390 0754 7034",
        "RF18539007547034",
        "0.4111111111111111",
        "1.4111111111111111e5",
        "550e8400-e29b-41d4-a716-446655440000",
        "41111111-1111-4111-8111-111111111111",
        "a4111111111111111bcdef0123456789abcdef01",
        "2026-03-05T10:00:00.123456+00:00",
        "20260305100000123456",
        "4006381333931",  # an EAN that passes Luhn is made below
        "+49 89 1234 5678 90",
    ],
)
def test_what_is_no_card_number(text: str) -> None:
    assert found(text) == []
    assert found(f"x,{text},y") == []


def test_an_iban_with_wrong_check_digits_protects_nothing() -> None:
    assert found("DE00 4111 1111 1111 1111 00") == ["4111111111111111"]


def iban(rng: random.Random) -> str:
    account = "".join(rng.choices("0123456789", k=18))
    check = 98 - int(account + "131400") % 97
    return f"DE{check:02d}{account}"


def in_fours(text: str) -> str:
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def ean(rng: random.Random) -> str:
    digits = "4" + "".join(rng.choices("0123456789", k=11))
    total = sum(int(digit) * (3 if index % 2 else 1) for index, digit in enumerate(digits))
    return digits + str(-total % 10)


CLEAN: dict[str, Callable[[random.Random], str]] = {
    "invoice numbers": lambda rng: f"INV-{rng.randrange(2020, 2030)}-{rng.randrange(10**7):07d}",
    "ibans": iban,
    "ibans in print": lambda rng: in_fours(iban(rng)),
    "uuids": lambda rng: str(uuid.UUID(int=rng.getrandbits(128), version=4)),
    "hashes": lambda rng: sha256(str(rng.random()).encode()).hexdigest(),
    "instants": lambda rng: (
        f"2026-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d} 10:00:00.{rng.randrange(10**6):06d}"
    ),
    "epochs": lambda rng: str(rng.randrange(1_600_000_000_000_000, 1_900_000_000_000_000)),
    "phones": lambda rng: f"+49 {rng.randrange(30, 999)} {rng.randrange(10**7, 10**8)}",
    "eans": ean,
    "amounts": lambda rng: f"{rng.randrange(10**12)}.{rng.randrange(100):02d}",
    "floats": lambda rng: repr(rng.random() * 100),
    "dates and numbers": lambda rng: f"2026-03-05 {rng.randrange(10**8):08d} 2026-03-06",
}


@pytest.mark.parametrize("kind", CLEAN)
def test_clean_corpora(kind: str) -> None:
    """20,000 of each, none taken for a card number."""
    rng = random.Random(kind)
    lines = "\n".join(CLEAN[kind](rng) for _ in range(20_000))
    assert found(lines) == []


def test_random_long_numbers_hit_as_often_as_the_guide_says() -> None:
    """Where no contract says that a column holds long numbers: 2.8 percent of random 16-digit numbers."""
    rng = random.Random(7)
    hits = len(found("\n".join(f"{rng.randrange(10**16):016d}" for _ in range(50_000))))
    assert 0.025 < hits / 50_000 < 0.031


def every_luhn(length: int) -> Iterator[str]:
    rng = random.Random(length)
    for _ in range(2_000):
        yield "".join(rng.choices("0123456789", k=length))


@pytest.mark.parametrize("length", [13, 16, 19])
def test_luhn_against_the_rule_as_it_is_told(length: int) -> None:
    """Double every second digit from the right, add the digits of what comes out."""
    for digits in every_luhn(length):
        doubled = [int(digit) * (2 if index % 2 else 1) for index, digit in enumerate(reversed(digits))]
        assert passes_luhn(digits) == (sum(sum(map(int, str(each))) for each in doubled) % 10 == 0)
