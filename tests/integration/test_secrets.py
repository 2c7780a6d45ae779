"""Secrets stay secret also when things fail: wrong passwords, dead servers, errors with addresses in their text."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import canary
import psycopg
import pytest

from demo.counterparts import crm_server, sftp_server
from o2c.connections import Connection

if TYPE_CHECKING:
    from conftest import Warehouse

CANARIES = {
    name: f"canary-{name}-9f3a1c77e2" for name in ("password", "client_secret", "security_token", "query", "warehouse")
}
PROJECT = Path(__file__).resolve().parents[2]


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def connection(kind: str, port: int, **extra: Any) -> Connection:
    secret = {"client_id": "app", **{name: CANARIES[name] for name in ("client_secret", "security_token")}}
    limits = {"attempts": 1, "timeout": "2", "scheme": "http"}
    return Connection(
        "erp_db", kind, "127.0.0.1", port, "user", CANARIES["password"], "erp", {**secret, **limits, **extra}
    )


def check(warehouse: Warehouse, told: str) -> None:
    seen = {"told": told} | canary.rows(warehouse.settings.warehouse_url)
    for path in warehouse.settings.home.rglob("*"):
        if path.is_file():
            seen[str(path)] = path.read_text(encoding="utf-8", errors="replace")
    assert canary.found(CANARIES, seen) == set()


@pytest.fixture
def shipped(warehouse: Warehouse) -> Callable[[str], Any]:
    """A flow as it is shipped, tried once."""

    def load(name: str) -> Any:
        from o2c.contracts.flow import load_flow

        flow = load_flow(PROJECT / "include" / "flows" / f"{name}.yml", warehouse.flows.entities)
        return replace(flow, retry=replace(flow.retry, attempts=1))

    return load


@pytest.mark.parametrize("case", ["dead database", "wrong database password", "dead api", "wrong api password", "bank"])
def test_a_source_that_fails_tells_no_secret(
    warehouse: Warehouse,
    shipped: Callable[[str], Any],
    erp_database: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    case: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    port = psycopg.conninfo.conninfo_to_dict(erp_database)["port"]
    crm = crm_server.Credentials("somebody", "else")
    with (
        crm_server.serve(tmp_path, crm) as api,
        sftp_server.serve(tmp_path, tmp_path / "key", sftp_server.Credentials("user", "another")) as bank,
    ):
        name, source = {
            "dead database": ("erp/invoices", connection("postgres", closed_port())),
            "wrong database password": ("erp/invoices", connection("postgres", int(str(port)))),
            "dead api": ("crm/accounts", connection("http", closed_port())),
            "wrong api password": ("crm/accounts", connection("http", api.port)),
            "bank": ("payments/bank_lines", connection("sftp", bank.port, host_key=bank.public_key)),
        }[case]
        warehouse.source = source
        error = warehouse.refused(shipped(name))
    told = str(error) + repr(error) + repr(source) + caplog.text + "".join(capfd.readouterr())
    assert error.what and warehouse.value("select error is not null from ops.load")
    check(warehouse, told)


@pytest.mark.parametrize("address", ["u:{}@127.0.0.1:1/db", "u:{}@127.0.0.1:x/db", "u:{}@[::1/db", "u@h/d?password={}"])
def test_a_warehouse_that_fails_tells_no_secret(
    warehouse: Warehouse,
    command: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    address: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    url = "postgresql://" + address.format(CANARIES["warehouse"])
    monkeypatch.setenv("O2C_WAREHOUSE_URL", url)
    result = command("sql", "select 1")
    assert result.exit_code != 0 and result.output
    check(warehouse, result.output + caplog.text + repr(replace(warehouse.settings, url=url)))
