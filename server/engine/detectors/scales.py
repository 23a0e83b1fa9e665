"""How much each column moves in a normal life: learnt, robust, and never from an event.

A column is a pressure point or the net inflow of a zone. Three scales are learnt: `noise`, from one
bin to the next; `five`, from one 5-minute mean to the next, also from imported history; `drift`,
the size of the very statistic that the fall detector judges. Beside them stands what each pressure
owes to the inflow of its zone in a normal life: `owed`. All of them change at the end of a lesson
only, a stretch of at most 16 bins, so that a block of bins can be judged at once.
"""

import math

import numpy as np

from server.engine.detectors.grid import Bools, Floats, Ints
from telemetry.instant import MINUTE_MS

FIVE_MS = 5 * MINUTE_MS
LESSON_BINS = 16

FIVE_LEARNT = 12
"""Changes of 5-minute means after which their scale stands on its own: one hour."""

DRIFT_LEARNT = 600
"""Bins after which the size of the statistic itself is known."""

REFERENCE = 60
RECENT = 5

REFERENCE_MIN = 20
"""Bins that a reference needs where the scale of 5-minute changes is known."""

REFERENCE_MIN_UNLEARNT = 60
"""Bins that it needs where nothing is known: 75 bins pass before the first word."""

DRIFT_MARGIN = 1.1

_DIFFERENCE = math.sqrt(math.pi) / 2  # mean |a - b| of two equal normals, to their sigma
_ABSOLUTE = math.sqrt(math.pi / 2)  # mean |a| of a normal, to its sigma
_FORGET = 0.99995  # of the largest fall, each 5 minutes: two thirds are left after four weeks

_Columns = slice | Ints
_Pairs = list[tuple[int, int]]


class Mean:
    """Running mean of magnitudes per column, each clipped at a multiple of the mean so far."""

    def __init__(self, n: int, *, memory: int, trusted: int, clip: float) -> None:
        self.mean = np.zeros(n)
        self.count = np.zeros(n)
        self._memory = memory
        self._trusted = trusted
        self._clip = clip
        self._roof: Floats | None = None

    def clipped(self, magnitudes: Floats) -> Floats:
        """Return magnitudes, (bins, columns), as they may be learnt; NaN stays NaN."""
        if self._roof is None:
            self._roof = np.where(self.count >= self._trusted, self._clip * self.mean, np.inf)
        return np.minimum(magnitudes, self._roof)

    def learn(self, total: Floats, count: Floats) -> Floats:
        """Learn from the sums of some magnitudes; return how far each mean moved towards theirs."""
        self.count += count
        rate: Floats = np.minimum(1.0, count / np.clip(self.count, 1.0, self._memory))
        mean = total / np.where(count > 0, count, 1.0)
        self.mean += rate * (mean - self.mean)
        self._roof = None
        return rate

    def course(self, sizes: Floats) -> tuple[Floats, Floats]:
        """Return mean and count before the first and after each of some lessons.

        `sizes` are magnitudes, (lessons, bins, columns), NaN where nothing was said; the bins of a
        lesson are added one after another. Nothing is learnt yet; `follow` does it.
        """
        is_said = ~np.isnan(sizes)
        told = is_said.sum(axis=1).astype(np.float64)
        counts = self.count + np.concatenate([np.zeros((1, len(self.count))), told.cumsum(axis=0)])
        rates = np.minimum(1.0, told / np.clip(counts[1:], 1.0, self._memory))
        parts = np.where(told > 0, told, 1.0)
        is_trusted = counts[:-1] >= self._trusted
        every = is_trusted.all(axis=1).tolist()
        said = np.where(is_said, sizes, 0.0)
        means = np.empty_like(counts)
        means[0] = mean = self.mean
        for n in range(len(sizes)):
            roof = self._clip * mean
            if not every[n]:
                roof = np.where(is_trusted[n], roof, np.inf)
            total = np.add.accumulate(np.minimum(said[n], roof), axis=0)[-1]
            mean = mean + rates[n] * (total / parts[n] - mean)
            means[n + 1] = mean
        return means, counts

    def follow(self, course: tuple[Floats, Floats], lessons: int) -> None:
        """Learn from so many lessons of a course."""
        means, counts = course
        self.mean, self.count = means[lessons].copy(), counts[lessons].copy()
        self._roof = None

    def learn_lessons(self, sizes: Floats) -> None:
        """Learn from lessons, as in `course`."""
        if sizes.shape[1]:
            self.follow(self.course(sizes), len(sizes))

    def adopt(self, other: "Mean", pairs: _Pairs) -> None:
        """Take over what another has learnt; pairs are (our column, its column)."""
        adopt(self.mean, other.mean, pairs)
        adopt(self.count, other.count, pairs)
        self._roof = None


