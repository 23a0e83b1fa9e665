"""The bands that points keep: between which hourly means a point has stood for six weeks.

A band is wider than what was seen by a margin, as six weeks do not show everything. A few hours of
each side are passed over: a burst that was mended, a pump that was tested.
"""

from collections.abc import Mapping

import numpy as np

from server.engine.detectors.grid import Floats
from server.engine.registry import Point, Zone
from server.learning.past import Past
from telemetry.instant import HOUR_MS, Instant
from telemetry.point import PointId
from telemetry.units import Quantity

KNOWN_MIN = 14 * 18
"""Hours that must be known before a point has a band: two weeks, but for what is missing."""

TRIMMED = 0.003
"""Part of the hours that is passed over at each end: three of six weeks'."""

MARGIN = 0.1
"""Of the width: how far beyond what was seen the band reaches."""

FLOOR = 0.01
"""Of the middle: no margin is less, as a regulated pressure hardly moves for weeks."""

_WATCHED = (Quantity.PRESSURE, Quantity.LEVEL, Quantity.FLOW)


def banded(zone: Zone, points: Mapping[PointId, Point]) -> list[PointId]:
    """Return the points of a zone that have a band: pressures, and what else is watched there."""
    watched = {*(i.point for i in zone.inflow), *(s.point for s in zone.storage)}
    return [
        name
        for name in sorted(points)
        if (point := points[name]).zone == zone.id
        and point.quantity in _WATCHED
        and (point.quantity is Quantity.PRESSURE or name in watched or point.is_limited)
    ]


def learnt_of(
    zone: Zone, points: Mapping[PointId, Point], past: Past, window: tuple[Instant, Instant]
) -> dict[str, list[float]]:
    """Return the band of each point of a zone that is known well enough, in house units."""
    names = banded(zone, points)
    begin, end = (Instant(at // HOUR_MS * HOUR_MS) for at in window)
    if not names or begin >= end:
        return {}
    low, high = bands_of(past.means(names, begin, end))
    return {
        name: [_rounded(low[n]), _rounded(high[n])]
        for n, name in enumerate(names)
        if low[n] <= high[n]
    }


def bands_of(means: Floats) -> tuple[Floats, Floats]:
    """Return the lower and upper end of each column's band; NaN where too little is known.

    `means` are (hours, points), NaN where unknown.
    """
    count = (~np.isnan(means)).sum(axis=0)
    columns = np.arange(means.shape[1])
    low, middle, high = (np.full(means.shape[1], np.nan) for _ in range(3))
    known = columns[count >= KNOWN_MIN]
    ordered = np.sort(means[:, known], axis=0)  # NaN last
    trim = np.floor(TRIMMED * count[known]).astype(np.int64)
    nth = np.arange(len(known))
    low[known] = ordered[trim, nth]
    high[known] = ordered[count[known] - 1 - trim, nth]
    middle[known] = ordered[count[known] // 2, nth]
    margin = np.maximum(MARGIN * (high - low), FLOOR * np.abs(middle))
    return low - margin, high + margin


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
