"""What the registry said of each point, dated: its lower limit, its period and its time zone."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from server.engine.registry import Registry
from server.history.packing import Array
from telemetry.instant import HOUR_MS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
UNKNOWN = (None, 0, "UTC")
"""The limit, period and zone of a point that nobody has accepted yet."""

Version = tuple[int, float | None, int, str]
"""Since when, lower limit, period, time zone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """For each of some samples: limit (NaN where none), period, and where its hours begin."""

    low: Array
    period: Array
    shift: Array


class Properties:
    """Every version of every point. The first that is known also holds for the time before it."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._of: dict[int, list[Version]] = {}
        for point, *version in db.execute(
            "SELECT point, since, low, period_ms, timezone FROM property ORDER BY point, since"
        ):
            self._of.setdefault(point, []).append(tuple(version))

    def of(self, point: Array, at: Array) -> Known:
        """Return what was in force for samples that lie point by point."""
        return Known(
            low=self._spread(point, at, lambda v: np.nan if v[1] is None else v[1], "<f8"),
            period=self._spread(point, at, lambda v: v[2], "<i8"),
            shift=self._shift(point, at),
        )

    def zones(self, point: Array, at: Array) -> tuple[list[str], Array]:
        """Return time zones, and for each sample the place of its own among them."""
        names = sorted({v[3] for versions in self._of.values() for v in versions} | {UNKNOWN[2]})
        return names, self._spread(point, at, lambda v: names.index(v[3]), "<i4")

    def learn(self, registry: Registry, number: Callable[[str], int], at: int) -> list[int]:
        """Take in a registry; return the points of which nothing was known before."""
        new = []
        for p in registry.points.values():
            zone = registry.zones.get(p.zone)
            version = (at, p.low, p.period_ms, zone.timezone if zone else UNKNOWN[2])
            versions = self._of.setdefault(number(p.id), [])
            if not versions:
                new.append(number(p.id))
            if not versions or versions[-1][1:] != version[1:]:
                if versions and versions[-1][0] >= at:
                    versions.pop()
                versions.append(version)
        return new

    def save(self, db: sqlite3.Connection) -> None:
        """Write every version that is not there yet."""
        db.executemany(
            "INSERT OR REPLACE INTO property VALUES (?, ?, ?, ?, ?)",
            [(point, *version) for point, versions in self._of.items() for version in versions],
        )

    def _shift(self, point: Array, at: Array) -> Array:
        names, zone = self.zones(point, at)
        if len(names) == 1:
            return np.zeros(len(at), "<i8")
        day = int(at[len(at) // 2]) if len(at) else 0
        return np.array([hour_shift(name, day) for name in names], "<i8")[zone]

    def _spread(
        self, point: Array, at: Array, pick: Callable[[Version], float], kind: str
    ) -> Array:
        """Return one property for each sample; points come in runs."""
        found = np.empty(len(point), kind)
        edges = np.flatnonzero(np.diff(point, prepend=-1, append=-1))
        for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            versions = self._of.get(int(point[begin])) or [(0, *UNKNOWN)]
            if len(versions) == 1:
                found[begin:end] = pick(versions[0])
                continue
            values = np.array([pick(v) for v in versions], kind)
            which = np.searchsorted([v[0] for v in versions], at[begin:end], side="right") - 1
            found[begin:end] = values[np.maximum(which, 0)]
        return found


@lru_cache(maxsize=4096)
def hour_shift(zone: str, at: int) -> int:
    """Return by how much a zone's hours begin before those of UTC: 0 nearly everywhere.

    >>> hour_shift("Asia/Shanghai", 0), hour_shift("Asia/Kolkata", 0) // 60_000
    (0, 30)
    """
    offset = _local(zone, at).utcoffset()
    assert offset is not None
    return offset // _MS % HOUR_MS


@lru_cache(maxsize=65_536)
def day_start(zone: str, at: int) -> int:
    """Return when the zone's day that holds an instant began.

    >>> day_start("Asia/Shanghai", 3_600_000) // 3_600_000
    -8
    """
    midnight = _local(zone, at).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    return (midnight - _EPOCH) // _MS


def _local(zone: str, at: int) -> datetime:
    return (_EPOCH + at * _MS).astimezone(ZoneInfo(zone))
