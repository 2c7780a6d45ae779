"""The evidence chain: what is recorded, and that every way of tampering with it is found and named."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from o2c.errors import O2CError
from o2c.loads.chain import anchor_head, check_warehouse, export_chain, list_anchors, verify_chain, verify_export
from o2c.warehouse.anchors import AnchorsBroken
from o2c.warehouse.chain import ChainBroken

COLUMNS = ["receipt_id", "entity_code", "receipt_type", "received_on", "amount", "currency_code", "payment_method"]
HEADER = ",".join(COLUMNS) + "\n"


def line(number: object, amount: str = "10.00") -> str:
    return f"{number},DE01,payment,2026-03-01,{amount},EUR,card\n"


@pytest.fixture
def files(warehouse: Any) -> Any:
    return warehouse.flows.csv("shop/receipts", "receipt", COLUMNS)


@pytest.fixture
def chain(warehouse: Any, files: Any) -> Any:
    """Two published loads, the first with a row in quarantine: the events 1 to 8."""
    warehouse.flows.put("shop/receipts1.csv", HEADER + line(1, "12.50") + line(2, "-3"))
    warehouse.load(files)
    warehouse.flows.put("shop/receipts2.csv", HEADER + line(3, "7.25"))
    warehouse.load(files)
    return warehouse


def kinds(warehouse: Any) -> list[tuple[int, str, str]]:
    return warehouse.rows("select sequence, kind, subject from ops.evidence order by sequence")


def holds(warehouse: Any) -> Any:
    return verify_chain(warehouse.settings)


def broken(warehouse: Any, error: type[O2CError] = ChainBroken) -> str:
    with pytest.raises(error) as caught:
        holds(warehouse)
    assert caught.value.next_step
    return str(caught.value)


def test_what_happens_to_a_load_is_told(chain: Any) -> None:
    assert kinds(chain) == [
        (1, "load", "L000000001"),
        (2, "rule", "entity receipt"),
        (3, "rule", "flow shop/receipts"),
        (4, "gate", "L000000001"),
        (5, "publish", "L000000001"),
        (6, "load", "L000000002"),
        (7, "gate", "L000000002"),
        (8, "publish", "L000000002"),
    ]
    report = holds(chain)
    assert (report.events, report.publications, report.unanchored) == (8, 2, 0)
    # Gate and publication of each load.
    assert report.anchors == 4
    assert report.head == chain.value("select encode(hash, 'hex') from ops.evidence where sequence = 8")


def test_events_say_which_bytes_rules_and_money(chain: Any) -> None:
    bodies = {
        (kind, subject): json.loads(body)
        for kind, subject, body in chain.rows("select kind, subject, body from ops.evidence")
    }
    sent = (HEADER + line(1, "12.50") + line(2, "-3")).encode()
    load, gate = bodies["load", "L000000001"], bodies["gate", "L000000001"]
    assert load["files"] == [
        {"name": "receipts1.csv", "sha256": hashlib.sha256(sent).hexdigest(), "bytes": len(sent), "rows": 2}
    ]
    assert (load["rows"], load["amounts"]) == (2, {"EUR": "9.50"})
    manifest = chain.settings.landing_dir / "shop" / "receipts" / "L000000001" / "manifest.json"
    assert load["manifest_sha256"] == hashlib.sha256(manifest.read_bytes()).hexdigest()
    assert (gate["outcome"], gate["evaluated_rows"], gate["unexpected_rows"]["amount > 0"]) == ("passed", 2, 1)
    contract = Path(chain.settings.entities_dir / "receipt.yml").read_text()
    assert gate["contracts"]["entity receipt"] == hashlib.sha256(contract.encode()).hexdigest()
    publish = bodies["publish", "L000000001"]
    assert publish["rows"] == {"published": 1, "quarantined": 1, "duplicate": 0}
    assert {kind: {c: Decimal(a) for c, a in by.items()} for kind, by in publish["amounts"].items()} == {
        "published": {"EUR": Decimal("12.50")},
        "quarantined": {"EUR": Decimal(-3)},
        "duplicate": {},
    }


SWITCH_GUARDS_OFF = """
do $$
declare
    place text;
begin
    for place in select tgrelid::regclass::text from pg_trigger where tgname = 'keep_as_recorded' loop
        execute format('alter table %s disable trigger keep_as_recorded', place);
    end loop;
