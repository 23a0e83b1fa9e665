"""Wall clock time to UTC: hours that do not exist and hours that come twice, resolved and told.

A stamp that the clock skipped in spring is read with the offset before the change. One that comes
twice in autumn is the first until the series goes back, and the second from there on.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from server.history.stretch import Int64s
from telemetry.instant import DAY_MS

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resolved:
    """Instants in UTC, with which stamps never were, and which could have been two instants."""

    at: Int64s
    skipped: Mask
    repeated: Mask


@dataclass(slots=True, kw_only=True)
class Sequence:
    """Where a series of stamps has got to, so that the next part of it goes on from there.

    `last` is its newest stamp in an hour that comes twice, by the hour's change of the clock;
    `second` are the changes behind which it has gone back.
    """

    last: dict[int, int] = field(default_factory=dict)
    second: set[int] = field(default_factory=set)


class WallTime:
    """The clock on the wall of one time zone."""

    def __init__(self, timezone: str) -> None:
        self._zone = ZoneInfo(timezone)
        self._known: tuple[int, int] = (0, 0)
        self._changes: Int64s = np.zeros(0, dtype=np.int64)
        self._offsets: Int64s = np.array([self._offset(0)], dtype=np.int64)

    def to_utc(self, local: Int64s, sequence: Sequence) -> Resolved:
        """Return the instants of stamps in the order of one series."""
        none = np.zeros(len(local), dtype=np.bool_)
        if not len(local):
            return Resolved(at=local, skipped=none, repeated=none)
        self._learn(int(local.min()) - 2 * DAY_MS, int(local.max()) + 2 * DAY_MS)
        before, after = self._offsets[:-1], self._offsets[1:]
        regime = np.searchsorted(self._changes + before, local, side="right")
        at = local - self._offsets[regime]
        skipped, repeated = none.copy(), none.copy()
        for n, change in enumerate(self._changes.tolist()):
            low, high = sorted((change + int(before[n]), change + int(after[n])))
            inside = (local >= low) & (local < high)
            if not inside.any():
                continue
            if after[n] > before[n]:
                skipped |= inside
                at[inside] = local[inside] - before[n]
            else:
                repeated |= inside
                is_second = self._second(local, inside, change, sequence)
                at[is_second] = local[is_second] - after[n]
        return Resolved(at=at, skipped=skipped, repeated=repeated)

    @staticmethod
    def _second(local: Int64s, inside: Mask, change: int, sequence: Sequence) -> Mask:
        """Return which of the stamps of an hour that comes twice belong to the second time."""
        rows = np.flatnonzero(inside)
        if change not in sequence.second:
            stamps = local[rows]
            last = sequence.last.get(change)
            since = stamps if last is None else np.concatenate([[last], stamps])
            back = np.flatnonzero(np.diff(since) <= 0)
            sequence.last[change] = int(stamps[-1])
            if not len(back):
                rows = rows[:0]
            else:
                sequence.second.add(change)
                rows = rows[int(back[0]) + (1 if last is None else 0) :]
        found = np.zeros(len(local), dtype=np.bool_)
        found[rows] = True
        return found

    def _learn(self, first: int, last: int) -> None:
        """Find every change of the clock in a span that grows as it is asked for."""
        if self._known[0] <= first and last <= self._known[1]:
            return
        if self._known != (0, 0):
            first, last = min(first, self._known[0]), max(last, self._known[1])
        self._known = (first, last)
        changes, offsets = [], [self._offset(first)]
        for day in range(first, last, DAY_MS):
            if self._offset(day + DAY_MS) != offsets[-1]:
                changes.append(self._change(day, day + DAY_MS))
                offsets.append(self._offset(day + DAY_MS))
        self._changes = np.array(changes, dtype=np.int64)
        self._offsets = np.array(offsets, dtype=np.int64)

    def _change(self, low: int, high: int) -> int:
        """Return the first instant in (low, high] with the offset of `high`."""
        while high - low > 1:
            middle = (low + high) // 2
            if self._offset(middle) == self._offset(low):
                low = middle
            else:
                high = middle
        return high

    def _offset(self, at: int) -> int:
        found = datetime.fromtimestamp(at / 1000, UTC).astimezone(self._zone).utcoffset()
        return 0 if found is None else round(found.total_seconds() * 1000)
