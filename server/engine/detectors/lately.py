"""The last days of hourly means, and by how much each column stands below its own last days.

A leak lowers the pressures near it more than the others. Each hour is compared with the same hour
of the clock on the days before, so that the town's habits cancel; what the middle point of a zone
lost is common to all and says nothing of the place.
"""

import numpy as np

from server.engine.detectors.grid import Floats
from server.engine.detectors.hours import Hour
from telemetry.instant import HOUR_MS

DAYS = 5
"""Days that an hour is compared with, and at least `DAYS_MIN` of them must be known."""

DAYS_MIN = 2
HOURS_MAX = 24
"""Hours of a rise that are looked at: the newest of them."""

_DAY = 24
_ROWS = _DAY * (DAYS + 1) + HOURS_MAX


class Lately:
    """Hourly means of `n` columns over the last week; rows of hours long past are written over."""

    def __init__(self, n: int) -> None:
        self.means = np.full((_ROWS, n), np.nan)
        self.starts = np.full(_ROWS, -1, dtype=np.int64)

    def add(self, hour: Hour) -> None:
        """Take in a closed hour."""
        row = hour.start // HOUR_MS % _ROWS
        self.means[row], self.starts[row] = hour.means, hour.start

    def adopt(self, other: "Lately", pairs: list[tuple[int, int]]) -> None:
        """Go on with columns of another; pairs are (our column, its column)."""
        self.starts = other.starts.copy()
        self.means[:, [a for a, _ in pairs]] = other.means[:, [b for _, b in pairs]]

    def drops(self, columns: range, since: int, until: int) -> Floats:
        """Return by how much each column stood below its last days in the hours after `since`.

        The mean over the hours up to the one that begins at `until`; NaN where too little is known.
        """
        first = max(since + HOUR_MS, until - (HOURS_MAX - 1) * HOUR_MS)
        total, count = np.zeros(len(columns)), np.zeros(len(columns))
        for start in range(first, until + 1, HOUR_MS):
            now = self._row(start, columns)
            before, days = np.zeros(len(columns)), np.zeros(len(columns))
            for back in range(1, DAYS + 1):
                row = self._row(start - back * _DAY * HOUR_MS, columns)
                is_known = ~np.isnan(row)
                before += np.where(is_known, row, 0.0)
                days += is_known
            is_told = ~np.isnan(now) & (days >= DAYS_MIN)
            drop = before / np.maximum(days, 1.0) - now
            total += np.where(is_told, drop, 0.0)
            count += is_told
        drops: Floats = np.where(count > 0, total / np.maximum(count, 1.0), np.nan)
        return drops

    def _row(self, start: int, columns: range) -> Floats:
        row = start // HOUR_MS % _ROWS
        if self.starts[row] != start:
            return np.full(len(columns), np.nan)
        found: Floats = self.means[row, columns.start : columns.stop]
        return found
