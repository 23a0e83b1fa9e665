"""The habits of pressures: hours of the clock on working days and days of rest, and their noise.

Tables are (days, 24, points), kPa, NaN where nothing is known. A day is its level, the mean of its
hours, and its shape about it, of which the median over the days of a kind is the habit. Noise is
what is left when the level of the days before is taken away too: in sigmas by MAD, and over whole
days, less what the zone does, as the variance in the long run that sets the threshold.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from server.engine.detectors.grid import Bools, Floats
from server.engine.detectors.kinship import middle
from server.engine.detectors.point_habit import CLOCK, NO_SLOT
from server.engine.detectors.point_seasons import CLIP, COMMON, OTHERS_MIN, REFERENCE, Middles
from server.engine.registry import Point, Zone
from server.learning.day_kinds import DayKind, Days
from server.learning.habits import KIND_MIN, KNOWN_HOURS, MAD
from server.learning.past import Past
from telemetry.instant import HOUR_MS, Instant
from telemetry.point import PointId
from telemetry.units import Quantity

DAYS_MIN = 14
"""Known days that a point needs before it has a habit."""

COMING = 9
"""Days that are told beforehand: a week, and two more should a training fail."""

FLOOR = 0.5
"""Of the middle sigma: no hour's sigma is less."""

RESOLUTION_KPA = 0.1
"""Nor less than what instruments resolve: 1 cm of water."""

LEVEL_DAYS = 7
LEVEL_DAYS_MIN = 3
"""Days before one, of which the level is the median; fewer than the second say nothing."""

THRESHOLD_MIN, THRESHOLD_MAX = 40.0, 120.0
A_YEAR = 0.1
"""Alarms a year that chance may bring; the threshold is raised until it does not bring more."""

HOURS_A_YEAR = 8766


def learnt_of(
    zone: Zone,
    points: Mapping[PointId, Point],
    past: Past,
    window: tuple[Instant, Instant],
    days: Days,
    day: int,
) -> dict[str, Any] | None:
    """Return what the days in a window show of a zone's pressures, for the days from `day` on.

    None where they are too few for a point to be told from its zone.
    """
    names = pressures(zone, points)
    chosen = _days_in(days, window)
    if len(names) <= OTHERS_MIN or len(chosen) < DAYS_MIN:
        return None
    table = table_of(past, names, days, chosen)
    rests = np.array([is_rest(days, d) for d in chosen], dtype=np.bool_)
    is_odd = np.array([days.is_odd(d) for d in chosen], dtype=np.bool_)
    table[is_odd] = np.nan
    usual, sigma, variance = habits_of(table, rests)
    coming = [hour for d in range(day, day + COMING) for hour in _slots(days, d)]
    told = {}
    for n, name in enumerate(names):
        if np.isnan(variance[n]):
            continue
        threshold = threshold_of(float(variance[n]))
        told[name] = {
            "usual": [_rounded(v) for v in usual[:, n].tolist()],
            "sigma": [_rounded(v, 3) for v in sigma[:, n].tolist()],
            "threshold": _rounded(threshold),
            "a_year": _rounded(alarms_a_year(threshold, float(variance[n])), 3),
        }
    if not told:
        return None
    return {"begin": coming[0][0], "slots": [slot for _, slot in coming], "points": told}


def pressures(zone: Zone, points: Mapping[PointId, Point]) -> list[PointId]:
    """Return the pressures that stand in a zone, by name."""
    return [
        name
        for name in sorted(points)
        if points[name].zone == zone.id and points[name].quantity is Quantity.PRESSURE
    ]


def is_rest(days: Days, day: int) -> bool:
    """Say whether a day is one of rest; Saturdays are."""
    return days.kind(day) is not DayKind.WORK


def _slots(days: Days, day: int) -> list[tuple[int, int]]:
    """Return (start, slot) of the hours of a day."""
    first = CLOCK if is_rest(days, day) else 0
    return [(at, NO_SLOT if days.is_odd(day) else first + clock) for at, clock in days.hours(day)]


def _days_in(days: Days, window: tuple[Instant, Instant]) -> list[int]:
    """Return the days that lie in a window whole."""
    begin, end = window
    if begin >= end:
        return []
    found = range(days.day(begin), days.day(end) + 1)
    return [d for d in found if begin <= days.start(d) and days.start(d + 1) <= end]


