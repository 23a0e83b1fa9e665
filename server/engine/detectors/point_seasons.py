"""One pressure against its habit and its zone: a CUSUM of hourly means (Page 1954), both ways.

Input: closed hours, and the habits that the trainer publishes; a point without one is not judged. A
point's hour is what it is about its slow level, in sigmas, less a part of what the middle of the
other pressures of its zone does. What the whole zone does is its supply, its demand or a regulator:
a point that is told of stands well further off than they. Nobody is sent.

>>> points = PointSeasons(())
>>> points.run([], [])
[]

Source: the sum is that of Page (1954), the clipping of Huber (1964); the part of the common that is
taken, and the test that a point stands out, are our own. docs/detection.md tells why.
"""

from dataclasses import dataclass

import numpy as np

from server.engine.detectors.finding import Finding
from server.engine.detectors.grid import Bools, Floats
from server.engine.detectors.hours import Hour
from server.engine.detectors.limits import kind_of
from server.engine.detectors.others import Others
from server.engine.detectors.plot import Plot
from server.engine.detectors.point_habit import CLOCK, NO_SLOT, SLOTS, Habits
from server.engine.effects import AlarmKind
from server.engine.events import ModelPublished
from server.engine.operations import Operations
from server.engine.registry import Point
from telemetry.instant import DAY_MS, HOUR_MS, Instant
from telemetry.point import PointId
from telemetry.units import Quantity

REFERENCE = 1.5
"""k: sigmas that an hour may deviate without adding to the sum."""

CLIP = 4.0
"""An hour counts for no more sigmas than this (Huber): no single one raises an alarm."""

COMMON = 0.7
"""Part of what the middle of the others does that is taken from a point."""

OTHERS_MIN = 3
"""So many other pressures of the zone must be known; with fewer nothing tells a point from it."""

STANDS_OUT = 1.5
"""A point must be so many times further off than the middle of the others, in kPa."""

REST_H = 96
"""Known hours that show a level; so long after an alarm or a disturbance a point is silent."""

LEVEL_H = 240
"""Hours over which the level of a point follows it."""

FREEZE = 0.3
"""Of the threshold: a sum beyond it keeps the level from following its point."""

SUSPECT_MAX_MS = 14 * DAY_MS
"""So long at most: a weak deviation that lasts longer is season."""

UNSEEN_MAX_MS = DAY_MS
"""A sum does not go on over a longer gap."""

BACK = 0.4
"""Part of a deviation that may be left over a day when it is said to be over."""

FORGET_MS = 14 * DAY_MS

SPEAKS_MS = DAY_MS
"""So long the first of a zone speaks for those that go the same way."""

SEVERITY = 4
_LOW, _HIGH = 0, 1
_PASSING = (AlarmKind.BURST, AlarmKind.SUPPLY)
"""While one of these is told of a zone, its points are silent."""

_SIGN = np.array([[-1.0], [1.0]])
_STATE = ("level", "age", "seen", "sums", "starts", "own", "common", "off", "hours")


@dataclass(slots=True, kw_only=True)
class _Told:
    """A point that is told: its level before, how far off it was, and is over the last day."""

    finding: Finding
    level: float
    size: float
    off: float
    at: int


