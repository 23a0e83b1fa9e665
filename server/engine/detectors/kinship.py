"""What the pressures of a zone owe to each other and to its inflow: learnt lesson by lesson.

A lesson is at least twelve bins and two minutes. From one lesson to the one after the next, each
pressure moves by its own share of what the others move by, and by its own slope on the square of
the inflow. What is left is its excess: an instrument that goes its own way has one, and the others
have none. Arrays are (zones, points), NaN where a zone has fewer points.
"""

from dataclasses import dataclass

import numpy as np

from server.engine.detectors.grid import Bools, Floats
from server.engine.detectors.scales import Mean
from telemetry.instant import DAY_MS

SPAN_MIN_MS = 120_000
ROWS_MIN = 12

MEMORY_MS = 14 * DAY_MS
PRIOR_LESSONS = 20
PRIOR_KPA2 = 0.25
"""How much evidence it takes to believe that a point does not move as the others do."""

EXCESS_FLOOR = 0.4
"""kPa: no relation is known better."""

FLOW_SIGMAS = 1.5
KPA_PER_PART = 200.0
"""A leak of a tenth of the inflow was seen to move the point beside it by 9 kPa more than the
others; what may hide in the inflow must not explain half of what an instrument is blamed for."""

BLIND_KPA = 20.0
"""Where the inflow is not known, a leak can do all that is less."""

_ABSOLUTE = float(np.sqrt(np.pi / 2))

MEDIAN_MIN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What lessons, one after another, would teach: what is known before the first comes first.

    Of each lesson `excess`, `sigma` and `lessons` are as it is judged, (lessons, zones, points).
    """

    excess: Floats
    sigma: Floats
    lessons: Floats
    moments: Floats
    count: Floats
    share: Floats
    slope: Floats
    left: tuple[Floats, Floats]
    flow: tuple[Floats, Floats]


class Kinship:
    """The shares, slopes and sizes of excess of all points of some zones."""

    def __init__(self, shape: tuple[int, int], *, span_ms: int) -> None:
        zones, points = shape
        self._memory = max(50, MEMORY_MS // span_ms)
        self.share, self.slope = np.ones(shape), np.zeros(shape)
        self.moments = np.zeros((5, zones, points))  # of others², others·flow, flow², twice own
        self.count = np.zeros(shape)
        self.left = Mean(zones * points, memory=min(1_000, self._memory), trusted=8, clip=3.0)
        self.flow = Mean(zones, memory=min(1_000, self._memory), trusted=8, clip=3.0)
        self.shape = shape

    @property
    def lessons(self) -> Floats:
        """Return from how many lessons the excess of each point is known."""
        return self.left.count.reshape(self.shape)

    @property
    def sigma(self) -> Floats:
        """Return sigma of the excess."""
        learnt = _ABSOLUTE * self.left.mean.reshape(self.shape)
        return np.maximum(EXCESS_FLOOR, learnt)

    @property
    def flow_sigma(self) -> Floats:
        """Return sigma of the change of each inflow."""
        return _ABSOLUTE * self.flow.mean

    def excess(self, change: Floats, others: Floats, square: Floats) -> Floats:
        """Return what is left of changes: `others` is the zone's, `square` that of flow²."""
        more = np.where(np.isnan(square), 0.0, square)[:, None]
        left: Floats = change - self.share * others[:, None] - self.slope * more
        return left

    def learn(self, change: Floats, others: Floats, square: Floats, flow: Floats) -> None:
        """Learn from the changes of one lesson; NaN teaches nothing."""
        self.learn_slopes(change, others, square)
        left = self.excess(change, others, square)
        is_known = ~np.isnan(left)
        size = np.abs(left).reshape(1, -1)
        clipped = self.left.clipped(size)[0]
        told = is_known.reshape(-1).astype(np.float64)
        self.left.learn(np.where(told > 0, clipped, 0.0), told)
        size = np.abs(flow)[None]
        told = (~np.isnan(flow)).astype(np.float64)
        self.flow.learn(np.where(told > 0, self.flow.clipped(size)[0], 0.0), told)

    def learn_slopes(self, change: Floats, others: Floats, square: Floats) -> None:
        """Learn share and slope alone, from changes of another length of time than a lesson's."""
        is_known, products = _taught(change, others, square)
        self.count += is_known
        rate = np.where(is_known, 1.0 / np.clip(self.count, 1.0, self._memory), 0.0)
        self.moments += rate * (products - self.moments)
        self.share, self.slope = _solved(self.moments, self.count)

    def course(self, change: Floats, others: Floats, square: Floats, flow: Floats) -> Course:
        """Return what lessons would teach, (lessons, zones, points) and (lessons, zones)."""
        is_known, products = _taught(change, others, square)
        count = np.concatenate([self.count[None], self.count + is_known.cumsum(axis=0)])
        rates = np.where(is_known, 1.0 / np.clip(count[1:], 1.0, self._memory), 0.0)
        moments = np.empty((len(count), *self.moments.shape))
        moments[0] = moment = self.moments
        for n in range(len(change)):
            moment = moment + rates[n] * (products[n] - moment)
            moments[n + 1] = moment
        shares, slopes = _solved(moments[1:], count[1:])
        share = np.concatenate([self.share[None], shares])
        slope = np.concatenate([self.slope[None], slopes])
        more = np.where(np.isnan(square), 0.0, square)[:, :, None]
        common = others[:, :, None]
        left = change - share[1:] * common - slope[1:] * more
        known = self.left.course(np.abs(left).reshape(len(left), 1, -1))
        return Course(
            excess=change - share[:-1] * common - slope[:-1] * more,
            sigma=np.maximum(EXCESS_FLOOR, _ABSOLUTE * known[0][:-1]).reshape(change.shape),
            lessons=known[1][:-1].reshape(change.shape),
            moments=moments,
            count=count,
            share=share,
            slope=slope,
            left=known,
            flow=self.flow.course(np.abs(flow)[:, None]),
        )

    def follow(self, course: Course, lessons: int) -> None:
        """Learn from so many lessons of a course."""
        if lessons:
            self.moments, self.count = course.moments[lessons].copy(), course.count[lessons].copy()
            self.share, self.slope = course.share[lessons].copy(), course.slope[lessons].copy()
            self.left.follow(course.left, lessons)
            self.flow.follow(course.flow, lessons)

    def adopt(self, other: "Kinship", pairs: list[tuple[tuple[int, int], tuple[int, int]]]) -> None:
        """Take over what was learnt; pairs are (our cell, its cell)."""
        for ours, theirs in pairs:
            self.share[ours], self.slope[ours] = other.share[theirs], other.slope[theirs]
            self.moments[:, ours[0], ours[1]] = other.moments[:, theirs[0], theirs[1]]
            self.count[ours] = other.count[theirs]
        width, its = self.shape[1], other.shape[1]
        cells = [(a[0] * width + a[1], b[0] * its + b[1]) for a, b in pairs]
        self.left.adopt(other.left, cells)
        self.flow.adopt(other.flow, sorted({(a[0], b[0]) for a, b in pairs}))


