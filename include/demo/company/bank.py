"""The group's bank accounts and their statements.

Days are the entity's; amounts are signed in the account's currency. A statement covers the days after the
previous one, so balances follow on and sequence numbers have no gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal

from demo.company.calendar import FIRST_DAY
from demo.company.model import BankEntry, Entity, Statement
from demo.company.money import from_euro

_OPENING_EURO = Decimal(250_000)
_BRANCH = {"DE01": ("DE", "37040044"), "GB01": ("GB", "NWBK601613"), "JP01": ("DE", "30010700"), "KW01": ("KW", "NBOK")}


def iban(country: str, account: str) -> str:
    """An IBAN with valid check digits for a national account number."""
    digits = "".join(str(int(letter, 36)) for letter in f"{account}{country}00")
    return f"{country}{98 - int(digits) % 97:02d}{account}"


def own_iban(entity: Entity, currency: str) -> str:
    """The entity's account in that currency (the Japanese company banks with a branch that has IBANs)."""
    country, branch = _BRANCH[entity.code]
    number = int(entity.code + currency, 36) % 10_000_000
    width = {"DE": 10, "GB": 8, "KW": 22}[country]
    return iban(country, f"{branch}{number:0{width}d}")


@dataclass(slots=True)
class Account:
    """One account with everything that is or will be booked on it."""

    entity: Entity
    currency: str
    iban: str
    entries: list[BankEntry] = field(default_factory=list)


class Bank:
    """All accounts of the group."""

    def __init__(self) -> None:
        self.accounts: dict[tuple[str, str], Account] = {}
        self._references = 0

    def open_account(self, entity: Entity, currency: str) -> None:
        """Open the entity's account in ``currency``."""
        self.accounts[entity.code, currency] = Account(entity, currency, own_iban(entity, currency))

    def book(
        self,
        entity: Entity,
        currency: str,
        day: date,
        amount: Decimal,
        *,
        text: str,
        party: tuple[str, str] = ("", ""),
        end_to_end_id: str = "",
        is_reversal: bool = False,
    ) -> str:
        """Book an entry on ``day`` and return the reference the bank gives it."""
        self._references += 1
        reference = f"BR{self._references:08d}"
        entry = BankEntry(reference, day, day, amount, end_to_end_id, text, party[0], party[1], is_reversal)
        self.accounts[entity.code, currency].entries.append(entry)
        return reference

    def statements(self, cuts: Sequence[date]) -> list[Statement]:
        """One statement per account and cut day, oldest first."""
        return [statement for account in self.accounts.values() for statement in _statements(account, cuts)]


def _statements(account: Account, cuts: Sequence[date]) -> list[Statement]:
    entries = sorted(account.entries, key=lambda entry: (entry.booked_on, entry.reference))
    balance = from_euro(_OPENING_EURO, account.currency)
    first, position, found = FIRST_DAY, 0, []
    for sequence, cut in enumerate(cuts, start=1):
        start = position
        while position < len(entries) and entries[position].booked_on <= cut:
            position += 1
        part = tuple(entries[start:position])
        closing = balance + sum((entry.amount for entry in part), Decimal(0))
        name = f"{account.entity.code}-{account.currency}-{sequence:04d}"
        found.append(
            Statement(
                id=name, sequence=sequence, iban=account.iban, entity_name=account.entity.name,
                currency=account.currency, first_day=first, last_day=cut, opening=balance, closing=closing,
                entries=part,
            )
        )  # fmt: skip
        balance, first = closing, cut + timedelta(days=1)
    return found
