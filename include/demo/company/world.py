"""The state of a simulation while the days pass: clock, agenda, numbering, books."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from demo.company import calendar
from demo.company.bank import Bank
from demo.company.ledger import Ledger
from demo.company.model import Book, Customer, Entity, Invoice, Product, Profile, Receipt, Row
from demo.company.truth import Truth

Action = Callable[[], None]

_OFFICE_HOURS = {"order": 9, "ship": 10, "bill": 12, "cash": 11, "match": 14, "correct": 15, "early": 8}


class World:
    """One simulated company. Everything that happens later than ``today`` stays on the agenda, unseen."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.first = calendar.FIRST_DAY
        self.base_today = calendar.last_day(profile.months)
        self.today = self.base_today + timedelta(days=sum(profile.ticks))
        self.rng = Random(f"{profile.seed}")
        self.book = Book()
        self.ledger = Ledger()
        self.bank = Bank()
        self.truth = Truth()
        self.entities: dict[str, Entity] = {}
        self.products: list[Product] = []
        self.customers: list[Customer] = []
        self.special: dict[str, Customer] = {}
        self.agenda: dict[date, list[Action]] = defaultdict(list)
        self.reserved: dict[tuple[str, str], list[tuple[date, date, Decimal]]] = defaultdict(list)
        self.booked: dict[tuple[str, str], list[tuple[date, Decimal]]] = defaultdict(list)
        self.unapplied: list[tuple[Receipt, Invoice]] = []
        self.unpaid: list[Invoice] = []
        self.unsettled: list[tuple[Entity, date, Row]] = []
        self.payouts_held: dict[str, tuple[str, str, Decimal, date] | None] = {}
        self.taken: set[str] = set()
        self._counters: dict[str, int] = defaultdict(int)

    def start_day(self, day: date) -> None:
        """Give the day its own random numbers: what a day brings does not depend on how far time goes on."""
        self.rng = Random(f"{self.profile.seed}/{day.isoformat()}")

    def run_agenda(self, day: date) -> None:
        """Do what was planned for the day, in the order it was planned."""
        for action in self.agenda.pop(day, ()):
            action()

    def plan(self, day: date, action: Action) -> None:
        """Put ``action`` on the agenda of a later day."""
        self.agenda[day].append(action)

    def new_id(self, prefix: str) -> str:
        """The next key with this prefix."""
        self._counters[prefix] += 1
        return f"{prefix}{self._counters[prefix]:07d}"

    def number(self, prefix: str, day: date) -> str:
        """The next document number of the day."""
        counter = f"{prefix}-{day:%y%m%d}"
        self._counters[counter] += 1
        return f"{counter}-{self._counters[counter]:03d}"

    def at(self, entity: Entity, day: date, office: str) -> datetime:
        """A UTC moment in the entity's office hours of ``day``; ``office`` says which desk works when."""
        seconds = _OFFICE_HOURS[office] * 3600 + self.rng.randrange(3600)
        return calendar.local_moment(entity.zone, day, seconds)

    def after(self, entity: Entity, day: date, count: int) -> date:
        """``count`` business days of the entity after ``day``."""
        return calendar.add_business_days(entity.code, day, count)

    def customer_of(self, entity_code: str, **wanted: Any) -> Customer:
        """An ordinary customer of the entity whose attributes have the wanted values, chosen at random."""
        fitting = [
            customer
            for customer in self.customers
            if customer.entity.code == entity_code
            and all(getattr(customer, name) == value for name, value in wanted.items())
        ]
        return self.rng.choice(fitting)

    def fresh_customer(self, entity_code: str, currency: str, *, for_lost_deal: bool = False) -> Customer:
        """An ordinary transfer customer that no plant or case has used yet (any, once all were used).

        A quarter of them is set apart for deals without order: no other plant may book an order that fits the deal.
        """
        fitting = [
            customer
            for customer in self.customers
            if customer.entity.code == entity_code and customer.currency == currency and customer.segment != "online"
        ]
        apart = max(1, len(fitting) // 4)
        fitting = fitting[-apart:] if for_lost_deal else fitting[:-apart]
        unused = [customer for customer in fitting if customer.id not in self.taken]
        customer = self.rng.choice(unused or fitting)
        self.taken.add(customer.id)
        return customer

    def days_ago(self, entity_code: str, days: int) -> date:
        """The entity's business day on or after the day ``days`` before the end of the history."""
        return calendar.business_day(entity_code, self.base_today - timedelta(days=days))
