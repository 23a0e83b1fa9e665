"""Readings that cannot be: beyond nature, doubted by their gateway, or nothing where all have some.

Each such reading is left out at once. Ten seconds of them in a row, or one in forty of late, are a
fault of the instrument. A pressure of nothing is one only while the rest of the zone has pressure:
where the water has gone everywhere, nothing is the truth.
"""

from dataclasses import dataclass

import numpy as np

from server.engine.detectors.block import REASONS, Block
from server.engine.detectors.grid import Bools, Floats, Ints
from server.engine.detectors.pages import Readings, Turn
from server.engine.detectors.symptoms import Symptom
from server.engine.registry import Point
from telemetry.instant import MINUTE_MS, SECOND_MS
from telemetry.point import PointId
from telemetry.sample import Quality, Reason
from telemetry.units import Quantity

RANGES: dict[Quantity, tuple[float, float]] = {
    Quantity.PRESSURE: (-100.0, 4_000.0),
    Quantity.FLOW: (-50_000.0, 50_000.0),
    Quantity.LEVEL: (-5.0, 200.0),
    Quantity.TEMPERATURE: (-50.0, 200.0),
    Quantity.VOLUME: (-1e12, 1e12),
}
"""What water mains can have: a vacuum is -101 kPa, the strongest mains burst below 4 MPa."""

SENSELESS = 1e-3
"""Nearer to nothing than this no transmitter reads, unless it is nothing: words of another form."""

NOTHING_KPA = 1.0
ALIVE_MIN, ALIVE_PART = 2, 0.75
"""So many others of the zone, and so large a part of those heard since, must have pressure."""

HELD_MS = 15 * MINUTE_MS
"""How long a pressure of nothing is held back while nobody else is heard."""

DOUBTS = (Reason.OUT_OF_RANGE, Reason.STUCK, Reason.IMPLAUSIBLE_RATE)

WRONG_MIN, WRONG_MS = 3, 10 * SECOND_MS
RIGHT_MIN = 12
MEMORY = 180
"""Readings over which what is wrong now and then is counted,"""

SCORE_ON, SCORE_OFF, SCORE_MAX = 5.0, 1.5, 8.0

_FINE, _RANGE, _ZERO, _DOUBTED = range(4)
_SYMPTOMS = (None, Symptom.RANGE, Symptom.ZERO, Symptom.DOUBTED)


@dataclass(slots=True, kw_only=True)
class _Wrong:
    """What has been wrong with one point. `index` counts its readings, wrong and right."""

    need: int
    index: int = -(2**62)
    in_row: int = 0
    since: int = 0
    score: float = 0.0
    symptom: Symptom | None = None
    has_dropouts: bool = False

    @property
    def is_calm(self) -> bool:
        return self.symptom is None and not self.has_dropouts

    def add(self, index: int, at: int, code: int) -> list[tuple[Symptom, float]]:
        """Take one more wrong reading in; return the symptoms that begin with it."""
        follows = index == self.index + 1
        if not follows:
            self.in_row, self.since = 0, at
        self.in_row += 1
        self.score = min(SCORE_MAX, self._faded(index) + 1.0)
        self.index = index
        begins: list[tuple[Symptom, float]] = []
        if self.symptom is None and self.in_row >= self.need:
            self.symptom = _SYMPTOMS[code]
            assert self.symptom is not None
            begins.append((self.symptom, float(self.in_row)))
        if not self.has_dropouts and self.symptom is None and self.score >= SCORE_ON:
            self.has_dropouts = True
            begins.append((Symptom.DROPOUTS, self.score))
        return begins

    def _faded(self, index: int) -> float:
        readings = min(index - self.index, 100 * MEMORY)
        return float(self.score * (1.0 - 1.0 / MEMORY) ** readings)

    def ends(self) -> list[tuple[int, Symptom]]:
        """Return at which reading each symptom will have gone, if nothing more is wrong."""
        found = []
        if self.symptom is not None:
            found.append((self.index + RIGHT_MIN, self.symptom))
        if self.has_dropouts:
            fade = np.log(SCORE_OFF / self.score) / np.log(1.0 - 1.0 / MEMORY)
            found.append((self.index + max(RIGHT_MIN, int(np.ceil(fade))), Symptom.DROPOUTS))
        return sorted(found)

    def end(self, symptom: Symptom) -> None:
        """Note that a symptom has gone."""
        if symptom is Symptom.DROPOUTS:
            self.has_dropouts = False
        else:
            self.symptom = None


