from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]
HEADER = "customer_id,iban\n"
GOOD = "A,DE00123456789012\n"
COLUMNS = ["customer_id", "iban"]


@pytest.fixture
def accounts(warehouse: Any) -> Any:
    """A flow over a file that is there."""
    warehouse.flows.put("shop/accounts.csv", HEADER + GOOD)
    return warehouse.flows.csv("shop/accounts", "customer_bank_account", COLUMNS)


def flat(result: Any) -> str:
    """What was printed, with the line breaks of a narrow terminal taken out."""
    return " ".join(result.output.split())


# --- wrong use -----------------------------------------------------------------------------------------------------


def test_help_names_the_commands(bare_command: Command) -> None:
    shown = bare_command("--help").output
    assert all(word in shown for word in ("init", "flow", "sync", "status", "build", "sql", "report"))


def test_without_a_warehouse(bare_command: Command, monkeypatch: pytest.MonkeyPatch, flows: Any) -> None:
    flows.csv("shop/accounts", "customer_bank_account", COLUMNS)
    monkeypatch.setenv("O2C_FLOWS", str(flows.directory))
    monkeypatch.delenv("O2C_WAREHOUSE_URL", raising=False)
    for words in (["init"], ["sync"], ["status"], ["sql", "select 1"], ["build", "--as-of", "2026-03-01"]):
        result = bare_command(*words)
        assert result.exit_code == 2 and "O2C_WAREHOUSE_URL" in result.output, words


@pytest.mark.parametrize(
    ("url", "code", "word"),
    [
        ("postgresql://o2c:hush@127.0.0.1:1/warehouse", 1, "cannot be reached"),
        ("postgresql://o2c:hush@nowhere.invalid/warehouse", 1, "cannot be reached"),
        ("postgresql://o2c:hush@127.0.0.1:port/warehouse", 1, "port"),
        ("a sentence with hush", 2, "URL cannot be read"),
        ("mysql://o2c:hush@127.0.0.1/warehouse", 2, "URL cannot be read"),
    ],
)
def test_a_warehouse_that_cannot_be_reached(
    bare_command: Command, monkeypatch: pytest.MonkeyPatch, flows: Any, url: str, code: int, word: str
) -> None:
    flows.csv("shop/accounts", "customer_bank_account", COLUMNS)
    monkeypatch.setenv("O2C_FLOWS", str(flows.directory))
    monkeypatch.setenv("O2C_WAREHOUSE_URL", url)
    for words in (["init"], ["sync"], ["status"], ["sql", "select 1"], ["build", "--as-of", "2026-03-01"]):
        result = bare_command(*words)
        assert result.exit_code == code and word in flat(result) and "hush" not in result.output, (words, result.output)


def test_a_wrong_password_of_the_warehouse(command: Command, monkeypatch: pytest.MonkeyPatch, warehouse: Any) -> None:
    user, rest = warehouse.settings.warehouse_url.split("@")
    monkeypatch.setenv("O2C_WAREHOUSE_URL", user.rpartition(":")[0] + ":wrong-secret@" + rest)
    result = command("sql", "select 1")
    assert result.exit_code == 1 and "password authentication failed" in flat(result)
    assert "wrong-secret" not in result.output


def test_a_broken_flow_stops_every_command_that_reads_flows(command: Command, accounts: Any) -> None:
    accounts.path.write_text(accounts.path.read_text().replace("iban: iban", "ibann: iban"))
    number = 1 + accounts.path.read_text().splitlines().index("  ibann: iban")
    for words in (["flow", "check"], ["sync"], ["status", "shop"]):
        result = command(*words)
        assert result.exit_code == 2 and "'ibann' is no column of customer_bank_account" in flat(result)
        assert f"{accounts.path}:{number}: mapping.ibann" in "".join(result.output.split("\n")), words


@pytest.mark.parametrize(
    "words", [["sync", "shop/nothing"], ["sync", "nothing"], ["flow", "check", "nothing"], ["status", "nothing"]]
)
def test_an_unknown_name_lists_what_there_is(command: Command, accounts: Any, words: list[str]) -> None:
    result = command(*words)
    assert result.exit_code == 2 and "shop" in result.output and "nothing" in result.output


