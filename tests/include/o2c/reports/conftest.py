"""A small company of four entities whose figures can be followed by hand, as facts and as tables of a warehouse."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest

from o2c.reports.facts import BUCKETS, Facts, Row, Rows
from o2c.settings import Settings

HOSTILE = '=HYPERLINK("http://x/","x") <script>alert(1)</script> & Söhne'
MARTS = Path(__file__).with_name("marts.sql")
MONTH_ENDS = [day - timedelta(days=1) for day in (date(2025 + n // 12, n % 12 + 1, 1) for n in range(2, 16))]
AS_OF = MONTH_ENDS[-1]
PUBLISHED = datetime(2026, 4, 1, 6, 12, 30, tzinfo=UTC)
CODE = "3f9c1e7a52d4b8c6"
ENTITIES = {
    "DE01": ("Nordlicht Maschinenbau GmbH", "EUR"),
    "JP01": ("Nordlicht Japan K.K.", "JPY"),
    "KW01": ("Nordlicht Gulf W.L.L.", "KWD"),
    "US01": ("Nordlicht Inc.", "USD"),
}
RATES = {"EUR": Decimal(1), "USD": Decimal("0.9"), "JPY": Decimal("0.006"), "KWD": Decimal("3")}
# Per entity and currency: not due, 1-30, 31-60, 61-90, over 90, unapplied cash, unapplied credits, intercompany.
BALANCES = {
    ("DE01", "EUR"): "1840200.50 310400.25 92000.00 41000.10 25600.00 -48200.00 -6100.75 12000.00",
    ("DE01", "USD"): "420000.00 38000.00 0.00 12500.00 0.00 0.00 0.00 0.00",
    ("JP01", "JPY"): "88500000 9100000 2400000 0 1250000 -310000 0 0",
    ("KW01", "KWD"): "61250.125 14800.500 9900.000 4100.250 7700.750 -1200.500 0.000 0.000",
    ("US01", "USD"): "905000.00 188000.40 61000.00 22000.00 14000.00 -9500.00 -2300.00 0.00",
}


def _factor(index: int) -> Decimal:
    # Thirteen earlier months, a little smaller each and not in a straight line; the last month is the table above.
    return Decimal(1) if index == 13 else Decimal(70 + 2 * index + (index % 3) * 3) / 100


def _ageing_row(day: date, place: tuple[str, str], factor: Decimal) -> Row:
    entity, currency = place
    amounts = [Decimal(text) * factor for text in BALANCES[place].split()]
    gross, unapplied = sum(amounts[:5], Decimal(0)), amounts[5:7]
    row: Row = {f"{name}_amount": amount for name, amount in zip(BUCKETS, amounts, strict=False)}
    row |= {"gross_receivables_amount": gross, "unapplied_cash_amount": unapplied[0]}
    row |= {"unapplied_credits_amount": unapplied[1], "net_receivables_amount": gross + sum(unapplied, Decimal(0))}
    row["intercompany_amount"] = amounts[7]
    rate = RATES[currency]
    named = {"as_of_date": day, "entity_code": entity, "currency_code": currency, "reporting_currency_code": "EUR"}
    return named | row | {"closing_rate": rate} | {f"{name}_reporting": value * rate for name, value in row.items()}


def _ageing() -> Rows:
    return [_ageing_row(day, place, _factor(index)) for index, day in enumerate(MONTH_ENDS) for place in BALANCES]


def _debtors() -> Rows:
    rows: Rows = []
    for (entity, currency), text in BALANCES.items():
        amounts = [Decimal(part) for part in text.split()]
        # One customer owes all that is past due, another what is not due yet and has the credits.
        late, punctual = sum(amounts[1:5], Decimal(0)), amounts[0]
        rows += [
            _debtor(entity, currency, 1, late, late, amounts[4], late),
            _debtor(entity, currency, 2, punctual, Decimal(0), Decimal(0), punctual + amounts[5] + amounts[6]),
        ]
    return sorted(rows, key=lambda row: (row["entity_code"], row["customer_id"], row["currency_code"]))


def _debtor(
    entity: str, currency: str, number: int, gross: Decimal, late: Decimal, oldest: Decimal, net: Decimal
) -> Row:
    return {
        "as_of_date": AS_OF,
        "source_system": "erp",
        "entity_code": entity,
        "customer_id": f"{entity}-C{number}",
        "customer_name": HOSTILE if (entity, number) == ("DE01", 1) else f"Customer {number} of {entity}",
        "currency_code": currency,
        "gross_receivables_amount": gross,
        "past_due_amount": late,
        "days_over_90_amount": oldest,
        "net_receivables_amount": net,
        "closing_rate": RATES[currency],
    }


def _dso() -> Rows:
    rows = []
    for index, day in enumerate(MONTH_ENDS):
        for scope, entity, currency in (("group", "ALL", "EUR"), *(("entity", c, e[1]) for c, e in ENTITIES.items())):
            for metric, months in (("dso_simple", 1), ("dso_rolling_3", 3)):
                rows.append(_dso_row(index, day, (scope, entity, currency), metric, months))
    return rows


def _dso_row(index: int, day: date, scope: tuple[str, str, str], metric: str, months: int) -> Row:
    window = (day - MONTH_ENDS[index - months]).days if index >= months else 30 * months
    receivables = Decimal(1_000_000 + 90_000 * index + 70_000 * ((index * 7 + len(scope[1]) + ord(scope[1][0])) % 4))
    sales = Decimal(600_000 * months) if scope[0] == "group" else Decimal((500_000 + 800 * ord(scope[1][0])) * months)
    enough = index >= months
    return {
        "as_of_date": day,
        "scope": scope[0],
        "entity_code": scope[1],
        "currency_code": scope[2],
        "metric_name": metric,
        "ar_basis": "net_of_unapplied",
        "tax_basis": "incl",
        "fx_basis": "constant_closing_rate_of_as_of",
        "days_in_window": window,
        "numerator_amount": receivables,
        "denominator_amount": sales,
        "dso_days": round(receivables / sales * window, 4) if enough else None,
        "null_reason": None if enough else "insufficient_history",
    }


def _tie_outs() -> Rows:
    rows = []
    for row in sorted(_ageing(), key=lambda row: (-row["as_of_date"].toordinal(), row["entity_code"])):
        amount = row["net_receivables_amount"] + row["intercompany_amount"]
        place = {key: row[key] for key in ("as_of_date", "entity_code", "currency_code")}
        amounts = {"subledger_amount": amount, "control_account_amount": amount, "difference_amount": Decimal(0)}
        rows.append(place | amounts | {"is_tied_out": True})
    return rows


def _leak(rule: str, number: int, amount: str, currency: str, evidence: Row, **documents: str) -> Row:
    keys = ("opportunity_id", "order_id", "order_line_id", "delivery_line_id", "invoice_id", "invoice_line_id")
    rate = RATES[currency]
    return {
        "finding_id": f"{rule}-{number:04d}",
        "rule_id": rule,
        "rule_version": "1",
        "source_system": "crm" if rule == "L03" else "erp",
        "entity_code": next(code for code, (_, own) in ENTITIES.items() if own == currency),
        "customer_id": "DE01-C1",
        "customer_name": HOSTILE,
        "business_key": list(documents.values())[-1],
        **{key: documents.get(key) for key in (*keys, "receipt_id")},
        "amount_txn": Decimal(amount),
        "currency_code": currency,
        "amount_reporting": round(Decimal(amount) * rate, 2),
        "event_date": date(2026, 2, 3) + timedelta(days=number),
        "detected_on": date(2026, 2, 9) + timedelta(days=number),
        "state": "recoverable",
        "confidence": "medium" if rule == "L03" else "high",
        "owner": {"L01": "billing", "L03": "sales_operations", "L05": "pricing", "L13": "collections"}[rule],
        "evidence": evidence,
    }


def _leaks() -> Rows:
    shipped = {
        "delivery_number": "D-7001",
        "open_quantity": Decimal("12"),
        "product_id": "P-42",
        "unit_price": Decimal("350.25"),
        "billable_on": "2026-02-04",
    }
    deal = {"closed_on": "2026-02-05", "amount": Decimal("25000")}
    price = {
        "quantity": 100,
        "unit_price": Decimal("9.5"),
        "contract_price_id": "CP-3",
        "contract_unit_price": Decimal("10.125"),
        "tier_from_quantity": 50,
        "unit_of_measure": "EA",
    }
    paid = {
        "cash_amount": Decimal("980000"),
        "total_amount": Decimal("1000000"),
        "last_applied_on": "2026-02-06",
        "residual_amount": Decimal("20000"),
    }
    return [
        _leak("L01", 1, "4203.00", "EUR", {"delivery_line": shipped}, order_id="O-1", delivery_line_id="DL-1"),
        _leak("L01", 2, "1300.500", "KWD", {"delivery_line": shipped}, order_id="O-2", delivery_line_id="DL-2"),
        _leak("L03", 3, "25000.00", "USD", {"opportunity": deal}, opportunity_id="OPP-9"),
        _leak("L05", 4, "62.50", "USD", {"priced_line": price}, invoice_id="I-3", invoice_line_id="IL-3"),
        _leak("L13", 5, "20000", "JPY", {"invoice": paid}, receipt_id="R-8", invoice_id="I-4"),
    ]


def _flow_rows() -> list[tuple[str, str, str, int, int, int, dict[str, tuple[str, str, str, str]]]]:
    return [
        ("bank/bank_lines", "bank", "bank_line", 1830, 1828, 0, {"EUR": ("52000.10", "52000.00", "0", "0.10")}),
        ("crm/opportunities", "crm", "opportunity", 640, 640, 0, {"EUR": ("910000", "910000", "0", "0")}),
        (
            "erp/invoices",
            "erp",
            "invoice",
            2410,
            2405,
            3,
            {
                "EUR": ("8200300.55", "8200100.55", "200.00", "0"),
                "JPY": ("410000000", "410000000", "0", "0"),
                "KWD": ("120400.375", "120400.250", "0.125", "0"),
            },
        ),
        ("erp/legal_entities", "erp", "legal_entity", 4, 4, 0, {}),
    ]


def _operations() -> dict[str, Rows]:
    loads: Rows = []
    ledger: Rows = []
    for index, (flow, system, entity, source, published, held, money) in enumerate(_flow_rows(), 1):
        counts = {"source_rows": source, "published_rows": published, "quarantined_rows": held}
        counts["duplicate_rows"] = source - published - held
        load = {"load_id": f"L{index:09d}", "published_at": PUBLISHED - timedelta(minutes=9 - index)}
        named = {"flow": flow, "source_system": system, "entity": entity}
        last = {"code_version": CODE}
        state = {"state": "published", "error": None}
        loads.append(named | state | load | counts | last | {"loads": 1, "published_rows_so_far": Decimal(published)})
        kinds = ("source_amount", "published_amount", "quarantined_amount", "duplicate_amount")
        for place, (currency, amounts) in enumerate(money.items() or [(None, ())]):
            shown = counts if place == 0 else dict.fromkeys(counts)
            sums = dict(zip(kinds, map(Decimal, amounts), strict=True)) if amounts else dict.fromkeys(kinds)
            ledger.append(named | load | shown | {"currency_code": currency} | sums | last)
    newest = sorted(ledger, key=lambda row: row["load_id"], reverse=True)
    return {"loads": loads, "ledger": newest, "gates": _gates(loads)} | _quarantine()


def _gates(loads: Rows) -> Rows:
    rules = [
        ("due_on >= issued_on", "quarantine", 2),
        ("invoice_id is present", "quarantine", 1),
        ("key is new", "stop", 0),
    ]
    return [
        {
            "flow": load["flow"],
            "load_id": load["load_id"],
            "state": "published",
            "rule": rule,
            "on_fail": on_fail,
            "predicate": rule,
            "evaluated_rows": load["source_rows"],
            "unexpected_rows": broken if load["flow"] == "erp/invoices" else 0,
            "is_success": load["flow"] != "erp/invoices" or not broken,
        }
        for load in loads
        for rule, on_fail, broken in rules
    ]


def _quarantine() -> dict[str, Rows]:
    held = [("due_on >= issued_on", "200.00", "EUR"), ("due_on >= issued_on", "0.125", "KWD")]
    held.append(("invoice_id is present", "0", "EUR"))
    base = {"flow": "erp/invoices", "entity": "invoice", "owner": "billing"}
    records = [
        {"record_id": number, **base, "rules": rule, "reason": "The due date lies before the invoice date."}
        | {"source_key": f"I-90{number}", "amount": Decimal(amount), "currency_code": currency}
        | {"load_id": "L000000003", "quarantined_at": PUBLISHED}
        for number, (rule, amount, currency) in enumerate(held, 1)
    ]
    groups = [
        base
        | {"rules": row["rules"], "currency_code": row["currency_code"], "records": 1, "amount": row["amount"]}
        | {"oldest_at": PUBLISHED}
        for row in records
    ]
    return {"quarantine": groups, "quarantine_records": records}


def _company() -> Facts:
    entities = [
        {"entity_code": code, "legal_name": name, "functional_currency_code": currency}
        for code, (name, currency) in ENTITIES.items()
    ]
    return Facts(
        reporting_currency="EUR",
        ageing=_ageing(),
        debtors=_debtors(),
        dso=_dso(),
        tie_outs=_tie_outs(),
        leaks=_leaks(),
        entities=entities,
        **_operations(),
    )


@pytest.fixture
def facts() -> Facts:
    """The company, with everything in order."""
    return _company()


@pytest.fixture
def broken(facts: Facts) -> Callable[..., Facts]:
    """The company with one row of a part changed: ``broken("tie_outs", 0, difference_amount=...)``."""

    def change(part: str, index: int, **values: Any) -> Facts:
        rows = list(getattr(facts, part))
        rows[index] = rows[index] | values
        return replace(facts, **{part: rows})

    return change


@pytest.fixture
def built(warehouse: Any, facts: Facts) -> Iterator[Settings]:
    """A warehouse whose marts and ledger hold the company."""
    settings: Settings = warehouse.settings
    with psycopg.connect(settings.warehouse_url, options="-c timezone=UTC") as connection:
        connection.execute(MARTS.read_text(encoding="utf-8"))
        fill(connection, facts)
    yield settings


def fill(connection: psycopg.Connection, facts: Facts) -> None:
    """Write facts into the tables they are read from."""
    insert(connection, "marts_receivables.rpt_ageing_monthly", facts.ageing)
    insert(connection, "marts_receivables.rpt_dso_monthly", facts.dso)
    insert(connection, "marts_receivables.rpt_control_account_tie_out", facts.tie_outs)
    insert(connection, "marts_core.dim_legal_entity", facts.entities)
    insert(connection, "marts_receivables.rpt_ageing_by_customer", [_customer_row(row) for row in facts.debtors])
    customer = {"linked_customer_id": "erp:DE01-C1", "legal_name": HOSTILE}
    insert(connection, "marts_core.dim_customer", [customer])
    linked = {"linked_customer_id": "erp:DE01-C1"}
    leaks = [{key: value for key, value in leak.items() if key != "customer_name"} | linked for leak in facts.leaks]
    texts = [leak | {"evidence": json.dumps(leak["evidence"], default=float)} for leak in leaks]
    insert(connection, "marts_leakage.fct_leak_finding", texts)
    _fill_operations(connection, facts)


def _customer_row(row: Row) -> Row:
    kept = {key: value for key, value in row.items() if key not in ("past_due_amount", "closing_rate")}
    late = row["past_due_amount"] - row["days_over_90_amount"]
    zeros = dict.fromkeys(("days_31_60_amount", "days_61_90_amount"), Decimal(0))
    return kept | zeros | {"days_1_30_amount": late, "is_intercompany": False}


def _fill_operations(connection: psycopg.Connection, facts: Facts) -> None:
    for load in facts.loads:
        group = load["flow"].split("/")[0]
        named = {key: load[key] for key in ("load_id", "flow", "source_system", "entity")} | {"source_group": group}
        started = {"state": load["state"], "error": load["error"], "fence": 1, "started_at": load["published_at"]}
        insert(connection, "ops.load", [named | started])
        counts = {key: value for key, value in load.items() if key.endswith("_rows")}
        proof = {"published_at": load["published_at"], "manifest": "{}", "code_version": load["code_version"]}
        insert(connection, "ops.load_ledger", [named | counts | proof])
    money = [{key: row[key] for key in row if key.endswith("_amount")} | _keys(row) for row in facts.ledger]
    insert(connection, "ops.load_ledger_total", [row for row in money if row["currency_code"]])
    gates = [{key: row[key] for key in row if key not in ("flow", "state")} for row in facts.gates]
    insert(connection, "ops.gate_result", gates)
    extra = {"source_system": "erp", "payload": "{}", "row_hash": b"x"}
    records = [row | extra | {"rules": [row["rules"]]} for row in facts.quarantine_records]
    for number, record in enumerate(records, start=1):
        del record["record_id"]
        record |= {"origin_load_id": record["load_id"], "landing_row": number}
    insert(connection, "quarantine.record", records)


def _keys(row: Row) -> Row:
    return {"load_id": row["load_id"], "currency_code": row["currency_code"]}


def insert(connection: psycopg.Connection, table: str, rows: Rows) -> None:
    """Insert dictionaries whose keys are columns."""
    for row in rows:
        marks = ", ".join(["%s"] * len(row))
        connection.execute(f"insert into {table} ({', '.join(row)}) values ({marks})", list(row.values()))


assert all(first < second for first, second in pairwise(MONTH_ENDS))