class Owed:
    """The fall of each pressure that goes with more water, and how well that is known.

    Head is lost with about the square of the flow, so the regressor is the change of flow². One
    slope per column, learnt by the ratio of two running means.
    """

    def __init__(self, n: int) -> None:
        self.product = np.zeros(n)
        self.square = np.zeros(n)
        self.rest = Mean(n, memory=3_600, trusted=100, clip=3.0)
        self._slope: Floats | None = None

    def fall(self, more: Floats, columns: slice) -> Floats:
        """Return the fall of columns that goes with a change of flow² by `more`."""
        if self._slope is None:
            slope = self.product / np.where(self.square > 0.0, self.square, np.inf)
            self._slope = np.maximum(slope, 0.0)
        owed: Floats = self._slope[columns] * more
        return owed

    def learn(self, said: "Lesson") -> None:
        """Learn what the quiet bins of a lesson have said."""
        rate = self.rest.learn(said["rest"], said["rests"])
        count = np.where(said["rests"] > 0, said["rests"], 1.0)
        self.product += rate * (said["product"] / count - self.product)
        self.square += rate * (said["square"] / count - self.square)
        self._slope = None

    def sigma(self, columns: slice) -> Floats:
        """Return sigma of what is left of a fall; infinite until it is learnt."""
        is_learnt = self.rest.count[columns] >= DRIFT_LEARNT
        return np.where(is_learnt, _ABSOLUTE * self.rest.mean[columns], np.inf)

    def adopt(self, other: "Owed", pairs: _Pairs) -> None:
        """Take over what another has learnt; pairs are (our column, its column)."""
        self.rest.adopt(other.rest, pairs)
        adopt(self.product, other.product, pairs)
        adopt(self.square, other.square, pairs)
        self._slope = None


class Lesson:
    """Sums over the quiet bins of one lesson; rows are added one after another, in one order."""

    NAMES = ("bin", "bins", "look", "looks", "rest", "rests", "product", "square", "five", "fives")

    def __init__(self, n: int) -> None:
        self.sums = np.zeros((len(self.NAMES), n))

    def add(self, name: str, rows: Floats, is_counted: Bools) -> None:
        """Add the counted values of rows, (bins, columns), to a sum."""
        total = self.sums[self.NAMES.index(name)]
        chosen = np.where(is_counted, rows, 0.0)
        if len(rows) == 1:
            total += chosen[0]
        else:
            total[:] = onto(total, chosen)

    def count(self, name: str, is_counted: Bools) -> None:
        """Count rows, (bins, columns)."""
        counts = self.sums[self.NAMES.index(name)]
        counts += is_counted[0] if len(is_counted) == 1 else is_counted.sum(axis=0)

    def __getitem__(self, name: str) -> Floats:
        row: Floats = self.sums[self.NAMES.index(name)]
        return row


