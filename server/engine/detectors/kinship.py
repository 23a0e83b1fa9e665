"""What the pressures of a zone owe to each other and to its inflow: learnt lesson by lesson.

A lesson is at least twelve bins and two minutes. From one lesson to the one after the next, each
pressure moves by its own share of what the others move by, and by its own slope on the square of
the inflow. What is left is its excess: an instrument that goes its own way has one, and the others
have none. Arrays are (zones, points), NaN where a zone has fewer points.
"""

import numpy as np

from server.engine.detectors.grid import Floats
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
        has_flow = ~np.isnan(square)
        more = np.where(has_flow, square, 0.0)[:, None]
        is_known = ~np.isnan(change) & ~np.isnan(others)[:, None]
        own = np.where(is_known, change, 0.0)
        common = np.where(np.isnan(others), 0.0, others)[:, None]
        products = (common * common, common * more, more * more, own * common, own * more)
        self.count += is_known
        rate = np.where(is_known, 1.0 / np.clip(self.count, 1.0, self._memory), 0.0)
        for n, product in enumerate(products):
            self.moments[n] += rate * (product - self.moments[n])
        self._solve()

    def _solve(self) -> None:
        """Fit share and slope; few lessons leave them near one and nothing."""
        both, cross, flows, own_both, own_flow = self.moments
        weight = PRIOR_LESSONS * PRIOR_KPA2 / np.clip(self.count, 1.0, None)
        a, c = both + weight, 1.05 * flows + 1e-9
        p = own_both + weight
        bottom = a * c - cross * cross
        self.share = np.clip((p * c - cross * own_flow) / bottom, -1.0, 3.0)
        self.slope = (a * own_flow - cross * p) / bottom

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
