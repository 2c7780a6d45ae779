"""One bad row for every rule of every shipped contract: each must be held back under that rule's name."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any

import pytest

from o2c.contracts.entity import Column, Entity, Rule
from o2c.errors import GateStopped

Row = dict[str, str]

GOOD_VALUES = {
    "money": "10.00",
    "currency": "EUR",
    "country": "DE",
    "boolean": "true",
    "timestamp": "2026-03-01T08:00:00Z",
}
GOOD_ROWS: dict[str, Row] = {
    "invoice": {"net_amount": "8.00", "tax_amount": "2.00"},
    "credit_memo": {"net_amount": "8.00", "tax_amount": "2.00"},
    "processor_transaction": {"gross_amount": "10.00", "fee_amount": "2.00", "net_amount": "8.00"},
    "bank_statement": {"opening_balance_amount": "-5.00", "entry_net_amount": "15.00"},
    "receipt_application": {"credit_memo_id": ""},
    "customer_bank_account": {"iban": "DE89370400440532013000"},
}
BALANCED: dict[tuple[str, str], Row] = {
    ("bank_statement", "minor_units:opening_balance_amount"): {
        "opening_balance_amount": "-5.001",
        "closing_balance_amount": "9.999",
    },
    ("bank_statement", "minor_units:closing_balance_amount"): {
        "entry_net_amount": "15.001",
        "closing_balance_amount": "10.001",
    },
    ("bank_statement", "minor_units:entry_net_amount"): {
        "entry_net_amount": "15.001",
        "closing_balance_amount": "10.001",
    },
}
"""A row that broke a rule that stops would stop the whole file."""

BAD_ROWS: dict[tuple[str, str], Row] = {
    ("bank_statement", "opening_balance_amount + entry_net_amount = closing_balance_amount"): {
        "entry_net_amount": "15.01"
    },
    ("contract_price", "unit_price >= 0"): {"unit_price": "-0.01"},
    ("contract_price", "valid_to >= valid_from"): {"valid_from": "2026-03-02"},
    ("credit_hold", "released_at >= set_at"): {"released_at": "2026-03-01T07:59:59Z"},
    ("credit_memo", "total_amount = net_amount + tax_amount"): {"tax_amount": "2.01"},
    ("credit_memo", "total_amount >= 0"): {"net_amount": "-8.00", "tax_amount": "-2.00", "total_amount": "-10.00"},
    ("customer", "credit_limit_amount >= 0"): {"credit_limit_amount": "-1"},
    ("customer_bank_account", "iban ~ '^[A-Z]{2}[0-9]{2}[A-Z0-9]{8,30}$'"): {"iban": "DE89 3704 0044"},
    ("delivery", "proof_of_delivery_on >= goods_issue_on"): {"proof_of_delivery_on": "2026-02-28"},
    ("delivery_line", "shipped_quantity > 0"): {"shipped_quantity": "0"},
    ("dispute", "closed_on >= opened_on"): {"closed_on": "2026-02-28"},
    ("exchange_rate", "rate > 0"): {"rate": "0"},
    ("invoice", "due_on >= issued_on"): {"due_on": "2026-02-28"},
    ("invoice", "total_amount = net_amount + tax_amount"): {"total_amount": "10.01"},
    ("invoice", "total_amount >= 0"): {"net_amount": "-8.00", "tax_amount": "-2.00", "total_amount": "-10.00"},
    ("processor_transaction", "net_amount = gross_amount - fee_amount"): {"net_amount": "12.00"},
    ("quote_line", "quantity > 0"): {"quantity": "-1"},
    ("receipt", "amount > 0"): {"amount": "0.00"},
    ("receipt", "reversed_on >= received_on"): {"reversed_on": "2026-02-28"},
    ("receipt_application", "applied_amount >= 0"): {"applied_amount": "-0.01"},
    ("receipt_application", "discount_amount >= 0"): {"discount_amount": "-0.01"},
    ("receipt_application", "(receipt_id is null) <> (credit_memo_id is null)"): {"credit_memo_id": "CM-1"},
    ("receivable_adjustment", "amount > 0"): {"amount": "0"},
    ("return_line", "quantity > 0"): {"quantity": "0"},
    ("sales_order", "total_amount >= 0"): {"total_amount": "-10.00"},
    ("sales_order_line", "ordered_quantity > 0"): {"ordered_quantity": "0"},
    ("sales_order_line", "unit_price >= 0"): {"unit_price": "-1"},
    ("subscription_period", "ends_on >= starts_on"): {"ends_on": "2026-02-28"},
}


def good_row(entity: Entity, number: int) -> Row:
    return {column.name: _good_value(entity, column, number) for column in entity.columns.values()}


def _good_value(entity: Entity, column: Column, number: int) -> str:
    if column.name in entity.key and column.type in ("text", "integer", "date"):
        day = date(2020, 1, 1) + timedelta(days=number)
        known = GOOD_ROWS.get(entity.name, {}).get(column.name)
        return known or {"text": f"K{number}", "integer": str(number), "date": day.isoformat()}[column.type]
    if (known := GOOD_ROWS.get(entity.name, {}).get(column.name)) is not None:
        return known
    if column.type == "enum":
        return column.values[0]
    if column.type == "date":
        return "2026-03-01"
    return GOOD_VALUES.get(column.type, f"text {number}" if column.sql_type == "text" else "1")


def bad_rows(entity: Entity, rule: Rule, number: int) -> Iterator[Row]:
    """The rows that break one rule: one, or two that contradict each other."""
    good = good_row(entity, number)
    kind, _, name = rule.name.partition(":")
    if rule.name == "unique_key":
        free = [column for column in entity.columns.values() if column.name not in (*entity.key, entity.version)]
        values = {"text": "other", "boolean": "false", "rate": "7", "date": "2026-03-02"}
        column = next(column for kind in values for column in free if column.type == kind)
        yield good
        yield good | {column.name: values[column.type]}
    elif rule.name == "no_card_number":
        free = [column.name for column in entity.columns.values() if column.name not in entity.key]
        texts = [name for name in free if entity.columns[name].type == "text" and not entity.columns[name].long_number]
        yield good | {[*free[-1:], *texts][-1]: "5555 5555 5555 4444"}
    elif kind in ("type", "required", "values", "currency", "country", "minor_units"):
        values = {"type": "n/a", "required": "", "values": "nonsense", "currency": "XXX", "country": "Germany"}
        yield good | {name: values.get(kind, "1.001")} | BALANCED.get((entity.name, rule.name), {})
    else:
        yield good | BAD_ROWS[entity.name, rule.name]


DERIVED = ("unique_key", "no_card_number")


def stated(entity: Entity) -> list[str]:
    return [rule.name for rule in entity.rules if ":" not in rule.name and rule.name not in DERIVED]


def write(rows: list[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def test_every_stated_rule_has_its_bad_row(entities: Mapping[str, Entity]) -> None:
    assert {(entity.name, rule) for entity in entities.values() for rule in stated(entity)} == set(BAD_ROWS)


@pytest.fixture
def batches(entities: Mapping[str, Entity]) -> dict[str, tuple[list[Row], dict[int, str], int]]:
    """By entity: the rows of one file, the rule that the row of each number breaks, and how many rows are good."""
    result = {}
    for entity in entities.values():
        rows: list[Row] = [good_row(entity, 1)]
        broken: dict[int, str] = {}
        for number, rule in enumerate((rule for rule in entity.rules if rule.on_fail == "quarantine"), start=2):
            for row in bad_rows(entity, rule, number):
                rows.append(row)
                broken[len(rows)] = rule.name
        rows.append(good_row(entity, 900))
        result[entity.name] = (rows, broken, 2)
    return result


def test_each_rule_holds_back_its_bad_row_and_no_other(
    warehouse: Any, entities: Mapping[str, Entity], batches: dict[str, tuple[list[Row], dict[int, str], int]]
) -> None:
    flows = []
    for name, (rows, _, _) in batches.items():
        flows.append(warehouse.flows.csv(f"every/{name}", name, list(entities[name].columns), path=f"in/{name}.csv"))
        warehouse.flows.put(f"every/{name}.csv", write(rows))
    results = warehouse.sync(*flows)
    assert [str(result.error) for result in results if result.error] == []
    held: dict[str, dict[int, list[str]]] = {}
    for entity, row, rules in warehouse.rows("select entity, landing_row, rules from quarantine.record"):
        held.setdefault(entity, {})[row] = rules
    for name, (_, broken, good) in batches.items():
        assert set(held[name]) == set(broken), name
        missed = {row: rule for row, rule in broken.items() if rule not in held[name][row]}
        assert missed == {}, name
        (published,) = [result.published for result in results if result.flow == f"every/{name}"]
        assert published.rows == {"published": good, "quarantined": len(broken), "duplicate": 0}, name
        assert warehouse.value(f"select count(*) from raw.{name}") == good
        counted = dict(
            warehouse.rows("select rule, unexpected_rows from ops.gate_result where load_id = %s", published.load_id)
        )
        # What it takes to break continuity are two statements: test_continuity.
        assert {rule for rule, unexpected in counted.items() if not unexpected} - {"continuity"} == {
            rule.name for rule in entities[name].rules if rule.on_fail == "stop"
        }, name


def test_a_rule_that_stops_lets_nothing_through(warehouse: Any, entities: Mapping[str, Entity]) -> None:
    entity = entities["bank_statement"]
    (rule,) = [rule for rule in entity.rules if rule.on_fail == "stop"]
    flow = warehouse.flows.csv("bank/statements", "bank_statement", list(entity.columns))
    warehouse.flows.put("bank/statements.csv", write([good_row(entity, 1), *bad_rows(entity, rule, 2)]))
    before = warehouse.everything()
    error = warehouse.refused(flow)
    assert isinstance(error, GateStopped) and "1 rows break the rule 'opening_balance_amount + entry" in error.what
    assert rule.reason in error.what and error.where.startswith("bank/statements, load L")
    assert warehouse.everything() == before
    assert warehouse.rows("select state, error is not null from ops.load") == [("stopped", True)]
    warehouse.flows.put("bank/statements.csv", write([good_row(entity, 1), good_row(entity, 2)]))
    assert warehouse.load(flow).rows["published"] == 2


def test_minor_units_follow_the_currency(warehouse: Any, entities: Mapping[str, Entity]) -> None:
    cases = [
        ("JPY", "100", True),
        ("JPY", "100.0", True),
        ("JPY", "100.5", False),
        ("KWD", "1.234", True),
        ("KWD", "1.2345", False),
        ("EUR", "1.23", True),
        ("EUR", "1.230", True),
        ("EUR", "1.234", False),
    ]
    flow = warehouse.flows.csv("erp/receipts", "receipt", list(entities["receipt"].columns))
    rows = [
        good_row(entities["receipt"], number) | {"currency_code": currency, "amount": amount}
        for number, (currency, amount, _) in enumerate(cases)
    ]
    warehouse.flows.put("erp/receipts.csv", write(rows))
    warehouse.load(flow)
    held = {
        row
        for (row,) in warehouse.rows(
            "select landing_row from quarantine.record where 'minor_units:amount' = any (rules)"
        )
    }
    assert held == {number for number, (_, _, fits) in enumerate(cases, start=1) if not fits}


def test_a_flow_may_add_rules_of_its_own(warehouse: Any, entities: Mapping[str, Entity]) -> None:
    rules = [
        {"rule": "receipt_type = 'payment'", "on_fail": "quarantine", "reason": "No deposits here."},
        {"rule": "remittance_text not like '%;--%' and length(payer_name) < 9", "on_fail": "quarantine"},
    ]
    flow = warehouse.flows.csv("erp/receipts", "receipt", list(entities["receipt"].columns), validation=rules)
    good = good_row(entities["receipt"], 1)
    warehouse.flows.put(
        "erp/receipts.csv",
        write(
            [
                good,
                good_row(entities["receipt"], 2) | {"receipt_type": "deposit"},
                good_row(entities["receipt"], 3) | {"remittance_text": "a';--b"},
            ]
        ),
    )
    warehouse.load(flow)
    assert warehouse.rows("select landing_row, rules, reason, owner from quarantine.record order by 1") == [
        (2, ["receipt_type = 'payment'"], "No deposits here.", "finance"),
        (3, [rules[1]["rule"]], f"The rule '{rules[1]['rule']}' does not hold.", "finance"),
    ]
