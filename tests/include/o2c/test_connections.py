from __future__ import annotations

import json
from typing import Any

import pytest

from o2c.connections import Connection, from_environment
from o2c.errors import UsageError


def resolve(text: str) -> Connection:
    return from_environment("erp_db", {"AIRFLOW_CONN_ERP_DB": text})


def test_a_uri() -> None:
    connection = resolve("postgres://us%40er:p%2Fw%3A@db.example:5433/er%20p?sslmode=require&x=")
    assert (connection.conn_type, connection.host, connection.port) == ("postgres", "db.example", 5433)
    assert (connection.login, connection.password, connection.schema) == ("us@er", "p/w:", "er p")
    assert connection.extra == {"sslmode": "require", "x": ""}


def test_a_uri_with_nested_extras() -> None:
    assert resolve("http://h/?__extra__=%7B%22a%22%3A%201%7D").extra == {"a": 1}
    assert resolve("my-type://h").conn_type == "my_type"


@pytest.mark.parametrize("extra", [{"a": 1}, json.dumps({"a": 1})])
def test_json(extra: Any) -> None:
    values = {"conn_type": "sftp", "host": "h", "port": 22, "login": "u", "password": "p", "extra": extra}
    assert resolve(json.dumps(values)) == Connection("erp_db", "sftp", "h", 22, "u", "p", "", {"a": 1})


def test_a_missing_connection_names_the_variable() -> None:
    with pytest.raises(UsageError, match="AIRFLOW_CONN_ERP_DB") as caught:
        from_environment("erp_db", {})
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "text",
    ["words", "postgres://h:port/d", '{"port": "x"}', '{"broken', '{"extra": "{"}', '{"extra": [1]}', "://u:hush@h"],
)
def test_what_cannot_be_read_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(UsageError, match="cannot be read") as caught:
        resolve(text)
    assert text not in str(caught.value)


def test_secrets_do_not_show() -> None:
    shown = repr(resolve("postgres://user:hush@h/d?token=hushhush"))
    assert "hush" not in shown and "user" in shown
