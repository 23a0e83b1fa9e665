"""Time bins of all points of one width: samples come in any order, rows go out in order of time.

A bin closes on the first tick at or after its end and a grace. A sample later than that is in the
history only: it never re-opens a bin. A point slower than the bin keeps its last value for one and
a half of its periods; `is_fresh` tells a new value from a kept one. How a stream is cut into blocks
changes nothing: each bin adds its samples one after another, in the order of their arrival.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from telemetry.instant import MINUTE_MS, SECOND_MS

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]
Ints: TypeAlias = NDArray[np.int64]

AHEAD_MAX_MS = MINUTE_MS
"""A sample further ahead of the server's clock is not live."""

GAP_MAX = 300
"""Bins. When one tick leaves more behind it, we begin anew in place of closing each empty one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """Good live samples on their way to the columns of a grid; arrays of one length.

    `after` counts the ticks of the block before each arrival; `now` is the instant of arrival.
    """

    after: Ints
    now: Ints
    at: Ints
    column: Ints
    value: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Closed bins, oldest first: (bins, columns), NaN where a column said nothing good.

    `tick` is the number of the tick that closed each; before `anew`, if it is a row's number, the
    world was unseen for longer than `GAP_MAX` bins.
    """

    start: Ints
    tick: Ints
    values: Floats
    is_fresh: Bools
    anew: int | None = None


