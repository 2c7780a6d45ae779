"""Every gate of the marts closes: each one is given the fault it is there for."""

from __future__ import annotations

from typing import Any

import pytest

from o2c.warehouse.dbt import BuildFailed

Marts = Any

# What is broken, and the models that are built anew from it.
FAULTS = {
    "control_account__ties_out": (
        "update raw.ledger_balance set balance_amount = balance_amount + 0.01 where balance_on = '2026-02-28'",
        ["rpt_control_account_tie_out"],
    ),
    "roll_forward__closes": (
        "update marts_receivables.fct_ar_event set movement = 'unheard_of' where source_key = 'receipt:P1'",
        ["rpt_roll_forward_monthly"],
    ),
    "ageing__adds_up_to_events": (
        "delete from intermediate.int_receivable_changes where document_id = 'INV4'",
        ["rpt_ageing_monthly", "rpt_ageing_by_customer"],
    ),
    "applications__cancel_out": (
        "delete from marts_receivables.fct_ar_event where source_key like '%P1-INV1:source'",
        [],
    ),
    "leak_findings__count_once": (
        "insert into marts_leakage.fct_leak_finding (finding_id, rule_id, source_system, lot_key)"
        " values ('1', 'L01', 'erp', 'delivery_line:1'), ('2', 'L05', 'erp', 'delivery_line:1')",
        [],
    ),
    "leak_parameters__in_force": (
        "update intermediate.leak_rule_parameters set expires_on = '2026-03-30' where rule_id = 'L05'",
        [],
    ),
}
UNITS_TWICE = (
    "insert into marts_leakage.fct_leak_finding (finding_id, rule_id, source_system, lot_key, delivery_line_id)"
    " values ('1', 'L01', 'erp', 'delivery_line:1', '1'), ('2', 'L05', 'erp', 'invoice_line:1', '1')"
)


def test_all_gates_hold_on_the_golden_ledger(golden: Marts) -> None:
    golden.dbt("test", "--select", "tag:integrity")


def test_every_gate_has_its_fault(golden: Marts, capfd: pytest.CaptureFixture[str]) -> None:
    golden.dbt("--log-level", "info", "ls", "--quiet", "--select", "tag:integrity", "--output", "name")
    listed = set(capfd.readouterr().out.split())
    assert listed == set(FAULTS)


@pytest.mark.parametrize("gate", FAULTS)
def test_a_gate_closes(spoiled: Marts, gate: str) -> None:
    fault, models = FAULTS[gate]
    spoiled.run(fault)
    if models:
        spoiled.dbt("run", "--select", *models)
    with pytest.raises(BuildFailed, match=gate):
        spoiled.dbt("test", "--select", gate)


def test_a_delivered_unit_in_two_rules_is_found(spoiled: Marts) -> None:
    spoiled.run(UNITS_TWICE)
    with pytest.raises(BuildFailed, match="leak_findings__count_once"):
        spoiled.dbt("test", "--select", "leak_findings__count_once")


@pytest.mark.parametrize(
    ("test", "fault"),
    [
        ("unique_by_fct_ar_event", "insert into {0} select * from {0} limit 1"),
        ("filled_fct_ar_event", "update {0} set effective_date = null where document_id = 'INV1'"),
    ],
)
def test_data_tests_find_doubled_and_empty_keys(spoiled: Marts, test: str, fault: str) -> None:
    spoiled.run(fault.format("marts_receivables.fct_ar_event"))
    with pytest.raises(BuildFailed, match=test):
        spoiled.dbt("test", "--select", "fct_ar_event", "--exclude-resource-type", "unit_test")
