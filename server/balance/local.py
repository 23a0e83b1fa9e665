"""Months, days and nights as a zone's clock has them, and where its hours begin."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from telemetry.errors import ConfigError
from telemetry.instant import HOUR_MS, Instant

Instants = npt.NDArray[np.int64]

YEARS = (1970, 2200)
"""Months of other years are typing errors."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")


def month_of(at: Instant, timezone: str) -> str:
    """Return the month of an instant where the water is.

    >>> month_of(Instant(0), "America/Lima")
    '1969-12'
    """
    return f"{_local(at, timezone):%Y-%m}"


def month_bounds(month: str, timezone: str) -> tuple[Instant, Instant]:
    """Return [start, end) of a month such as 2018-03. Raises `ConfigError` when it is none."""
    found = _MONTH.fullmatch(month)
    if found is None or not YEARS[0] <= int(found[1]) <= YEARS[1]:
        raise ConfigError(f"month: expected a month such as 2018-03, was {month!r}")
    first = date(int(found[1]), int(found[2]), 1)
    return midnight(first, timezone), midnight(following(first), timezone)


def following(first: date) -> date:
    """Return the first day of the next month."""
    return (first + timedelta(days=31)).replace(day=1)


def midnight(day: date, timezone: str, hour: int = 0) -> Instant:
    """Return when a day begins, or an hour of it by its clock; 24 is the next day's beginning.

    Of an hour that comes twice the first; of one that is skipped, when the clock jumps.
    """
    when = day + timedelta(days=hour // 24)
    local = datetime(when.year, when.month, when.day, hour % 24, tzinfo=ZoneInfo(timezone))
    return Instant((local - _EPOCH) // _MS)


def day_of(at: Instant, timezone: str) -> date:
    """Return the date of an instant."""
    return _local(at, timezone).date()


def days(start: Instant, end: Instant, timezone: str) -> list[date]:
    """Return every date that begins in [start, end)."""
    first = day_of(start, timezone)
    count = (day_of(Instant(end - 1), timezone) - first).days + 1 if end > start else 0
    found = [first + timedelta(days=n) for n in range(count)]
    return [d for d in found if start <= midnight(d, timezone) < end]


def windows(
    nights: Sequence[date], timezone: str, *, from_h: int, to_h: int
) -> tuple[Instants, Instants]:
    """Return when the night of each date begins and ends.

    By the clock: where it jumps ahead the window is an hour shorter, where it goes back longer.
    """
    starts = [midnight(d, timezone, from_h) for d in nights]
    ends = [midnight(d, timezone, to_h) for d in nights]
    return np.array(starts, np.int64), np.array(ends, np.int64)


def clock_hours(at: Instants, timezone: str) -> Instants:
    """Return the hour of the day of each instant."""
    return np.array([_local(a, timezone).hour for a in at.tolist()], np.int64)


def floor_hour(at: int, timezone: str) -> Instant:
    """Return the beginning of the zone's hour that holds an instant."""
    offset = _local(at, timezone).utcoffset()
    assert offset is not None
    shift = offset // _MS % HOUR_MS
    return Instant((at + shift) // HOUR_MS * HOUR_MS - shift)


def _local(at: int, timezone: str) -> datetime:
    return (_EPOCH + at * _MS).astimezone(ZoneInfo(timezone))
