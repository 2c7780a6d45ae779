from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from o2c.contracts.entity import Entity
from o2c.contracts.flow import Flow, duration, load_flow, load_flows
from o2c.errors import UsageError

GOOD: dict[str, Any] = {
    "source": {
        "system": "erp",
        "connection": "erp_db",
        "connector": "postgres",
        "query": "receipts.sql",
        "cursor": ["changed_at", "id"],
        "overlap": "20m",
    },
    "target": "raw.receipt",
    "entity": "receipt",
    "mapping": {
        "receipt_id": "id",
        "entity_code": {"constant": "DE01"},
        "receipt_type": {"from": "kind", "values": {"P": "payment", "D": "deposit"}},
        "received_on": {"from": "day", "date": "%m/%d/%Y"},
        "amount": "amount",
        "currency_code": "currency",
        "payment_method": {"constant": "card"},
        "bank_reference": {"concat": ["kind", "-", "id"]},
    },
    "validation": [{"rule": "value_on >= received_on", "on_fail": "stop", "reason": "Value before receipt."}],
    "run_mode": "incremental",
    "retry": {"attempts": 5, "backoff": "2s..2m", "fatal": ["unauthorized", "schema_drift"]},
    "monitoring": {"owner": "treasury", "freshness": "1h", "alert": "page"},
}
FILE_SOURCE: dict[str, Any] = {
    "system": "shop",
    "connector": "local_file",
    "path": "in",
    "pattern": "*.csv",
    "format": {"type": "csv", "delimiter": ";"},
}
Write = Callable[[Any], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_flow(document: Any) -> Path:
        path = tmp_path / "erp" / "receipts.yml"
        path.parent.mkdir(exist_ok=True)
        path.with_name("receipts.sql").write_text("select 1")
        path.write_text(document if isinstance(document, str) else yaml.safe_dump(document, sort_keys=False))
        return path

    return write_flow


def changed(at: str, value: Any) -> dict[str, Any]:
    """A good document with one key changed (``...`` removes it)."""
    document = copy.deepcopy(GOOD)
    *parents, last = at.split(".")
    place: Any = document
    for name in parents:
        place = place[name]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return document


def refused(path: Path, entities: Mapping[str, Entity]) -> UsageError:
    with pytest.raises(UsageError) as caught:
        load_flow(path, entities)
    return caught.value


def line_of(path: Path, key: str) -> int:
    return 1 + next(number for number, line in enumerate(path.read_text().splitlines()) if line.strip().startswith(key))


def test_a_good_flow_is_read(write: Write, entities: Mapping[str, Entity]) -> None:
    flow = load_flow(write(GOOD), entities)
    assert (flow.name, flow.group, flow.system, flow.run_mode) == ("erp/receipts", "erp", "erp", "incremental")
    assert flow.cursor == ("changed_at", "id")
    assert flow.source_columns == ("id", "kind", "day", "amount", "currency", "changed_at")
    assert flow.retry.backoff_from == timedelta(seconds=2) and flow.retry.backoff_to == timedelta(minutes=2)
    assert flow.monitoring.freshness == timedelta(hours=1)
    assert flow.mapping["amount"].plain_source == "amount"
    assert flow.mapping["receipt_type"].plain_source is None and flow.mapping["entity_code"].plain_source is None
    assert flow.mapping["bank_reference"].literals == (None, "-", None)
    assert [rule.name for rule in flow.all_rules][-1] == "value_on >= received_on"
    assert flow.all_rules[-1].on_fail == "stop" and len(flow.all_rules) == len(flow.entity.rules) + 1


@pytest.mark.parametrize("key", list(GOOD))
def test_each_of_the_eight_keys_is_needed(write: Write, entities: Mapping[str, Entity], key: str) -> None:
    path = write(changed(key, ...))
    error = refused(path, entities)
    assert f"'{key}' is missing" in error.what and str(path) in error.where and "exactly the keys" in error.next_step
    assert error.exit_code == 2


WRONG: list[tuple[str, Any, str, str]] = [
    # key that is changed, its value, key that is named, word of the message
    ("owner", "me", "owner", "'owner' is not known"),
    ("entity", "invoces", "entity", "No entity 'invoces'"),
    ("entity", ["receipt"], "entity", "No entity"),
    ("target", "raw.invoice", "target", "not the entity's table"),
    ("run_mode", "nightly", "run_mode", "run mode"),
    ("run_mode", "full", "source", "cursor"),
    ("run_mode", "file", "source", "cursor"),
    ("source", "erp", "source.connector", "known connector"),
    ("source.connector", "oracle", "source.connector", "known connector"),
    ("source.system", ..., "source", "'system' is missing"),
    ("source.connection", ..., "source", "'connection' is missing"),
    ("source.querry", "x.sql", "source.querry", "'querry' is not known"),
    ("source.query", "missing.sql", "source.query", "does not exist"),
    ("source.cursor", ..., "source", "cursor"),
    ("source.cursor", ["changed_at"], "source.cursor", "a time and an id"),
    ("source.cursor", ["a", "b", "c"], "source.cursor", "a time and an id"),
    ("source.cursor", "at", "source.cursor", "a time and an id"),
    ("source.overlap", "20 minutes", "source.overlap", "no duration"),
    ("source.overlap", 20, "source.overlap", "no duration"),
    ("source.deletes", "daily", "source.deletes.scan", "scan for deletes"),
    ("source.deletes", {}, "source.deletes.scan", "scan for deletes"),
    ("source.deletes", {"scan": "hourly"}, "source.deletes.scan", "scan for deletes"),
    ("source.deletes", {"scan": "daily", "at": "2am"}, "source.deletes.at", "'at' is not known"),
    ("source.deletes", {"scan": "daily", "most": "20%"}, "source.deletes.most", "no share"),
    ("source.deletes", {"scan": "daily", "most": 0}, "source.deletes.most", "no share"),
    ("source.deletes", {"scan": "daily", "most": 101}, "source.deletes.most", "no share"),
    ("mapping", ["id"], "mapping", "mapping"),
    ("mapping", None, "mapping", "'receipt_id' is not mapped"),
    ("mapping.colour", "red", "mapping.colour", "'colour' is no column"),
    ("mapping.amount", ..., "mapping", "'amount' is not mapped"),
    ("mapping.receipt_id", ..., "mapping", "'receipt_id' is not mapped"),
    ("mapping.amount", 5, "mapping.amount", "cannot be read"),
    ("mapping.amount", {"from": "a", "constant": 1}, "mapping.amount", "cannot be read"),
    ("mapping.amount", {"form": "a"}, "mapping.amount", "cannot be read"),
    ("mapping.amount", {"from": "a", "round": 2}, "mapping.amount", "cannot be read"),
    ("mapping.bank_reference", {"concat": "kind"}, "mapping.bank_reference", "is a list"),
    ("mapping.bank_reference", {"concat": []}, "mapping.bank_reference", "is a list"),
    ("mapping.receipt_type", {"from": "kind", "values": ["P"]}, "mapping.receipt_type", "cannot be read"),
    ("mapping.received_on", {"from": "day", "date": "%d %b %Y"}, "mapping.received_on", "date"),
    ("mapping.received_on", {"from": "day", "date": "%m/%d"}, "mapping.received_on", "date"),
    ("validation", {"rule": "amount > 0"}, "validation", "list"),
    ("validation", [{"rule": "amount > 0"}], "validation.0", "'on_fail' is missing"),
    ("validation", [{"on_fail": "stop"}], "validation.0", "'rule' is missing"),
    ("validation", ["amount > 0"], "validation.0", "is missing"),
    ("validation", [{"rule": "amount > 0", "on_fail": "warn"}], "validation.0.on_fail", "quarantines or stops"),
    ("validation", [{"rule": "amount > 0", "on_fail": "stop", "sev": 1}], "validation.0.sev", "'sev' is not known"),
    ("validation", [{"rule": "colour = 'red'", "on_fail": "stop"}], "validation.0.rule", "'colour' is not a column"),
    ("validation", [{"rule": 1, "on_fail": "stop"}], "validation.0.rule", "text"),
    ("retry", None, "retry", "three keys"),
    ("retry.attempts", 0, "retry.attempts", "whole number from 1"),
    ("retry.attempts", "five", "retry.attempts", "whole number from 1"),
    ("retry.attempts", True, "retry.attempts", "whole number from 1"),
    ("retry.backoff", "2s", "retry.backoff", "no range"),
    ("retry.fatal", "unauthorized", "retry.fatal", "list"),
    ("retry.jitter", 1, "retry", "three keys"),
    ("monitoring.owner", ..., "monitoring", "three keys"),
    ("monitoring.freshness", "soon", "monitoring.freshness", "no duration"),
    ("monitoring.alert", "shout", "monitoring.alert", "page, mail, log"),
    ("monitoring.escalate", "1h", "monitoring", "three keys"),
    ("monitoring.quarantine", 5, "monitoring.quarantine", "{EUR: 1000}"),
    ("monitoring.quarantine", {}, "monitoring.quarantine", "{EUR: 1000}"),
    ("monitoring.quarantine", {"amount": 5}, "monitoring.quarantine.amount", "{EUR: 1000}"),
    ("monitoring.quarantine", {"amount": {"EURO": 5}}, "monitoring.quarantine.amount", "{EUR: 1000}"),
    ("monitoring.quarantine", {"amount": {"EUR": -5}}, "monitoring.quarantine.amount", "{EUR: 1000}"),
    ("monitoring.quarantine", {"age": "old"}, "monitoring.quarantine.age", "20m, 2s, 1h or 7d"),
]


@pytest.mark.parametrize(("at", "value", "named", "word"), WRONG, ids=[f"{w[0]}={w[1]}" for w in WRONG])
def test_a_broken_flow_says_file_line_key_and_what_is_expected(
    write: Write, entities: Mapping[str, Entity], at: str, value: Any, named: str, word: str
) -> None:
    path = write(changed(at, value))
    error = refused(path, entities)
    assert word in error.what + error.next_step, str(error)
    place, _, key = error.where.rpartition(": ")
    assert key == named, str(error)
    file, _, line = place.rpartition(":")
    assert file == str(path) and int(line) >= 1
    assert error.next_step.startswith("Expected: ")


def test_the_line_is_the_one_the_key_stands_on(write: Write, entities: Mapping[str, Entity]) -> None:
    path = write(changed("mapping.colour", "red"))
    assert f":{line_of(path, 'colour')}: mapping.colour" in refused(path, entities).where
    path = write(changed("validation", [*GOOD["validation"], {"rule": "x > 1", "on_fail": "stop"}]))
    assert f":{line_of(path, '- rule: x > 1')}: validation.1.rule" in refused(path, entities).where


FILE_WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"connector": "sftp_file"}, "source", "'connection' is missing"),
    ({"format": {"type": "xlsx"}}, "source.format.type", "format is not known"),
    ({"format": "csv"}, "source.format.type", "format is not known"),
    ({"format": None}, "source.format.type", "format is not known"),
    ({"format": {"type": "csv", "delimeter": ";"}}, "source.format.delimeter", "'delimeter' is not known"),
    ({"format": {"type": "csv", "delimiter": "||"}}, "source.format.delimiter", "one character"),
    ({"format": {"type": "csv", "encoding": "utf-9"}}, "source.format.encoding", "encoding"),
    ({"format": {"type": "csv", "decimal": ",", "thousands": ","}}, "source.format.thousands", "differ"),
    ({"format": {"type": "csv", "date": "MM/DD/YYYY"}}, "source.format.date", "date"),
    ({"format": {"type": "camt053", "rows": "lines"}}, "source.format.rows", "statements"),
    ({"query": "x.sql"}, "source.query", "'query' is not known"),
    ({"where": "1); drop table x; --"}, "source.where", "brackets of the rule do not match"),
    ({"where": "paid_on; delete"}, "source.where", "cannot stand in a rule"),
    ({"where": ""}, "source.where", "empty"),
]


