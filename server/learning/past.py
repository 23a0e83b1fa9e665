"""What a trainer may see: what points did in whole hours of the past."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from server.engine.detectors.grid import Floats
from server.engine.detectors.hours import END_MS
from server.engine.registry import Zone
from server.history.reader import Reader
from server.history.stretch import Stretch
from telemetry.instant import HOUR_MS, Instant
from telemetry.sample import Quality

BRIEF_H = 24 * 50
"""Hours of which the means of many points are kept: more than a band is learnt from."""


class Past(Protocol):
    """Hours of some points: (hours, points), NaN where nothing usable is known."""

    def means(self, points: Sequence[str], begin: Instant, end: Instant) -> Floats:
        """Return the means of the hours in [begin, end)."""

    def ends(self, points: Sequence[str], begin: Instant, end: Instant) -> Floats:
        """Return the means of the last ten minutes of the hours in [begin, end)."""


def net_of(past: Past, zone: Zone, begin: Instant, end: Instant) -> Floats:
    """Return the net inflow of a zone in the hours of [begin, end), in m³/h: less what it stores.

    NaN where a meter or a level is not known. Raises `ValueError` for a zone without meters.
    """
    if not zone.inflow:
        raise ValueError(f"zone {zone.id}: expected meters of its inflow, found none")
    signs = np.array([float(i.sign) for i in zone.inflow])
    net: Floats = (past.means([i.point for i in zone.inflow], begin, end) * signs).sum(axis=1)
    if zone.storage:
        areas = np.array([s.area_m2 for s in zone.storage])
        levels = past.ends([s.point for s in zone.storage], Instant(begin - HOUR_MS), end)
        net = net - (np.diff(levels, axis=0) * areas).sum(axis=1)
    return net


class HistorianPast:
    """The past as the historian keeps it."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def means(self, points: Sequence[str], begin: Instant, end: Instant) -> Floats:
        """Return the means of the hours in [begin, end), from the roll-ups."""
        found = self._reader.rollups(points, begin, end, width="hour")
        names = self._reader.points()
        column = {name: n for n, name in enumerate(points)}
        of = np.array([column.get(names[int(p)], -1) for p in found.point], dtype=np.int64)
        table = np.full(((end - begin) // HOUR_MS, len(points)), np.nan)
        row = (found.at - begin) // HOUR_MS
        inside = (of >= 0) & (row >= 0) & (row < len(table))
        table[row[inside], of[inside]] = found.mean[inside]
        return table

    def ends(self, points: Sequence[str], begin: Instant, end: Instant) -> Floats:
        """Return the means of the last ten minutes of the hours in [begin, end)."""
        found = self._reader.samples(points, begin, end)
        names = self._reader.points()
        column = {name: n for n, name in enumerate(points)}
        usable = found.usable() & (found.at % HOUR_MS >= HOUR_MS - END_MS)
        of = np.array([column.get(names[int(p)], -1) for p in found.point[usable]], dtype=np.int64)
        hours = HourSums(len(points), begin)
        hours.add(found.at[usable], of, found.value[usable])
        return hours.means(begin, end)


class HourSums:
    """Sums and counts of the hours from `begin` on, (hours, columns); they grow as needed."""

    def __init__(self, columns: int, begin: Instant) -> None:
        self._begin = begin
        self._beyond = 0  # rows that were filled; there is room for more
        self._sums = np.zeros((2, 0, columns))

    def add(self, at: np.ndarray, column: np.ndarray, value: Floats) -> None:
        """Add samples; those of column -1 or from before the beginning are passed over."""
        row = (np.asarray(at, dtype=np.int64) - self._begin) // HOUR_MS
        wanted = (column >= 0) & (row >= 0)
        row, column, value = row[wanted], column[wanted], value[wanted]
        if not len(row):
            return
        self._beyond = max(self._beyond, int(row.max()) + 1)
        columns = self._sums.shape[2]
        missing = int(row.max()) + 1 - self._sums.shape[1]
        if missing > 0:
            grown = np.zeros((2, missing + self._sums.shape[1], columns))
            self._sums = np.concatenate([self._sums, grown], axis=1)
        first = int(row.min())
        cells = (int(row.max()) + 1 - first) * columns
        cell = (row - first) * columns + column
        part = self._sums[:, first : int(row.max()) + 1]
        part[0] += np.bincount(cell, value, cells).reshape(-1, columns)
        part[1] += np.bincount(cell, minlength=cells).reshape(-1, columns)

    def forget(self, kept: int) -> None:
        """Forget all but the newest `kept` hours, some at a time."""
        surplus = self._beyond - kept
        if surplus > kept // 2:
            self._sums = self._sums[:, surplus:].copy()
            self._begin = Instant(self._begin + surplus * HOUR_MS)
            self._beyond = kept

    def means(self, begin: Instant, end: Instant) -> Floats:
        """Return the means of the hours in [begin, end)."""
        first, beyond = ((at - self._begin) // HOUR_MS for at in (begin, end))
        table = np.full((beyond - first, self._sums.shape[2]), np.nan)
        lo, hi = max(first, 0), min(beyond, self._sums.shape[1])
        if lo < hi:
            total, count = self._sums[0, lo:hi], self._sums[1, lo:hi]
            np.divide(total, count, out=table[lo - first : hi - first], where=count > 0)
        return table


class PlayedPast:
    """What of a recording has been played so far.

    Of `brief` points there are means alone, and of the last `brief_h` hours: they may be many.
    """

    def __init__(
        self,
        points: Sequence[str],
        wanted: Sequence[str],
        begin: Instant,
        brief: Sequence[str] = (),
        brief_h: int = BRIEF_H,
    ) -> None:
        self._brief_h = brief_h
        self._column = {name: n for n, name in enumerate(wanted)}
        self._of = np.array([self._column.get(name, -1) for name in points], dtype=np.int64)
        start = Instant(begin // HOUR_MS * HOUR_MS)
        self._means = HourSums(len(wanted), start)
        self._ends = HourSums(len(wanted), start)
        self._brief = {name: n for n, name in enumerate(brief)}
        self._brief_of = np.array([self._brief.get(name, -1) for name in points], dtype=np.int64)
        self._brief_means = HourSums(len(brief), start)

    def add(self, played: Stretch) -> None:
        """Take in what was played."""
        is_good = (played.quality == int(Quality.GOOD)) & ~np.isnan(played.value)
        if self._brief:
            column = self._brief_of[played.point]
            good = (column >= 0) & is_good
            at = played.at[good].astype(np.int64)
            self._brief_means.add(at, column[good], played.value[good])
            self._brief_means.forget(self._brief_h)
        column = self._of[played.point]
        good = (column >= 0) & is_good
        at, column, value = played.at[good].astype(np.int64), column[good], played.value[good]
        self._means.add(at, column, value)
        late = at % HOUR_MS >= HOUR_MS - END_MS
        self._ends.add(at[late], column[late], value[late])

    def means(self, points: Sequence[str], begin: Instant, end: Instant) -> Floats:
        """Return the means of the hours in [begin, end)."""
        table = self._chosen(self._means, points, begin, end)
        brief = [n for n, name in enumerate(points) if name in self._brief]
        if brief:
            columns = [self._brief[points[n]] for n in brief]
            table[:, brief] = self._brief_means.means(begin, end)[:, columns]
        return table

    def ends(self, points: Sequence[str], begin: Instant, end: Instant) -> Floats:
        """Return the means of the last ten minutes of the hours in [begin, end)."""
        return self._chosen(self._ends, points, begin, end)

    def _chosen(
        self, sums: HourSums, points: Sequence[str], begin: Instant, end: Instant
    ) -> Floats:
        table = sums.means(begin, end)
        chosen = np.full((len(table), len(points)), np.nan)
        for n, name in enumerate(points):
            if name in self._column:
                chosen[:, n] = table[:, self._column[name]]
        return chosen
