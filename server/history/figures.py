"""What is read off samples and roll-ups: stretches of a chart, nights, and compliance."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from server.history.columns import Columns
from server.history.properties import Properties
from server.history.rollups import Rollups
from server.history.words import Words
from telemetry.instant import Instant

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True, kw_only=True)
class Bucket:
    """The usable samples of one stretch of time: lowest, mean, highest, how many.

    Not frozen, which would take four times as long for a chart's thousand of them.
    """

    at: Instant
    width_ms: int
    low: float
    mean: float
    high: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """The usable samples of a point in the night window of a date: lowest, mean, how many."""

    point: str
    night: date
    low: float
    mean: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Compliance:
    """In the day or month that begins on a date: valid samples, and those at or above the limit.

    `below_ms` is how long the others stood.
    """

    point: str
    begins: date
    valid: int
    kept: int
    below_ms: int

    @property
    def share(self) -> float:
        """Return the share of valid samples at or above the limit."""
        return self.kept / self.valid


def bucketed(samples: Columns, hours: Rollups, *, origin: int, width: int) -> list[Bucket]:
    """Return samples and whole hours of one point by stretches of `width` from `origin` on."""
    samples = samples.take(samples.usable())
    slot = np.concatenate([samples.at, hours.at])
    slot = (slot - origin) // width
    if not len(slot):
        return []
    order = np.argsort(slot, kind="stable")
    slot = slot[order]
    first = np.flatnonzero(np.diff(slot, prepend=slot[0] - 1))
    low, high, total = (
        np.concatenate([samples.value, c])[order] for c in (hours.low, hours.high, hours.total)
    )
    count = np.concatenate([np.ones(len(samples), "<i8"), hours.count])[order]
    counts = np.add.reduceat(count, first)
    columns = (
        slot[first],
        np.minimum.reduceat(low, first),
        np.add.reduceat(total, first) / counts,
        np.maximum.reduceat(high, first),
        counts,
    )
    return [
        Bucket(at=Instant(origin + s * width), width_ms=width, low=lo, mean=mean, high=hi, count=n)
        for s, lo, mean, hi, n in zip(*(c.tolist() for c in columns), strict=True)
    ]


def nights_of(
    hours: Rollups,
    properties: Properties,
    words: Words,
    *,
    until: date,
    nights: int,
    window: tuple[int, int],
) -> list[Night]:
    """Return the nights of these hours: those in the window, of the dates up to `until`."""
    first_night = until - timedelta(days=nights - 1)
    days = np.full(len(hours), -1, "<i8")
    for mine, zone in _by_zone(hours, properties):
        at, back = np.unique(hours.at[mine], return_inverse=True)
        local = [_local(zone, a) for a in at.tolist()]
        wanted = [
            when.toordinal()
            if window[0] <= when.hour < window[1] and first_night <= when.date() <= until
            else -1
            for when in local
        ]
        days[mine] = np.array(wanted, "<i8")[back]
    night = _relabelled(hours, days)
    columns = (night.point, night.at, night.low, night.mean, night.count)
    return [
        Night(point=words.points[p], night=date.fromordinal(d), low=low, mean=mean, count=n)
        for p, d, low, mean, n in zip(*(c.tolist() for c in columns), strict=True)
    ]


def compliance_of(
    rolled: Rollups, properties: Properties, words: Words, *, monthly: bool
) -> list[Compliance]:
    """Return the compliance of these days, or of the months that they lie in."""
    days = np.empty(len(rolled), "<i8")
    for mine, zone in _by_zone(rolled, properties):
        at, back = np.unique(rolled.at[mine], return_inverse=True)
        dates = [_local(zone, a).date() for a in at.tolist()]
        named = [(d.replace(day=1) if monthly else d).toordinal() for d in dates]
        days[mine] = np.array(named, "<i8")[back]
    found = _relabelled(rolled, days)
    columns = (found.point, found.at, found.judged, found.under, found.below_ms)
    return [
        Compliance(
            point=words.points[p],
            begins=date.fromordinal(d),
            valid=judged,
            kept=judged - under,
            below_ms=below_ms,
        )
        for p, d, judged, under, below_ms in zip(*(c.tolist() for c in columns), strict=True)
        if judged
    ]


def _by_zone(rolled: Rollups, properties: Properties) -> Iterator[tuple[np.ndarray, str]]:
    names, zone = properties.zones(rolled.point, rolled.at)
    for n, name in enumerate(names):
        mine = zone == n
        if mine.any():
            yield mine, name


def _relabelled(rolled: Rollups, days: np.ndarray) -> Rollups:
    """Add up the roll-ups that are given the same day; those given -1 are left out."""
    arrays = dict(zip(("point", "at"), (rolled.point, days), strict=True))
    named = Rollups.of([arrays.get(n, getattr(rolled, n)) for n in Rollups.__slots__])
    return Rollups.added([named.take(days >= 0)])


def _local(zone: str, at: int) -> datetime:
    return (_EPOCH + timedelta(milliseconds=at)).astimezone(ZoneInfo(zone))
