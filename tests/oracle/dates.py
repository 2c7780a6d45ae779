"""Months, windows and due dates."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Window:
    """Days from start to end, both included."""

    start: date
    end: date

    @property
    def days(self) -> int:
        return (self.end - self.start).days + 1

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and self.start <= day <= self.end


def first_of_month(day: date) -> date:
    return day.replace(day=1)


def last_of_month(day: date) -> date:
    return day.replace(day=monthrange(day.year, day.month)[1])


def add_months(day: date, months: int) -> date:
    """The same day of another month, or its last day."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def calendar_window(as_of: date, months: int) -> Window:
    """Full months before, and the month of as-of up to that day (A1)."""
    return Window(add_months(first_of_month(as_of), 1 - months), as_of)


def trailing_window(as_of: date, months: int) -> Window:
    """n months back to the day (A16).

    On the last day of a month the window is whole months: A1 says that simple and rolling 3 are equal there, and
    30 April less three months plus a day would start on 31 January.
    """
    if as_of == last_of_month(as_of):
        return calendar_window(as_of, months)
    return Window(add_months(as_of, -months) + DAY, as_of)


def months_of(window: Window) -> list[Window]:
    """The window cut at month ends, oldest first."""
    parts, start = [], window.start
    while start <= window.end:
        end = min(last_of_month(start), window.end)
        parts.append(Window(start, end))
        start = end + DAY
    return parts


def months_back(as_of: date, count: int) -> Iterator[Window]:
    """The month of as-of up to that day, then whole months, newest first."""
    for number in range(count):
        start = add_months(first_of_month(as_of), -number)
        yield Window(start, as_of if number == 0 else last_of_month(start))


def end_of_month_terms(issued_on: date, days: int) -> date:
    """ "10 EOM": month end plus n days (A11)."""
    return last_of_month(issued_on) + timedelta(days=days)


def next_business_day(day: date, holidays: Collection[date] = ()) -> date:
    while day.weekday() >= 5 or day in holidays:
        day += DAY
    return day


def last_instant(known: date | datetime) -> datetime:
    """A bare date as as-known is its last instant, UTC (A44)."""
    if isinstance(known, datetime):
        return known
    return datetime.combine(known, time.max, UTC)
