"""Times as people write them in stories: `+1h30m`, `02:10`, `day 3 02:10`, `sunday 02:00`."""

import re
from collections.abc import Callable

from telemetry.instant import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Instant

OffsetOf = Callable[[Instant], int]
"""By how many ms the town's clocks are ahead of UTC at an instant."""

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_UNITS = {"d": DAY_MS, "h": HOUR_MS, "m": MINUTE_MS, "s": SECOND_MS}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+")
_PART = re.compile(r"(\d+(?:\.\d+)?)([dhms])")
_CLOCK = re.compile(r"(?:(?:day\s+(\d{1,4})|([a-z]+day))\s+)?(\d{1,2}):(\d{2})(?::(\d{2}))?")

_EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday; Monday is 0."""


def duration_ms(text: str) -> int:
    """Return the length of a time such as `1h30m` or `45s`. Raises `ValueError`.

    >>> duration_ms("1h30m")
    5400000
    """
    if _DURATION.fullmatch(text) is None:
        raise ValueError(f"expected a length of time such as 1h30m, was {text!r}")
    return round(sum(float(n) * _UNITS[unit] for n, unit in _PART.findall(text)))


def moment(told: int | str, *, origin: Instant, offset_ms: OffsetOf) -> Instant:
    """Return the instant that is meant in a story which begins at `origin`. Raises `ValueError`.

    A time of day is the first one at or after the origin; `day 1` is the origin's own day.
    """
    if isinstance(told, int):
        return Instant(told)
    text = told.strip().lower()
    if text.startswith("+"):
        return Instant(origin + duration_ms(text[1:].strip()))
    found = _CLOCK.fullmatch(text)
    if found is None:
        raise ValueError(
            "expected a time such as +1h30m, 02:10, day 3 02:10 or 2026-11-20T02:10:00Z,"
            f" was {told!r}"
        )
    nth, weekday, hour, minute, second = found.groups()
    of_day = int(hour) * HOUR_MS + int(minute) * MINUTE_MS + int(second or 0) * SECOND_MS
    if of_day >= DAY_MS or int(minute) > 59 or int(second or 0) > 59:
        raise ValueError(f"expected a time of day from 00:00 to 23:59, was {told!r}")
    if weekday is not None and weekday not in WEEKDAYS:
        raise ValueError(f"expected one of {', '.join(WEEKDAYS)}, was {weekday!r}")
    today = (origin + offset_ms(origin)) // DAY_MS
    if nth is not None:
        return _at_local((today + int(nth) - 1) * DAY_MS + of_day, offset_ms)
    for day in range(today, today + 9):
        at = _at_local(day * DAY_MS + of_day, offset_ms)
        if at >= origin and weekday in {None, WEEKDAYS[(day + _EPOCH_WEEKDAY) % 7]}:
            return at
    raise AssertionError("a week has every weekday")


def _at_local(local_ms: int, offset_ms: OffsetOf) -> Instant:
    guess = Instant(local_ms - offset_ms(Instant(local_ms)))
    return Instant(local_ms - offset_ms(guess))
