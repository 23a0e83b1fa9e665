"""Points outside what they have kept for six weeks: something to look at, nobody is sent.

Input: closed hours, and the bands that the trainer publishes; a point without one is not judged. A
point is told of when its hourly means have left its band for some hours, and is back when they are
well inside for as long. What a whole zone does together is supply or night pressure, and what
happens while a leak, a burst or a failure of supply is told belongs to that: neither is told here.

>>> bands = Bands(())
>>> bands.run([], [])
[]

Source: control limits from quantiles of the process's own past (Shewhart 1931), with hysteresis.
"""

import numpy as np

from server.engine.detectors.finding import Finding
from server.engine.detectors.grid import Bools, Floats, Ints
from server.engine.detectors.hours import Hour
from server.engine.detectors.limits import kind_of
from server.engine.detectors.others import Others
from server.engine.detectors.plot import Plot
from server.engine.events import ModelPublished
from server.engine.registry import Point
from telemetry.instant import DAY_MS, Instant
from telemetry.point import PointId
from telemetry.units import Quantity

ON_H = 3
"""So many known hours outside before it is told."""

OFF_H = 3
"""So many known hours well inside before it is over."""

INSIDE = 0.05
"""Of the band's width: how far inside a point must be to be back."""

TOGETHER_MIN = 2
"""Two pressures of a zone, and half of those known, are its supply."""

TOWN_MIN = 3
"""Three pressures of all zones, and half of those known, are the town's."""

SEVERITY = 4


