"""The sample company through real counterparts: found leaks are the planted ones, control accounts agree, and a second
run reads only what changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from demo.company.generate import advance, generate
from demo.company.model import Company
from demo.company.write import write
from demo.counterparts import crm_server, sftp_server
from o2c.connections import Connection
from o2c.contracts.catalogue import load_catalogue
from o2c.loads.chain import verify_chain
from o2c.loads.rebuild import rebuild
from o2c.loads.rebuild_marts import differing_marts
from o2c.loads.reconcile import reconcile
from o2c.loads.sync import SyncResult, sync
from o2c.loads.trace import trace
from o2c.settings import Settings
from o2c.warehouse.balance import imbalances
from o2c.warehouse.build import build_models, reconcile_marts
from o2c.warehouse.scratch import scratch_database
from o2c.warehouse.session import connect

pytestmark = [pytest.mark.integration, pytest.mark.slow]
RULES = ("L01", "L03", "L05", "L13")
CRM = crm_server.Credentials("crm@example.com", "crm-password", "client", "client-secret", "")
SFTP = sftp_server.Credentials("bank", "bank-password")


@dataclass
class Running:
    """A company behind its counterparts, and a warehouse that loads it."""

    root: Path
    settings: Settings
    erp_url: str
    connections: dict[str, Connection]
    company: Company
    results: list[SyncResult] = field(default_factory=list)

    def write(self, company: Company) -> None:
        self.company = company
        write(company, self.root, self.erp_url)

    def sync(self) -> dict[str, Any]:
        flows = list(load_catalogue(self.settings).flows.values())
        results = sync(self.settings, flows, self.connections.__getitem__)
        assert not [str(result.error) for result in results if result.error]
        return {result.flow: result.published for result in results}

    def reconcile(self) -> dict[str, int]:
        """Compare all keys; returns how many records were deleted, by flow. Nothing may be missed or pending."""
        flows = [flow for flow in load_catalogue(self.settings).flows.values() if flow.scans_deletes]
        assert len(flows) >= 28
        results = reconcile(self.settings, flows, self.connections.__getitem__)
        assert not [str(result.error) for result in results if result.error]
        assert all((result.found.missed, result.found.pending) == (0, 0) for result in results if result.found)
        return {result.flow: result.found.deleted for result in results if result.found and result.found.deleted}

    def tombstones(self) -> set[tuple[str, str]]:
        """Flow and source key of every tombstone."""
        found = set()
        for flow in load_catalogue(self.settings).flows.values():
            key = ", ".join(flow.entity.key)
            query = f"select concat_ws('/', {key}) from raw.{flow.entity.name} where _deleted and source_system = %s"
            with psycopg.connect(self.settings.warehouse_url) as connection:
                rows = connection.execute(query, [flow.system]).fetchall()  # type: ignore[call-overload]
            found |= {(flow.name, key) for (key,) in rows}
        return found

    def build(self) -> None:
        build_models(self.settings, self.company.today)
        reconcile_marts(self.settings, self.company.today)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.settings.warehouse_url) as connection:
            return connection.execute(query).fetchall()

    @property
    def truth(self) -> dict[str, Any]:
        return json.loads((self.root / "truth.json").read_text())


@pytest.fixture(params=[7, 8, 9])
def running(request: pytest.FixtureRequest, postgres_server: Any, tmp_path: Path) -> Iterator[Running]:
    warehouse_url = postgres_server.new_database(postgres_server.template)
    erp_url = postgres_server.new_database()
    settings = Settings.load({"O2C_HOME": str(tmp_path / "home"), "O2C_WAREHOUSE_URL": warehouse_url})
    root = tmp_path / "company"
    company = generate(seed=request.param)
    write(company, root, erp_url)
    crm = crm_server.serve(root / "crm", CRM)
    sftp = sftp_server.serve(root / "sftp", tmp_path / "host_key", SFTP)
    try:
        yield Running(root, settings, erp_url, _connections(erp_url, crm, sftp), company)
    finally:
        crm.close()
        sftp.close()
        postgres_server.drop(warehouse_url)
        postgres_server.drop(erp_url)


def _connections(erp_url: str, crm: Any, sftp: Any) -> dict[str, Connection]:
    erp = urlsplit(erp_url)
    bank = Connection(
        "bank_sftp", "sftp", "127.0.0.1", sftp.port, SFTP.login, SFTP.password, extra={"host_key": sftp.public_key}
    )
    return {
        "erp_db": Connection(
            "erp_db", "postgres", erp.hostname or "", erp.port, erp.username or "", erp.password or "", erp.path[1:]
        ),
        "crm_api": Connection(
            "crm_api",
            "http",
            "127.0.0.1",
            crm.port,
            CRM.login,
            CRM.password,
            extra={"scheme": "http", "client_id": CRM.client_id, "client_secret": CRM.client_secret},
        ),
        "bank_sftp": bank,
        "card_sftp": replace(bank, conn_id="card_sftp"),
    }


def expected_leaks(truth: dict[str, Any], as_of: date) -> dict[tuple[str, str], tuple[Decimal, str]]:
    """What a rule has to find by ``as_of``: planted, old enough to be told from a delay, and not made good since."""
    return {
        (leak["rule_id"], leak["business_key"]): (Decimal(leak["amount"]), leak["currency_code"])
        for leak in truth["leaks"]
        if date.fromisoformat(leak["detectable_from"]) <= as_of
        and not (leak["closed_on"] and date.fromisoformat(leak["closed_on"]) <= as_of)
    }


def found_leaks(running: Running) -> dict[tuple[str, str], tuple[Decimal, str]]:
    rows = running.rows("select rule_id, business_key, amount_txn, currency_code from marts_leakage.fct_leak_finding")
    assert len({row[:2] for row in rows}) == len(rows)
    return {(rule, key): (amount, currency) for rule, key, amount, currency in rows}


def assert_control_accounts_agree(running: Running) -> None:
    """Every entity and currency, every month end: the sub-ledger against the ledger that the company keeps itself."""
    balances = running.rows(
        "select count(*), count(distinct balance_on) from staging.stg_ledger_balances where is_receivables_control"
    )
    tied = running.rows(
        "select count(*), count(distinct as_of_date), coalesce(sum(abs(difference_amount)), -1)"
        " from marts_receivables.rpt_control_account_tie_out where control_account_amount is not null"
    )
    assert tied[0][0] == balances[0][0] > 0
    assert tied[0][1] == balances[0][1] >= 18
    assert tied[0][2] == 0


def assert_rebuilt_byte_by_byte(running: Running) -> None:
    """Raw and marts come out of the landing files alone, deletions included."""
    catalogue = load_catalogue(running.settings)
    with scratch_database(running.settings) as beside:
        result = rebuild(running.settings, beside, catalogue)
        assert (result.differences, result.different_loads) == ([], [])
        assert result.loads == running.rows("select count(*) from ops.load_ledger")[0][0] > 100
        what, differing = differing_marts(running.settings, beside, running.company.today)
        assert (what, differing) == ("as they stand in the warehouse", [])
        with connect(running.settings) as connection:
            assert imbalances(connection, catalogue.entities.values()) == []


def assert_traced_to_bytes(running: Running) -> None:
    """One record per flow is made again from its landing file, whatever connector and format it came by."""
    report = verify_chain(running.settings)
    assert report.publications == running.rows("select count(*) from ops.load_ledger")[0][0]
    assert report.unanchored == 0
    catalogue = load_catalogue(running.settings)
    traced = set()
    for flow in catalogue.flows.values():
        columns = ", ".join(flow.entity.key)
        query = f"select concat_ws('/', {columns}) from raw.{flow.entity.name} where source_system = %s limit 1"
        with psycopg.connect(running.settings.warehouse_url) as connection:
            row = connection.execute(query, [flow.system]).fetchone()  # type: ignore[call-overload]
        if row:
            found = trace(running.settings, flow.entity.name, row[0], flow.system)
            assert found.problems == [], flow.name
            assert {version["file"]["derived"] for version in found.versions} == {"the same row"}, flow.name
            traced.add(flow.source["connector"])
    assert traced == {"postgres", "salesforce", "sftp_file"}


def test_first_load_leaks_and_quarantine(running: Running) -> None:
    published = running.sync()
    assert sum(load.rows["published"] for load in published.values()) > 30_000
    quarantined = running.rows("select flow, source_key, rules from quarantine.record where state = 'open'")
    expected = {
        (flow, item["key"], item["rule"])
        for flow, items in running.truth["expected_quarantine"].items()
        for item in items
    }
    assert expected
    assert {(flow, key) for flow, key, _ in quarantined} == {(flow, key) for flow, key, _ in expected}
    assert all(
        any(rule in rules for f, k, rules in quarantined if (f, k) == (flow, key)) for flow, key, rule in expected
    )

    running.build()
    expected_findings = expected_leaks(running.truth, running.company.today)
    assert {rule for rule, _ in expected_findings} == set(RULES)
    assert found_leaks(running) == expected_findings
    innocents = {(item["rule_id"], item["business_key"]) for item in running.truth["innocents"]}
    assert len(innocents) > 50
    assert not innocents & found_leaks(running).keys()
    assert_control_accounts_agree(running)


@pytest.mark.parametrize("running", [7], indirect=True)
def test_second_run_reads_only_what_changed(running: Running) -> None:
    first = running.sync()
    assert_traced_to_bytes(running)
    again = running.sync()
    assert sum(load.rows["published"] for load in again.values()) == 0
    assert sum(load.rows["quarantined"] for load in again.values()) == 0

    running.write(advance(running.company, 7))
    assert running.company.today == date(2026, 6, 30) + timedelta(days=7)
    changed = running.sync()
    for flow in ("erp/sales_orders", "erp/invoices", "erp/receipts", "erp/deliveries", "payments/bank_lines"):
        assert 0 < changed[flow].rows["published"] <= changed[flow].source_rows < first[flow].source_rows / 10, flow
    statements = running.rows(
        "select count(*) from ops.file_delivery where flow = 'payments/bank_statements'"
        " and load_id = (select max(load_id) from ops.load_ledger where flow = 'payments/bank_statements')"
    )
    assert statements[0][0] == changed["payments/bank_statements"].source_rows > 0

    # No increment tells of a hard delete; the scan of all keys finds each one, and nothing else.
    gone = {(case["flow"], case["key"]) for case in running.truth["cases"]["deleted_in_source"]}
    assert len(gone) == 4
    assert running.tombstones() == set()
    assert running.reconcile() == dict.fromkeys({flow for flow, _ in gone}, 1)
    assert running.tombstones() == gone
    assert running.reconcile() == {}

    running.build()
    assert found_leaks(running) == expected_leaks(running.truth, running.company.today)
    assert_control_accounts_agree(running)
    assert_rebuilt_byte_by_byte(running)
    assert sum(load.rows["published"] for load in running.sync().values()) == 0
