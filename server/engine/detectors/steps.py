"""How far each column stands below a minute ago, and how unusual that is for it.

The statistic is the mean of the last 5 bins against the mean of the 60 bins that ended 15 bins ago.
Its scale is sqrt(noise² (1/5 + 1/60) + five² 45 w / 300 s), for bins of w seconds; the statistic's
own learnt size takes its place where that is larger. Sums are built by shifted additions in one
fixed order, so that a block of bins gives the same bits as its bins one by one.
"""

from dataclasses import dataclass

import numpy as np

from server.engine.detectors.grid import Bools, Floats
from server.engine.detectors.scales import RECENT, REFERENCE, Scales, scale_of
from telemetry.instant import SECOND_MS

RING = 75
RECENT_MIN = 3

ROOM = 4_096
ROOM_CELLS = 1_000_000
"""Bins for which there is room before the last 75 are moved to the front again; fewer where they
are bins of so many columns that they would take more than 8 MB an array."""

PRIOR_KPA = 1.5
PRIOR_OF_FLOW = 0.03
"""Five-minute change of pressure, and of inflow as its part, while nothing better is known."""

CAUTION = 1.5
"""How much wider the scale is taken until the statistic's own size is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """What is seen of a block of bins: (bins, columns) each; it does not depend on what is learnt.

    `before` and `recent` are means, NaN where nothing was said; the counts are of their bins.
    """

    before: Floats
    before_count: Floats
    recent: Floats
    recent_count: Floats

    def part(self, rows: slice, columns: slice) -> "Steps":
        """Return some bins of some columns."""
        return Steps(
            before=self.before[rows, columns],
            before_count=self.before_count[rows, columns],
            recent=self.recent[rows, columns],
            recent_count=self.recent_count[rows, columns],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Bins judged: `fall` is positive downwards, `score` the fall in its own scale."""

    reference: Floats
    recent: Floats
    fall: Floats
    scale: Floats
    score: Floats
    is_valid: Bools

    def first(self) -> "Look":
        """Return the first of the bins, its parts with one axis, (columns)."""
        return Look(
            reference=self.reference[0],
            recent=self.recent[0],
            fall=self.fall[0],
            scale=self.scale[0],
            score=self.score[0],
            is_valid=self.is_valid[0],
        )


