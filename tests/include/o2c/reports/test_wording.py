from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from o2c.reports import wording
from o2c.reports.facts import Facts


def told(facts: Facts, rule: str) -> str:
    return wording.evidence(next(leak for leak in facts.leaks if leak["rule_id"] == rule)).replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("L01", "Delivery D-7001: 12 of P-42 at EUR 350.25 each, billable since 4 Feb 2026; no invoice line."),
        (
            "L03",
            "Won on 5 Feb 2026 for USD 25,000.00; no order names it, and no other order of the customer fits by amount"
            " and date.",
        ),
        ("L05", "100 billed at USD 9.50 each; contract price CP-3 is USD 10.125 from 50 EA."),
        ("L13", "JPY 980,000 of JPY 1,000,000 paid, last on 6 Feb 2026; JPY 20,000 open, and no claim covers it."),
    ],
)
def test_each_rule_tells_its_finding_in_a_sentence(facts: Facts, rule: str, sentence: str) -> None:
    assert told(facts, rule) == sentence


@pytest.mark.parametrize(
    "evidence",
    [
        {},
        {"delivery_line": None},
        {"delivery_line": {"open_quantity": "many"}},
        {"delivery_line": {"billable_on": None}},
    ],
)
def test_evidence_of_another_shape_is_told_field_by_field(facts: Facts, evidence: dict[str, Any]) -> None:
    leak = facts.leaks[0] | {"evidence": evidence}
    assert wording.evidence(leak) == (wording._fields(evidence))


def test_a_rule_without_a_sentence_names_its_fields() -> None:
    evidence = {"is_late": True, "paid": Decimal("-1200.50"), "lines": [1, 2], "payer_id": "P", "note": None}
    leak = {"rule_id": "L99", "evidence": evidence, "currency_code": "EUR"}
    assert wording.evidence(leak) == "late yes; paid −1,200.5; lines 1, 2; payer P"
    assert wording.evidence(leak | {"evidence": {}}) == "no evidence kept"


def test_documents_name_the_chain(facts: Facts) -> None:
    assert wording.documents(facts.leaks[0]) == "order O-1, delivery line DL-1"
    assert wording.documents({"business_key": "K-1"}) == "K-1"
