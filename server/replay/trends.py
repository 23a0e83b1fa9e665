"""A whole recording as curves for a page: lowest, highest and mean of each point by bucket."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from server.engine.effects import Accepted
from server.history.stretch import Float64s, Int64s, Stretch
from telemetry.instant import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Instant

BUCKETS_MAX = 2_400
"""Of each curve: a year becomes a bucket of four hours, and two of them are a pixel on a screen."""

CELLS_MAX = 300_000
"""Buckets of all curves together: a page of many points stays below 5 MB, with wider buckets."""

_WAITING_MAX = 100_000
_WIDTHS_MS = (
    *(n * SECOND_MS for n in (1, 2, 5, 10, 15, 30)),
    *(n * MINUTE_MS for n in (1, 2, 5, 10, 15, 30)),
    *(n * HOUR_MS for n in (1, 2, 4, 6, 12)),
    *(n * DAY_MS for n in (1, 2, 7, 28, 364)),
)


class Trends:
    """Takes in samples in any order; memory is bounded by points and buckets."""

    def __init__(self, points: Sequence[str], *, begin: int, end: int, cadence_ms: int) -> None:
        self.points = tuple(points)
        most = max(100, min(BUCKETS_MAX, CELLS_MAX // max(1, len(self.points))))
        least = max(cadence_ms, (end - begin) / most)
        self.width_ms = next((w for w in _WIDTHS_MS if w >= least), _WIDTHS_MS[-1])
        self.begin = Instant(begin - begin % self.width_ms)
        self.buckets = max(1, -(-(end - self.begin + 1) // self.width_ms))
        shape = len(self.points) * self.buckets
        self._low = np.full(shape, np.inf)
        self._high = np.full(shape, -np.inf)
        self._sum = np.zeros(shape)
        self._count = np.zeros(shape)
        self._numbers = {name: n for n, name in enumerate(self.points)}
        self._waiting: list[tuple[int, int, float]] = []

    def add(self, stretch: Stretch) -> None:
        """Take in a stretch of a recording whose points are numbered like ours."""
        self._add(stretch.point, stretch.at, stretch.value)

    def hear(self, accepted: Accepted) -> None:
        """Take in what the engine accepted from the wire."""
        for point, at, value in zip(
            accepted.samples.points, accepted.samples.at, accepted.samples.values, strict=True
        ):
            number = self._numbers.get(point)
            if number is not None and value is not None:
                self._waiting.append((number, at, value))
        if len(self._waiting) >= _WAITING_MAX:
            self._settle()

    def low(self, point: str) -> list[float | None]:
        """Return the lowest value of each bucket, None where there is none."""
        return self._told(self._low, point)

    def high(self, point: str) -> list[float | None]:
        """Return the highest value of each bucket."""
        return self._told(self._high, point)

    def mean(self, point: str) -> list[float | None]:
        """Return the mean of each bucket."""
        self._settle()
        with np.errstate(invalid="ignore"):
            return self._told(self._sum / self._count, point)

    def net(self, signs: Sequence[tuple[str, int]]) -> list[float | None]:
        """Return the sum of several means, each with its sign; None where one is not known."""
        self._settle()
        total = np.zeros(self.buckets)
        with np.errstate(invalid="ignore"):
            means = self._sum / self._count
        for point, sign in signs:
            if point not in self._numbers:
                return []
            total += sign * means[self._rows(point)]
        return _finite(total) if signs else []

    def _rows(self, point: str) -> slice:
        first = self._numbers[point] * self.buckets
        return slice(first, first + self.buckets)

    def _told(self, values: Float64s, point: str) -> list[float | None]:
        self._settle()
        return _finite(values[self._rows(point)])

    def _settle(self) -> None:
        if not self._waiting:
            return
        point, at, value = zip(*self._waiting, strict=True)
        self._waiting = []
        self._add(np.array(point), np.array(at, dtype=np.int64), np.array(value))

    def _add(self, point: npt.NDArray[Any], at: Int64s, value: Float64s) -> None:
        bucket = (at - self.begin) // self.width_ms
        inside = (bucket >= 0) & (bucket < self.buckets) & np.isfinite(value)
        where = (point * self.buckets + bucket)[inside]
        values = value[inside]
        np.minimum.at(self._low, where, values)
        np.maximum.at(self._high, where, values)
        self._sum += np.bincount(where, weights=values, minlength=len(self._sum))
        self._count += np.bincount(where, minlength=len(self._count))


def _finite(values: Float64s) -> list[float | None]:
    """Return values rounded to what a page can show; None for what is none."""
    return [float(f"{v:.5g}") if np.isfinite(v) else None for v in values.tolist()]
