from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from o2c.contracts.catalogue import load_catalogue
from o2c.errors import UsageError
from o2c.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, flows) -> Settings:  # type: ignore[no-untyped-def]
    flows.csv("shop/accounts", "customer_bank_account", ["customer_id", "iban"])
    flows.csv("bank/accounts", "customer_bank_account", ["customer_id", "iban"])
    return replace(Settings.load({}), flows_dir=flows.directory)


def test_flows_are_found_by_name_and_by_source(settings: Settings) -> None:
    catalogue = load_catalogue(settings)
    assert list(catalogue.flows) == ["bank/accounts", "shop/accounts"]
    assert catalogue.flow("shop/accounts").system == "shop"
    assert [flow.name for flow in catalogue.group("bank")] == ["bank/accounts"]


def test_an_unknown_name_lists_what_there_is(settings: Settings) -> None:
    catalogue = load_catalogue(settings)
    with pytest.raises(UsageError, match="no flow 'shop/orders'") as caught:
        catalogue.flow("shop/orders")
    assert "bank/accounts, shop/accounts" in caught.value.next_step
    with pytest.raises(UsageError, match="no source 'crm'") as caught:
        catalogue.group("crm")
    assert "bank, shop" in caught.value.next_step
