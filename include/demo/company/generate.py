"""Generate the sample company, or move its time on: pure functions of seed, scale, months and ticks."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import date, timedelta

from demo.company import cases, corrections, deletions, faults, innocents, leaks, recurring
from demo.company.calendar import FIRST_DAY, business_day, closing_moment, last_day, month_ends
from demo.company.card_processor import pay_out, settlement_month
from demo.company.master_data import add_master_data, add_rates
from demo.company.model import CRM_OBJECTS, ERP_TABLES, Company, Profile, Record, Statement
from demo.company.order_to_cash import daily_business
from demo.company.world import World
from o2c.errors import UsageError

SHORTEST_HISTORY = 6


def generate(seed: int = 7, scale: float = 1.0, months: int = 18) -> Company:
    """Make the company as it stands at the end of its history.

    Args:
        seed: any whole number; other seeds give other data with the same guarantees.
        scale: multiplies the number of ordinary orders (1.0 is about 2,000 in 18 months) and of planted leaks.
        months: length of the history from 2025-01 on; 18 makes 2026-06-30 the company's "today".

    Raises:
        UsageError: fewer than six months, or a scale that is not positive.
    """
    if months < SHORTEST_HISTORY or scale <= 0:
        raise UsageError(
            f"A sample company of {months} months at scale {scale} cannot be made.",
            next_step=f"Take {SHORTEST_HISTORY} months or more and a scale above 0.",
        )
    return simulate(Profile(seed, scale, months))


def advance(company: Company, days: int) -> Company:
    """Move the company's "today" on by ``days``: new business, and corrections of what was known already.

    Rows that did not change keep their ``updated_at``; every other one is later than the old "today".

    Raises:
        UsageError: ``days`` is not positive.
    """
    if days < 1:
        raise UsageError(f"Time cannot move on by {days} days.", next_step="Take a whole number from 1.")
    return simulate(replace(company.profile, ticks=(*company.profile.ticks, days)))


def simulate(profile: Profile) -> Company:
    """Live through every day of the profile and keep what is known at the end of the last one."""
    world = World(profile)
    add_master_data(world)
    for plan in (
        recurring.plan_recurring, cases.plan_cases, leaks.plan_leaks, innocents.plan_innocents,
        innocents.plan_house_customers, faults.plan_faults,
    ):  # fmt: skip
        plan(world)
    corrections.Corrections(world).plan()
    deletions.Deletions(world).plan()
    day = world.first
    while day <= world.today:
        world.start_day(day)
        add_rates(world, day)
        world.run_agenda(day)
        daily_business(world, day)
        pay_out(world, day)
        day += timedelta(days=1)
    return _as_of_today(world)


def _as_of_today(world: World) -> Company:
    now, cuts = closing_moment(world.today), cut_days(world.profile)
    erp = world.book.as_of(ERP_TABLES, now)
    erp["gl_balance"] = list(world.ledger.balances(cuts, now))
    return Company(
        profile=world.profile,
        today=world.today,
        erp=erp,
        crm=world.book.as_of(CRM_OBJECTS, now),
        statements=_statements(world, cuts),
        settlements=_settlements(world.book.as_of(["settlement"], now)["settlement"]),
        truth={
            "profile": {"seed": world.profile.seed, "scale": world.profile.scale, "months": world.profile.months},
            "ticks": list(world.profile.ticks),
            "today": world.today.isoformat(),
            **world.truth.as_of(world.today),
        },
        deleted=world.book.deleted(now),
    )


def cut_days(profile: Profile) -> list[date]:
    """The days on which balances are struck and bank statements end: month ends, and each "today" there was."""
    today = last_day(profile.months)
    days = {today}
    for tick in profile.ticks:
        today += timedelta(days=tick)
        days.add(today)
    return sorted({*month_ends(FIRST_DAY, today), *days})


def _statements(world: World, cuts: list[date]) -> list[Statement]:
    statements = world.bank.statements(cuts)
    base = [statement for statement in statements if statement.last_day == world.base_today]
    today = world.base_today
    for index, days in enumerate(world.profile.ticks):
        sent_again = business_day("DE01", today + timedelta(days=1))
        statements.append(replace(base[index % len(base)], resent_on=sent_again))
        today += timedelta(days=days)
    return statements


def _settlements(records: list[Record]) -> dict[str, list[Record]]:
    months: dict[str, list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: (record["occurred_at"], record["transaction_id"])):
        months[settlement_month(record)].append(record)
    return dict(months)