class Grid:
    """The open bins of every column of one width. `periods_ms` has one entry a column."""

    def __init__(self, periods_ms: list[int], *, width_ms: int) -> None:
        self.width_ms = width_ms
        self._grace_ms = grace_ms(width_ms)
        kept = [round(1.5 * p) if p > width_ms else 0 for p in periods_ms]
        self._keep_ms = np.array(kept, dtype=np.int64)
        self._slow = np.flatnonzero(self._keep_ms)
        n = self._n = len(periods_ms)
        self.last = np.full(n, np.nan)
        self.last_at = np.zeros(n, dtype=np.int64)
        self.open: dict[int, tuple[Floats, Floats]] = {}
        self.next: int | None = None

    def adopt(self, other: "Grid", pairs: list[tuple[int, int]]) -> None:
        """Go on with the columns of a grid of the same width; pairs are (ours, theirs)."""
        self.next = other.next
        ours = [a for a, _ in pairs]
        theirs = [b for _, b in pairs]
        self.last[ours], self.last_at[ours] = other.last[theirs], other.last_at[theirs]
        for start, (sums, counts) in other.open.items():
            mine = self.open[start] = (np.zeros(self._n), np.zeros(self._n))
            mine[0][ours], mine[1][ours] = sums[theirs], counts[theirs]

    def run(self, ticks: Ints, arrivals: Arrivals) -> tuple[Rows, Bools]:
        """Close the bins whose time comes in a block; say whose bin was open when they came.

        Two ticks of a block are at most `GAP_MAX` bins apart; the first may come later than that.
        """
        ends = np.concatenate([ticks[:1], ticks[-1:]]) - self._grace_ms
        closes = ends // self.width_ms * self.width_ms  # first to stay open, at either end
        start = arrivals.at // self.width_ms * self.width_ms
        is_in_time = self._is_in_time(ticks, start, arrivals)
        column, value, after = arrivals.column, arrivals.value, arrivals.after
        if not is_in_time.all():
            start, after = start[is_in_time], after[is_in_time]
            column, value = column[is_in_time], value[is_in_time]
        first = self._first(closes, start, after)
        is_anew = len(closes) > 0 and int(closes[0]) - first > GAP_MAX * self.width_ms
        if is_anew:
            first = int(closes[0]) - self.width_ms
            self.last[:] = np.nan
        sums, counts = self._add(first, start, column, value)
        count = (int(closes[-1]) - first) // self.width_ms if len(closes) else 0
        self._keep(first, count, sums, counts)
        if len(closes):
            self.next = int(closes[-1])
        starts = first + self.width_ms * np.arange(count)
        return self._rows(starts, ticks, sums, counts, is_anew=is_anew), is_in_time

    def _first(self, closes: Ints, start: Ints, after: Ints) -> int:
        """Return the oldest bin that is open; before the first tick of all that is any bin."""
        if self.next is not None:
            return self.next
        before = [*self.open, *start[after == 0].tolist()] if len(closes) else [*self.open, *start]
        return int(min([*before, *closes[:1].tolist()], default=0))

    def _is_in_time(self, ticks: Ints, start: Ints, arrivals: Arrivals) -> Bools:
        """Say which arrivals find their bin open: the tick before them has not closed it."""
        is_open: Bools = np.ones(len(start), dtype=np.bool_)
        if self.next is not None:
            is_open = start >= self.next
        if len(ticks):
            closes_at = start + self.width_ms + self._grace_ms
            is_open = np.where(arrivals.after > 0, closes_at > ticks[arrivals.after - 1], is_open)
        return is_open & (arrivals.at <= arrivals.now + AHEAD_MAX_MS)

    def _add(self, first: int, start: Ints, column: Ints, value: Floats) -> tuple[Floats, Floats]:
        """Return sums and counts of the bins from `first` on, what was open and is new together."""
        row = (start - first) // self.width_ms
        if len(row) and int(row.min()) < 0:  # before a gap nothing is wanted
            is_wanted = row >= 0
            row, column, value = row[is_wanted], column[is_wanted], value[is_wanted]
        held = [s for s in self.open if s >= first]
        last = max(
            [int(row.max()) if len(row) else -1, *((s - first) // self.width_ms for s in held)]
        )
        sums, counts = np.zeros((last + 1, self._n)), np.zeros((last + 1, self._n))
        for s in held:
            n = (s - first) // self.width_ms
            sums[n], counts[n] = self.open[s]
        cell = row * self._n + column
        np.add.at(sums.reshape(-1), cell, value)
        np.add.at(counts.reshape(-1), cell, 1.0)
        return sums, counts

    def _keep(self, first: int, closed: int, sums: Floats, counts: Floats) -> None:
        """Remember the bins that stay open."""
        self.open = {
            first + n * self.width_ms: (sums[n].copy(), counts[n].copy())
            for n in range(closed, len(sums))
            if counts[n].any()
        }

    def _rows(
        self, starts: Ints, ticks: Ints, sums: Floats, counts: Floats, *, is_anew: bool
    ) -> Rows:
        n = len(starts)
        values = np.full((n, self._n), np.nan)
        held = min(n, len(sums))
        is_said = counts[:held] > 0
        np.divide(sums[:held], counts[:held], out=values[:held], where=is_said)
        is_fresh = ~np.isnan(values)
        if n:
            self._fill(starts, values, is_fresh)
        return Rows(
            start=starts,
            tick=np.searchsorted(ticks, starts + self.width_ms + self._grace_ms),
            values=values,
            is_fresh=is_fresh,
            anew=0 if is_anew else None,
        )

    def _fill(self, starts: Ints, values: Floats, is_fresh: Bools) -> None:
        """Let slow points keep their last value for a while."""
        slow = self._slow
        if len(slow):
            said = np.concatenate([self.last[None, slow], values[:, slow]])
            at = np.concatenate(
                [self.last_at[None, slow], np.where(is_fresh[:, slow], starts[:, None], 0)]
            )
            row = np.where(
                np.concatenate([np.ones((1, len(slow)), bool), is_fresh[:, slow]]),
                np.arange(len(at))[:, None],
                0,
            )
            row = np.maximum.accumulate(row)
            age = starts[:, None] - np.take_along_axis(at, row, axis=0)[1:]
            kept = np.where(
                age < self._keep_ms[slow], np.take_along_axis(said, row, axis=0)[1:], np.nan
            )
            values[:, slow] = kept
            newest = row[-1]
            self.last[slow] = said[newest, np.arange(len(slow))]
            self.last_at[slow] = at[newest, np.arange(len(slow))]


def ticks_before(ticks: Ints, last: int) -> Ints:
    """Return the tick before each; `last` is the one before the first."""
    return np.concatenate([[last], ticks])[: len(ticks)]


def awake(ticks: Ints, last: int, until: int) -> Bools:
    """Say which ticks come after one up to an instant; `last` is the one before the first."""
    is_awake = np.zeros(len(ticks), dtype=np.bool_)
    if last <= until:
        is_awake[: int(np.searchsorted(ticks, until, side="right")) + 1] = True
    return is_awake


def order_of(number: Ints) -> Ints:
    """Return the places of numbers from 0 on in their order, equal ones as they stand."""
    small = number.astype(np.uint16) if len(number) and int(number.max()) < 2**16 else number
    return np.argsort(small, kind="stable")  # of so few bits numpy sorts without comparing


def grace_ms(width_ms: int) -> int:
    """Return how long after its end a bin waits for stragglers: 2 s up to 60 s."""
    if width_ms <= 5 * SECOND_MS:
        return 2 * SECOND_MS
    return min(MINUTE_MS, max(2 * SECOND_MS, width_ms // 5))
