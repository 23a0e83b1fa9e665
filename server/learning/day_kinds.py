"""What kind of day each day of a zone is: working day, Saturday or rest, by the zone's calendar.

A day is a count since 1970-01-01 where the zone lies. Chinese weekends that make up for a holiday
are working days; a public holiday is a day of rest whatever its weekday.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

from telemetry.instant import HOUR_MS, Instant

EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday; Monday is 0."""

SATURDAY = 5


class DayKind(IntEnum):
    """Days of one kind are alike."""

    WORK = 0
    SATURDAY = 1
    REST = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """Days off beside the weekends, and weekends that are worked."""

    off: frozenset[int] = frozenset()
    worked: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """The days of a time zone under a calendar."""

    timezone: str
    calendar: Calendar = field(default_factory=Calendar)

    def kind(self, day: int) -> DayKind:
        """Return the kind of a day."""
        weekday = weekday_of(day)
        if day in self.calendar.off or (weekday > SATURDAY and day not in self.calendar.worked):
            return DayKind.REST
        if weekday == SATURDAY and day not in self.calendar.worked:
            return DayKind.SATURDAY
        return DayKind.WORK

    def is_odd(self, day: int) -> bool:
        """Say whether little is known of a day: a holiday or its eve, or a weekend that is worked.

        There are too few of them to learn from. Christmas on a Saturday is no usual Saturday.
        """
        off = self.calendar.off
        return day in off or day + 1 in off or day in self.calendar.worked

    def start(self, day: int) -> Instant:
        """Return the instant at which a day begins."""
        return _start(self.timezone, day)

    def day(self, at: Instant) -> int:
        """Return the day of an instant."""
        local = datetime.fromtimestamp(at / 1000, ZoneInfo(self.timezone))
        return local.date().toordinal() - _EPOCH

    def hours(self, day: int) -> list[tuple[int, int]]:
        """Return (start, hour of the clock) of the hours that begin in a day: 23, 24 or 25."""
        begin, end = self.start(day), self.start(day + 1)
        zone = ZoneInfo(self.timezone)
        first = -(-begin // HOUR_MS) * HOUR_MS
        return [
            (at, datetime.fromtimestamp(at / 1000, zone).hour) for at in range(first, end, HOUR_MS)
        ]


_EPOCH = 719_163
"""The ordinal of 1970-01-01 in Python."""


def weekday_of(day: int) -> int:
    """Return the weekday of a day; Monday is 0."""
    return (day + EPOCH_WEEKDAY) % 7


@lru_cache(maxsize=4096)
def _start(timezone: str, day: int) -> Instant:
    date = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)
    local = date.replace(tzinfo=ZoneInfo(timezone))
    return Instant(round(local.timestamp() * 1000))
