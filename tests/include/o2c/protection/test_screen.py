"""The screen: whatever the blocks, no card number comes out, and everything else comes out as it went in."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import random
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from o2c.errors import FatalSourceError, UsageError
from o2c.protection import screen as module
from o2c.protection.keys import keyed_hash, masking_key
from o2c.protection.mask import MASK_PATTERN, holds_mask
from o2c.protection.places import CsvPlace, JsonPlace, Place, XmlPlace
from o2c.protection.screen import Screen, masked_text

VISA, AMEX = "4111111111111111", "378282246310005"
KEY = bytes(range(32))


def screen(place: Place | None = None, *allowed: str) -> Screen:
    return Screen("file", place or CsvPlace(), frozenset(allowed), lambda: KEY)


def through(data: bytes, place: Place | None = None, *allowed: str) -> tuple[bytes, Screen]:
    one = screen(place, *allowed)
    return b"".join(one.blocks([data])), one


def cut(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    edges = sorted({0, len(data), *(size % (len(data) + 1) for size in sizes)})
    yield from (data[first:last] for first, last in pairwise(edges))


@given(st.lists(st.integers(0, 10**6), max_size=40), st.integers(0, 2**32))
def test_blocks_may_end_anywhere(sizes: list[int], seed: int) -> None:
    rng = random.Random(seed)
    filler = ["a,b,2026-03-05\n", "x" * rng.randrange(300), "\u20ac 12.50 ", "9" * rng.randrange(30), " - ", "\n"]
    dresses = [VISA, "4111 1111 1111 1111", "\uff14" + "\uff11" * 15, "3782-822463-10005"]
    text = "".join(rng.choice([*filler, f";{rng.choice(dresses)};"]) for _ in range(120))
    data = text.encode()
    whole, once = through(data)
    with pytest.MonkeyPatch.context() as patch:
        # Small windows, so that cuts fall on numbers.
        patch.setattr(module, "_SMALLEST", 64)
        patch.setattr(module, "_LOOK_AHEAD", 200)
        many = screen()
        passed = b"".join(many.blocks(cut(data, sizes)))
    assert passed == whole and len(passed) == len(data)
    assert [(hit.byte_offset, hit.last_four) for hit in many.hits] == [
        (hit.byte_offset, hit.last_four) for hit in once.hits
    ]
    assert not any(dress.encode() in passed for dress in dresses)


@pytest.mark.parametrize("at", range(-20, 3))
def test_a_number_on_the_edge_of_a_block(at: int) -> None:
    edge = module._SMALLEST + at
    data = b"x," * (edge // 2) + b"." * (edge % 2) + VISA.encode() + b",y\n" + b"z" * 5000
    one = screen()
    passed = b"".join(one.blocks([data[: module._SMALLEST], data[module._SMALLEST :]]))
    assert VISA.encode() not in passed and len(passed) == len(data)
    assert [hit.byte_offset for hit in one.hits] == [edge]


def test_data_without_card_numbers_come_out_as_they_went_in() -> None:
    data = random.Random(3).randbytes(400_000).replace(b"4", b"x").replace(b"5", b"x").replace(b"3", b"x")
    passed, one = through(data)
    assert (passed, one.hits, one.received_sha256) == (data, [], None)


def test_what_is_kept_of_a_hit() -> None:
    data = f"id,note\n1,x {VISA} y\n".encode()
    one = Screen("f.csv", CsvPlace(), frozenset(), lambda: KEY, lambda: hashlib.sha256())
    passed = b"".join(one.blocks([data]))
    assert passed == b"id,note\n1,x #PAN#*******1111 y\n"
    (hit,) = one.hits
    assert (hit.place, hit.byte_offset, hit.last_four) == ("note", data.index(b"4111"), "1111")
    assert hit.keyed_hash == keyed_hash(KEY, VISA) != keyed_hash(KEY[::-1], VISA)
    assert VISA.encode() not in repr(one.hits).encode()
    assert one.received_sha256 == hashlib.sha256(data).hexdigest()


def test_every_mask_is_seen_again() -> None:
    for written in (VISA, "4111 1111 1111 1111", "4222222222222", " ".join(VISA)):
        passed, _ = through(written.encode())
        assert holds_mask(passed) and re.search(MASK_PATTERN, passed.decode())
    assert not re.search(MASK_PATTERN, "************1111")


def test_utf_16_stays_utf_16() -> None:
    for encoding in ("utf-16-le", "utf-16-be"):
        passed, one = through(f"id,note\n1,{VISA}\n".encode(encoding))
        assert passed.decode(encoding) == "id,note\n1,#PAN#*******1111\n"
        assert len(one.hits) == 1


CSV = f'id,note,reference\n1,fine,{VISA}\n2,"two\nlines",{VISA}\n3,{VISA},x\n4,"{VISA}, ""q""",{VISA}\n'


