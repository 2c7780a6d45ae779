"""A small company in ``raw``, built once by the real dbt project, and copies of it to spoil."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from o2c.settings import Settings
from o2c.warehouse.dbt import run_dbt

_NUMBER = itertools.count(1)
AS_OF = date(2026, 3, 31)
PUBLISHED_AT = datetime(2026, 4, 10, tzinfo=UTC)

# (number, issued on, due on, amount), (number, issued on, amount), (number, received on, amount, reversed on)
INVOICES = [
    ("INV1", "2026-01-05", "2026-02-04", 1000),
    ("INV2", "2026-01-20", "2026-02-19", 500),
    ("INV3", "2026-02-10", "2026-03-12", 800),
    ("INV4", "2026-03-01", "2026-03-31", 1200),
    ("INV5", "2026-03-15", "2026-04-14", 700),
    ("INV6", "2025-12-01", "2025-12-31", 400),
    ("INV7", "2026-04-02", "2026-05-02", 999),
    ("INV8", "2026-01-10", "2026-02-09", 300),
]
CREDIT_MEMOS = [("CM1", "2026-02-15", 200), ("CM2", "2026-03-05", 150)]
RECEIPTS = [
    ("P1", "2026-02-10", 600, None),
    ("P2", "2026-03-20", 400, None),
    ("P3", "2026-03-10", 792, None),
    ("P4", "2026-02-05", 300, "2026-02-20"),
    ("P5", "2026-04-05", 300, None),
    ("P9", "2026-03-28", 250, None),
]
# (source, invoice, applied on, amount, discount)
APPLICATIONS = [
    ("P1", "INV1", "2026-02-10", 600, 0),
    ("P2", "INV1", "2026-03-20", 400, 0),
    ("P3", "INV3", "2026-03-10", 792, 8),
    ("P4", "INV8", "2026-02-05", 300, 0),
    ("CM1", "INV2", "2026-02-25", 200, 0),
    ("P5", "INV2", "2026-04-05", 300, 0),
    ("P9", "INV4", "2026-04-03", 250, 0),
]
CONTROL_ACCOUNT = {"2025-12-31": 400, "2026-01-31": 2200, "2026-02-28": 2200, "2026-03-31": 2500}


@dataclasses.dataclass
class Marts:
    """A warehouse with built marts, and the dbt project that builds them."""

    settings: Settings
    database: str

    def put(
        self, entity: str, *, published_at: datetime = PUBLISHED_AT, load_id: str = "load-1", **values: Any
    ) -> None:
        """Publish one version of a record of the ERP behind the engine's back."""
        row = {
            "source_system": "erp",
            "_load_id": load_id,
            "_published_at": published_at,
            "_row_hash": b"",
            "_key_hash": 0,
            "updated_at": published_at,
            **values,
        }
        statement = sql.SQL("insert into {} ({}) values ({})").format(
            sql.Identifier("raw", entity),
            sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join(sql.Placeholder() * len(row)),
        )
        with psycopg.connect(self.settings.warehouse_url) as connection:
            connection.execute(statement, list(row.values()))

    def run(self, statement: str) -> None:
        """Change the warehouse; a statement that changes nothing is a mistake of the test."""
        with psycopg.connect(self.settings.warehouse_url) as connection:
            for (table,) in connection.execute("select tablename from pg_tables where schemaname = 'raw'").fetchall():
                if f"raw.{table} " in statement:
                    guarded = sql.Identifier("raw", table)
                    connection.execute(sql.SQL("alter table {} disable trigger user").format(guarded))
            assert connection.execute(statement).rowcount > 0

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the warehouse."""
        with psycopg.connect(self.settings.warehouse_url, options="-c timezone=UTC") as connection:
            return connection.execute(query).fetchall()

    def dbt(self, *arguments: str, as_of: date | None = AS_OF, as_known: date | None = None) -> Path:
        """Run a dbt command; returns the folder with its artifacts."""
        return run_dbt(self.settings, arguments, as_of, as_known)

    def build(self, *arguments: str) -> Path:
        """Build everything that production builds."""
        return self.dbt("build", "--exclude-resource-type", "unit_test", *arguments)


def _golden_ledger(marts: Marts) -> None:
    marts.put("legal_entity", entity_code="DE01", legal_name="Company", country_code="DE",
              functional_currency_code="EUR", timezone="Europe/Berlin")  # fmt: skip
    marts.put("customer", customer_id="C1", legal_name="Customer", entity_code="DE01")
    shared: dict[str, Any] = {"entity_code": "DE01", "customer_id": "C1", "currency_code": "EUR"}
    for number, issued, due, amount in INVOICES:
        marts.put("invoice", invoice_id=number, invoice_number=number, document_type="invoice", sale_type="credit",
                  issued_on=issued, posted_on=issued, due_on=due, net_amount=amount, tax_amount=0,
                  total_amount=amount, status="posted", **shared)  # fmt: skip
    for number, issued, amount in CREDIT_MEMOS:
        marts.put("credit_memo", credit_memo_id=number, credit_memo_number=number, reason="goodwill",
                  issued_on=issued, posted_on=issued, net_amount=amount, tax_amount=0, total_amount=amount,
                  **shared)  # fmt: skip
    for number, received, amount, reversed_on in RECEIPTS:
        marts.put("receipt", receipt_id=number, receipt_type="payment", received_on=received, amount=amount,
                  payment_method="bank_transfer", reversed_on=reversed_on, **shared)  # fmt: skip
    for source, invoice, applied, amount, discount in APPLICATIONS:
        side: dict[str, Any] = {"credit_memo_id" if source.startswith("CM") else "receipt_id": source}
        marts.put("receipt_application", application_id=f"{source}-{invoice}", entity_code="DE01", invoice_id=invoice,
                  applied_on=applied, applied_amount=amount, discount_amount=discount, currency_code="EUR",
                  **side)  # fmt: skip
    for day, balance in CONTROL_ACCOUNT.items():
        marts.put("ledger_balance", entity_code="DE01", account_code="1200", is_receivables_control=True,
                  currency_code="EUR", balance_on=day, balance_amount=balance)  # fmt: skip


@contextmanager
def _copy(cluster: Any, template: str, home: Path) -> Iterator[Marts]:
    """A warehouse copied from a database of the test server; it goes away afterwards."""
    name = f"marts{next(_NUMBER):03d}"
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
        connection.execute(f'create database "{name}" owner warehouse template "{template}" strategy file_copy')
    yield Marts(_settings(cluster.url(name, role="warehouse"), home), name)
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
        connection.execute(f'drop database "{name}" with (force)')


@pytest.fixture(scope="module")
def empty(postgres_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Marts]:
    """A migrated warehouse into which nothing was loaded."""
    with _copy(postgres_server.cluster, "warehouse", tmp_path_factory.mktemp("home")) as marts:
        yield marts


@pytest.fixture(scope="session")
def golden(postgres_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Marts]:
    """The golden ledger, built. Read only: :func:`spoiled` is for the rest."""
    with _copy(postgres_server.cluster, "warehouse", tmp_path_factory.mktemp("home")) as marts:
        _golden_ledger(marts)
        marts.build()
        yield marts


@pytest.fixture
def spoiled(golden: Marts, postgres_server: Any, tmp_path: Path) -> Iterator[Marts]:
    """A copy of the golden warehouse that a test may break."""
    with _copy(postgres_server.cluster, golden.database, tmp_path) as marts:
        yield marts


def _settings(url: str, home: Path) -> Settings:
    return dataclasses.replace(Settings.load({"O2C_HOME": str(home), "O2C_WAREHOUSE_URL": url}))
