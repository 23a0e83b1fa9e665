"""What was learnt of the pressures of a zone, as the engine uses it: a part of `ModelPublished`.

A trainer outside the fold works out, by the zone's own calendar, to which slot of its habit each of
the coming hours belongs: an hour of the clock on a working day or on a day of rest.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from server.engine.detectors.grid import Floats, Ints
from telemetry.instant import HOUR_MS
from telemetry.point import PointId

CLOCK = 24
SLOTS = 2 * CLOCK
"""Hours of the clock on working days, and behind them those on days of rest."""

NO_SLOT = -1
"""Of an hour of which little is known beforehand: a holiday, its eve, a weekend that is worked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointHabit:
    """One pressure: what each slot brings about its level and each hour's sigma, in kPa.

    `threshold` is that of its sum in sigmas, which chance passes `a_year` times a year.
    """

    usual: Floats
    sigma: Floats
    threshold: float
    a_year: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """The pressures of a zone, and the slots of the hours from `begin` on."""

    begin: int
    slots: Ints
    points: dict[PointId, PointHabit]

    @classmethod
    def of(cls, artefact: dict[str, Any]) -> "Habits | None":
        """Return what an artefact says of the pressures; None where it says nothing of them."""
        told = artefact.get("habits")
        if told is None:
            return None
        points = {
            PointId(name): PointHabit(
                usual=np.array(habit["usual"], dtype=np.float64),
                sigma=np.array(habit["sigma"], dtype=np.float64),
                threshold=float(habit["threshold"]),
                a_year=float(habit["a_year"]),
            )
            for name, habit in told["points"].items()
        }
        slots = np.array(told["slots"], dtype=np.int64)
        return cls(begin=int(told["begin"]), slots=slots, points=points)

    def slot(self, start: int) -> int:
        """Return the slot of an hour; `NO_SLOT` where nothing is said of it."""
        n = (start - self.begin) // HOUR_MS
        return int(self.slots[n]) if 0 <= n < len(self.slots) else NO_SLOT