class Scales:
    """What is normal for every column. `floor` is the least noise of each."""

    def __init__(self, *, floor: Floats, is_flow: Bools) -> None:
        n = len(floor)
        self._floor = floor
        self.is_flow = is_flow
        self.by_bin = Mean(n, memory=120, trusted=20, clip=5.0)
        self.by_five = Mean(n, memory=288, trusted=FIVE_LEARNT, clip=4.0)
        self.by_look = Mean(n, memory=3_600, trusted=100, clip=3.0)
        self.largest_fall = np.zeros(n)
        self.owed = Owed(n)
        self.lesson = Lesson(n)
        self._last_five = np.full(n, np.nan)
        self._last_five_start = np.full(n, -1, dtype=np.int64)
        self._width: Floats | None = None
        self._needed: Floats | None = None
        self._is_new: Bools | None = None

    def _changed(self) -> None:
        """Forget what was worked out from what was learnt until now."""
        self._width = self._needed = self._is_new = None

    @property
    def noise(self) -> Floats:
        """Return sigma from one bin to the next."""
        return np.maximum(self._floor, _DIFFERENCE * self.by_bin.mean)

    @property
    def is_drift_known(self) -> Bools:
        """Say for which columns the size of the statistic is known."""
        return self.by_look.count >= DRIFT_LEARNT

    @property
    def drift(self) -> Floats:
        """Return sigma of the statistic; 0 until it is learnt."""
        return np.where(self.is_drift_known, _ABSOLUTE * self.by_look.mean, 0.0)

    @property
    def is_five_learnt(self) -> Bools:
        """Say for which columns the scale of 5-minute changes stands on its own."""
        return self.by_five.count >= FIVE_LEARNT

    @property
    def is_new(self) -> Bools:
        """Say for which columns something is assumed still."""
        if self._is_new is None:
            self._is_new = ~(self.is_five_learnt & self.is_drift_known)
        return self._is_new

    @property
    def needed(self) -> Floats:
        """Return how many bins a reference needs."""
        if self._needed is None:
            needed = np.where(self.is_five_learnt, REFERENCE_MIN, REFERENCE_MIN_UNLEARNT)
            self._needed = needed.astype(np.float64)
        return self._needed

    def five(self, prior: Floats, columns: _Columns) -> Floats:
        """Return sigma of 5-minute changes, at least `prior` while too few were seen."""
        learnt = np.maximum(self._floor, _ABSOLUTE * self.by_five.mean)[columns]
        return np.where(self.is_five_learnt[columns], learnt, np.maximum(learnt, prior))

    def width(self, growth: float) -> Floats:
        """Return sigma of the statistic of every column, as if all of them were known."""
        if self._width is None:
            learnt = np.maximum(self._floor, _ABSOLUTE * self.by_five.mean)
            self._width = scale_of(self.noise, learnt * growth, self.drift)
        return self._width

    def end_lesson(self) -> None:
        """Learn what the quiet bins of a lesson have said."""
        said = self.lesson
        self.by_bin.learn(said["bin"], said["bins"])
        self.by_look.learn(said["look"], said["looks"])
        self.owed.learn(said)
        said.sums[:8] = 0.0
        self._changed()

    def end_five(self, start: int) -> None:
        """Learn from the 5-minute means that began at `start`; begin the next."""
        total, count = self.lesson["five"], self.lesson["fives"]
        means = total / np.where(count > 0, count, np.nan)
        self.learn_five(start, means, np.ones_like(means, dtype=np.bool_))
        self.lesson.sums[8:] = 0.0

    def learn_five(self, start: int, means: Floats, is_said: Bools) -> None:
        """Learn from the next 5-minute means of some columns."""
        follows = is_said & (start == self._last_five_start + FIVE_MS)
        change = np.where(follows, means - self._last_five, np.nan)
        is_known = ~np.isnan(change)
        magnitude = self.by_five.clipped(np.abs(change))
        self.by_five.learn(np.where(is_known, magnitude, 0.0), is_known.astype(np.float64))
        fall = np.where(is_known, -change, 0.0)
        largest = np.maximum(self.largest_fall * _FORGET, fall)
        self.largest_fall = np.where(follows, largest, self.largest_fall)
        self._last_five = np.where(is_said, means, self._last_five)
        self._last_five_start = np.where(is_said, start, self._last_five_start)
        self._changed()

    def forget_last_five(self, columns: slice) -> None:
        """Do not compare the next 5-minute mean with one from before an event or a gap."""
        self._last_five_start[columns] = -1
        self.lesson.sums[8:, columns] = 0.0

    def adopt(self, other: "Scales", pairs: _Pairs) -> None:
        """Take over what was learnt before the registry changed."""
        self.by_bin.adopt(other.by_bin, pairs)
        self.by_five.adopt(other.by_five, pairs)
        self.by_look.adopt(other.by_look, pairs)
        self.owed.adopt(other.owed, pairs)
        adopt(self.largest_fall, other.largest_fall, pairs)
        self._changed()


def scale_of(noise: Floats, five: Floats, drift: Floats) -> Floats:
    """Return sigma of the statistic from the parts of it that are learnt."""
    model = np.sqrt(noise**2 * (1 / RECENT + 1 / REFERENCE) + five**2)
    widest: Floats = np.maximum(model, DRIFT_MARGIN * drift)
    return widest


def onto(total: Floats, rows: Floats) -> Floats:
    """Add rows to a total, one after another: sums must not depend on how a stream was cut."""
    if len(rows) == 1 or rows.shape[1] >= WIDE:
        sums = total.copy()
        for row in rows:
            sums += row
        return sums
    accumulated: Floats = np.add.accumulate(np.concatenate([total[None], rows]), axis=0)[-1]
    return accumulated


WIDE = 256
"""Columns from which on adding row by row is quicker than one accumulation, which gives the same
bits."""


def adopt(ours: Floats, theirs: Floats, pairs: _Pairs) -> None:
    """Copy columns; pairs are (our column, its column)."""
    ours[[a for a, _ in pairs]] = theirs[[b for _, b in pairs]]
