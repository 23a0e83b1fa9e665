"""The historian as a list in memory, slow and plain, for the real one to be compared with."""

import math
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from server.engine.effects import Accepted
from server.engine.registry import Registry
from server.history.marks import Mark
from telemetry.instant import DAY_MS

UTC = ZoneInfo("UTC")


@dataclass(frozen=True, order=True)
class Row:
    at: int
    point: str
    source: int
    gateway: str
    offset: int
    value: float | None
    quality: int
    arrived_at: int
    reason: str
    time_quality: str


@dataclass
class Model:
    rows: list[Row] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    registries: list[tuple[int, Registry]] = field(default_factory=list)
    _sources: dict[str, int] = field(default_factory=dict)
    _seen: set[tuple[str, int, int]] = field(default_factory=set)

    def write(self, part: Accepted) -> None:
        source = self._sources.setdefault(part.gateway, len(self._sources))
        for k, s in enumerate(part.samples):
            offset = part.first_offset + k
            if (part.gateway, part.epoch, offset) in self._seen:
                continue
            self._seen.add((part.gateway, part.epoch, offset))
            self.rows.append(
                Row(
                    s.at, s.point, source, part.gateway, offset, s.value, int(s.quality), part.at,
                    str(s.reason), str(s.time_quality),
                )
            )  # fmt: skip

    def quality(self, row: Row) -> int:
        found = row.quality
        for mark in self.marks if row.value is not None else ():
            if mark.point == row.point and mark.start <= row.at < mark.end:
                found = row.quality if mark.quality is None else mark.quality
        return found

    def known(self, point: str, at: int) -> tuple[float | None, int, str]:
        """Return limit, period and time zone; what is known first holds for the time before."""
        versions = [
            (since, (p.low, p.period_ms, registry.zones[p.zone].timezone))
            for since, registry in self.registries
            if (p := registry.points.get(point))
        ]
        if not versions:
            return None, 0, "UTC"
        return (
            [v for since, v in versions if since <= at][-1:][0]
            if versions[0][0] <= at
            else (versions[0][1])
        )

    def samples(self, point: str, start: int, end: int, *, marked: bool) -> list[tuple]:
        found = [r for r in sorted(self.rows) if r.point == point and start <= r.at < end]
        return [(r.at, r.value, self.quality(r) if marked else r.quality) for r in found]

    def usable(self, point: str, start: int, end: int) -> list[tuple[int, float]]:
        found = self.samples(point, start, end, marked=True)
        return [(at, v) for at, v, quality in found if v is not None and quality != 0]

    def rollups(self, point: str, width: str) -> dict[int, tuple]:
        """Return count, mean, lowest, highest, judged, under and ms below, by begin."""
        days = defaultdict(list)
        for at, value, quality in self.samples(point, -(2**60), 2**60, marked=True):
            days[at // DAY_MS].append((at, value, quality))
        bins = defaultdict(list)
        for rows in days.values():
            for n, (at, value, quality) in enumerate(rows):
                low, period, zone = self.known(point, at)
                stands = rows[n + 1][0] - at if n + 1 < len(rows) else period
                if stands > 3 * period:
                    stands = period
                if value is None or quality == 0:
                    continue
                under = low is not None and value < low
                bins[begin_of(at, zone, width)].append(
                    (value, low is not None, under, stands if under else 0)
                )
        return {begin: summed(rows) for begin, rows in bins.items()}

    def nights(self, point: str, until: date, nights: int) -> dict[date, tuple]:
        found = defaultdict(list)
        for at, value in self.usable(point, -(2**60), 2**60):
            local = local_of(at, self.known(point, at)[2])
            is_asked = until - timedelta(days=nights) < local.date() <= until
            if 2 <= local.hour < 4 and is_asked:
                found[local.date()].append(value)
        return {day: (min(v), math.fsum(v) / len(v), len(v)) for day, v in found.items()}


def local_of(at: int, zone: str) -> datetime:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at)).astimezone(
        ZoneInfo(zone)
    )


def begin_of(at: int, zone: str, width: str) -> int:
    local = local_of(at, zone)
    if width == "hour":
        past = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        return at - past // timedelta(milliseconds=1)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    return round(midnight.timestamp() * 1000)


def summed(rows: list[tuple]) -> tuple:
    values = [row[0] for row in rows]
    mean = math.fsum(values) / len(values)
    sums = tuple(sum(row[n] for row in rows) for n in (1, 2, 3))
    return len(values), mean, min(values), max(values), *sums


def hours_between(rows: list[tuple[int, float]], origin: int, width: int) -> dict[int, list]:
    found = defaultdict(list)
    for at, value in rows:
        found[origin + (at - origin) // width * width].append(value)
    return found