@pytest.mark.parametrize(("change", "named", "word"), FILE_WRONG, ids=[str(w[0]) for w in FILE_WRONG])
def test_a_broken_file_source_is_refused(
    write: Write, entities: Mapping[str, Entity], change: dict[str, Any], named: str, word: str
) -> None:
    document = {**GOOD, "source": {**FILE_SOURCE, **change}, "run_mode": "file"}
    error = refused(write(document), entities)
    assert word in error.what + error.next_step, str(error)
    assert error.where.endswith(f": {named}"), str(error)


def test_a_file_source_runs_in_mode_file(write: Write, entities: Mapping[str, Entity]) -> None:
    assert load_flow(write({**GOOD, "source": FILE_SOURCE, "run_mode": "file"}), entities).cursor == ()
    error = refused(write({**GOOD, "source": FILE_SOURCE, "run_mode": "full"}), entities)
    assert error.where.endswith(": run_mode") and error.next_step == "Expected: file"


@pytest.mark.parametrize(
    "rule",
    [
        "1); drop table raw.invoice; --",
        "amount > 0; delete from raw.receipt",
        "amount > 0 -- always",
        "amount > 0 /* or */",
        "amount > (select 1)",
        "pg_sleep(10) is null",
        "amount > 0 or \"_load_id\" = 'x'",
        "amount = $1",
        "amount::text = '1'",
        "amount > 0) or (1 = 1",
        "payer_name = E'\\\\'",
        "(amount > 0",
        "amount >",
        "amount amount",
        "> 0",
        "amount > 0 and",
        "amount in ()",
        "length",
        "amount > 0 --",
        "amount > - ",
        "amount not null",
        "case when amount > 0 then true",
        "",
        "   ",
    ],
)
def test_no_rule_smuggles_sql_in_or_is_half_a_condition(
    write: Write, entities: Mapping[str, Entity], rule: str
) -> None:
    path = write(changed("validation", [{"rule": rule, "on_fail": "quarantine"}]))
    error = refused(path, entities)
    assert error.where.endswith(": validation.0.rule") and str(path) in error.where