class Wrongs:
    """Wrong readings of the points of the registry, in their order."""

    def __init__(self, points: list[Point]) -> None:
        n = len(points)
        ranges = [RANGES.get(p.quantity, (-np.inf, np.inf)) for p in points]
        self._low = np.array([r[0] for r in ranges])
        self._high = np.array([r[1] for r in ranges])
        self._is_pressure = np.array([p.quantity is Quantity.PRESSURE for p in points], dtype=bool)
        self._least = np.where(self._is_pressure, NOTHING_KPA, self._low)
        zones: dict[str, int] = {}
        self._zone = np.array([zones.setdefault(p.zone, len(zones)) for p in points], dtype=int)
        self._count = np.zeros(n, dtype=np.int64)
        self.seen = 0
        self._some, self._zero = np.full(n, -1), np.full(n, -1)
        self._is_zero = np.zeros(n, dtype=np.bool_)
        self._begun, self._begun_at = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        self.wrong: dict[int, _Wrong] = {}
        self._need = [max(WRONG_MIN, -(-WRONG_MS // max(1, p.period_ms))) for p in points]

    def adopt(self, other: "Wrongs", pairs: list[tuple[int, int]]) -> None:
        """Go on with points of another registry; pairs are (ours, theirs)."""
        self.seen = other.seen
        for ours, theirs in pairs:
            for name in ("_count", "_some", "_zero", "_is_zero", "_begun", "_begun_at"):
                getattr(self, name)[ours] = getattr(other, name)[theirs]
            if theirs in other.wrong:
                self.wrong[ours] = other.wrong[theirs]

    def codes(self, block: Block, readings: Readings) -> Ints:
        """Return what is wrong with each reading, as one of our numbers."""
        value, number = readings.value, readings.number
        code = np.zeros(len(value), dtype=np.int64)
        if self._are_fine(block, value, number):
            is_pressure = self._is_pressure[number]
            self._some[number[is_pressure]] = self.seen + readings.place[is_pressure]
            self.seen += len(block.at)
            return code
        is_beyond = (value < self._low[number]) | (value > self._high[number])
        size = np.abs(value)
        is_pressure = self._is_pressure[number]
        is_beyond |= is_pressure & (size < SENSELESS) & (size > 0.0)
        code[is_beyond] = _RANGE
        code[block.quality[readings.place] == int(Quality.UNCERTAIN)] = _DOUBTED
        is_zero = is_pressure & (size < NOTHING_KPA) & (code == _FINE)
        is_some = is_pressure & ~is_zero & (code == _FINE)
        if is_zero.any() or self._is_zero.any():
            code[self._lone(block, readings, is_zero, is_some)] = _ZERO
        order = self.seen + readings.place
        for which, last in ((is_some, self._some), (is_zero, self._zero)):
            last[number[which]] = order[which]  # the last of each stays
        self.seen += len(block.at)
        return code

    def _are_fine(self, block: Block, value: Floats, number: Ints) -> bool:
        """Say whether nothing is wrong with any reading, and no pressure is nothing or was."""
        is_fine = (value >= self._least[number]) & (value <= self._high[number])
        is_doubted = block.quality == int(Quality.UNCERTAIN)
        return bool(is_fine.all() and not is_doubted.any() and not self._is_zero.any())

    def _lone(self, block: Block, readings: Readings, is_zero: Bools, is_some: Bools) -> Ints:
        """Return the readings of nothing that stand alone, or of which it is not known yet."""
        zone = self._zone[readings.number]
        found = [np.zeros(0, dtype=np.int64)]
        begun, begun_at = self._runs(block, readings, is_zero, is_some)
        now = block.now[readings.place]
        for z in np.unique(zone[is_zero]).tolist():
            zeros = np.flatnonzero(is_zero & (zone == z))
            others = np.flatnonzero((self._zone == z) & self._is_pressure).tolist()
            if len(others) <= ALIVE_MIN:
                continue
            heard, alive = np.zeros(len(zeros)), np.zeros(len(zeros))
            for n in others:
                some = self._last(n, readings, is_some, self._some[n], zeros)
                none = self._last(n, readings, is_zero, self._zero[n], zeros)
                is_other = readings.number[zeros] != n
                heard += is_other & (np.maximum(some, none) > begun[zeros])
                alive += is_other & (some > begun[zeros]) & (some > none)
            is_young = now[zeros] - begun_at[zeros] <= HELD_MS
            is_lone = (alive >= ALIVE_MIN) & (alive >= ALIVE_PART * heard)
            found.append(zeros[is_lone | ((heard < ALIVE_MIN) & is_young)])
        return np.concatenate(found)

    def _last(self, n: int, readings: Readings, which: Bools, last: int, at: Ints) -> Ints:
        """Return the order of the last such reading of a point before each of some readings."""
        begin, end = np.searchsorted(readings.number, [n, n + 1]).tolist()
        mine = readings.place[begin:end][which[begin:end]]
        before = np.searchsorted(mine, readings.place[at]) - 1
        order = np.concatenate([[last], self.seen + mine])
        found: Ints = order[before + 1]
        return found

    def _runs(
        self, block: Block, readings: Readings, is_zero: Bools, is_some: Bools
    ) -> tuple[Ints, Ints]:
        """Return since which reading, and when, each point has said nothing without a break."""
        begun = np.zeros(len(is_zero), dtype=np.int64)
        begun_at = np.zeros(len(is_zero), dtype=np.int64)
        chosen = {*readings.number[is_zero].tolist(), *np.flatnonzero(self._is_zero).tolist()}
        for n in sorted(chosen):
            begin, end = np.searchsorted(readings.number, [n, n + 1]).tolist()
            zero, some = is_zero[begin:end], is_some[begin:end]
            for k in np.flatnonzero(zero | some).tolist():
                if some[k]:
                    self._is_zero[n] = False
                    continue
                place = int(readings.place[begin + k])
                if not self._is_zero[n]:
                    self._is_zero[n] = True
                    self._begun[n] = self.seen + place
                    self._begun_at[n] = block.now[place]
                begun[begin + k], begun_at[begin + k] = self._begun[n], self._begun_at[n]
        return begun, begun_at

    def run(self, readings: Readings, code: Ints) -> list[Turn]:
        """Return what comes and goes with these readings."""
        number = readings.number
        if not len(number):
            return []
        is_first = np.concatenate([[True], number[1:] != number[:-1]])
        begins = np.flatnonzero(is_first)
        ends = np.append(begins[1:], len(number))
        who = number[begins]
        turns: list[Turn] = []
        busy = {n for n, w in self.wrong.items() if not w.is_calm}
        bad = np.flatnonzero(code != _FINE)
        busy |= set(number[bad].tolist())
        if busy:
            segment = {int(n): i for i, n in enumerate(who.tolist())}
            for n in sorted(busy):
                i = segment.get(n)
                if i is not None:
                    turns += self._one(n, readings, code, int(begins[i]), int(ends[i]))
        self._count[who] += ends - begins
        return turns

    def _one(self, n: int, readings: Readings, code: Ints, begin: int, end: int) -> list[Turn]:
        wrong = self.wrong.setdefault(n, _Wrong(need=self._need[n]))
        base = int(self._count[n]) - begin
        turns: list[Turn] = []
        for k in (begin + np.flatnonzero(code[begin:end])).tolist():
            turns += self._gone(wrong, n, readings, base, k)
            for symptom, figure in wrong.add(base + k, int(readings.at[k]), int(code[k])):
                turns.append(_turn(n, readings, k, symptom, since=wrong.since, figure=figure))
        turns += self._gone(wrong, n, readings, base, end)
        return turns

    def _gone(
        self, wrong: _Wrong, n: int, readings: Readings, base: int, before: int
    ) -> list[Turn]:
        """Return the symptoms that have gone with a reading before this one."""
        turns = []
        for index, symptom in wrong.ends():
            k = index - base
            if k < before:
                wrong.end(symptom)
                since = int(readings.at[k])
                turns.append(
                    Turn(
                        number=n,
                        place=int(readings.place[k]),
                        symptom=symptom,
                        is_on=False,
                        since=since,
                        figure=0.0,
                    )
                )
        return turns


def _turn(
    n: int, readings: Readings, k: int, symptom: Symptom, *, since: int, figure: float
) -> Turn:
    return Turn(
        number=n,
        place=int(readings.place[k]),
        symptom=symptom,
        is_on=True,
        since=since,
        figure=figure,
    )


def is_reading(block: Block) -> Bools:
    """Say which samples are readings of an instrument: good, or doubted by its gateway."""
    doubts = [REASONS.index(r) for r in DOUBTS]
    is_doubted = (block.quality == int(Quality.UNCERTAIN)) & np.isin(block.reason, doubts)
    said: Bools = ((block.quality == int(Quality.GOOD)) | is_doubted) & ~np.isnan(block.value)
    return said


def floors(points: list[PointId], by_id: dict[PointId, Point]) -> Floats:
    """Return the least noise of each point: what its kind of instrument never beats."""
    return np.array([FLOORS.get(by_id[p].quantity, 0.01) for p in points])


FLOORS: dict[Quantity, float] = {
    Quantity.PRESSURE: 0.2,
    Quantity.FLOW: 0.2,
    Quantity.LEVEL: 0.003,
    Quantity.TEMPERATURE: 0.05,
}
