"""Where hours come from: a recording, or the server's historian while it goes on."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from server.balance.account import ZoneMonth, account, needed
from server.balance.hours import Hours, PointHours, empty, level_edges
from server.balance.layout import layout_of
from server.balance.local import floor_hour
from server.balance.notes import Note
from server.config import BalanceSection
from server.engine.registry import Registry
from server.history.reader import Reader
from server.history.recording import Recording
from telemetry.errors import StorageError
from telemetry.instant import HOUR_MS, MINUTE_MS, Instant
from telemetry.point import PointId
from telemetry.units import Quantity

EDGE_PERIODS = 3
EDGE_MS_MIN = 15 * MINUTE_MS
"""Between two samples of a level that are further apart than so many periods, or this, nobody knows
where it stood: a gap is never bridged."""

DAY_H = 24

Parts = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]


def hours_of_recording(
    recording: Recording, points: Sequence[str], begin: Instant, end: Instant
) -> Hours:
    """Return the hours of some points of a recording. Raises `ConfigError` for a wrong file."""
    registry, names = recording.registry(), recording.points
    chosen = [p for p in names if p in set(points)]
    gathered = _Gathered(len(chosen), (end - begin) // HOUR_MS, begin)
    place = np.array([chosen.index(p) if p in chosen else -1 for p in names])
    parts: dict[str, list[Parts]] = {p: [] for p in _levels(registry, chosen)}
    # A level before the first hour, or behind the last, tells where it stood at their edges.
    aside = Instant(begin - HOUR_MS), Instant(end + HOUR_MS)
    for stretch in recording.stretches(*aside, set(chosen)):
        usable = stretch.take(~np.isnan(stretch.value))
        for name, rows in parts.items():
            mine = usable.point == names.index(name)
            rows.append((usable.at[mine], usable.value[mine]))
        gathered.add(place[usable.point], usable.at, usable.value)
    levels = {p: _joined(rows) for p, rows in parts.items()}
    edges = _edges(registry, levels, begin, gathered.length)
    hours = {name: gathered.of(n, edges.get(name)) for n, name in enumerate(chosen)}
    return Hours(begin=begin, length=gathered.length, points=hours)


class _Gathered:
    """Samples on their way into hours: counts, sums and extremes, one row of hours a point."""

    def __init__(self, points: int, length: int, begin: Instant) -> None:
        self.length = length
        self._begin = begin
        self._count = np.zeros(points * length, np.int64)
        self._total = np.zeros(points * length)
        self._low = np.full(points * length, np.inf)
        self._high = np.full(points * length, -np.inf)

    def add(
        self,
        place: npt.NDArray[np.int64],
        at: npt.NDArray[np.int64],
        value: npt.NDArray[np.float64],
    ) -> None:
        """Take in samples; those outside the hours are passed over."""
        hour = (at - self._begin) // HOUR_MS
        inside = (hour >= 0) & (hour < self.length)
        slot, value = (place * self.length + hour)[inside], value[inside]
        self._count += np.bincount(slot, minlength=len(self._count))
        self._total += np.bincount(slot, value, minlength=len(self._count))
        np.minimum.at(self._low, slot, value)
        np.maximum.at(self._high, slot, value)

    def of(self, n: int, edge: npt.NDArray[np.float64] | None) -> PointHours:
        """Return the hours of the n-th point."""
        here = slice(n * self.length, (n + 1) * self.length)
        count, some = self._count[here], self._count[here] > 0
        unknown = np.full(self.length, np.nan)
        return PointHours(
            count=count,
            mean=np.divide(self._total[here], count, out=unknown.copy(), where=some),
            low=np.where(some, self._low[here], np.nan),
            high=np.where(some, self._high[here], np.nan),
            edge=edge,
        )


def hours_of_historian(
    path: Path, registry: Registry, points: Sequence[str], begin: Instant, end: Instant
) -> Hours:
    """Return the hours of some points out of the historian's roll-ups; of levels, its samples.

    Quality marks are obeyed. Raises `StorageError` naming the file that cannot be read.
    """
    length = (end - begin) // HOUR_MS
    levels = _levels(registry, points)
    with closing(Reader(path)) as reader:
        rolled = reader.rollups(points, begin, end, width="hour")
        names = reader.points()
        edges = _levels_by_day(reader, registry, levels, begin, length)
    hours = {}
    for number in np.unique(rolled.point).tolist():
        rows = rolled.take(rolled.point == number)
        slot = (rows.at - begin) // HOUR_MS
        name, here = names[number], empty(length)
        for column, values in (
            (here.count, rows.count),
            (here.mean, rows.mean),
            (here.low, rows.low),
            (here.high, rows.high),
        ):
            column[slot] = values
        hours[name] = replace(here, edge=edges.get(name))
    return Hours(begin=begin, length=length, points=hours)


def _levels_by_day(
    reader: Reader, registry: Registry, levels: Sequence[str], begin: Instant, length: int
) -> dict[str, npt.NDArray[np.float64]]:
    """Return each level at the edges of the hours, a day of samples at a time."""
    found = {name: np.full(length + 1, np.nan) for name in levels}
    names = reader.points()
    for first in range(0, length if levels else 0, DAY_H):
        many = min(DAY_H, length - first)
        start = begin + first * HOUR_MS
        aside = Instant(start - HOUR_MS), Instant(start + (many + 1) * HOUR_MS)
        raw = reader.samples(levels, *aside)
        parts = {}
        for number in np.unique(raw.point).tolist():
            mine = (raw.point == number) & raw.usable()
            parts[names[number]] = (raw.at[mine], raw.value[mine])
        for name, edge in _edges(registry, parts, Instant(start), many).items():
            found[name][first : first + many + 1] = edge
    return found


def _levels(registry: Registry, points: Sequence[str]) -> list[str]:
    known = registry.points
    return [
        p for p in points if PointId(p) in known and known[PointId(p)].quantity is Quantity.LEVEL
    ]


def _joined(rows: list[Parts]) -> Parts:
    at = np.concatenate([a for a, _ in rows] or [np.empty(0, np.int64)])
    level = np.concatenate([v for _, v in rows] or [np.empty(0)])
    order = np.argsort(at, kind="stable")
    return at[order], level[order]


def _edges(
    registry: Registry, parts: Mapping[str, Parts], begin: Instant, length: int
) -> dict[str, npt.NDArray[np.float64]]:
    """Return each level at the beginning of each hour, and at the end of the last."""
    edges = begin + np.arange(length + 1, dtype=np.int64) * HOUR_MS
    return dict(_edge(registry, name, rows, edges) for name, rows in parts.items())


def _edge(
    registry: Registry, name: str, rows: Parts, edges: npt.NDArray[np.int64]
) -> tuple[str, npt.NDArray[np.float64]]:
    apart = max(EDGE_MS_MIN, EDGE_PERIODS * registry.points[PointId(name)].period_ms)
    return name, level_edges(*rows, edges, apart_ms_max=apart)


def month_of_historian(
    path: Path, registry: Registry, zone: str, month: str, facts: BalanceSection, *, until: Instant
) -> ZoneMonth:
    """Return a zone's month out of a server's historian, as it is at `until`.

    A historian that cannot be read, or is not there yet, is told by a note, and nothing is known.
    Raises `ConfigError` when the month is none.
    """
    layout = layout_of(registry, zone, customers=facts.customers)
    begin, end = needed(month, layout.timezone)
    last = max(begin, min(end, Instant(floor_hour(until, layout.timezone) + HOUR_MS)))
    try:
        hours = hours_of_historian(path, registry, layout.points, begin, last)
    except (StorageError, sqlite3.Error):
        hours = Hours(begin=begin, length=(last - begin) // HOUR_MS, points={})
        found = account(layout, hours, month, facts, until=until)
        notes = (Note.of("history_unread"), *found.balance.notes)
        return replace(found, balance=replace(found.balance, notes=notes))
    return account(layout, hours, month, facts, until=until)
