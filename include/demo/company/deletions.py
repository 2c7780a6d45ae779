"""Records entered by mistake, and deleted for good when time moves on: nothing is built on them, no figure needs them.

Each month brings one of every kind. Moving time on deletes the oldest of each: three in the ERP, one in the CRM.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from demo.company.calendar import add_months, business_day, local_moment
from demo.company.model import Row
from demo.company.world import World

_ENTRY, _CLEARING = 13 * 3600, 16 * 3600


class Deletions:
    """Enters the mistakes and clears them away; draws no random numbers, so that nothing else changes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._left: dict[str, list[tuple[str, Row]]] = {}

    def plan(self) -> None:
        """Put the mistakes of every month, and what each tick clears away, on the agenda."""
        world, month, number = self._world, add_months(self._world.first, 1), 1
        while month <= world.base_today:
            day = business_day("DE01", month + timedelta(days=11))
            world.plan(day, lambda day=day, number=number: self._enter(day, number))  # type: ignore[misc]
            month, number = add_months(month, 1), number + 1
        last = world.base_today
        for days in world.profile.ticks:
            day = business_day("DE01", last + timedelta(days=1 + days // 2))
            last += timedelta(days=days)
            day = min(day, last)
            world.plan(day, lambda day=day: self._clear(day))  # type: ignore[misc]

    def _enter(self, day: date, number: int) -> None:
        world, test = self._world, self._world.special["test"]
        at, book = local_moment(test.entity.zone, day, _ENTRY), world.book
        iban, prices = f"DE00TEST{number:012d}", book.tables["price_agreement"]
        bank = f"DB95{number:05d}"
        row = book.add("debtor_bank", bank, at, id=bank, debtor_id=test.id, iban=iban, known_from=day)
        self._keep("erp/customer_bank_accounts", f"{test.id}/{iban}", row)
        price = f"PA95{number:05d}"
        agreed = {**next(iter(prices.values())).values, "id": price, "debtor_id": test.id, "start_day": day}
        self._keep("erp/contract_prices", price, book.add("price_agreement", price, at, **{**agreed, "end_day": None}))
        claim = f"CP95{number:05d}"
        row = book.add(
            "claim", claim, at, id=claim, bill_id=self._settled_bill(), kind="OT", amt=Decimal("12.00"),
            opened_day=day, closed_day=day, result="R", handler="collections.desk",
        )  # fmt: skip
        self._keep("erp/disputes", claim, row)
        deal = f"006NwTest{number:06d}AAA"
        row = book.add(
            "Opportunity", deal, at, Id=deal, Name=f"Entered twice {day:%Y-%m}", AccountId=test.account_id,
            CurrencyIsoCode="EUR", LegalEntity__c=test.entity.code, StageName="Negotiation", IsClosed=False,
            IsWon=False, CloseDate=day + timedelta(days=60), Amount=Decimal("100.00"), Type="New Business",
            ErpOrderNumber__c=None, DuplicateOf__c=None, PurchaseOrderPending__c=False, SalesRep__c="J. Weber",
        )  # fmt: skip
        self._keep("crm/opportunities", deal, row)

    def _settled_bill(self) -> str:
        bills = self._world.book.tables["bill_header"].values()
        return str(next(row.values["id"] for row in bills if row.values["company_id"] == "DE01"))

    def _keep(self, flow: str, key: str, row: Row) -> None:
        self._left.setdefault(flow, []).append((key, row))

    def _clear(self, day: date) -> None:
        for flow, rows in self._left.items():
            if rows:
                key, row = rows.pop(0)
                row.deleted_at = local_moment(self._world.special["test"].entity.zone, day, _CLEARING)
                self._world.truth.case("deleted_in_source", day, flow=flow, key=key)