class Bands:
    """The points of the zones of one width; each in the zone that it stands in."""

    def __init__(self, plots: tuple[Plot, ...]) -> None:
        self.zones: list[str] = [p.zone.id for p in plots]
        placed = [
            (column, zone, point)
            for zone, plot in enumerate(plots)
            for column, point in zip(plot.columns, plot.points, strict=True)
            if point.zone == plot.zone.id
        ]
        self.points: list[Point] = [point for _, _, point in placed]
        self.place: dict[PointId, int] = {p.id: n for n, p in enumerate(self.points)}
        self._columns = np.array([column for column, _, _ in placed], dtype=np.int64)
        self.place_of = {column: n for n, (column, _, _) in enumerate(placed)}
        self._zone = np.array([zone for _, zone, _ in placed], dtype=np.int64)
        self._is_pressure = np.array(
            [p.quantity is Quantity.PRESSURE for p in self.points], dtype=np.bool_
        )
        n = len(placed)
        self.low, self.high = np.full(n, np.nan), np.full(n, np.nan)
        self.days = [0] * len(plots)
        self.side = np.zeros(n, dtype=np.int64)
        self.outside = np.zeros(n, dtype=np.int64)
        self.inside = np.zeros(n, dtype=np.int64)
        self.since = np.zeros(n, dtype=np.int64)
        self.told: dict[int, Finding] = {}
        self.others = Others()

    def publish(self, event: ModelPublished) -> None:
        """Take in the bands of a zone, where its artefact has some."""
        bands = event.artefact.get("points")
        if bands is None or event.zone not in self.zones:
            return
        zone = self.zones.index(event.zone)
        self.days[zone] = round((event.window[1] - event.window[0]) / DAY_MS)
        for n in np.flatnonzero(self._zone == zone).tolist():
            low, high = bands.get(self.points[n].id, (np.nan, np.nan))
            self.low[n], self.high[n] = low, high

    def run(self, hours: list[Hour], found: list[tuple[int, Finding]]) -> list[tuple[int, Finding]]:
        """Judge closed hours; `found` is what else was found in the same rows, with its row."""
        findings: list[tuple[int, Finding]] = []
        compared = zip(*self._compared(hours), strict=True) if hours else ()
        for hour, one in zip(self.others.through(hours, found), compared, strict=True):
            findings += [(hour.row, f) for f in self._judge(hour.start, *one)]
        return findings

    def _compared(self, hours: list[Hour]) -> tuple[Floats, Bools, Ints, Bools]:
        """Return hours beside the bands: means, which are known, on which side, which well in."""
        means = np.stack([hour.means[self._columns] for hour in hours])
        known = ~np.isnan(means) & ~np.isnan(self.low)
        side = np.where(means < self.low, -1, np.where(means > self.high, 1, 0))
        room = INSIDE * (self.high - self.low)
        is_back = known & (means >= self.low + room) & (means <= self.high - room)
        return means, known, np.where(known, side, 0), is_back

    def _judge(
        self, start: int, means: Floats, known: Bools, side: Ints, is_back: Bools
    ) -> list[Finding]:
        """Judge one hour, compared with the bands."""
        self.outside[known & (side == 0)] = 0
        self.inside = np.where(is_back, self.inside + 1, np.where(known, 0, self.inside))
        is_out = side != 0
        if is_out.any():
            is_silent = self._is_silent(known, side)[self._zone]
            self.outside[is_out & is_silent] = 0
            is_out &= ~is_silent
            begins = is_out & ((self.outside == 0) | (side != self.side))
            self.since[begins] = start
            self.outside = np.where(is_out, np.where(begins, 1, self.outside + 1), self.outside)
            self.side[is_out] = side[is_out]
        changes = [self._back(n) for n in sorted(self.told) if self.inside[n] >= OFF_H]
        for n in np.flatnonzero(is_out & (self.outside >= ON_H)).tolist():
            if n not in self.told:
                self.told[n] = self._found(n, float(means[n]))
                changes.append(self.told[n])
        return changes

    def _is_silent(self, known: Bools, side: Ints) -> Bools:
        """Return of each zone whether it moves as a whole, or something else is told of it."""
        count = len(self.zones)
        judged = known & self._is_pressure
        silent = np.array([self.others.speak(z) for z in self.zones], dtype=np.bool_)
        of = np.bincount(self._zone[judged], minlength=count)
        for way in (-1, 1):
            out = np.bincount(self._zone[judged & (side == way)], minlength=count)
            silent |= (out >= TOGETHER_MIN) & (2 * out >= of)
            silent |= out.sum() >= TOWN_MIN and 2 * out.sum() >= of.sum()
        return silent

    def _found(self, n: int, value: float) -> Finding:
        point, is_low = self.points[n], bool(self.side[n] < 0)
        unit, days = point.quantity.unit, self.days[self._zone[n]]
        word = "below" if is_low else "above"
        kept = f"it has kept {self.low[n]:.2f} to {self.high[n]:.2f} {unit}"
        hours = int(self.outside[n])
        return Finding(
            kind=kind_of(point.quantity, is_low=is_low),
            zone=point.zone,
            subject=f"{point.id} band",
            points=(point.id,),
            is_present=True,
            severity=SEVERITY,
            onset=Instant(int(self.since[n])),
            because=(
                f"{point.id} has been {word} what it has kept for {days} days for {hours} h",
                f"last hour {value:.2f} {unit}; {kept}",
            ),
            is_watch=True,
        )

    def _back(self, n: int) -> Finding:
        return self.told.pop(n).gone(
            f"{self.points[n].id} has been back for {int(self.inside[n])} h within what it keeps"
        )

    def adopt(self, other: "Bands", pairs: list[tuple[int, int]]) -> None:
        """Go on with columns that go on; what was learnt of a point in its zone is kept anyway."""
        for zone, name in enumerate(self.zones):
            if name in other.zones:
                self.days[zone] = other.days[other.zones.index(name)]
        for n, point in enumerate(self.points):
            old = other.place.get(point.id)
            if old is not None and other.points[old].zone == point.zone:
                self.low[n], self.high[n] = other.low[old], other.high[old]
        for ours, theirs in pairs:
            if ours in self.place_of and theirs in other.place_of:
                self._take(self.place_of[ours], other, other.place_of[theirs])

    def _take(self, n: int, other: "Bands", old: int) -> None:
        for name in ("side", "outside", "inside", "since"):
            getattr(self, name)[n] = getattr(other, name)[old]
        if old in other.told:
            self.told[n] = other.told[old]
        self.others.adopt(other.others, self.points[n].zone)

    def excuse(self, column: int, because: str) -> list[Finding]:
        """Take down what is told of a column whose instrument is faulty, and begin anew."""
        n = self.place_of.get(column)
        if n is None:
            return []
        self.outside[n] = self.inside[n] = 0
        told = self.told.pop(n, None)
        return [] if told is None else [told.gone(because)]

    def withdraw(self, columns: range, because: str) -> list[Finding]:
        """Take down what is told of some columns."""
        return [f for column in columns for f in self.excuse(column, because)]