end $$
"""
LEDGER = "update ops.load_ledger set published_rows = 0, quarantined_rows = 2 where load_id = 'L000000001'"
MONEY = (
    "update ops.load_ledger_total set published_amount = 12.00, quarantined_amount = -2.50 where load_id = 'L000000001'"
)
BODY = "update ops.evidence set body = replace(body, '7.25', '9.25') where sequence = 8"
# What somebody does who rules the database and knows how the chain is made.
REWRITE = """
do $$
declare
    event ops.evidence;
    last bytea := sha256('order-to-cash evidence'::bytea);
begin
    for event in select * from ops.evidence order by sequence loop
        event.previous_hash := last;
        event.body := replace(event.body, '9.50', '9.40');
        last := sha256(last || convert_to(ops.evidence_text(event), 'UTF8'));
        update ops.evidence set previous_hash = event.previous_hash, body = event.body, hash = last
        where sequence = event.sequence;
    end loop;
end $$
"""


TAMPERING = [
    (LEDGER, "Event 5 (publish L000000001) and the ledger differ in rows"),
    (MONEY, "Event 5 (publish L000000001) and the ledger differ in amounts"),
    (
        "update ops.load_ledger set manifest = jsonb_set(manifest, '{files,0,sha256}', '\"00\"')"
        " where load_id = 'L000000002'",
        "Event 8 (publish L000000002) and the ledger differ in files",
    ),
    (BODY, "Event 8 (publish L000000002) has been changed"),
    ("update ops.evidence set actor = 'somebody' where sequence = 3", "Event 3 (rule flow shop/receipts) has been"),
    (
        "update ops.evidence set recorded_at = recorded_at - interval '1 microsecond' where sequence = 1",
        "Event 1 (load L000000001) has been changed",
    ),
    ("delete from ops.evidence where sequence = 5", "Event 5 is missing: it was anchored on"),
    ("delete from ops.evidence where sequence = 3", "Event 3 is missing: event 4 follows event 2"),
    ("delete from ops.evidence where sequence = 1", "Event 1 is missing: event 2 follows the beginning"),
    ("delete from ops.evidence where sequence >= 8", "Event 8 is missing: it was anchored on"),
    ("delete from ops.evidence", "the chain is empty"),
    (REWRITE, "Event 4 (gate L000000001) is not the one that was anchored on"),
    (
        "with a as (select body, subject, kind from ops.evidence where sequence = 6) update ops.evidence as e"
        " set body = a.body, subject = a.subject, kind = a.kind, previous_hash = '\\x00',"
        " hash = sha256('\\x00' || convert_to(ops.evidence_text((sequence, recorded_at, a.kind, a.subject, actor,"
        " a.body, previous_hash, hash)::ops.evidence), 'UTF8')) from a where sequence = 7",
        "Event 7 (load L000000002) does not follow the event before it",
    ),
    (
        "insert into ops.evidence (kind, subject, actor, body) values ('publish', 'L000000009', 'me', '{}')",
        "Event 9 (publish L000000009) publishes load L000000009, which is not in the ledger",
    ),
    (
        "insert into ops.evidence (kind, subject, actor, body) select kind, subject, actor, body from ops.evidence"
        " where sequence = 8",
        "Load L000000002 stands in the ledger and has 2 publish events instead of one",
    ),
    (
        "insert into ops.load select 'L000000009', flow, source_group, source_system, entity, run_id, fence, state"
        " from ops.load where load_id = 'L000000002';"
        " insert into ops.load_ledger select 'L000000009', flow, source_group, source_system, entity, run_id,"
        " published_at, 0, 0, 0, 0, null, null, manifest, code_version from ops.load_ledger"
        " where load_id = 'L000000002'",
        "Load L000000009 stands in the ledger and has 0 publish events instead of one",
    ),
]


def test_tampering_is_found_and_the_first_bad_event_named(chain: Any) -> None:
    url = chain.settings.warehouse_url
    for tampering, named in TAMPERING:
        with psycopg.connect(url, options="-c timezone=UTC") as connection:
            check = partial(check_warehouse, chain.settings, connection)
            check(list_anchors(chain.settings))
            connection.execute(SWITCH_GUARDS_OFF)
            connection.execute(tampering)
            with pytest.raises(ChainBroken) as caught:
                check(list_anchors(chain.settings))
            assert named in str(caught.value), tampering
            assert caught.value.next_step
            connection.rollback()
    holds(chain)


def test_a_rewritten_chain_without_its_anchors_would_pass(chain: Any) -> None:
    """Why the anchors lie outside the database: the hashes alone do not tell."""
    chain.run(REWRITE)
    assert "Event 4 (gate L000000001) is not the one that was anchored" in broken(chain)
    chain.settings.anchors_file.unlink()
    assert holds(chain).unanchored == 8


def anchor_lines(warehouse: Any) -> list[str]:
    return warehouse.settings.anchors_file.read_text().splitlines()


def changed(text: str, **values: Any) -> str:
    return json.dumps({**json.loads(text), **values}, sort_keys=True, separators=(",", ":"))


@pytest.mark.parametrize(
    ("tamper", "named"),
    [
        (lambda lines: [lines[0], changed(lines[1], hash="00" * 32), *lines[2:]], "Anchor 2 does not bear out"),
        (lambda lines: [changed(lines[0], anchored_at="2020-01-01"), *lines[1:]], "Anchor 1 does not bear out"),
        (lambda lines: [lines[0], *lines[2:]], "Anchor 2 does not follow the line before it"),
        (lambda lines: lines[1:], "Anchor 1 does not follow the line before it"),
        (lambda lines: [*lines[:3], "{", *lines[3:]], "Anchor 4 cannot be read"),
        (lambda lines: [changed(lines[0], key="00" * 32), *lines[1:]], "Anchor 1 was signed with a key that is not"),
        (lambda lines: [changed(lines[0], signature="x"), *lines[1:]], "Anchor 1 has no signature"),
    ],
)
def test_a_changed_anchor_file_is_found(chain: Any, tamper: Callable[[list[str]], list[str]], named: str) -> None:
    chain.settings.anchors_file.write_text("\n".join(tamper(anchor_lines(chain))) + "\n")
    assert named in broken(chain, AnchorsBroken)


def test_a_key_of_somebody_else_does_not_count(chain: Any, tmp_path: Path) -> None:
    from o2c.warehouse.signing import public_file, signing_key

    signing_key(tmp_path / "other.pem")
    with pytest.raises(AnchorsBroken, match="was signed with a key that is not among"):
        verify_chain(chain.settings, [public_file(tmp_path / "other.pem")])
    verify_chain(chain.settings, [public_file(chain.settings.signing_key)])


def test_a_line_that_a_crash_has_cut_is_mended_by_the_next_anchor(chain: Any) -> None:
    path = chain.settings.anchors_file
    with path.open("a") as file:
        file.write('{"anchored_at":"20')
    assert "Anchor 5 cannot be read" in broken(chain, AnchorsBroken)
    chain.flows.put("shop/receipts3.csv", HEADER + line(4))
    chain.load(chain.flows.load("shop/receipts"))
    assert holds(chain).anchors == 6


def test_anchoring_is_repeatable_and_waits_for_nobody(chain: Any) -> None:
    before = anchor_lines(chain)
    head, is_new = anchor_head(chain.settings) or (None, None)
    assert (head.sequence, is_new, anchor_lines(chain)) == (8, False, before)
    chain.settings.anchors_file.unlink()
    assert (anchor_head(chain.settings) or (0, 0))[1] is True
    assert [json.loads(text)["sequence"] for text in anchor_lines(chain)] == [8]
    assert chain.settings.signing_key.stat().st_mode & 0o777 == 0o600


def test_a_load_is_published_though_it_cannot_be_anchored(chain: Any, caplog: pytest.LogCaptureFixture) -> None:
    chain.settings.signing_key.chmod(0o644)
    chain.flows.put("shop/receipts3.csv", HEADER + line(4))
    chain.load(chain.flows.load("shop/receipts"))
    assert "Event 11 is not anchored: Others may read the key" in caplog.text
    chain.settings.signing_key.chmod(0o600)
    assert holds(chain).unanchored == 3


def test_an_exported_chain_is_verified_without_the_warehouse(chain: Any, tmp_path: Path) -> None:
    path = tmp_path / "chain.jsonl"
    assert export_chain(chain.settings, path) == 8
    online = verify_chain(chain.settings)
    assert verify_export(path) == online
    text = path.read_text()
    for wrong, named in (
        (text.replace("9.50", "9.40", 1), "Event 1 (load L000000001) has been changed"),
        (text.replace('"quarantined":1', '"quarantined":0'), "Event 5 (publish L000000001) and the ledger differ"),
        ("\n".join(text.splitlines()[:-2]) + "\n", "The export is not whole"),
        ("\n".join([*text.splitlines()[:2], *text.splitlines()[3:]]) + "\n", "Event 2 is missing"),
        ("{}\n", "This line is not of an exported chain"),
        ("\x00", "This line is not of an exported chain"),
    ):
        assert wrong != text
        path.write_text(wrong)
        with pytest.raises(O2CError) as caught:
            verify_export(path)
        assert named in str(caught.value)


def test_the_commands(chain: Any, command: Callable[..., Any], tmp_path: Path) -> None:
    done = command("verify", "chain")
    assert done.exit_code == 0 and "The chain holds: 8 events, 2 publications as in the ledger" in flat(done)
    path = str(tmp_path / "chain.jsonl")
    assert command("verify", "chain", "--export", path).exit_code == 0
    assert "The chain holds: 8 events" in flat(command("verify", "chain", "--offline", path))
    assert command("verify", "chain", "--offline", path, "--export", path).exit_code == 2
    assert command("verify", "chain", "--offline", str(tmp_path / "none")).exit_code == 2
    assert "was anchored already" in flat(command("verify", "anchor"))
    chain.run(BODY)
    done = command("verify", "chain")
    assert done.exit_code == 1 and "Event 8 (publish L000000002) has been changed" in flat(done)


def test_a_sign_off_is_by_somebody_else(
    chain: Any, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    actor = chain.value("select actor from ops.evidence where sequence = 5")
    for arguments, named in (
        (("L000000001", "--by", actor.upper(), "--conclusion", "fine"), "cannot sign it off"),
        (("L000000001", "--by", f"  {actor} ", "--conclusion", "fine"), "cannot sign it off"),
        (("L000000009", "--by", "Ada", "--conclusion", "fine"), "There is no load 'L000000009'"),
        (("L000000001", "--by", "Ada", "--conclusion", "  "), "needs its subject, a name and a conclusion"),
    ):
        done = command("sign-off", *arguments)
        assert (done.exit_code, named in flat(done)) == (2, True), flat(done)
    done = command("sign-off", "L000000001", "--by", "Ada\tL.", "--conclusion", "Agrees with\nthe statement")
    assert done.exit_code == 0 and "event 9" in flat(done)
    ((kind, subject, who, body),) = chain.rows("select kind, subject, actor, body from ops.evidence where sequence = 9")
    assert (kind, subject, who) == ("sign_off", "L000000001", "Ada L.")
    assert json.loads(body)["conclusion"] == "Agrees with the statement"
    assert json.loads(body)["recorded_by"] == actor
    assert holds(chain).unanchored == 0


def test_a_changed_contract_is_recorded_once(chain: Any) -> None:
    path = chain.flows.directory / "shop" / "receipts.yml"
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    for number in (3, 4):
        path.write_text(path.read_text().replace("owner: finance", "owner: treasury"))
        chain.flows.put(f"shop/receipts{number}.csv", HEADER + line(number + 10))
        chain.load(chain.flows.load("shop/receipts"))
    rules = chain.rows("select body::jsonb from ops.evidence where kind = 'rule' and subject = 'flow shop/receipts'")
    after = hashlib.sha256(path.read_bytes()).hexdigest()
    assert [(body["before"], body["sha256"]) for (body,) in rules] == [(None, before), (before, after)]
    texts = chain.rows("select sha256, contract_text from ops.contract_version where contract = 'flow shop/receipts'")
    assert {sha: hashlib.sha256(text.encode()).hexdigest() for sha, text in texts} == {before: before, after: after}


def test_a_long_chain_is_verified_in_constant_memory(warehouse: Any) -> None:
    """A batch of 5,000 events takes about 4 MB; all of them would take 16."""
    warehouse.run(
        "insert into ops.evidence (kind, subject, actor, body)"
        " select 'gate', 'L' || n, 'me', jsonb_build_object('n', n)::text from generate_series(1, 20000) as n"
    )
    tracemalloc.start()
    try:
        assert verify_chain(warehouse.settings).events == 20_000
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def flat(result: Any) -> str:
    return " ".join(result.output.split())
