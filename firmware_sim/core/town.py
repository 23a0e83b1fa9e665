"""How much water the town asks for at an instant: a function of seed and instant, without state."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from firmware_sim.core.noise import Key, key_of, smooth
from telemetry.instant import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Instant


class Habit(StrEnum):
    """Who uses the water; the names of the demand patterns in the network file."""

    RESIDENTIAL = "RESIDENTIAL"
    COMMERCIAL = "COMMERCIAL"
    INDUSTRY = "INDUSTRY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """Nodes that share a habit and their chances: a neighbourhood, or one customer."""

    name: str
    habit: Habit
    alone: bool


def _hours(text: str) -> tuple[float, ...]:
    numbers = tuple(float(n) for n in text.split())
    assert len(numbers) == 24
    return numbers


_WORKDAY = {
    Habit.RESIDENTIAL: _hours(
        ".42 .36 .33 .33 .38 .62 1.12 1.52 1.48 1.24 1.10 1.12"
        " 1.20 1.08 .94 .90 .98 1.18 1.46 1.62 1.50 1.24 .90 .60"
    ),
    Habit.COMMERCIAL: _hours(
        ".35 .32 .30 .30 .32 .40 .62 .95 1.30 1.55 1.60 1.62"
        " 1.66 1.58 1.55 1.52 1.45 1.34 1.22 1.10 .95 .72 .52 .40"
    ),
    Habit.INDUSTRY: _hours(
        ".70 .68 .66 .66 .68 .74 .92 1.15 1.28 1.32 1.32 1.26"
        " 1.12 1.24 1.32 1.32 1.26 1.14 1.02 .94 .88 .84 .80 .74"
    ),
}

_WEEKEND = {
    Habit.RESIDENTIAL: _hours(
        ".50 .42 .37 .35 .36 .45 .68 1.05 1.42 1.58 1.52 1.42"
        " 1.38 1.24 1.10 1.06 1.12 1.26 1.46 1.56 1.46 1.24 .96 .68"
    ),
    Habit.COMMERCIAL: _hours(
        ".34 .31 .29 .29 .30 .35 .48 .68 .90 1.10 1.22 1.30"
        " 1.34 1.30 1.26 1.22 1.18 1.12 1.04 .94 .80 .62 .48 .39"
    ),
    Habit.INDUSTRY: _hours(
        ".52 .50 .50 .50 .50 .52 .58 .64 .68 .70 .70 .68"
        " .64 .66 .68 .68 .66 .62 .58 .56 .54 .54 .53 .52"
    ),
}

_CROWD = ((12 * HOUR_MS, 0.022), (35 * MINUTE_MS, 0.014), (4 * MINUTE_MS, 0.009), (20_000, 0.006))
"""How far a neighbourhood strays from its habit, and how long a mood lasts."""

_ALONE = ((12 * HOUR_MS, 0.06), (35 * MINUTE_MS, 0.11), (4 * MINUTE_MS, 0.09), (20_000, 0.05))
"""The same for one customer, where nobody evens it out."""

_CHANGE_OVER_H = 1.5
"""The weekend's habit comes and goes within so many hours around midnight, not at a stroke."""

_EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday; Monday is 0."""


class Town:
    """The demand of every group of users at any instant."""

    def __init__(
        self, users: tuple[Users, ...], *, seed: int, offset_ms: Callable[[Instant], int]
    ) -> None:
        self.users = users
        self._offset_ms = offset_ms
        self._streams = tuple(_streams(u, seed=seed) for u in users)

    def multipliers(self, at: Instant) -> list[float]:
        """Return, in the order of `users`, how many times its average each group takes at `at`."""
        local = at + self._offset_ms(at)
        habits = {habit: habit_at(habit, local_ms=local) for habit in Habit}
        found = []
        for users, streams in zip(self.users, self._streams, strict=True):
            mood = 1.0
            for key, period, size in streams:
                mood += size * smooth(key, at, period)
            found.append(habits[users.habit] * max(0.05, mood))
        return found


def habit_at(habit: Habit, *, local_ms: int) -> float:
    """Return the usual multiplier of a habit at a local time, in ms since the epoch there.

    >>> habit_at(Habit.RESIDENTIAL, local_ms=3 * HOUR_MS)  # a Thursday, 03:00
    0.33
    """
    share = _weekend_share(local_ms)
    return (1.0 - share) * _course(_WORKDAY[habit], local_ms) + share * _course(
        _WEEKEND[habit], local_ms
    )


def _streams(users: Users, *, seed: int) -> tuple[tuple[Key, int, float], ...]:
    moods = _ALONE if users.alone else _CROWD
    return tuple(
        (key_of(seed, f"{users.name} {period // SECOND_MS}"), period, size)
        for period, size in moods
    )


def _course(hours: tuple[float, ...], local_ms: int) -> float:
    """Return the value between the hours on a curve without kinks (Catmull and Rom 1974)."""
    n, rest = divmod(local_ms % DAY_MS, HOUR_MS)
    f = rest / HOUR_MS
    a, b, c, d = (hours[(n + k) % 24] for k in (-1, 0, 1, 2))
    return b + 0.5 * f * (c - a + f * (2 * a - 5 * b + 4 * c - d + f * (3 * (b - c) + d - a)))


def _weekend_share(local_ms: int) -> float:
    day, rest = divmod(local_ms, DAY_MS)
    hour = rest / HOUR_MS
    if hour < _CHANGE_OVER_H:
        before, after, f = day - 1, day, (hour + _CHANGE_OVER_H) / (2 * _CHANGE_OVER_H)
    elif hour >= 24 - _CHANGE_OVER_H:
        before, after, f = day, day + 1, (hour - 24 + _CHANGE_OVER_H) / (2 * _CHANGE_OVER_H)
    else:
        before, after, f = day, day, 0.0
    was, becomes = _is_weekend(before), _is_weekend(after)
    return was + (becomes - was) * f * f * (3 - 2 * f)


def _is_weekend(day: int) -> float:
    return float((day + _EPOCH_WEEKDAY) % 7 >= 5)
