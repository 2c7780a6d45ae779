"""Dates of the sample company: business days, month ends and the clock of each legal entity.

The calendar is fixed; nothing here reads the wall clock. A company day D ends at 22:30 UTC of D: everything that
happened on the local day D of any entity is recorded before, everything of D + 1 after.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

FIRST_DAY = date(2025, 1, 1)
CLOSING_TIME = time(22, 30)
_FRIDAY_SATURDAY = frozenset({"KW01"})


def month_end(day: date) -> date:
    """The last day of the month of ``day``."""
    following = date(day.year + day.month // 12, day.month % 12 + 1, 1)
    return following - timedelta(days=1)


def add_months(day: date, months: int) -> date:
    """``day`` moved by whole months; the day of the month is cut to the length of the month."""
    index = day.year * 12 + day.month - 1 + months
    first = date(index // 12, index % 12 + 1, 1)
    return first.replace(day=min(day.day, month_end(first).day))


def last_day(months: int) -> date:
    """The last day of a history of ``months`` months."""
    return add_months(FIRST_DAY, months) - timedelta(days=1)


def month_ends(first: date, last: date) -> list[date]:
    """Every month end between both days, inclusive."""
    ends, day = [], month_end(first)
    while day <= last:
        ends.append(day)
        day = month_end(day + timedelta(days=1))
    return ends


def is_business_day(entity_code: str, day: date) -> bool:
    """Whether the entity works on that day (Kuwait rests on Friday and Saturday)."""
    weekend = (4, 5) if entity_code in _FRIDAY_SATURDAY else (5, 6)
    return day.weekday() not in weekend


def business_day(entity_code: str, day: date) -> date:
    """``day`` itself, or the next business day of the entity."""
    while not is_business_day(entity_code, day):
        day += timedelta(days=1)
    return day


def add_business_days(entity_code: str, day: date, count: int) -> date:
    """``count`` business days after ``day``; with 0 the day itself or the next business day."""
    day = business_day(entity_code, day)
    for _ in range(count):
        day = business_day(entity_code, day + timedelta(days=1))
    return day


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@cache
def _utc_offset(zone: str, day: date) -> timedelta:
    offset = datetime.combine(day, time(12), _zone(zone)).utcoffset()
    return offset if offset is not None else timedelta(0)


def local_moment(zone: str, day: date, seconds: int) -> datetime:
    """The UTC moment ``seconds`` after local midnight of ``day`` (office hours: no daylight-saving edge)."""
    return datetime.combine(day, time(0), UTC) + timedelta(seconds=seconds) - _utc_offset(zone, day)


def closing_moment(day: date) -> datetime:
    """The UTC moment at which the company day ends."""
    return datetime.combine(day, CLOSING_TIME, UTC)