def _taught(change: Floats, others: Floats, square: Floats) -> tuple[Bools, Floats]:
    """Return which changes teach something, and their five products: (…, 5, zones, points)."""
    more = np.where(np.isnan(square), 0.0, square)[..., None]
    is_known = ~np.isnan(change) & ~np.isnan(others)[..., None]
    own = np.where(is_known, change, 0.0)
    common = np.where(np.isnan(others), 0.0, others)[..., None]
    products = np.empty((*change.shape[:-2], 5, *change.shape[-2:]))
    pairs = ((common, common), (common, more), (more, more), (own, common), (own, more))
    for n, (one, other) in enumerate(pairs):
        products[..., n, :, :] = one * other
    return is_known, products


def _solved(moments: Floats, count: Floats) -> tuple[Floats, Floats]:
    """Fit share and slope; few lessons leave them near one and nothing."""
    both, cross, flows, own_both, own_flow = np.moveaxis(moments, -3, 0)
    weight = PRIOR_LESSONS * PRIOR_KPA2 / np.clip(count, 1.0, None)
    a, c = both + weight, 1.05 * flows + 1e-9
    p = own_both + weight
    bottom = a * c - cross * cross
    share = np.clip((p * c - cross * own_flow) / bottom, -1.0, 3.0)
    return share, (a * own_flow - cross * p) / bottom


def span_ms(width_ms: int) -> int:
    """Return how long a lesson is over bins of one width."""
    rows = max(ROWS_MIN, -(-SPAN_MIN_MS // width_ms))
    return rows * width_ms


def may_be_water(own: float, flow: float, before: float, sigma: float) -> bool:
    """Say whether a leak that came or was mended can have moved one point by `own`.

    As much as the inflow's change and unrest let hide, in the direction that would explain it.
    """
    more = max(0.0, flow if own < 0 else -flow) + FLOW_SIGMAS * sigma
    return bool(KPA_PER_PART * more > abs(own) * abs(before))


def mean_of(rows: Floats, *, least: int) -> Floats:
    """Return means over the first axis, added one row after another; NaN where few are known."""
    is_said = ~np.isnan(rows)
    count = is_said.sum(axis=0)
    total = np.add.accumulate(np.where(is_said, rows, 0.0), axis=0)[-1]
    mean: Floats = np.full_like(total, np.nan)
    np.divide(total, count, out=mean, where=count >= least)
    return mean


def middle(values: Floats, *, least: int = MEDIAN_MIN) -> Floats:
    """Return the median along the last axis, NaN where fewer than `least` are known."""
    size = values.shape[-1]
    ordered = np.sort(values, axis=-1).reshape(-1)
    count = size - np.isnan(ordered).reshape(-1, size).sum(axis=-1)
    begin = np.arange(0, ordered.size, size)
    a = ordered[begin + np.maximum(count - 1, 0) // 2]
    b = ordered[begin + np.minimum(count // 2, size - 1)]
    found: Floats = np.where(count >= least, (a + b) / 2, np.nan)
    return found.reshape(values.shape[:-1])