class PointSeasons:
    """The pressures of the zones of one width; each in the zone that it stands in."""

    def __init__(self, plots: tuple[Plot, ...], operations: Operations | None = None) -> None:
        self._operations = Operations() if operations is None else operations
        self.zones: list[str] = [p.zone.id for p in plots]
        placed = [
            (column, zone, point)
            for zone, plot in enumerate(plots)
            for column, point in zip(plot.columns, plot.points, strict=True)
            if point.zone == plot.zone.id and point.quantity is Quantity.PRESSURE
        ]
        self.points: list[Point] = [point for _, _, point in placed]
        self.place: dict[PointId, int] = {p.id: n for n, p in enumerate(self.points)}
        self.place_of = {column: n for n, (column, _, _) in enumerate(placed)}
        self._columns = np.array([column for column, _, _ in placed], dtype=np.int64)
        self._zone = np.array([zone for _, zone, _ in placed], dtype=np.int64)
        self._middles = Middles([zone for _, zone, _ in placed])
        self.habits: list[Habits | None] = [None] * len(plots)
        n = len(placed)
        self.usual, self.sigma = np.full((n, SLOTS), np.nan), np.full((n, CLOCK), np.nan)
        self.threshold, self.a_year = np.full(n, np.nan), np.zeros(n)
        self.level = np.zeros(n)
        self.age, self.seen = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        self.sums, self.starts = np.zeros((2, n)), np.zeros((2, n), dtype=np.int64)
        # Over the hours of a sum: the point's own deviation, that of the middle of the others, and
        # what is left of it without the common part, in kPa.
        self.own, self.common, self.off = (np.zeros((2, n)) for _ in range(3))
        self.hours = np.zeros((2, n), dtype=np.int64)
        self.told: dict[int, _Told] = {}
        self.others = Others()

    def publish(self, event: ModelPublished) -> None:
        """Take in the habits of a zone's pressures, where its artefact has some."""
        habits = Habits.of(event.artefact)
        if habits is None or event.zone not in self.zones:
            return
        zone = self.zones.index(event.zone)
        self.habits[zone] = habits
        for n in np.flatnonzero(self._zone == zone).tolist():
            self._learn(n, habits)

    def _learn(self, n: int, habits: Habits) -> None:
        habit = habits.points.get(self.points[n].id)
        self.usual[n] = np.nan if habit is None else habit.usual
        self.sigma[n] = np.nan if habit is None else habit.sigma
        self.threshold[n] = np.nan if habit is None else habit.threshold
        self.a_year[n] = 0.0 if habit is None else habit.a_year

    def run(self, hours: list[Hour], found: list[tuple[int, Finding]]) -> list[tuple[int, Finding]]:
        """Judge closed hours; `found` is what else was found in the same rows, with its row."""
        findings: list[tuple[int, Finding]] = []
        for hour in self.others.through(hours, found):
            findings += [(hour.row, f) for f in self._judge(hour)]
        return findings

    def _judge(self, hour: Hour) -> list[Finding]:
        slots = np.array([NO_SLOT if h is None else h.slot(hour.start) for h in self.habits])
        if not (slots != NO_SLOT).any():
            return self._forget(hour)
        slot = slots[self._zone]
        places = np.arange(len(slot))
        usual = np.where(slot == NO_SLOT, np.nan, self.usual[places, slot])
        sigma = self.sigma[places, slot % CLOCK]
        shaped = hour.means[self._columns] - usual
        known = ~np.isnan(shaped)
        self.sums[:, known & (hour.start - self.seen > UNSEEN_MAX_MS)] = 0.0
        self.seen[known] = hour.start
        begins = known & (self.age == 0)
        self.level[begins] = shaped[begins]
        above = shaped - self.level
        settled = self.age >= REST_H
        both = np.stack([above / sigma, above])
        middle, others = self._middles.of(np.where(settled, both, np.nan))
        has_common = known & ~np.isnan(middle)
        shared = COMMON * sigma * np.where(has_common, middle, 0.0)
        silent = self._is_silent(hour)[self._zone]
        judged = has_common & settled & ~silent
        told = np.zeros(len(known), dtype=np.bool_)
        told[list(self.told)] = True
        self._add(hour, judged & ~told, (above, others, above - shared), sigma)
        self.sums[:, silent | known & (~settled | told)] = 0.0
        changes = self._follow(hour, known, shaped - shared, shared)
        expected = usual + self.level + shared
        self._level(hour, known, above, shared, sigma)
        self.age[known] += 1
        self.age[silent] = 0
        return changes + self._tell(hour, expected, judged)

    def _is_silent(self, hour: Hour) -> Bools:
        """Return of each zone whether what its points do now is told already, or announced.

        A leak may be told for months: points are silent for the hour of its news, and rest then.
        """
        at = Instant(hour.start + HOUR_MS)
        news = self.others.news()
        return np.array(
            [
                zone in news
                or self.others.speak(zone, _PASSING)
                or self._operations.disturbs(zone, Instant(hour.start), at)
                for zone in self.zones
            ],
            dtype=np.bool_,
        )

    def _add(
        self, hour: Hour, now: Bools, kpa: tuple[Floats, Floats, Floats], sigma: Floats
    ) -> None:
        """Add an hour to the sums of the points that are judged `now`.

        `kpa` are a point's own deviation, that of the middle of the others, and what is left of the
        own without the common part.
        """
        z = np.clip(kpa[2] / sigma, -CLIP, CLIP)
        sums = np.where(now, np.maximum(0.0, self.sums + _SIGN * z - REFERENCE), self.sums)
        begins = now & (sums > 0.0) & (self.sums == 0.0)
        self.starts[begins] = hour.start
        self.hours[begins] = 0
        self.hours += now
        for total, part in zip((self.own, self.common, self.off), kpa, strict=True):
            total[begins] = 0.0
            np.add(total, part, out=total, where=now)
        self.sums = sums

    def _level(
        self, hour: Hour, known: Bools, above: Floats, shared: Floats, sigma: Floats
    ) -> None:
        """Let levels follow: at once where they are young, and not where something is pending."""
        is_young = self.age < REST_H
        pending = (
            (self.sums > FREEZE * self.threshold) & (hour.start - self.starts <= SUSPECT_MAX_MS)
        ).any(axis=0)
        left = np.clip(above - shared, -CLIP * sigma, CLIP * sigma)
        step = shared + np.where(pending, 0.0, left)
        weight = np.maximum(1.0 / LEVEL_H, 1.0 / (self.age + 1.0))
        moved = self.level + weight * np.where(is_young, above, step)
        self.level = np.where(known, moved, self.level)

    def _tell(self, hour: Hour, expected: Floats, judged: Bools) -> list[Finding]:
        """Return the points whose sum has passed and that stand out; all of them begin anew.

        A pressure that rises while a leak of its zone is told says that it was mended.
        """
        passed = np.nonzero(judged & (self.sums > self.threshold))
        sizes = {
            (way, n): float(self.off[way, n] / self.hours[way, n])
            for way, n in zip(*(part.tolist() for part in passed), strict=True)
        }
        found = []
        for (way, n), size in sorted(sizes.items(), key=lambda item: -abs(item[1])):
            own = float(self.own[way, n] * _SIGN[way, 0])
            is_mended = way == _HIGH and self.others.speak(self.points[n].zone, (AlarmKind.LEAK,))
            stands_out = own >= STANDS_OUT * abs(float(self.common[way, n]))
            if stands_out and not is_mended and not self._is_spoken_for(n, size, hour.start):
                finding = self._found(hour, n, way, float(expected[n]))
                self.told[n] = _Told(
                    finding=finding, level=float(self.level[n]), size=size, off=size, at=hour.start
                )
                found.append(finding)
            self._begin_anew(n)
        return found

    def _is_spoken_for(self, n: int, size: float, now: int) -> bool:
        """Say whether another point of the zone, that went the same way, has just been told."""
        return any(
            self._zone[m] == self._zone[n] and told.size * size > 0 and now - told.at < SPEAKS_MS
            for m, told in self.told.items()
        )

    def _found(self, hour: Hour, n: int, way: int, expected: float) -> Finding:
        point, onset = self.points[n], int(self.starts[way, n])
        size = abs(float(self.off[way, n])) / int(self.hours[way, n])
        value = float(hour.means[self._columns[n]])
        word, hours = "below" if way == _LOW else "above", (hour.start - onset) // HOUR_MS + 1
        off = f"{size:.1f} kPa {word} its habit for {hours} h"
        return Finding(
            kind=kind_of(point.quantity, is_low=way == _LOW),
            zone=point.zone,
            subject=f"{point.id} habit",
            points=(point.id,),
            is_present=True,
            severity=SEVERITY,
            onset=Instant(onset),
            because=(
                f"{point.id} has been {off}, its zone has not",
                f"last hour {value:.1f} kPa, usual {expected:.1f} kPa",
                f"its own noise would bring {self.a_year[n]:.2f} such alarms a year",
            ),
            is_watch=True,
        )

    def _follow(self, hour: Hour, known: Bools, shaped: Floats, shared: Floats) -> list[Finding]:
        """Follow what is told; return what is over, or has become habit."""
        for n in [n for n in self.told if known[n]]:
            told = self.told[n]
            told.level += float(shared[n]) / LEVEL_H
            told.off += (float(shaped[n]) - told.level - told.off) / CLOCK
        return self._forget(hour)

    def _forget(self, hour: Hour) -> list[Finding]:
        changes = []
        for n in sorted(self.told):
            told, point = self.told[n], self.points[n].id
            if told.off * told.size <= BACK * told.size**2:
                because = f"{point} was {abs(told.off):.1f} kPa off its habit over the last day"
            elif hour.start - told.at > FORGET_MS:
                because = f"{point} has kept its new level for {FORGET_MS // DAY_MS} days"
            else:
                continue
            changes.append(self._gone(n, because))
        return changes

    def _gone(self, n: int, because: str) -> Finding:
        """Take down what is told of a point; its level is learnt anew."""
        self._begin_anew(n)
        return self.told.pop(n).finding.gone(because)

    def _begin_anew(self, n: int) -> None:
        self.age[n] = 0
        self.sums[:, n] = 0.0

    def adopt(self, other: "PointSeasons", pairs: list[tuple[int, int]]) -> None:
        """Go on with columns that go on; what was learnt of a point in its zone is kept anyway."""
        for zone, name in enumerate(self.zones):
            if name in other.zones:
                self.habits[zone] = other.habits[other.zones.index(name)]
        for n in range(len(self.points)):
            habits = self.habits[self._zone[n]]
            if habits is not None:
                self._learn(n, habits)
        for ours, theirs in pairs:
            if ours in self.place_of and theirs in other.place_of:
                self._take(self.place_of[ours], other, other.place_of[theirs])

    def _take(self, n: int, other: "PointSeasons", old: int) -> None:
        for name in _STATE:
            getattr(self, name)[..., n] = getattr(other, name)[..., old]
        if old in other.told:
            self.told[n] = other.told[old]
        self.others.adopt(other.others, self.points[n].zone)

    def excuse(self, column: int, because: str) -> list[Finding]:
        """Take down what is told of a column whose instrument is faulty, and begin anew."""
        n = self.place_of.get(column)
        if n is None:
            return []
        self._begin_anew(n)
        return [self._gone(n, because)] if n in self.told else []

    def withdraw(self, columns: range, because: str) -> list[Finding]:
        """Take down what is told of some columns."""
        return [f for column in columns for f in self.excuse(column, because)]