def test_a_key_that_stands_twice_is_refused(write: Write, entities: Mapping[str, Entity]) -> None:
    text = yaml.safe_dump(GOOD, sort_keys=False) + "run_mode: full\n"
    path = write(text)
    error = refused(path, entities)
    assert "'run_mode' stands twice" in error.what and error.where == f"{path}:{len(text.splitlines())}"
    path = write(
        yaml.safe_dump(GOOD, sort_keys=False).replace("  amount: amount\n", "  amount: amount\n  amount: net\n")
    )
    assert "'amount' stands twice" in refused(path, entities).what


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("source: {system: erp\ntarget: x", "not valid YAML"),
        ("", "holds no keys"),
        ("- a\n- b\n", "holds no keys"),
        ("just words", "holds no keys"),
        ("source: &a [*a]", "refers to itself"),
        ("a: !!python/object/apply:os.system ['true']", "not valid YAML"),
        ("source: *nowhere", "not valid YAML"),
    ],
)
def test_what_is_no_yaml_mapping_is_refused(write: Write, entities: Mapping[str, Entity], text: str, word: str) -> None:
    path = write(text)
    error = refused(path, entities)
    assert (word in error.what or "is missing" in error.what) and str(path) in error.where


def test_a_file_that_is_no_text_is_refused(write: Write, entities: Mapping[str, Entity]) -> None:
    path = write("x")
    path.write_bytes(b"source: \xff\xfe")
    assert "UTF-8" in refused(path, entities).what


