"""Personal fields are marked: a column that sounds personal is, or it stands here with a reason."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import pytest

from o2c.contracts.entity import Column, Entity

NAME = re.compile(
    r"(^|_)(by|owner|person|contact|email|e_mail|phone|mobile|address|street|birth|payer|iban)($|_)|_name$"
)
MEANING = re.compile(
    r"\b(person|user|contact|e-mail|phone|address|name of the (payer|other party)|account of the)\b", re.IGNORECASE
)
EXEMPT = {
    ("bank_line", "account_iban"): "the company's own account",
    ("bank_statement", "account_iban"): "the company's own account",
    ("customer", "country_code"): "a country, no address",
    ("ledger_balance", "account_name"): "a ledger account",
    ("legal_entity", "legal_name"): "a company of the group",
    ("opportunity", "opportunity_name"): "a deal",
    ("product", "product_name"): "a product",
    ("project_milestone", "milestone_name"): "a step of a project",
    ("receipt_application", "is_automatic"): "yes or no",
}


def sounds_personal(column: Column) -> bool:
    return bool(NAME.search(column.name) or MEANING.search(column.description))


def unmarked(entities: Mapping[str, Entity]) -> set[tuple[str, str]]:
    return {
        (entity.name, column.name)
        for entity in entities.values()
        for column in entity.columns.values()
        if sounds_personal(column) and not column.pii
    }


def test_what_sounds_personal_is_marked_or_exempt_with_a_reason(entities: Mapping[str, Entity]) -> None:
    assert unmarked(entities) == set(EXEMPT)


@pytest.mark.parametrize("name", ["sales_person", "contact_email", "phone", "approved_by", "payer_iban"])
def test_a_new_personal_column_is_noticed(entities: Mapping[str, Entity], name: str) -> None:
    entity = entities["invoice"]
    columns = {**entity.columns, name: Column(name, "text", "Something.")}
    assert unmarked({"invoice": replace(entity, columns=columns)}) == {("invoice", name)}


def test_an_entity_names_its_personal_columns(entities: Mapping[str, Entity]) -> None:
    assert entities["receipt"].personal_columns == ("remittance_text", "payer_name", "payer_iban")
    assert entities["exchange_rate"].personal_columns == ()
