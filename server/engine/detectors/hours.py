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
        closed: list[Hour] = []
        number = start // HOUR_MS
        cuts = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(start)]
        for first, beyond in pairwise(cuts):
            hour = int(number[first]) * HOUR_MS
            if hour != self.open:
                self.open = hour
                self.sums[:] = 0.0
            self._add(start[first:beyond], values[first:beyond])
            if int(start[beyond - 1]) + self._width_ms >= hour + HOUR_MS:
                closed.append(self._close(beyond - 1, hour))
        return closed

    def _add(self, start: Ints, values: Floats) -> None:
        is_said = ~np.isnan(values)
        said = np.where(is_said, values, 0.0)
        self.sums[0] = onto(self.sums[0], said)
        self.sums[1] = onto(self.sums[1], is_said.astype(np.float64))
        late = start + self._width_ms > self.open + HOUR_MS - END_MS
        if late.any():
            self.sums[2] = onto(self.sums[2], said[late])
            self.sums[3] = onto(self.sums[3], is_said[late].astype(np.float64))

    def _close(self, row: int, hour: int) -> Hour:
        total, count, end_total, end_count = self.sums
        known = count >= self._need
        return Hour(
            row=row,
            start=hour,
            means=_ratio(total, count, known),
            ends=_ratio(end_total, end_count, end_count > 0),
        )


def _ratio(total: Floats, count: Floats, known: Bools) -> Floats:
    ratio = np.full(len(total), np.nan)
    np.divide(total, count, out=ratio, where=known)
    return ratio
