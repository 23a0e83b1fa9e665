"""How much water the town asks for at an instant: a function of seed and instant, without state."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from firmware_sim.core.days import CALENDARS, Calendar
from firmware_sim.core.events import Event, Kind
from firmware_sim.core.noise import key_of, smooth_each
from firmware_sim.core.weather import Climate, Thirst, Weather
from telemetry.instant import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Instant


class Habit(StrEnum):
    """Who uses the water; the names of the demand patterns in the network file."""

    RESIDENTIAL = "RESIDENTIAL"
    COMMERCIAL = "COMMERCIAL"
    INDUSTRY = "INDUSTRY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A habit of a network file's own: multipliers, one a step, again and again.

    A week begins on a Monday, a day at midnight, of local time.
    """

    values: tuple[float, ...]
    step_ms: int

    def at(self, local_ms: int) -> float:
        """Return the multiplier at a local time, on a curve without kinks; never below zero."""
        since_monday = local_ms - _FIRST_MONDAY * DAY_MS
        if len(self.values) == 1:
            return self.values[0]
        return max(0.0, _curve(self.values, since_monday, self.step_ms))


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """Nodes that share a habit and their chances: a neighbourhood, or one customer."""

    name: str
    habit: Habit | Course
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

_PERIODS = np.array([period for period, _ in _CROWD], dtype=np.int64)
"""The same for a crowd and for one customer."""

_CHANGE_OVER_H = 1.5
"""The weekend's habit comes and goes within so many hours around midnight, not at a stroke."""

_FIRST_MONDAY = 4
"""1970-01-05, in days since 1970-01-01."""

_FESTIVAL = {Habit.RESIDENTIAL: 0.93, Habit.COMMERCIAL: 0.78, Habit.INDUSTRY: 0.62}
"""What is left of a habit's day of rest during the year's great festival."""

_SETTLES_MS = 90 * MINUTE_MS
"""A holiday or a heat wave that is made to happen comes and goes within so long."""


class Town:
    """The demand of every group of users at any instant."""

    def __init__(
        self,
        users: tuple[Users, ...],
        *,
        seed: int,
        offset_ms: Callable[[Instant], int],
        calendar: Calendar = CALENDARS["none"],
        climate: Climate | None = None,
        thirst: Thirst | None = None,
    ) -> None:
        self.users = users
        self._offset_ms = offset_ms
        self._calendar = calendar
        self._weather = Weather(climate or Climate(), seed=seed)
        self._thirst = thirst or Thirst(per_degree_above=0.0)
        self._happening: dict[str, Event] = {}
        self._habits = list(dict.fromkeys(u.habit for u in users))
        self._habit_of = np.array([self._habits.index(u.habit) for u in users], dtype=np.intp)
        moods = [_ALONE if u.alone else _CROWD for u in users]
        streams = [
            [key_of(seed, f"{u.name} {period // SECOND_MS}") for period, _ in mood]
            for u, mood in zip(users, moods, strict=True)
        ]
        shape = (len(users), len(_CROWD))
        self._keys = np.array(streams, dtype=np.uint64).reshape(shape)
        self._sizes = np.array([[s for _, s in mood] for mood in moods]).reshape(shape)

    def multipliers(self, at: Instant) -> list[float]:
        """Return, in the order of `users`, how many times its average each group takes at `at`."""
        local = self.local_ms(at)
        factor = self._thirst.factor(self.outdoor_c(at))
        holiday = 0.0
        for event in self._happening.values():
            share = _share(event, at)
            factor *= 1.0 + share * (event.numbers.get("factor", 1.0) - 1.0)
            if event.kind is Kind.HOLIDAY:
                holiday = max(holiday, share)
        usual = [
            habit.at(local)
            if isinstance(habit, Course)
            else habit_at(habit, local_ms=local, calendar=self._calendar, holiday=holiday)
            for habit in self._habits
        ]
        moods = 1.0 + (self._sizes * smooth_each(self._keys, at, _PERIODS)).sum(axis=1)
        found = np.array(usual)[self._habit_of] * np.maximum(0.05, moods) * factor
        return [float(f) for f in found]

    def local_ms(self, at: Instant) -> int:
        """Return what the town's clocks show, as ms since the epoch there."""
        return at + self._offset_ms(at)

    def outdoor_c(self, at: Instant) -> float:
        """Return the temperature of the air."""
        return self._weather.outdoor_c(at, local_ms=self.local_ms(at))

    def ground_c(self, at: Instant) -> float:
        """Return the temperature of the ground."""
        return self._weather.ground_c(local_ms=self.local_ms(at))

    def begin(self, event: Event) -> None:
        """Let a holiday or a spell of weather begin."""
        self._happening = {
            name: old for name, old in self._happening.items() if not _is_past(old, event.begin)
        }
        self._happening[event.id] = event

    def finish(self, event: Event, at: Instant) -> None:
        """Let it fade from `at` on."""
        begun = self._happening.get(event.id)
        if begun is not None:
            self._happening[event.id] = replace(begun, end=at)


