"""Bins of meters as hours: what runs, what stands still, and for how long, within one UTC day.

An hour is known when half of its bins are. Runs and pauses are counted in elapsed hours; up to
three unknown hours in a row are bridged, after more of them both begin anew.
"""

from dataclasses import dataclass

import numpy as np

from server.engine.detectors.grid import Bools, Floats, Ints
from server.engine.detectors.meter_past import Past
from server.engine.detectors.meter_sheet import MeterSheet
from telemetry.instant import HOUR_MS

BRIDGED_HOURS = 3
RECENT = 24
NEVER = -(2**40)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Some bins of one day, (bins, columns), and the hours that end with them, (hours, meters).

    `ends` has for each bin the hour that it closes, -1 for none. `told` are the flows by the
    totals; `run` and `pause` the hours since the meter last stood still, or last turned; `runs` and
    `pauses` the lengths of those that end with an hour, else 0. `recent` has 24 hours more before
    them.
    """

    start: Ints
    tick: Ints
    values: Floats
    ends: Ints
    hour: Ints
    mean: Floats
    told: Floats
    level: Floats
    run: Floats
    pause: Floats
    runs: Floats
    pauses: Floats
    recent: Floats

    def off(self, still: Floats) -> Floats:
        """Return by which part flow and total differ in size; NaN where one is not known."""
        flow, told = np.abs(self.mean), np.abs(self.told)
        larger = np.maximum(flow, told)
        part = np.full_like(larger, np.nan)
        np.divide(np.abs(flow - told), larger, out=part, where=larger > 2 * still)
        return part


class Hours:
    """The open hour of one sheet, and since when its meters run or stand still."""

    def __init__(self, sheet: MeterSheet) -> None:
        self._sheet = sheet
        self._per_hour = sheet.rows_per_hour
        self._columns = len(sheet.periods_ms)
        self._witnesses = sheet.witness_columns()
        size = len(sheet.meters)
        self.open = np.full((self._per_hour, self._columns), np.nan)
        self.hour = NEVER
        self.last_hour = NEVER
        self.stopped_at = np.full(size, NEVER, dtype=np.int64)
        self.turned_at = np.full(size, NEVER, dtype=np.int64)
        self.known_at = np.full(size, NEVER, dtype=np.int64)
        self.recent = np.full((RECENT, size), np.nan)

    def adopt(self, other: "Hours", pairs: list[tuple[int, int]], ours: list[int]) -> None:
        """Go on with some columns, pairs are (ours, theirs), of which `ours` are meters' own."""
        self.hour, self.last_hour = other.hour, other.last_hour
        mine, its = [a for a, _ in pairs], [b for _, b in pairs]
        self.open[:, mine] = other.open[:, its]
        theirs = [b for a, b in pairs if a in ours]
        for name in ("stopped_at", "turned_at", "known_at", "recent"):
            getattr(self, name)[..., ours] = getattr(other, name)[..., theirs]

    def take(self, start: Ints, tick: Ints, values: Floats, past: Past) -> Span:
        """Take in bins of one day, oldest first."""
        hours = start // HOUR_MS
        place = (start - hours * HOUR_MS) // self._sheet.width_ms
        found, number = np.unique(hours, return_inverse=True)
        rows = np.full((len(found), self._per_hour, self._columns), np.nan)
        if int(found[0]) == self.hour:
            rows[0] = self.open
        rows[number, place] = values
        self.open, self.hour = rows[-1].copy(), int(found[-1])
        ending = np.flatnonzero(place == self._per_hour - 1)
        ends = np.full(len(start), -1, dtype=np.int64)
        ends[ending] = np.arange(len(ending))
        columns = _means(rows[number[ending]])
        hour: Ints = hours[ending]
        return self._span(start, tick, values, ends, hour, columns, past)

    def _span(
        self,
        start: Ints,
        tick: Ints,
        values: Floats,
        ends: Ints,
        hour: Ints,
        columns: Floats,
        past: Past,
    ) -> Span:
        size = len(self._sheet.meters)
        mean = columns[:, :size]
        is_known = ~np.isnan(mean)
        is_still = is_known & (np.abs(mean) <= past.still)
        broken = self._broken(hour, is_known)
        stop, before_stop = _last(hour, is_still, broken, self.stopped_at)
        turn, before_turn = _last(hour, is_known & ~is_still, broken, self.turned_at)
        at = hour[:, None]
        recent = self._recent(hour, mean)
        if len(hour):
            self.last_hour = int(hour[-1])
            self.stopped_at, self.turned_at = stop[-1], turn[-1]
            self.recent = recent[-RECENT:].copy()
        return Span(
            start=start,
            tick=tick,
            values=values,
            ends=ends,
            hour=hour,
            mean=mean,
            told=columns[:, size : 2 * size],
            level=levels(columns, self._witnesses),
            run=np.where(is_known & ~is_still, at - stop, 0).astype(float),
            pause=np.where(is_still, at - turn, 0).astype(float),
            runs=np.where(is_still, at - before_stop - 1, 0).astype(float),
            pauses=np.where(is_known & ~is_still, at - before_turn - 1, 0).astype(float),
            recent=recent,
        )

    def _broken(self, hour: Ints, is_known: Bools) -> Bools:
        """Return where an hour is known after so many unknown ones that counting begins anew."""
        seen = np.maximum.accumulate(
            np.concatenate([self.known_at[None], np.where(is_known, hour[:, None], NEVER)]), axis=0
        )
        if len(hour):
            self.known_at = seen[-1]
        broken: Bools = is_known & (hour[:, None] - seen[:-1] > BRIDGED_HOURS + 1)
        return broken

    def _recent(self, hour: Ints, mean: Floats) -> Floats:
        """Return the hourly means with those of the day before; skipped hours are not known."""
        if not len(hour):
            return self.recent
        before = self.recent
        lost = min(RECENT, max(0, int(hour[0]) - self.last_hour - 1))
        if lost:
            unknown = np.full((lost, before.shape[1]), np.nan)
            before = np.concatenate([before[lost:], unknown])
        return np.concatenate([before, mean])


def _last(hour: Ints, is_so: Bools, broken: Bools, before: Ints) -> tuple[Ints, Ints]:
    """Return when it was last so: at each hour, and before each hour."""
    at = hour[:, None]
    anew = np.where(broken, at - 1, NEVER)
    seen = np.where(is_so, at, anew)
    now = np.maximum.accumulate(np.concatenate([before[None], seen]), axis=0)
    return now[1:], np.maximum(now[:-1], anew)


def _means(rows: Floats) -> Floats:
    """Return the mean of each column of hours, (hours, bins, columns), NaN where half is unknown.

    Bins are added one after another: the sum does not depend on how many hours there are.
    """
    is_known = ~np.isnan(rows)
    count = is_known.sum(axis=1)
    said = np.where(is_known, rows, 0.0)
    sums = said[:, 0]
    for n in range(1, rows.shape[1]):
        sums = sums + said[:, n]
    means = np.full_like(sums, np.nan)
    np.divide(sums, count, out=means, where=(count > 0) & (2 * count >= rows.shape[1]))
    return means


def levels(columns: Floats, witnesses: Ints) -> Floats:
    """Return the mean pressure beside each meter, (…, meters); NaN where nothing tells it."""
    found = np.where(witnesses >= 0, columns[..., witnesses], np.nan)
    is_known = ~np.isnan(found)
    count = is_known.sum(axis=-1)
    sums = np.where(is_known, found, 0.0).sum(axis=-1)
    return np.where(count > 0, sums / np.maximum(count, 1), np.nan)
