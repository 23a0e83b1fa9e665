"""What the historian says now, read at most once a second for all who look."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from server.history.columns import Columns
from server.history.figures import Bucket
from server.history.marks import Mark
from server.history.reader import LastValue, Reader
from server.history.sink_standing import Standing, standing
from server.servicecore.rules.kpi import Pressure
from telemetry.errors import StorageError
from telemetry.instant import HOUR_MS, MINUTE_MS, SECOND_MS, Clock, Instant
from telemetry.sample import Quality

CHANGE_MS = 10 * MINUTE_MS
"""Over what time the change of a point is told: a fall shows in it, a ripple does not."""
PAST_MS = 16 * MINUTE_MS
"""How far back what a point changed from may lie: slow points speak every five minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """The newest sample of every point, and when the newest of them all arrived.

    `changes` is by how much each point has changed in ten minutes, in its house unit; a point
    that says nothing fit to be compared has none.
    """

    values: dict[str, LastValue] = field(default_factory=dict)
    changes: dict[str, float] = field(default_factory=dict)
    newest: Instant | None = None


class Feed:
    """Reads the historian's file; one that is not there yet has nothing to say."""

    def __init__(self, path: Path, clock: Clock, *, sink: Path | None = None) -> None:
        self._path = path
        self._sink = sink
        self._clock = clock
        self._lock = asyncio.Lock()
        self._read_ms = -SECOND_MS
        self._present = Present()
        self._past: dict[str, tuple[Instant, float]] = {}
        self._past_through = Instant(0)

    async def present(self) -> Present:
        """Return the newest values, at most a second old."""
        async with self._lock:
            if self._clock.monotonic_ms() - self._read_ms >= SECOND_MS:
                self._present = await asyncio.to_thread(self._read)
                self._read_ms = self._clock.monotonic_ms()
            return self._present

    async def series(self, point: str, start: Instant, end: Instant, buckets: int) -> list[Bucket]:
        """Return the past of a point in [start, end) as at most so many stretches."""
        return await asyncio.to_thread(self._series, point, start, end, buckets)

    async def pressures(
        self, point: str, start: Instant, end: Instant
    ) -> tuple[list[Pressure], float]:
        """Return the mean of each hour of a point in [start, end), and how many there should be."""
        hours = await asyncio.to_thread(self._hours, point, start, end)
        return hours, (end - start) / HOUR_MS

    async def marks(self, point: str) -> dict[int, Mark]:
        """Return the quality marks of a point by their revision."""
        return await asyncio.to_thread(self._marks, point)

    async def sink(self) -> Standing | None:
        """Return how the InfluxDB sink stands, where one is configured."""
        if self._sink is None:
            return None
        return await asyncio.to_thread(standing, self._path, self._sink, self._clock.now())

    def _read(self) -> Present:
        try:
            with closing(Reader(self._path)) as reader:
                values = reader.last_all()
                self._look_back(reader)
        except (StorageError, sqlite3.Error):  # not there yet, or just being made
            return Present()
        newest = max((value.arrived_at for value in values.values()), default=None)
        found = {point: self._change(point, last) for point, last in values.items()}
        changes = {point: change for point, change in found.items() if change is not None}
        return Present(values=values, changes=changes, newest=newest)

    def _look_back(self, reader: Reader) -> None:
        """Move on with what each point said ten minutes ago, a minute at a time."""
        through = Instant(self._clock.now() - CHANGE_MS)
        start = Instant(max(self._past_through, through - PAST_MS + CHANGE_MS))
        if self._past and through - start < MINUTE_MS:
            return
        self._past_through = through
        points = reader.points()
        for found in reader.scan(start, through, marked=False):
            self._past |= _newest_good(found, points)

    def _change(self, point: str, last: LastValue) -> float | None:
        then = self._past.get(point)
        if then is None or last.value is None or last.quality != int(Quality.GOOD):
            return None
        passed, age = last.at - then[0], self._clock.now() - then[0]
        if not CHANGE_MS / 2 <= passed <= PAST_MS or age > PAST_MS + MINUTE_MS:
            return None
        return (last.value - then[1]) * CHANGE_MS / passed

    def _hours(self, point: str, start: Instant, end: Instant) -> list[Pressure]:
        try:
            with closing(Reader(self._path)) as reader:
                found = reader.rollups([point], start, end, width="hour")
        except (StorageError, sqlite3.Error):
            return []
        pairs = zip(found.at.tolist(), found.mean.tolist(), strict=True)
        return [Pressure(at=Instant(at), value_kpa=mean, lasts_ms=HOUR_MS) for at, mean in pairs]

    def _marks(self, point: str) -> dict[int, Mark]:
        try:
            with closing(Reader(self._path)) as reader:
                return reader.marks_of(point)
        except (StorageError, sqlite3.Error):
            return {}

    def _series(self, point: str, start: Instant, end: Instant, buckets: int) -> list[Bucket]:
        try:
            with closing(Reader(self._path)) as reader:
                return reader.series(point, start, end, buckets)
        except (StorageError, sqlite3.Error):
            return []


def _newest_good(found: Columns, points: dict[int, str]) -> dict[str, tuple[Instant, float]]:
    """Return the newest good sample of each point in columns that lie in order of time."""
    good = found.quality == int(Quality.GOOD)
    rows = zip(
        found.point[good].tolist(), found.at[good].tolist(), found.value[good].tolist(), strict=True
    )
    return {points[number]: (Instant(at), value) for number, at, value in rows}