def test_an_allowed_column_keeps_its_long_numbers() -> None:
    passed, one = through(CSV.encode(), CsvPlace(), "reference")
    rows = list(csv.reader(io.StringIO(passed.decode())))
    assert [row[2] for row in rows[1:]] == [VISA, "#PAN#*******1111", "x", VISA]
    assert [hit.place for hit in one.hits] == [None, "note", "note"]


def test_a_line_inside_a_field_is_no_record() -> None:
    text = f'reference,note,c,d\n1,"two\n{VISA},lines",3,4\n'
    passed, one = through(text.encode(), CsvPlace(), "reference")
    assert VISA not in passed.decode() and [hit.place for hit in one.hits] == [None]


def test_json_stays_json() -> None:
    page = {"records": [{"Id": "1", "Ref": VISA, "Note": f"a, {VISA}", "Number": 1.0, "Long": int(VISA)}]}
    passed, one = through(json.dumps(page).encode(), JsonPlace(), "Ref")
    (record,) = json.loads(passed, parse_float=str)["records"]
    assert record["Ref"] == VISA and record["Note"] == "a, #PAN#*******1111"
    assert re.search(MASK_PATTERN, record["Long"]) and record["Long"].endswith("1111")
    assert [hit.place for hit in one.hits] == ["Note", "Long"]


def test_xml_stays_xml() -> None:
    text = f"<E><Ref>{VISA}</Ref><n:Ustrd a='1'>x {AMEX}</n:Ustrd><PAN>{VISA}</PAN></E>".replace("n:", "")
    passed, one = through(text.encode(), XmlPlace(), "Ref")
    element = etree.fromstring(passed)
    assert [child.text for child in element] == [VISA, "x #PAN#******0005", "0000000000001111"]
    assert [hit.place for hit in one.hits] == ["Ustrd", "PAN"]


def test_a_file_full_of_card_numbers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_HITS", 3)
    with pytest.raises(FatalSourceError, match="more than 3 card numbers") as caught:
        through(f"{VISA}\n".encode() * 4)
    assert caught.value.reason == "card_number"
    assert len(through(f"{VISA}\n".encode() * 3)[1].hits) == 3


def test_names_for_people() -> None:
    assert masked_text(f"card {VISA}.csv") == "card #PAN#*******1111.csv"
    assert masked_text("invoice 2026-03.csv") == "invoice 2026-03.csv"


def test_the_key_is_made_once_and_kept_to_oneself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("O2C_MASKING_KEY", raising=False)
    key = masking_key(tmp_path)
    assert len(key) == 32 and masking_key(tmp_path) == key
    path = tmp_path / "keys" / "masking.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["masking.key"]
    path.chmod(0o644)
    with pytest.raises(UsageError, match="Others may read"):
        masking_key(tmp_path)


def test_a_key_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("O2C_MASKING_KEY", KEY.hex())
    assert masking_key(tmp_path) == KEY
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("O2C_MASKING_KEY", "secret")
    with pytest.raises(UsageError, match="not 32 bytes") as caught:
        masking_key(tmp_path)
    assert "secret" not in str(caught.value)