def table_of(past: Past, names: list[PointId], days: Days, chosen: list[int]) -> Floats:
    """Return the hours of some days: (days, 24, points).

    Where a clock is set back, the mean of the two hours that it names alike; where it is set on,
    NaN.
    """
    begin = Instant(days.start(chosen[0]) // HOUR_MS * HOUR_MS)
    end = Instant(-(-days.start(chosen[-1] + 1) // HOUR_MS) * HOUR_MS)
    means = past.means(names, begin, end)
    total, count = (np.zeros((len(chosen), CLOCK, len(names))) for _ in range(2))
    hours = [(n, at, clock) for n, d in enumerate(chosen) for at, clock in days.hours(d)]
    rows = np.array([(at - begin) // HOUR_MS for _, at, _ in hours], dtype=np.int64)
    cells = np.array([(n, clock) for n, _, clock in hours], dtype=np.int64).T
    values = means[rows]
    np.add.at(total, tuple(cells), np.where(np.isnan(values), 0.0, values))
    np.add.at(count, tuple(cells), ~np.isnan(values))
    table = np.full_like(total, np.nan)
    np.divide(total, count, out=table, where=count > 0)
    return table


def habits_of(table: Floats, rests: Bools) -> tuple[Floats, Floats, Floats]:
    """Return (48, points) of what is usual, (24, points) of sigma, and each point's variance.

    The variance in the long run, of an hour in squared sigmas. NaN in the variance where a point is
    not known well enough: fewer than 14 days, or an hour of the clock that is never known.
    """
    means = _means(table)
    is_known = ~np.isnan(means)
    shaped = table - means[:, None]
    usual = np.concatenate([_shape(shaped, rests, is_rest=r) for r in (False, True)])
    left = table - np.where(rests[:, None, None], usual[CLOCK:], usual[:CLOCK])
    errors = left - _before(_means(left))[:, None]
    sigma = MAD * _median(np.abs(errors))
    sigma = np.maximum(sigma, np.maximum(FLOOR * _median(sigma), RESOLUTION_KPA))
    z = errors / sigma
    others = Middles([0] * z.shape[2]).of(z.reshape(-1, z.shape[2])).reshape(z.shape)
    off = _means(np.clip(z - COMMON * others, -CLIP, CLIP))
    variance = CLOCK * (MAD * _median(np.abs(off))) ** 2
    is_learnt = (is_known.sum(axis=0) >= DAYS_MIN) & ~np.isnan(usual).any(axis=0)
    return usual, sigma, np.where(is_learnt & ~np.isnan(sigma).any(axis=0), variance, np.nan)


def _means(table: Floats) -> Floats:
    """Return the mean of each day: (days, points); NaN where too few hours are known."""
    is_said = ~np.isnan(table)
    count = is_said.sum(axis=1)
    total = np.where(is_said, table, 0.0).sum(axis=1)
    means: Floats = np.where(count >= KNOWN_HOURS, total / np.maximum(count, 1), np.nan)
    return means


def _median(rows: Floats) -> Floats:
    """Return the median over the first axis of what is known."""
    return middle(np.moveaxis(rows, 0, -1), least=1)


def _shape(shaped: Floats, rests: Bools, *, is_rest: bool) -> Floats:
    """Return the median of the days of a kind; of all days where those are too few."""
    mine = rests == is_rest
    chosen = shaped[mine] if mine.sum() >= KIND_MIN else shaped
    return _median(chosen)


def _before(levels: Floats) -> Floats:
    """Return of each day the median level of the days before it; NaN where they are too few."""
    before = np.full_like(levels, np.nan)
    for day in range(1, len(levels)):
        before[day] = middle(levels[max(0, day - LEVEL_DAYS) : day].T, least=LEVEL_DAYS_MIN)
    return before


def threshold_of(variance: float) -> float:
    """Return the threshold in sigmas at which chance brings few enough alarms; capped.

    >>> threshold_of(2.0), round(threshold_of(20.0), 1)
    (40.0, 70.4)
    """
    low, high = THRESHOLD_MIN, THRESHOLD_MAX
    if alarms_a_year(low, variance) <= A_YEAR:
        return low
    drift = 2 * REFERENCE / variance
    odds = 2 * HOURS_A_YEAR * 2 * REFERENCE**2 / variance / A_YEAR
    return float(min(high, np.log(odds) / drift))


def alarms_a_year(threshold: float, variance: float) -> float:
    """Return how many alarms a year chance brings, both ways together.

    A sum with drift -k and variance v an hour passes h every v / 2k² exp(2kh / v) hours or so
    (Siegmund 1985, without the correction for the overshoot).
    """
    rate = 2 * REFERENCE**2 / variance if variance > 0 else 0.0
    return float(2 * HOURS_A_YEAR * rate * np.exp(-2 * REFERENCE * threshold / max(variance, 0.01)))


def _rounded(value: float, digits: int = 5) -> float:
    return float(f"{value:.{digits}g}")
