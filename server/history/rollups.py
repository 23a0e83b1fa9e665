"""Roll-ups: what a point did in each hour and each day of its zone, without its samples.

An hour begins on the hour, and a day at midnight, of the point's zone. What is kept is additive, so
that the halves of an hour or a day that lie in two UTC days are put together by addition.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from server.history.columns import Columns
from server.history.packing import Array
from server.history.properties import Properties, day_start
from telemetry.instant import HOUR_MS

KINDS: dict[str, str] = {
    "point": "<i4",
    "at": "<i8",
    "count": "<i4",
    "total": "<f8",
    "low": "<f8",
    "high": "<f8",
    "judged": "<i4",
    "under": "<i4",
    "below_ms": "<i8",
}

PERIODS_BRIDGED = 3
"""A sample stands until the next one, unless that is more than so many periods away: then for one
period, as a gap is never bridged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollups:
    """Row n: in the hour or day that begins at `at`, the usable samples of a point.

    `judged` counts those for which a lower limit was in force, `under` those of them below it, and
    `below_ms` is how long they stood.
    """

    point: Array
    at: Array
    count: Array
    total: Array
    low: Array
    high: Array
    judged: Array
    under: Array
    below_ms: Array

    def __len__(self) -> int:
        return len(self.at)

    @property
    def mean(self) -> Array:
        """Return the mean of each row."""
        return self.total / self.count

    def arrays(self) -> list[Array]:
        """Return the columns in the order of `KINDS`."""
        return [getattr(self, name).astype(kind, copy=False) for name, kind in KINDS.items()]

    @classmethod
    def of(cls, arrays: Sequence[Array]) -> "Rollups":
        """Return what `arrays` returned as roll-ups again."""
        return cls(**dict(zip(KINDS, arrays, strict=True)))

    @classmethod
    def added(cls, parts: Iterable["Rollups"]) -> "Rollups":
        """Return the roll-ups of all parts, by point and time, each once."""
        some = [p for p in parts if len(p)]
        if not some:
            return cls.of([np.empty(0, kind) for kind in KINDS.values()])
        joined = cls.of([np.concatenate(c) for c in zip(*(p.arrays() for p in some), strict=True)])
        return joined.take(np.lexsort((joined.at, joined.point))).merged()

    def take(self, which: Array | slice) -> "Rollups":
        """Return some rows."""
        return Rollups.of([column[which] for column in self.arrays()])

    def by_day(self, properties: Properties) -> "Rollups":
        """Return the days of these hours, in each point's own time zone."""
        if not len(self):
            return self
        days = np.empty(len(self), "<i8")
        zones, zone = properties.zones(self.point, self.at)
        for n, name in enumerate(zones):
            mine = zone == n
            hours, back = np.unique(self.at[mine], return_inverse=True)
            days[mine] = np.array([day_start(name, int(h)) for h in hours], "<i8")[back]
        moved = Rollups.of([days if n == "at" else getattr(self, n) for n in KINDS])
        return moved.take(np.lexsort((days, self.point))).merged()

    def merged(self) -> "Rollups":
        """Add up neighbours of the same point and time."""
        first = np.flatnonzero(
            np.diff(self.point, prepend=-1).astype(bool) | np.diff(self.at, prepend=-1).astype(bool)
        )
        if len(first) == len(self):
            return self
        adding = {n: np.add.reduceat(getattr(self, n), first) for n in _ADDED}
        return Rollups(
            point=self.point[first],
            at=self.at[first],
            low=np.minimum.reduceat(self.low, first),
            high=np.maximum.reduceat(self.high, first),
            **adding,
        )


_ADDED = ("count", "total", "judged", "under", "below_ms")


def hours_of(samples: Columns, properties: Properties) -> Rollups:
    """Return the hourly roll-ups of samples that lie point by point, each in time order."""
    if not len(samples):
        return Rollups.added([])
    known = properties.of(samples.point, samples.at)
    usable = samples.usable()
    stands = np.append(np.diff(samples.at), 0)
    alone = np.append(np.diff(samples.point) != 0, True) | (stands > PERIODS_BRIDGED * known.period)
    stands = np.where(alone, known.period, stands)[usable]
    value, low, at, point = (
        c[usable] for c in (samples.value, known.low, samples.at, samples.point)
    )
    if not len(at):
        return Rollups.added([])
    shift = known.shift[usable]
    under = value < low  # never where there is no limit, as that is NaN
    return Rollups(
        point=point.astype("<i4"),
        at=(at + shift) // HOUR_MS * HOUR_MS - shift,
        count=np.ones(len(at), "<i4"),
        total=value,
        low=value,
        high=value,
        judged=(~np.isnan(low)).astype("<i4"),
        under=under.astype("<i4"),
        below_ms=np.where(under, stands, 0),
    ).merged()
