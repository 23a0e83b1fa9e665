"""What the historian says now, read at most once a second for all who look."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from server.history.figures import Bucket
from server.history.reader import LastValue, Reader
from server.history.sink_standing import Standing, standing
from server.servicecore.rules.kpi import Pressure
from telemetry.errors import StorageError
from telemetry.instant import HOUR_MS, SECOND_MS, Clock, Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """The newest sample of every point, and when the newest of them all arrived."""

    values: dict[str, LastValue] = field(default_factory=dict)
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

    async def sink(self) -> Standing | None:
        """Return how the InfluxDB sink stands, where one is configured."""
        if self._sink is None:
            return None
        return await asyncio.to_thread(standing, self._path, self._sink, self._clock.now())

    def _read(self) -> Present:
        try:
            with closing(Reader(self._path)) as reader:
                values = reader.last_all()
        except (StorageError, sqlite3.Error):  # not there yet, or just being made
            return Present()
        newest = max((value.arrived_at for value in values.values()), default=None)
        return Present(values=values, newest=newest)

    def _hours(self, point: str, start: Instant, end: Instant) -> list[Pressure]:
        try:
            with closing(Reader(self._path)) as reader:
                found = reader.rollups([point], start, end, width="hour")
        except (StorageError, sqlite3.Error):
            return []
        pairs = zip(found.at.tolist(), found.mean.tolist(), strict=True)
        return [Pressure(at=Instant(at), value_kpa=mean, lasts_ms=HOUR_MS) for at, mean in pairs]

    def _series(self, point: str, start: Instant, end: Instant, buckets: int) -> list[Bucket]:
        try:
            with closing(Reader(self._path)) as reader:
                return reader.series(point, start, end, buckets)
        except (StorageError, sqlite3.Error):
            return []
