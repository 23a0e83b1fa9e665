"""Time bins of one zone: samples come in any order, frames of one instant go out in order.

A bin closes on the first tick at or after its end and a grace. A sample later than that is in the
history only: it never re-opens a bin. A point slower than the zone's bin keeps its last value for
one and a half of its periods; `is_fresh` tells a new value from a kept one.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from server.engine.registry import Inflow, Point
from telemetry.instant import MINUTE_MS, SECOND_MS, Instant, bin_start
from telemetry.units import Quantity

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]

AHEAD_MAX_MS = MINUTE_MS
"""A sample further ahead of the server's clock is not live."""

GAP_MAX = 300
"""Bins. After a longer gap we begin anew in place of closing every empty bin of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What each point of a zone said in one closed bin; NaN where it said nothing good."""

    start: Instant
    values: Floats
    is_fresh: Bools


class Frames:
    """The open bins of one zone. The points are columns, in the order they were given."""

    def __init__(self, points: tuple[Point, ...], *, width_ms: int) -> None:
        self.width_ms = width_ms
        self._grace_ms = grace_ms(width_ms)
        self._n = len(points)
        kept = [round(1.5 * p.period_ms) if p.period_ms > width_ms else 0 for p in points]
        self._keep_ms = np.array(kept, dtype=np.int64)
        self._last = np.full(self._n, np.nan)
        self._last_at = np.zeros(self._n, dtype=np.int64)
        self._open: dict[Instant, tuple[list[float], list[int]]] = {}
        self._next: Instant | None = None

    def take(self, column: int, *, at: Instant, value: float, now: Instant) -> bool:
        """Take in one good sample; say whether its bin is still open."""
        start = bin_start(at, self.width_ms)
        if self._next is None:
            self._next = start
        if start < self._next or at > now + AHEAD_MAX_MS:
            return False
        sums = self._open.get(start)
        if sums is None:
            sums = self._open[start] = ([0.0] * self._n, [0] * self._n)
        sums[0][column] += value
        sums[1][column] += 1
        return True

    def close(self, now: Instant) -> tuple[bool, list[Frame]]:
        """Close the bins whose time has come; say whether a gap made us begin anew."""
        start = self._next
        if start is None:
            return False, []
        last = bin_start(Instant(now - self._grace_ms), self.width_ms)  # the first to stay open
        is_anew = (last - start) // self.width_ms > GAP_MAX
        if is_anew:
            start = Instant(last - self.width_ms)
            self._open = {at: sums for at, sums in self._open.items() if at >= start}
            self._last[:] = np.nan
        frames = []
        while start < last:
            frames.append(self._close(start))
            start = Instant(start + self.width_ms)
        self._next = start
        return is_anew, frames

    def _close(self, start: Instant) -> Frame:
        sums = self._open.pop(start, None)
        if sums is None:
            values = np.full(self._n, np.nan)
        else:
            counts = np.array(sums[1], dtype=np.float64)
            counts[counts == 0] = np.nan
            values = np.array(sums[0]) / counts
        is_fresh = ~np.isnan(values)
        self._last[is_fresh] = values[is_fresh]
        self._last_at[is_fresh] = start
        is_kept = ~is_fresh & (start - self._last_at < self._keep_ms)
        values[is_kept] = self._last[is_kept]
        return Frame(start=start, values=values, is_fresh=is_fresh)


def grace_ms(width_ms: int) -> int:
    """Return how long after its end a bin waits for stragglers: 2 s up to 60 s."""
    if width_ms <= 5 * SECOND_MS:
        return 2 * SECOND_MS
    return min(MINUTE_MS, max(2 * SECOND_MS, width_ms // 5))


def width_ms(points: tuple[Point, ...], inflow: tuple[Inflow, ...]) -> int:
    """Return the width of a zone's bins: its fastest pressure or inflow point, at least 1 s."""
    meters = [i.point for i in inflow]
    periods = [
        p.period_ms for p in points if p.quantity is Quantity.PRESSURE or p.id in meters
    ] or [p.period_ms for p in points]
    return max(SECOND_MS, min(periods, default=SECOND_MS))
