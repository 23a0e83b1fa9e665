"""How much each column of a zone moves in a normal life: learnt, robust, and never from an event.

A column is a pressure point or, last, the zone's net inflow. Three scales are learnt:
`noise`, from one bin to the next; `five`, from one 5-minute mean to the next, also from imported
history; and `drift`, the size of the very statistic that the fall detector judges. Beside them
stands what each pressure owes to the inflow in a normal life: `owed`.
"""

import math

import numpy as np

from server.engine.detectors.frames import Bools, Floats
from telemetry.instant import MINUTE_MS, Instant, bin_start

FIVE_MS = 5 * MINUTE_MS

FIVE_LEARNT = 12
"""Changes of 5-minute means after which their scale stands on its own: one hour."""

DRIFT_LEARNT = 600
"""Bins after which the size of the statistic itself is known."""

_DIFFERENCE = math.sqrt(math.pi) / 2  # mean |a - b| of two equal normals, to their sigma
_ABSOLUTE = math.sqrt(math.pi / 2)  # mean |a| of a normal, to its sigma
_FORGET = 0.99995  # of the largest fall, each 5 minutes: two thirds are left after four weeks


class Mean:
    """Running mean of magnitudes per column, each clipped at a multiple of the mean so far."""

    def __init__(self, n: int, *, memory: int, trusted: int, clip: float) -> None:
        self.mean = np.zeros(n)
        self.count = np.zeros(n)
        self._memory = memory
        self._trusted = trusted
        self._clip = clip

    def learn(self, magnitudes: Floats) -> None:
        """Take in one magnitude of each column; NaN where there is none."""
        is_valid = ~np.isnan(magnitudes)
        roof = np.where(self.count >= self._trusted, self._clip * self.mean, np.inf)
        clipped = np.minimum(np.where(is_valid, magnitudes, 0.0), roof)
        self.count += is_valid
        rate = 1.0 / np.clip(self.count, 1.0, self._memory)
        self.mean += np.where(is_valid, rate * (clipped - self.mean), 0.0)

    def adopt(self, other: "Mean", pairs: list[tuple[int, int]]) -> None:
        """Take over what another has learnt; pairs are (our column, its column)."""
        for ours, theirs in pairs:
            self.mean[ours] = other.mean[theirs]
            self.count[ours] = other.count[theirs]


class Owed:
    """The fall of each pressure that goes with more water, and how well that is known.

    Head is lost with about the square of the flow, so the regressor is the change of flow². One
    slope per column, learnt by the ratio of two running means.
    """

    def __init__(self, n: int) -> None:
        self.product = np.zeros(n)
        self.square = np.zeros(n)
        self.rest = Mean(n, memory=3_600, trusted=100, clip=3.0)

    def fall(self, more: float) -> Floats:
        """Return the fall that goes with a change of flow² by `more`."""
        slope = self.product / np.where(self.square > 0.0, self.square, np.inf)
        owed: Floats = np.maximum(slope, 0.0) * more
        return owed

    @property
    def sigma(self) -> Floats:
        """Return sigma of what is left of a fall; infinite until it is learnt."""
        is_learnt = self.rest.count >= DRIFT_LEARNT
        return np.where(is_learnt, _ABSOLUTE * self.rest.mean, np.inf)

    def learn(self, falls: Floats, more: float) -> None:
        """Learn from one look at which nothing happened; NaN where there is no fall."""
        if math.isnan(more):
            return
        self.rest.learn(np.abs(falls - self.fall(more)))
        rate = 1.0 / np.clip(self.rest.count, 1.0, 3_600.0)
        is_valid = ~np.isnan(falls)
        product = np.where(is_valid, falls, 0.0) * more
        self.product += np.where(is_valid, rate * (product - self.product), 0.0)
        self.square += np.where(is_valid, rate * (more * more - self.square), 0.0)

    def adopt(self, other: "Owed", pairs: list[tuple[int, int]]) -> None:
        """Take over what another has learnt; pairs are (our column, its column)."""
        self.rest.adopt(other.rest, pairs)
        for ours, theirs in pairs:
            self.product[ours] = other.product[theirs]
            self.square[ours] = other.square[theirs]


