"""The weather of a pretend town: seasons, days and moods, from the seed and without state."""

import math
from dataclasses import dataclass

from firmware_sim.core.noise import key_of, smooth
from telemetry.instant import DAY_MS, HOUR_MS, Instant

_YEAR_MS = 365.2425 * DAY_MS
_COLDEST_MS = 20 * DAY_MS
"""Some weeks after the shortest day; hours run from 1970-01-01, a first of January."""

_WARMEST_HOUR = 15.0
_MOODS = ((9 * DAY_MS, 1.9), (3 * DAY_MS, 1.6), (9 * HOUR_MS, 0.5))


@dataclass(frozen=True, slots=True, kw_only=True)
class Climate:
    """What is usual: the mean of the year, and how far seasons and hours stray from it, in °C."""

    mean_c: float = 16.0
    season_c: float = 11.5
    day_c: float = 3.5


class Weather:
    """The temperature outdoors and in the ground at any instant."""

    def __init__(self, climate: Climate, *, seed: int) -> None:
        self._climate = climate
        self._moods = tuple(
            (key_of(seed, f"weather {period}"), period, size) for period, size in _MOODS
        )

    def outdoor_c(self, at: Instant, *, local_ms: int) -> float:
        """Return the temperature of the air."""
        c = self._climate
        season = -math.cos(2 * math.pi * (local_ms - _COLDEST_MS) / _YEAR_MS)
        hour = local_ms % DAY_MS / HOUR_MS
        day = math.cos(2 * math.pi * (hour - _WARMEST_HOUR) / 24)
        mood = sum(size * smooth(key, at, period) for key, period, size in self._moods)
        return c.mean_c + c.season_c * season + c.day_c * day + mood

    def ground_c(self, *, local_ms: int) -> float:
        """Return the temperature where mains lie, a month behind the air and half as lively."""
        c = self._climate
        behind = local_ms - _COLDEST_MS - 35 * DAY_MS
        return c.mean_c - 0.5 * c.season_c * math.cos(2 * math.pi * behind / _YEAR_MS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thirst:
    """How much more is asked for by each degree above one temperature or below another."""

    above_c: float = 20.0
    per_degree_above: float = 0.006
    below_c: float = 0.0
    per_degree_below: float = 0.0

    def factor(self, outdoor_c: float) -> float:
        """Return how many times the usual is asked for at this temperature."""
        heat = max(0.0, outdoor_c - self.above_c) * self.per_degree_above
        return 1.0 + heat + max(0.0, self.below_c - outdoor_c) * self.per_degree_below
