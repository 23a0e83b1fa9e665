"""How far each column of a zone stands below a minute ago, and how unusual that is for it.

The statistic is the mean of the last 5 bins against the mean of the 60 bins that ended 15 bins ago.
Its scale is sqrt(noise² (1/5 + 1/60) + five² 45 w / 300 s), for bins of w seconds; the statistic's
own learnt size takes its place where that is larger.
"""

from dataclasses import dataclass

import numpy as np

from server.engine.detectors.frames import Bools, Floats
from server.engine.detectors.scales import Scales
from telemetry.instant import SECOND_MS

RING = 75
REFERENCE = 60
RECENT = 5
RECENT_MIN = 3

REFERENCE_MIN = 20
"""Bins that a reference needs where the scale of 5-minute changes is known."""

REFERENCE_MIN_UNLEARNT = 60
"""Bins that it needs where nothing is known: 75 bins pass before the first word."""

PRIOR_KPA = 1.5
PRIOR_OF_FLOW = 0.03
"""Five-minute change of pressure, and of inflow as its part, while nothing better is known."""

CAUTION = 1.5
"""How much wider the scale is taken until the statistic's own size is known."""

DRIFT_MARGIN = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One look. `fall` is positive downwards; `score` is the fall in its own scale."""

    reference: Floats
    recent: Floats
    fall: Floats
    scale: Floats
    score: Floats
    is_valid: Bools

    @property
    def more(self) -> float:
        """Return by how much the square of the inflow has grown; NaN when it is not known."""
        if not self.is_valid[-1]:
            return float("nan")
        recent, before = float(self.recent[-1]), float(self.reference[-1])
        return recent * abs(recent) - before * abs(before)


class Steps:
    """The last 75 bins of a zone's columns; the last column is the net inflow."""

    def __init__(self, n: int, *, width_ms: int) -> None:
        self._ring = np.full((RING, n), np.nan)
        self._growth = np.sqrt(45 * width_ms / (300 * SECOND_MS))

    def push(self, values: Floats) -> None:
        """Add the next bin."""
        self._ring[:-1] = self._ring[1:]
        self._ring[-1] = values

    def clear(self) -> None:
        """Forget every bin: a new reference must form."""
        self._ring[:] = np.nan

    def last(self, bins: int) -> Floats:
        """Return the newest bins, oldest first."""
        newest: Floats = self._ring[-bins:]
        return newest

    def forget(self, column: int) -> None:
        """Forget the bins of one column."""
        self._ring[:, column] = np.nan

    def recent(self, bins: int) -> Floats:
        """Return the means of the newest bins."""
        mean, _ = _mean(self._ring[-bins:])
        return mean

    def look(self, scales: Scales, frozen: Floats) -> Step:
        """Judge the newest bins; where `frozen` is a number it is the reference."""
        before, before_count = _mean(self._ring[:REFERENCE])
        recent, recent_count = _mean(self._ring[-RECENT:])
        is_frozen = ~np.isnan(frozen)
        reference = np.where(is_frozen, frozen, before)
        needed = np.where(scales.is_five_learnt, REFERENCE_MIN, REFERENCE_MIN_UNLEARNT)
        is_valid = (is_frozen | (before_count >= needed)) & (recent_count >= RECENT_MIN)
        scale = self._scale(scales, reference)
        fall = reference - recent
        return Step(
            reference=reference,
            recent=recent,
            fall=fall,
            scale=scale,
            score=np.where(is_valid, fall / scale, 0.0),
            is_valid=is_valid,
        )

    def _scale(self, scales: Scales, reference: Floats) -> Floats:
        prior = np.full(len(reference), PRIOR_KPA)
        prior[-1] = PRIOR_OF_FLOW * abs(reference[-1])
        drift = scales.drift
        growth = self._growth * np.where(drift > 0.0, 1.0, CAUTION)
        five = scales.five(np.where(np.isnan(prior), np.inf, prior)) * growth
        model = np.sqrt(scales.noise**2 * (1 / RECENT + 1 / REFERENCE) + five**2)
        widest: Floats = np.maximum(model, DRIFT_MARGIN * drift)
        return widest


def _mean(rows: Floats) -> tuple[Floats, Floats]:
    is_valid = ~np.isnan(rows)
    count = np.add.reduce(is_valid, axis=0, dtype=np.float64)
    total = np.add.reduce(np.where(is_valid, rows, 0.0), axis=0)
    mean: Floats = total / np.where(count > 0, count, np.nan)
    return mean, count