class FiveMinutes:
    """Means of whole 5-minute bins, from values that come in the order of time."""

    def __init__(self, n: int) -> None:
        self._start = Instant(-1)
        self._sums = np.zeros(n)
        self._counts = np.zeros(n)

    def turn(self, at: Instant) -> tuple[Instant, Floats] | None:
        """Move on to the bin that holds `at`; return the one that was left, if any."""
        start = bin_start(at, FIVE_MS)
        if start <= self._start:
            return None
        left = None
        if self._start >= 0:
            counts = np.where(self._counts > 0, self._counts, np.nan)
            left = (self._start, self._sums / counts)
        self._start = start
        self._sums = np.zeros_like(self._sums)
        self._counts = np.zeros_like(self._counts)
        return left

    def add(self, column: int, value: float) -> None:
        """Add one value to the present bin."""
        self._sums[column] += value
        self._counts[column] += 1

    def add_all(self, values: Floats) -> None:
        """Add one value of every column, NaN for none."""
        is_valid = ~np.isnan(values)
        self._sums += np.where(is_valid, values, 0.0)
        self._counts += is_valid


class Scales:
    """What is normal for the columns of one zone. `floor` is the least noise of each column."""

    def __init__(self, *, floor: Floats) -> None:
        n = len(floor)
        self._floor = floor
        self.by_bin = Mean(n, memory=120, trusted=20, clip=5.0)
        self.by_five = Mean(n, memory=288, trusted=FIVE_LEARNT, clip=4.0)
        self.by_look = Mean(n, memory=3_600, trusted=100, clip=3.0)
        self.largest_fall = np.zeros(n)
        self.owed = Owed(n)
        self._last = np.full(n, np.nan)
        self._last_five = np.full(n, np.nan)
        self._last_five_start = Instant(-1)

    @property
    def noise(self) -> Floats:
        """Return sigma from one bin to the next."""
        return np.maximum(self._floor, _DIFFERENCE * self.by_bin.mean)

    @property
    def drift(self) -> Floats:
        """Return sigma of the statistic; 0 until it is learnt."""
        is_learnt = self.by_look.count >= DRIFT_LEARNT
        return np.where(is_learnt, _ABSOLUTE * self.by_look.mean, 0.0)

    @property
    def is_five_learnt(self) -> Bools:
        """Say for which columns the scale of 5-minute changes stands on its own."""
        return self.by_five.count >= FIVE_LEARNT

    def five(self, prior: Floats) -> Floats:
        """Return sigma of 5-minute changes, at least `prior` while too few were seen."""
        learnt = np.maximum(self._floor, _ABSOLUTE * self.by_five.mean)
        return np.where(self.is_five_learnt, learnt, np.maximum(learnt, prior))

    def learn_bin(self, values: Floats, is_fresh: Bools) -> None:
        """Learn from the next bin."""
        self.by_bin.learn(np.where(is_fresh, np.abs(values - self._last), np.nan))
        self._last = values

    def learn_look(self, falls: Floats, more: float) -> None:
        """Learn from the statistic of a bin in which nothing happened, and the change of flow²."""
        self.by_look.learn(np.abs(falls))
        self.owed.learn(falls, more)

    def learn_five(self, start: Instant, means: Floats) -> None:
        """Learn from the next 5-minute means."""
        if start == self._last_five_start + FIVE_MS:
            change = means - self._last_five
            self.by_five.learn(np.abs(change))
            fall = np.where(np.isnan(change), 0.0, -change)
            self.largest_fall = np.maximum(self.largest_fall * _FORGET, fall)
        self._last_five = means
        self._last_five_start = start

    def forget_last(self) -> None:
        """Do not compare what comes next with what came before an event or a gap."""
        self._last[:] = np.nan
        self._last_five_start = Instant(-1)

    def adopt(self, other: "Scales", pairs: list[tuple[int, int]]) -> None:
        """Take over what was learnt before the registry changed."""
        self.by_bin.adopt(other.by_bin, pairs)
        self.by_five.adopt(other.by_five, pairs)
        self.by_look.adopt(other.by_look, pairs)
        self.owed.adopt(other.owed, pairs)
        for ours, theirs in pairs:
            self.largest_fall[ours] = other.largest_fall[theirs]