def habit_at(
    habit: Habit,
    *,
    local_ms: int,
    calendar: Calendar = CALENDARS["none"],
    holiday: float = 0.0,
) -> float:
    """Return the usual multiplier of a habit at a local time, in ms since the epoch there.

    `holiday` makes it that share of a day of rest, whatever the calendar says.

    >>> habit_at(Habit.RESIDENTIAL, local_ms=3 * HOUR_MS)  # a Thursday, 03:00
    0.33
    """
    before, after, f = _around_midnight(local_ms)
    rest = max(holiday, _between(calendar.is_rest(before), calendar.is_rest(after), f))
    festival = _between(calendar.is_festival(before), calendar.is_festival(after), f)
    work = _curve(_WORKDAY[habit], local_ms, HOUR_MS)
    leisure = _curve(_WEEKEND[habit], local_ms, HOUR_MS)
    found = (1.0 - rest) * work + rest * leisure
    return found * (1.0 + festival * (_FESTIVAL[habit] - 1.0)) if festival else found


def _curve(values: tuple[float, ...], ms: int, step_ms: int) -> float:
    """Return the value between the steps on a curve without kinks (Catmull and Rom 1974)."""
    n, rest = divmod(ms, step_ms)
    f = rest / step_ms
    a, b, c, d = (values[(n + k) % len(values)] for k in (-1, 0, 1, 2))
    return b + 0.5 * f * (c - a + f * (2 * a - 5 * b + 4 * c - d + f * (3 * (b - c) + d - a)))


def _around_midnight(local_ms: int) -> tuple[int, int, float]:
    """Return the day before, the day after and how far the one has become the other."""
    day, rest = divmod(local_ms, DAY_MS)
    hour = rest / HOUR_MS
    if hour < _CHANGE_OVER_H:
        return day - 1, day, (hour + _CHANGE_OVER_H) / (2 * _CHANGE_OVER_H)
    if hour >= 24 - _CHANGE_OVER_H:
        return day, day + 1, (hour - 24 + _CHANGE_OVER_H) / (2 * _CHANGE_OVER_H)
    return day, day, 0.0


def _between(was: float, becomes: float, f: float) -> float:
    return was + (becomes - was) * f * f * (3 - 2 * f)


def _share(event: Event, at: Instant) -> float:
    """Return how far an event has come, less how far it has gone."""
    come = _between(0.0, 1.0, min(1.0, max(0.0, (at - event.begin) / _SETTLES_MS)))
    if event.end is None:
        return come
    return come * _between(1.0, 0.0, min(1.0, max(0.0, (at - event.end) / _SETTLES_MS)))


def _is_past(event: Event, at: Instant) -> bool:
    return event.end is not None and at > event.end + _SETTLES_MS
