"""What was learnt of a zone's net inflow, as the engine uses it: an artefact of `ModelPublished`.

A trainer outside the fold works out by the zone's own calendar what each of the coming hours should
bring about the level of its day, and how far off that usually is. The engine adds the level, which
it takes from the last days that are not under suspicion.
"""

from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np

from server.engine.detectors.grid import Floats
from telemetry.instant import DAY_MS, HOUR_MS, Instant

VERSION = 1

READY = "ready"

LEVEL_DAYS = 7
"""Days of which the level is the median."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Hours from `begin` on: expected m³/h about the day's level, and sigma in m³/h; NaN: unknown.

    `levels` are (start of a day, its level in m³/h), oldest first. `threshold` is that of the quick
    CUSUM in sigmas, `slow_threshold` that of the slow one; in `past_days` of the zone's own past
    the two would have told `past_alarms`.
    """

    begin: int
    expected: Floats
    sigma: Floats
    levels: tuple[tuple[int, float], ...]
    threshold: float
    slow_threshold: float
    past_days: int
    past_alarms: int

    @classmethod
    def of(cls, artefact: dict[str, Any]) -> "Forecast | None":
        """Return what an artefact says of the net inflow; None while nothing is learnt."""
        told = artefact.get("inflow")
        if artefact.get("version") != VERSION or artefact.get("state") != READY or told is None:
            return None
        return cls(
            begin=told["begin"],
            expected=_floats(told["expected"]),
            sigma=_floats(told["sigma"]),
            levels=tuple((int(day), float(level)) for day, level in told["levels"]),
            threshold=float(told["threshold"]),
            slow_threshold=float(told.get("slow_threshold", inf)),  # none in those of older code
            past_days=int(told["past_days"]),
            past_alarms=int(told["past_alarms"]),
        )

    @property
    def alarms_a_year(self) -> float:
        """Return how many alarms a year its own past would have brought at this threshold."""
        return self.past_alarms * 365.25 / max(1, self.past_days)

    def hour(self, start: int) -> tuple[float, float] | None:
        """Return what an hour should bring about the level, and its sigma; None if unknown."""
        n = (start - self.begin) // HOUR_MS
        if not 0 <= n < len(self.expected):
            return None
        expected, sigma = float(self.expected[n]), float(self.sigma[n])
        return None if np.isnan(expected) or not sigma > 0 else (expected, sigma)

    def level(self, *, since: Instant, before: Instant) -> float:
        """Return the level: the median of the last whole days after `since` and before `before`.

        Where there is none, of the last days whatever they are.
        """
        days = [v for day, v in self.levels if day > since and day + DAY_MS <= before]
        chosen = sorted(days[-LEVEL_DAYS:] or [v for _, v in self.levels[-LEVEL_DAYS:]])
        middle = len(chosen) // 2
        return chosen[middle] if len(chosen) % 2 else (chosen[middle - 1] + chosen[middle]) / 2


def _floats(values: list[float | None]) -> Floats:
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)
