"""The hours of points: what each measured in each hour of a stretch, with its gaps left open."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from telemetry.instant import HOUR_MS, Instant

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]

HALF = 0.5
"""An hour of a point is known when it has at least this share of the samples usual for it."""

USUAL = 10.0
"""Usual is what nine of ten hours with samples reach, at most one a period: a point that tells
only what is news sends fewer, and misses nothing by it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PointHours:
    """Element n: the usable samples of one point in hour n; NaN where there were none.

    `edge` has the value at the beginning of each hour and at the end of the last, of levels alone.
    """

    count: Counts
    mean: Floats
    low: Floats
    high: Floats
    edge: Floats | None = None

    @property
    def is_silent(self) -> bool:
        """Say whether there is no sample at all."""
        return not self.count.any()

    def known(self, period_ms: int) -> Flags:
        """Say which hours have enough samples for their mean to stand for the hour."""
        heard = self.count[self.count > 0]
        if not len(heard):
            return np.zeros(len(self.count), np.bool_)
        nominal = max(1.0, HOUR_MS / period_ms) if period_ms > 0 else float(heard.max())
        usual = min(nominal, float(np.percentile(heard, USUAL)))
        return (self.count >= max(1.0, HALF * usual)) & np.isfinite(self.mean)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hours:
    """`length` hours from `begin` on, which is a full hour where the water is, of some points."""

    begin: Instant
    length: int
    points: dict[str, PointHours]

    @property
    def end(self) -> Instant:
        """Return when the last hour ends."""
        return Instant(self.begin + self.length * HOUR_MS)

    @property
    def at(self) -> npt.NDArray[np.int64]:
        """Return when each hour begins."""
        return self.begin + np.arange(self.length, dtype=np.int64) * HOUR_MS

    def of(self, point: str) -> PointHours:
        """Return a point's hours; one that nobody has heard of has none."""
        return self.points.get(point) or empty(self.length)

    def within(self, start: int, end: int) -> slice:
        """Return which hours lie in [start, end)."""
        lo = max(0, min(self.length, -(-(start - self.begin) // HOUR_MS)))
        hi = max(lo, min(self.length, (end - self.begin) // HOUR_MS))
        return slice(lo, hi)


def empty(length: int) -> PointHours:
    """Return hours without a sample."""
    mean, low, high = (np.full(length, np.nan) for _ in range(3))
    return PointHours(count=np.zeros(length, np.int64), mean=mean, low=low, high=high)


def level_edges(
    at: npt.NDArray[np.int64], level: Floats, edges: npt.NDArray[np.int64], *, apart_ms_max: int
) -> Floats:
    """Return a level at some instants: on the line between the samples before and after.

    NaN where these are more than `apart_ms_max` apart. Before the first sample and behind the last,
    that sample's level where it is no further away than half of that.
    """
    if not len(at):
        return np.full(len(edges), np.nan)
    after = np.searchsorted(at, edges, side="left")
    right = at[np.minimum(after, len(at) - 1)]
    left = at[np.maximum(np.where(right == edges, after, after - 1), 0)]
    found: Floats = np.interp(edges, at, level)
    is_inside = (left <= edges) & (edges <= right)
    away = np.where(
        is_inside, right - left, 2 * np.abs(edges - np.where(edges < at[0], left, right))
    )
    found[away > apart_ms_max] = np.nan
    return found