class Middles:
    """The median of the other points of a zone, for all points at once; `zone` of each of them.

    >>> Middles([0, 0, 0, 0]).of(np.array([[1.0, 2.0, 3.0, 9.0]])).tolist()
    [[3.0, 3.0, 2.0, 2.0]]
    """

    def __init__(self, zone: list[int]) -> None:
        counts: dict[int, int] = {}
        nth = []
        for z in zone:
            nth.append(counts.get(z, 0))
            counts[z] = nth[-1] + 1
        self._row, self._nth = np.array(zone, dtype=np.int64), np.array(nth, dtype=np.int64)
        self._shape = (max(zone, default=-1) + 1, max(counts.values(), default=0) + 1)

    def of(self, values: Floats) -> Floats:
        """Return for each point the median of the others that are known; values are (rows, points).

        NaN where they are too few.
        """
        rows = len(values)
        table = np.full((rows, *self._shape), np.nan)
        table[:, self._row, self._nth] = values
        table.sort(axis=2)  # NaN last
        is_known = ~np.isnan(values)
        count = (~np.isnan(table)).sum(axis=2)[:, self._row] - is_known
        has_others = count >= OTHERS_MIN
        low = self._row * self._shape[1] + np.where(has_others, (count - 1) // 2, 0)
        high = low + (has_others & (count % 2 == 0))
        flat, nth = table.reshape(rows, -1), np.arange(rows)[:, None]
        # Without the point itself all that is not below it moves up by one place.
        below = flat[nth, low + (values <= flat[nth, low])]
        beyond = flat[nth, high + (values <= flat[nth, high])]
        middle: Floats = np.where(has_others, (below + beyond) / 2, np.nan)
        return middle