def test_names_are_words(tmp_path: Path, entities: Mapping[str, Entity]) -> None:
    path = tmp_path / "Shop" / "receipts.yml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(GOOD))
    assert "lower case" in refused(path, entities).what


def test_a_folder_without_flows_is_refused(tmp_path: Path, entities: Mapping[str, Entity]) -> None:
    with pytest.raises(UsageError, match="No flow file found"):
        load_flows(tmp_path, entities)


@pytest.mark.parametrize(("text", "seconds"), [("2s", 2), ("20m", 1200), ("1h", 3600), ("7d", 604800)])
def test_durations(text: str, seconds: int) -> None:
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "20", "m", "1.5h", "-1h", "1w", "1h30m", "20m\n"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError):
        duration(text)


def test_a_changed_file_is_read_again(write: Write, entities: Mapping[str, Entity]) -> None:
    path = write(GOOD)
    before: Flow = load_flow(path, entities)
    write(changed("monitoring.owner", "someone_else"))
    assert (before.monitoring.owner, load_flow(path, entities).monitoring.owner) == ("treasury", "someone_else")


@pytest.mark.parametrize(("overlap", "is_enough"), [("20m", True), ("1h", True), ("19m", False), (None, False)])
def test_salesforce_needs_an_overlap_longer_than_its_index_lags(
    write: Write, entities: Mapping[str, Entity], overlap: str | None, is_enough: bool
) -> None:
    document = copy.deepcopy(GOOD)
    source = document["source"]
    del source["query"], source["overlap"]
    source |= {"connector": "salesforce", "object": "Payment", **({"overlap": overlap} if overlap else {})}
    if is_enough:
        assert load_flow(write(document), entities).source["object"] == "Payment"
        return
    with pytest.raises(UsageError, match="shorter than Salesforce") as refused:
        load_flow(write(document), entities)
    assert "receipts.yml:1: source" in refused.value.where and "20m" in refused.value.next_step
