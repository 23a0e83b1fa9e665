"""Hours of a watch: means of closed bins over whole hours, and what stood at the end of each.

An hour begins on the hour in UTC and is closed by the bin that reaches its end; one of which less
than half the bins said something is not known. Bins are added one after another, so that no cut of
the stream changes a bit. Zones whose time is not a whole number of hours from UTC are cut by UTC.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from server.engine.detectors.grid import Bools, Floats, Ints
from server.engine.detectors.scales import onto
from telemetry.instant import HOUR_MS, MINUTE_MS

END_MS = 10 * MINUTE_MS
"""What stands at the end of an hour is the mean of so much time before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """One closed hour: the row that closed it, and values of every column, NaN where unknown."""

    row: int
    start: int
    means: Floats
    ends: Floats


class Hours:
    """The open hour of every column of one width; widths beyond an hour have none."""

    def __init__(self, n: int, *, width_ms: int) -> None:
        self._n = n
        self._width_ms = width_ms
        self._need = max(1.0, HOUR_MS // width_ms / 2)
        self.open = -1
        self.sums = np.zeros((4, n))

    def adopt(self, other: "Hours", pairs: list[tuple[int, int]]) -> None:
        """Go on with columns of another; pairs are (our column, its column)."""
        self.open = other.open
        self.sums[:, [a for a, _ in pairs]] = other.sums[:, [b for _, b in pairs]]

    def begin_anew(self) -> None:
        """Forget the open hour: the world was unseen for a long time."""
        self.open = -1
        self.sums[:] = 0.0

    def run(self, start: Ints, values: Floats) -> list[Hour]:
        """Return the hours that closed bins close, oldest first; values are (bins, columns)."""
        if self._width_ms > HOUR_MS or not len(start):
            return []
        is_said = ~np.isnan(values)
        said = np.where(is_said, values, 0.0)
        closed: list[tuple[int, int, Floats]] = []
        number = start // HOUR_MS
        cuts = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(start)]
        for first, beyond in pairwise(cuts):
            hour = int(number[first]) * HOUR_MS
            if hour != self.open:
                self.open = hour
                self.sums[:] = 0.0
            late = first + int(np.searchsorted(start[first:beyond], self._late(hour)))
            self._add(said[first:beyond], is_said[first:beyond], self.sums[:2])
            if late < beyond:
                self._add(said[late:beyond], is_said[late:beyond], self.sums[2:])
            if int(start[beyond - 1]) + self._width_ms >= hour + HOUR_MS:
                closed.append((beyond - 1, hour, self.sums.copy()))
        return self._close(closed)

    def _late(self, hour: int) -> int:
        """Return the instant from which bins reach into the end of an hour."""
        return hour + HOUR_MS - END_MS - self._width_ms + 1

    def _add(self, said: Floats, is_said: Bools, sums: Floats) -> None:
        sums[0] = onto(sums[0], said)
        sums[1] += is_said.sum(axis=0)

    def _close(self, closed: list[tuple[int, int, Floats]]) -> list[Hour]:
        if not closed:
            return []
        total, count, end_total, end_count = np.stack([sums for _, _, sums in closed], axis=1)
        means = _ratio(total, count, count >= self._need)
        ends = _ratio(end_total, end_count, end_count > 0)
        return [
            Hour(row=row, start=hour, means=means[n], ends=ends[n])
            for n, (row, hour, _) in enumerate(closed)
        ]


def _ratio(total: Floats, count: Floats, known: Bools) -> Floats:
    ratio = np.full_like(total, np.nan)
    np.divide(total, count, out=ratio, where=known)
    return ratio
