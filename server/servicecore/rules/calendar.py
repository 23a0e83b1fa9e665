"""Working time: which days are worked, from when to when, and what a limit in them comes to.

Rule 1: days are counts since 1970-01-01 where the calendar holds; instants are milliseconds UTC.
Rule 2: a year that nobody has published yet is counted as provisional, never guessed in silence and
never a reason to fail: weekdays are worked, but for the dates that the law itself names.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from telemetry.instant import DAY_MS, MINUTE_MS, Instant

EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday; Monday is 0."""
FIXED_DATES = ((1, 1), (5, 1), (5, 2), (10, 1), (10, 2), (10, 3))
"""Days off by law (全国年节及纪念日放假办法) that do not move; a year's file has the others."""
SEARCH_DAYS_MAX = 3_700
"""Ten years: a limit that has not ended by then is a mistake in the calendar."""


class Due(NamedTuple):
    """When a limit ends, and whether a day on the way belongs to an unpublished year."""

    at: Instant
    is_provisional: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Year:
    """One year's days of rest on weekdays, and its weekends that are worked."""

    number: int
    off: frozenset[int]
    worked: frozenset[int]
    is_confirmed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkCalendar:
    """Days and hours of work; `hours` are (opens, closes) in milliseconds of the day."""

    utc_offset_ms: int
    hours: tuple[tuple[int, int], ...]
    years: Mapping[int, Year] = field(default_factory=dict)

    def day(self, at: int) -> int:
        """Return the local day of an instant."""
        return (at + self.utc_offset_ms) // DAY_MS

    def time_of_day(self, at: int) -> int:
        """Return the local milliseconds since midnight."""
        return (at + self.utc_offset_ms) % DAY_MS

    def instant(self, day: int, time_of_day: int) -> Instant:
        """Return the instant of a local day and time."""
        return Instant(day * DAY_MS + time_of_day - self.utc_offset_ms)

    def is_provisional(self, day: int) -> bool:
        """Say whether the day's year is not published."""
        year = self.years.get(year_of(day))
        return year is None or not year.is_confirmed

    def is_working(self, day: int) -> bool:
        """Say whether the office is open that day."""
        year = self.years.get(year_of(day))
        if year is None:
            if civil(day)[1:] in FIXED_DATES:
                return False
        elif day in year.off:
            return False
        elif day in year.worked:
            return True
        return (day + EPOCH_WEEKDAY) % 7 < 5

    def open_spans(self, start: Instant) -> Iterator[tuple[Instant, Instant, int]]:
        """Yield (opens, closes, day) of working time from `start` on, the first cut to it."""
        first = self.day(start)
        for day in range(first, first + SEARCH_DAYS_MAX):
            if not self.is_working(day):
                continue
            for opens, closes in self.hours:
                begin, end = self.instant(day, opens), self.instant(day, closes)
                if end > start:
                    yield Instant(max(begin, start)), end, day

    def after_business(self, start: Instant, duration_ms: int) -> Due:
        """Return when that much working time has passed; none begins at the next opening."""
        left = duration_ms
        for opens, closes, day in self.open_spans(start):
            if left <= closes - opens:
                return Due(Instant(opens + left), self._passes_unpublished(start, day))
            left -= closes - opens
        raise AssertionError(f"expected working time within {SEARCH_DAYS_MAX} days")

    def business_between(self, start: Instant, end: Instant) -> int:
        """Return the working milliseconds in [start, end)."""
        total = 0
        for opens, closes, _ in self.open_spans(start):
            if opens >= end:
                break
            total += min(closes, end) - opens
        return total

    def after_working_days(self, start: Instant, days: int, *, counts_first: bool) -> Due:
        """Return the close of business of the last of so many working days.

        The day of the start is not counted (Civil Code, art. 201) unless `counts_first`; a start on
        a day of rest is never counted.
        """
        first = self.day(start)
        left = days
        for day in range(first if counts_first else first + 1, first + SEARCH_DAYS_MAX):
            left -= self.is_working(day)
            if left <= 0:
                at = self.instant(day, self.hours[-1][1])
                return Due(at, self._passes_unpublished(start, day))
        raise AssertionError(f"expected {days} working days within {SEARCH_DAYS_MAX} days")

    def working_days_between(self, start: Instant, end: Instant) -> int:
        """Return how many working days lie after the day of `start`, up to that of `end`."""
        return sum(map(self.is_working, range(self.day(start) + 1, self.day(end) + 1)))

    def _passes_unpublished(self, start: Instant, last: int) -> bool:
        return any(map(self.is_provisional, range(self.day(start), last + 1)))


def day_of(year: int, month: int, day: int) -> int:
    """Return the days from 1970-01-01 to a date (Hinnant 2013, days_from_civil).

    >>> day_of(1970, 1, 1), day_of(2024, 2, 29)
    (0, 19782)
    """
    shifted = year - (month <= 2)
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


def civil(day: int) -> tuple[int, int, int]:
    """Return (year, month, day of month) of a day.

    >>> civil(19782)
    (2024, 2, 29)
    """
    shifted = day + 719468
    era = shifted // 146097
    of_era = shifted - era * 146097
    year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    number = month + (3 if month < 10 else -9)
    return year + era * 400 + (number <= 2), number, of_year - (153 * month + 2) // 5 + 1


def year_of(day: int) -> int:
    """Return the year that a day belongs to."""
    return civil(day)[0]


def days_of(texts: Iterable[str]) -> frozenset[int]:
    """Read `2026-02-15` and `2026-02-15..2026-02-23`. Raises `ValueError` for no such date.

    >>> len(days_of(["2026-02-27..2026-03-02"]))
    4
    """
    found: set[int] = set()
    for text in texts:
        first, dots, last = text.partition("..")
        begin = _date(first)
        end = _date(last) if dots else begin
        if end < begin:
            raise ValueError(f"{text}: expected a range forwards in time")
        found.update(range(begin, end + 1))
    return frozenset(found)


def time_of(text: str) -> int:
    """Return `08:30` in milliseconds since midnight; `24:00` is the end of the day."""
    hours, colon, minutes = text.partition(":")
    if not (colon and hours.isdecimal() and minutes.isdecimal() and len(minutes) == 2):
        raise ValueError(f"{text}: expected a time such as 08:30")
    total = int(hours) * 60 + int(minutes)
    if total > 24 * 60 or int(minutes) > 59:
        raise ValueError(f"{text}: expected a time of the day")
    return total * MINUTE_MS


def _date(text: str) -> int:
    parts = text.split("-")
    if len(parts) != 3 or not all(p.isdecimal() for p in parts):
        raise ValueError(f"{text}: expected a date such as 2026-10-01")
    year, month, day = (int(p) for p in parts)
    found = day_of(year, month, day) if 1 <= month <= 12 else -1
    if not 1 <= month <= 12 or civil(found) != (year, month, day):
        raise ValueError(f"{text}: there is no such date")
    return found