class Ring:
    """The last 75 bins of every column before a block, and the block behind them.

    Beside each bin stand the sum and the count of it and the four before it.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._bins = np.full((RING, n), np.nan)
        self._fives = np.zeros((RING, n))
        self._counts = np.zeros((RING, n), dtype=np.int8)  # few bits: they are added often
        self._begin, self._end = 0, RING  # what lies before a block, and its end

    def __getstate__(self) -> dict[str, object]:
        return {"bins": self.tail().copy()}

    def __setstate__(self, state: dict[str, Floats]) -> None:
        self.__init__(state["bins"].shape[1])  # type: ignore[misc]  # as a new one, then filled
        self._bins[:] = state["bins"]
        self._add_up(slice(None))

    def tail(self) -> Floats:
        """Return the last 75 bins of all."""
        tail: Floats = self._bins[self._end - RING : self._end]
        return tail

    def adopt(self, other: "Ring", pairs: list[tuple[int, int]]) -> None:
        """Take over the bins of another; pairs are (our column, its column)."""
        ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
        self.tail()[:, ours] = other.tail()[:, theirs]
        self._add_up(slice(None))

    def push(self, values: Floats) -> None:
        """Go on to the next block."""
        end = self._end + len(values)
        if end > len(self._bins):
            self._grow(len(values))
            end = self._end + len(values)
        self._begin, self._end = self._end, end
        self._bins[self._begin : end] = values
        self._add_up(slice(None), first=self._begin)

    def _grow(self, rows: int) -> None:
        """Move the last 75 bins to the front of arrays with room enough for many blocks."""
        room = min(ROOM, max(4 * RING, ROOM_CELLS // max(1, self._n)))
        for name in ("_bins", "_fives", "_counts"):
            old = getattr(self, name)
            new = np.empty((max(room, RING + rows), self._n), dtype=old.dtype)
            new[:RING] = old[self._end - RING : self._end]
            setattr(self, name, new)
        self._end = RING

    def _add_up(self, columns: slice, first: int = 0) -> None:
        """Form the sums and counts of the bins from `first` on, in one fixed order."""
        begin = max(first, RECENT - 1)
        bins = self._bins[begin - RECENT + 1 : self._end, columns]
        is_said = ~np.isnan(bins)
        said = np.where(is_said, bins, 0.0)
        n = self._end - begin
        fives, counts = (
            self._fives[begin : self._end, columns],
            self._counts[begin : self._end, columns],
        )
        fives[:], counts[:] = said[:n], is_said[:n]
        for back in range(1, RECENT):
            fives += said[back : back + n]
            counts += is_said[back : back + n]

    def last(self, row: int, bins: int, columns: slice) -> Floats:
        """Return the newest bins at a row of the block, oldest first; at most 75."""
        end = self._begin + row + 1
        newest: Floats = self._bins[end - bins : end, columns]
        return newest

    def forget(self, row: int, columns: slice) -> None:
        """Forget the bins of some columns up to a row of the block, -1 for what was before it."""
        self._bins[: self._begin + row + 1, columns] = np.nan
        self._add_up(columns, first=max(0, self._begin - RING))

    def forget_all(self) -> None:
        """Forget every bin: a new reference must form."""
        self._bins[: self._end] = np.nan
        self._add_up(slice(None), first=self._end - RING)

    def see(self, row: int, columns: slice) -> Steps:
        """Return the statistic of some columns from a row of the block on."""
        begin, n = self._begin + row, self._end - self._begin - row
        recent = self._fives[begin : self._end, columns]
        recent_count = self._counts[begin : self._end, columns].astype(np.float64)
        oldest = begin - RING + RECENT
        total = self._fives[oldest : oldest + n, columns].copy()
        count = self._counts[oldest : oldest + n, columns].copy()
        for later in range(RECENT, REFERENCE, RECENT):
            total += self._fives[oldest + later : oldest + later + n, columns]
            count += self._counts[oldest + later : oldest + later + n, columns]
        before_count = count.astype(np.float64)
        return Steps(
            before=_mean(total, before_count),
            before_count=before_count,
            recent=_mean(recent, recent_count),
            recent_count=recent_count,
        )


def _mean(total: Floats, count: Floats) -> Floats:
    mean = np.full_like(total, np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean


def look(
    steps: Steps, scales: Scales, *, frozen: Floats | None, columns: slice, growth: float
) -> Look:
    """Judge bins; where `frozen` is a number it is the reference."""
    reference, is_referred = steps.before, steps.before_count >= scales.needed[columns]
    if frozen is not None:
        is_frozen = ~np.isnan(frozen)
        reference = np.where(is_frozen, frozen, reference)
        is_referred = is_referred | is_frozen
    is_valid = is_referred & (steps.recent_count >= RECENT_MIN)
    scale = _scale(scales, reference, columns, growth)
    fall = reference - steps.recent
    return Look(
        reference=reference,
        recent=steps.recent,
        fall=fall,
        scale=scale,
        score=np.where(is_valid, fall / scale, 0.0),
        is_valid=is_valid,
    )


def _scale(scales: Scales, reference: Floats, columns: slice, growth: float) -> Floats:
    """Return the scale of every bin; only what is not learnt yet depends on the bin."""
    scale = np.broadcast_to(scales.width(growth)[columns], reference.shape)
    new = np.flatnonzero(scales.is_new[columns])
    if len(new):
        scale, chosen = scale.copy(), new + columns.start
        at = reference[:, new]
        prior = np.where(scales.is_flow[chosen], PRIOR_OF_FLOW * np.abs(at), PRIOR_KPA)
        five = scales.five(np.where(np.isnan(prior), np.inf, prior), chosen)
        five *= growth * np.where(scales.is_drift_known[chosen], 1.0, CAUTION)
        scale[:, new] = scale_of(scales.noise[chosen], five, scales.drift[chosen])
    return scale


def growth_of(width_ms: int) -> float:
    """Return how much of a 5-minute change lies between reference and recent bins."""
    return float(np.sqrt(45 * width_ms / (300 * SECOND_MS)))