def test_a_build_needs_a_date(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("O2C_AS_OF", raising=False)
    result = command("build")
    assert result.exit_code == 2 and "--as-of" in result.output
    monkeypatch.setenv("O2C_AS_OF", "yesterday")
    result = command("build")
    assert result.exit_code == 2 and "O2C_AS_OF" in result.output
    assert command("build", "--as-of", "28.02.2026").exit_code == 2


# --- loads ---------------------------------------------------------------------------------------------------------


def test_flow_check_lists_the_flows(command: Command, accounts: Any) -> None:
    result = command("flow", "check")
    assert result.exit_code == 0 and "shop/accounts" in result.output and "1 flows hold." in result.output


def test_init_again_changes_nothing(command: Command, warehouse: Any) -> None:
    result = command("init")
    assert result.exit_code == 0 and "it was up to date" in flat(result)
    assert warehouse.settings.landing_dir.is_dir() and warehouse.settings.reports_dir.is_dir()


def test_a_sync_shows_what_became_of_the_rows(command: Command, warehouse: Any, accounts: Any) -> None:
    warehouse.flows.put("shop/accounts.csv", HEADER + GOOD + "B,broken\n" + GOOD)
    result = command("sync")
    assert result.exit_code == 0
    (row,) = [line for line in result.output.splitlines() if "shop/accounts" in line]
    assert [cell.strip() for cell in row.strip("│┃").split("│")] == ["shop/accounts", "L000000001", "3", "1", "1", "1"]


def test_a_sync_of_one_source_leaves_the_others(command: Command, warehouse: Any, accounts: Any) -> None:
    warehouse.flows.csv("till/accounts", "customer_bank_account", COLUMNS)
    assert command("sync", "shop").exit_code == 0
    assert command("sync", "till/accounts").exit_code == 0
    assert warehouse.rows("select flow from ops.load order by load_id") == [("shop/accounts",), ("till/accounts",)]


def test_a_flow_that_is_held_back(command: Command, warehouse: Any, accounts: Any) -> None:
    warehouse.flows.put("shop/accounts.csv", "customer_id,[/iban],[red]x[/red]\nA,B,C\n")
    result = command("sync")
    assert result.exit_code == 1 and "The column 'iban' is missing in accounts.csv." in flat(result)
    assert "[/iban], [red]x[/red]" in flat(result)
    result = command("status")
    assert result.exit_code == 1 and "failed" in result.output and "Held back" in result.output
    assert "'iban' is missing" in flat(result)


def test_a_missing_connection(command: Command, warehouse: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_ERP_DB", raising=False)
    warehouse.flows.query("erp/accounts", "customer_bank_account", COLUMNS, "select 1")
    result = command("sync")
    assert result.exit_code == 2 and "AIRFLOW_CONN_ERP_DB" in flat(result)
    assert warehouse.rows("select * from ops.load") == []


def test_a_wrong_password_of_a_source(
    command: Command, warehouse: Any, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, rest = database.split("@")
    monkeypatch.setenv("AIRFLOW_CONN_ERP_DB", user.rpartition(":")[0] + ":wrong-secret@" + rest)
    warehouse.flows.query("erp/accounts", "customer_bank_account", COLUMNS, "select 1")
    result = command("sync")
    assert result.exit_code == 1 and "refuses the login" in flat(result) and "wrong-secret" not in result.output


def test_a_warehouse_without_tables(
    bare_command: Command, monkeypatch: pytest.MonkeyPatch, database: str, flows: Any, tmp_path: Path
) -> None:
    flows.csv("shop/accounts", "customer_bank_account", COLUMNS)
    flows.put("shop/accounts.csv", HEADER + GOOD)
    for name, value in (("HOME", tmp_path / "home"), ("FLOWS", flows.directory), ("WAREHOUSE_URL", database)):
        monkeypatch.setenv(f"O2C_{name}", str(value))
    for words in (["sync"], ["status"], ["sql", "select * from raw.invoice"]):
        result = bare_command(*words)
        assert result.exit_code == 1 and "o2c init" in flat(result), words
    assert bare_command("init").exit_code == 0
    assert bare_command("sync").exit_code == 0


# --- questions -----------------------------------------------------------------------------------------------------


def test_sql_in_three_forms(command: Command) -> None:
    question = "select 1234567.10::numeric as amount, date '2026-02-28' as day, null as nothing, 'a,b' as text"
    assert "1,234,567.10" in command("sql", question).output
    lines = command("sql", question, "--format", "csv").output.splitlines()
    assert lines == ["amount,day,nothing,text", '1234567.10,2026-02-28,,"a,b"']
    assert json.loads(command("sql", question, "--format", "json").output) == [
        {"amount": "1234567.10", "day": "2026-02-28", "nothing": None, "text": "a,b"}
    ]
    assert command("sql", question, "--format", "xml").exit_code == 2


def test_sql_of_anything(command: Command) -> None:
    values = [
        "'\\x01'::bytea as b",
        "array[1.5] as a",
        "interval '1 day' as i",
        "'{\"k\": [1]}'::jsonb as j",
        "'NaN'::numeric as n",
    ]
    question = f"select {', '.join(values)}"
    (row,) = json.loads(command("sql", question, "--format", "json").output)
    assert row["b"] == "\\x01" and row["a"] == ["1.5"] and row["j"] == {"k": [1]} and row["n"] == "NaN"
    for form in ("table", "csv"):
        assert command("sql", question, "--format", form).exit_code == 0
    assert command("sql", "select 1 as a where false", "--format", "json").output.strip() == "[]"
    assert "50%" in command("sql", "select '50%' as a where 'x' like '%x%'").output


@pytest.mark.parametrize(
    "statement",
    [
        "delete from ops.fence",
        "create table public.x (a int)",
        "with d as (delete from ops.fence returning 1) select * from d",
        "select nextval('ops.load_number')",
        "commit; create table public.x (a int)",
        "rollback; delete from ops.fence; select 1",
        "set transaction read write; create table public.x (a int); select 1",
        "select 1; select 2",
        "set transaction read write",
        "commit",
        "",
        "selekt 1",
        "select * from nowhere",
        "select 1 / 0",
    ],
)
def test_sql_only_reads(command: Command, warehouse: Any, statement: str) -> None:
    warehouse.run("insert into ops.fence values ('shop/accounts', 1)")
    result = command("sql", statement)
    assert result.exit_code in (1, 2) and result.output.strip(), result.output
    assert warehouse.value("select count(*) from ops.fence") == 1
    assert warehouse.value("select to_regclass('public.x')") is None
    assert warehouse.value("select is_called from ops.load_number") is False


def test_status_says_where_every_flow_stands(command: Command, warehouse: Any, accounts: Any) -> None:
    warehouse.flows.put("shop/accounts.csv", HEADER + GOOD + "B,broken\n")
    warehouse.flows.csv("till/accounts", "customer_bank_account", COLUMNS)
    warehouse.flows.put("till/accounts.csv", "nothing\n1\n")
    command("sync")
    command("sync", "till")
    rows = {row.pop("flow"): row for row in json.loads(command("status", "--format", "json").output)}
    stand = {
        "status": "fresh",
        "last_attempt_state": "published",
        "last_rows_in": 2,
        "last_rows_published": 1,
        "last_rows_quarantined": 1,
        "last_rows_duplicate": 0,
        "loads_30d": 1,
        "failed_30d": 0,
        "open_records": 1,
        "freshness": 86400,
    }
    assert {name: rows["shop/accounts"][name] for name in stand} == stand
    assert rows["shop/accounts"]["last_success_at"].endswith("+00:00")
    till = rows["till/accounts"]
    assert (till["status"], till["loads_30d"], till["failed_30d"]) == ("held back", 2, 2)
    assert till["last_success_at"] is None
    assert list(json.loads(command("status", "shop", "--format", "json").output)[0].values())[0] == "shop/accounts"
    shown = flat(command("status"))
    assert "Open quarantine" in shown and "iban ~" in shown and "Held back" in shown


def test_status_before_any_load(command: Command) -> None:
    assert command("status").exit_code == 0
    assert json.loads(command("status", "--format", "json").output) == []
