"""Daily means of the pressures of zones, and which point leaves the others from day to day.

A drift is slower than any lesson. The mean of each day is compared with the median of the days from
four weeks to two days before, by what the other points and the inflow did in the same time.
"""

from typing import TypeAlias

import numpy as np

from server.engine.detectors.grid import Floats
from server.engine.detectors.kinship import BLIND_KPA, Kinship, may_be_water, middle
from telemetry.instant import DAY_MS

DAYS = 28
DAYS_MIN = 3
DAY_PART = 0.6
"""Of a day: how much of it must be known."""

DRIFT_KPA, DRIFT_TIMES = 4.0, 6.0
ALONE_PART = 0.35
BACK_PART = 0.4
_MAD = 1.4826
_SIGMA_FLOOR = 0.5


Drifting: TypeAlias = dict[tuple[int, int], tuple[Floats, float, float]]
"""The levels of its zone and the squared inflow before each drift, and the drift, by cell."""


class Days:
    """The days of all points of some zones: (days, zones, points), the oldest first."""

    def __init__(self, shape: tuple[int, int], *, span_ms: int) -> None:
        self._needed = DAY_PART * DAY_MS / span_ms
        self.levels = np.full((DAYS, *shape), np.nan)
        self.squares = np.full((DAYS, shape[0]), np.nan)
        self.day = -1
        self.sums, self.counts = np.zeros(shape), np.zeros(shape)
        self.flow_sums, self.flow_counts = np.zeros(shape[0]), np.zeros(shape[0])
        self._closed: int | None = None

    def add(self, at: int, level: Floats, flow: Floats) -> None:
        """Add a lesson that began at `at`; it may be the first of another day."""
        day = at // DAY_MS
        self._closed = None
        if day != self.day:
            if self.day >= 0:
                self._close(day)
                self._closed = self.day
            self.day = day
        is_said = ~np.isnan(level)
        self.sums += np.where(is_said, level, 0.0)
        self.counts += is_said
        square = flow * np.abs(flow)
        has_flow = ~np.isnan(square)
        self.flow_sums += np.where(has_flow, square, 0.0)
        self.flow_counts += has_flow

    def add_all(self, levels: Floats, flows: Floats) -> None:
        """Add lessons of the day that is open, one after another: (lessons, zones, points)."""
        self._closed = None
        is_said = ~np.isnan(levels)
        said = np.where(is_said, levels, 0.0)
        self.sums = np.add.accumulate(np.concatenate([self.sums[None], said]))[-1].copy()
        self.counts += is_said.sum(axis=0)
        squares = flows * np.abs(flows)
        has_flow = ~np.isnan(squares)
        said = np.where(has_flow, squares, 0.0)
        self.flow_sums = np.add.accumulate(np.concatenate([self.flow_sums[None], said]))[-1].copy()
        self.flow_counts += has_flow.sum(axis=0)

    def _close(self, day: int) -> None:
        level = _mean(self.sums, self.counts, self._needed)
        square = _mean(self.flow_sums, self.flow_counts, self._needed)
        self.push(level, square, days=day - self.day)
        self.sums[:], self.counts[:] = 0.0, 0.0
        self.flow_sums[:], self.flow_counts[:] = 0.0, 0.0

    def learn(self, z: int, level: Floats, square: float) -> None:
        """Put a day of the past at the end, for one zone alone."""
        self.levels[:, z] = np.roll(self.levels[:, z], -1, axis=0)
        self.squares[:, z] = np.roll(self.squares[:, z], -1)
        self.levels[-1, z], self.squares[-1, z] = level, square

    def adopt(self, other: "Days", z: int, y: int, n: int) -> None:
        """Go on with the zone that was number `y`, of `n` points."""
        self.day = other.day
        self.levels[:, z, :n] = other.levels[:, y, :n]
        self.squares[:, z] = other.squares[:, y]
        self.sums[z, :n], self.counts[z, :n] = other.sums[y, :n], other.counts[y, :n]
        self.flow_sums[z], self.flow_counts[z] = other.flow_sums[y], other.flow_counts[y]

    def push(self, level: Floats, square: Floats, *, days: int = 1) -> None:
        """Put a day at the end, and as many empty ones behind it as were left out."""
        for n in range(min(days, DAYS)):
            self.levels = np.roll(self.levels, -1, axis=0)
            self.squares = np.roll(self.squares, -1, axis=0)
            self.levels[-1] = level if n == 0 else np.nan
            self.squares[-1] = square if n == 0 else np.nan

    @property
    def closed(self) -> int | None:
        """Return the day that the last lesson has closed, if it did."""
        return self._closed

    def forget(self, z: int, i: int) -> None:
        """Forget the days of a point: they tell nothing of those to come."""
        self.levels[:, z, i] = np.nan

    def reference(self, z: int) -> tuple[Floats, float]:
        """Return the levels and the squared inflow of the days before, of one zone."""
        past, square = self._references()
        return past[z].copy(), float(square[z])

    def _references(self) -> tuple[Floats, Floats]:
        levels = middle(np.moveaxis(self.levels[:-2], 0, -1), least=DAYS_MIN)
        squares = middle(self.squares[:-2].T, least=DAYS_MIN)
        return levels, np.where(np.isnan(squares), 0.0, squares)

    def drifted(self, kinship: Kinship, drifting: Drifting) -> list[tuple[int, int, float, int]]:
        """Return (zone, point, shift, since when) of more points that have left the others."""
        past, square = self._references()
        levels = self.levels.copy()
        for z, i in drifting:
            levels[:, z, i] = np.nan
        left = _left(kinship, past, square, levels, self.squares)
        now = left[-1]
        spread = middle(np.abs(np.moveaxis(left[:-2], 0, -1)), least=DAYS_MIN)
        sigma = np.maximum(_SIGMA_FLOOR, _MAD * spread)
        with np.errstate(invalid="ignore"):
            limit = np.maximum(DRIFT_KPA, DRIFT_TIMES * sigma)
            is_off = np.abs(now) >= limit
        found = []
        for z in np.flatnonzero(is_off.any(axis=1)).tolist():
            points = np.flatnonzero(is_off[z]).tolist()
            others = np.abs(np.delete(now[z], points[0]))
            others = others[~np.isnan(others)]
            own = float(now[z, points[0]])
            if len(points) != 1 or len(others) < 2 or others.max() > ALONE_PART * abs(own):
                continue
            if self._may_be_water(z, own):
                continue
            i = points[0]
            is_past = np.abs(left[:, z, i]) < abs(own) / 4
            last = np.flatnonzero(is_past)
            age = DAYS - 1 - (int(last[-1]) if len(last) else 0)
            found.append((z, i, own, (self.day - age) * DAY_MS))
        return found

    def _may_be_water(self, z: int, own: float) -> bool:
        """Say whether the inflow of the last days hides a leak that explains a drift."""
        flows = np.sqrt(np.abs(self.squares[:, z]))
        known = flows[:-2][~np.isnan(flows[:-2])]
        now = float(flows[-1])
        if len(known) < DAYS_MIN or np.isnan(now):
            return abs(own) < BLIND_KPA
        before = float(np.median(known))
        sigma = _MAD * float(np.median(np.abs(known - before)))
        return may_be_water(own, now - before, before, sigma)

    def back(self, kinship: Kinship, drifting: Drifting) -> list[tuple[int, int]]:
        """Return those of some drifting points that the last day found back where they were."""
        found = []
        for (z, i), (before, square, shift) in drifting.items():
            change = self.levels[-1, z] - before
            own = float(change[i])
            for zone, p in drifting:
                if zone == z:
                    change[p] = np.nan
            others = middle(change[None], least=2)[0]
            flow = float(self.squares[-1, z])
            more = 0.0 if np.isnan(flow) else flow - square
            left = own - kinship.share[z, i] * others - kinship.slope[z, i] * more
            if abs(left) < BACK_PART * abs(shift):
                found.append((z, i))
        return found


def _left(
    kinship: Kinship, past: Floats, square: Floats, levels: Floats, squares: Floats
) -> Floats:
    """Return by how much each point left the others on each day."""
    change = levels - past
    others = middle(change)
    more = squares - square
    more = np.where(np.isnan(more), 0.0, more)[:, :, None]
    left: Floats = change - kinship.share * others[:, :, None] - kinship.slope * more
    return left


def _mean(total: Floats, count: Floats, needed: float) -> Floats:
    mean = np.full_like(total, np.nan)
    np.divide(total, count, out=mean, where=count >= needed)
    return mean
