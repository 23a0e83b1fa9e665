"""The fall detector over all zones of one bin width: quiet stretches at once, the rest bin by bin.

A stretch in which no pressure of a zone falls strongly and no inflow rises is quiet: nothing can be
found in it. Only zones that are not quiet, or that hold something found, are stepped through.

Source: our own. A difference of two moving means in units of its learnt size; what is learnt from
is clipped as Huber (1964) clips; the fall that goes with more water follows the square of the flow,
as Darcy and Weisbach have it.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from server.engine.detectors.fall import (
    RISE_SCORE,
    STRONG_KPA,
    STRONG_SCORE,
    Fall,
    Past,
    ZoneScales,
)
from server.engine.detectors.finding import Finding
from server.engine.detectors.grid import Bools, Floats, Ints
from server.engine.detectors.scales import FIVE_MS, LESSON_BINS, Scales
from server.engine.detectors.steps import Look, Ring, Steps, growth_of, look
from server.engine.operations import Operations
from server.engine.registry import Point
from telemetry.instant import Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Wells:
    """The columns of one zone: `pressures` first, then the net inflow."""

    zone: str
    pressures: tuple[Point, ...]
    slow: int

    @property
    def width(self) -> int:
        """Return how many columns they are."""
        return len(self.pressures) + 1


class Falls:
    """The fall detectors of zones side by side.

    >>> from telemetry.units import Quantity
    >>> street = Point(
    ...     id="street/pressure",
    ...     zone="north",
    ...     quantity=Quantity.PRESSURE,
    ...     name_zh="",
    ...     name_en="",
    ...     period_ms=1_000,
    ... )
    >>> falls = Falls((Wells(zone="north", pressures=(street,), slow=1),), width_ms=1_000)
    >>> start = 1_000 * np.arange(100)
    >>> values = np.where(start[:, None] < 90_000, [300.0, 150.0], [290.0, 190.0])
    >>> said = falls.run(start, values, np.ones(values.shape, dtype=bool))
    >>> [(row, str(found.kind), found.onset, found.estimate_m3h) for row, found in said]
    [(94, 'burst', 90000, 40.0)]
    """

    def __init__(
        self, zones: tuple[Wells, ...], *, width_ms: int, operations: Operations | None = None
    ) -> None:
        self._width_ms = width_ms
        self._growth = growth_of(width_ms)
        ends = np.cumsum([z.width for z in zones])
        self.columns = [slice(int(e) - z.width, int(e)) for e, z in zip(ends, zones, strict=True)]
        n = int(ends[-1]) if len(zones) else 0
        self._begins = np.array([c.start for c in self.columns], dtype=np.int64)
        self._flows = np.array([c.stop - 1 for c in self.columns], dtype=np.int64)
        self._zone_of = np.repeat(np.arange(len(zones)), [z.width for z in zones])
        is_flow = np.zeros(n, dtype=np.bool_)
        is_flow[self._flows] = True
        self.scales = Scales(floor=np.full(n, 0.2), is_flow=is_flow)
        self.ring = Ring(n)
        known = Operations() if operations is None else operations
        self.machines = [
            Fall(z.zone, z.pressures, width_ms=width_ms, slow=z.slow, operations=known)
            for z in zones
        ]
        self._busy: set[int] = set()
        self._was_quiet = np.zeros(len(zones), dtype=np.bool_)
        self._last = np.full(n, np.nan)
        self._lesson: tuple[int, int] = (-1, -1)

    def adopt(self, other: "Falls", mine: int, theirs: int) -> None:
        """Go on with a zone that has not changed: what it has found is still so."""
        ours, its = self.columns[mine], other.columns[theirs]
        pairs = zip(range(ours.start, ours.stop), range(its.start, its.stop), strict=True)
        self.ring.adopt(other.ring, list(pairs))
        self.machines[mine] = other.machines[theirs]
        self._note_busy(mine)

    def run(self, start: Ints, values: Floats, is_fresh: Bools) -> list[tuple[int, Finding]]:
        """Judge closed bins, oldest first, (bins, columns); findings come with their row."""
        if not len(start):
            return []
        self.ring.push(values)
        everything = slice(0, values.shape[1])
        steps = self.ring.see(0, everything)
        moves = np.abs(values - np.concatenate([self._last[None], values[:-1]]))
        findings: list[tuple[int, Finding]] = []
        for a, b in _lessons(start, self._width_ms):
            self._begin_lesson(int(start[a]))
            part = slice(a, b)
            findings += self._judge(start, steps, part, values, moves, is_fresh)
        self._last = values[-1].copy()
        return findings

    def begin_anew(self) -> None:
        """Forget the reference after a gap in time; what was found stays found."""
        self.ring.forget_all()
        self._last[:] = np.nan
        self._was_quiet[:] = False
        self.scales.forget_last_five(slice(None))
        for z, machine in enumerate(self.machines):
            machine.begin_anew()
            self._note_busy(z)

    def _note_busy(self, z: int) -> None:
        """Remember whether every bin of a zone must be looked at, so that nobody asks each tick."""
        if self.machines[z].is_busy:
            self._busy.add(z)
        else:
            self._busy.discard(z)

    def learn_past(self, start: Ints, means: Floats) -> None:
        """Learn from 5-minute means of the past, (stretches, columns), NaN where unknown."""
        for at, row in zip(start.tolist(), means, strict=True):
            is_said = ~np.isnan(row)
            known = np.logical_or.reduceat(is_said, self._begins)[self._zone_of]
            self.scales.learn_five(at, row, known)

    def _begin_lesson(self, at: int) -> None:
        """End the lesson before this one and the 5 minutes before these; learn from them."""
        lesson = (at // self._width_ms // LESSON_BINS, at // FIVE_MS)
        if lesson == self._lesson:
            return
        if self._lesson[1] >= 0:
            self.scales.end_lesson()
            if lesson[1] != self._lesson[1]:
                self.scales.end_five(self._lesson[1] * FIVE_MS)
        self._lesson = lesson

    def _judge(
        self,
        start: Ints,
        steps: Steps,
        part: slice,
        values: Floats,
        moves: Floats,
        is_fresh: Bools,
    ) -> list[tuple[int, Finding]]:
        rows = part.stop - part.start
        looked = self._look(steps, part, slice(0, values.shape[1]))
        is_quiet = np.ones((rows, len(self.machines)), dtype=np.bool_)
        findings: list[tuple[int, Finding]] = []
        for z in self._restless(looked):
            findings += self._step_through(z, start, steps, part, looked, is_quiet)
        self._learn(looked, part, values, moves, is_fresh, is_quiet)
        return findings

    def _restless(self, looked: Look) -> list[int]:
        """Return the zones in which something may be found, or is."""
        is_strong = (looked.score >= STRONG_SCORE) & (looked.fall >= STRONG_KPA)
        is_strong[:, self._flows] = -looked.score[:, self._flows] >= RISE_SCORE
        columns = np.logical_or.reduce(is_strong, axis=0)
        is_moving = np.logical_or.reduceat(columns, self._begins)
        return sorted({*np.flatnonzero(is_moving).tolist(), *self._busy})

    def _step_through(
        self, z: int, start: Ints, steps: Steps, part: slice, looked: Look, is_quiet: Bools
    ) -> list[tuple[int, Finding]]:
        """Step through the bins of one zone, and mark those that are not to be learnt from."""
        columns, machine = self.columns[z], self.machines[z]
        scales = ZoneScales(self.scales, columns)
        findings: list[tuple[int, Finding]] = []
        for row in range(part.start, part.stop):
            at = row - part.start
            step = self._look(steps, slice(row, row + 1), columns, frozen=machine.frozen).first()
            past = Past(scales=scales, ring=self.ring, row=row, columns=columns)
            said = machine.update(Instant(int(start[row])), step, past)
            findings += [(row, f) for f in said.findings]
            is_quiet[at, z] = said.is_quiet
            looked.is_valid[at, columns] &= np.isnan(machine.frozen)
            if said.forgotten:
                self._forget(z, row, steps, said.forgotten)
                again = self._look(steps, slice(row + 1, part.stop), columns)
                looked.fall[at + 1 :, columns] = again.fall
                looked.recent[at + 1 :, columns] = again.recent
                looked.reference[at + 1 :, columns] = again.reference
                looked.is_valid[at + 1 :, columns] = again.is_valid
        self._note_busy(z)
        return findings

    def _look(
        self, steps: Steps, rows: slice, columns: slice, frozen: Floats | None = None
    ) -> Look:
        return look(
            steps.part(rows, columns),
            self.scales,
            frozen=frozen,
            columns=columns,
            growth=self._growth,
        )

    def _forget(self, z: int, row: int, steps: Steps, forgotten: tuple[int, ...]) -> None:
        """Forget bins of a zone up to a row, and look anew at what comes after it."""
        columns = self.columns[z]
        for i in forgotten:
            self.ring.forget(row, slice(columns.start + i, columns.start + i + 1))
        again = self.ring.see(row + 1, columns)
        steps.before[row + 1 :, columns] = again.before
        steps.before_count[row + 1 :, columns] = again.before_count
        steps.recent[row + 1 :, columns] = again.recent
        steps.recent_count[row + 1 :, columns] = again.recent_count

    def _learn(
        self,
        looked: Look,
        part: slice,
        values: Floats,
        moves: Floats,
        is_fresh: Bools,
        is_quiet: Bools,
    ) -> None:
        """Add what the quiet bins say to the lesson."""
        scales, lesson = self.scales, self.scales.lesson
        said = moves[part]
        is_move, is_look = is_fresh[part] & ~np.isnan(said), looked.is_valid
        if not (is_quiet.all() and self._was_quiet.all()):
            quiet = is_quiet[:, self._zone_of]
            before = np.concatenate([self._was_quiet[None], is_quiet[:-1]])[:, self._zone_of]
            is_move, is_look = is_move & quiet & before, is_look & quiet
        lesson.add("bin", scales.by_bin.clipped(said), is_move)
        lesson.count("bins", is_move)
        lesson.add("look", scales.by_look.clipped(np.abs(looked.fall)), is_look)
        lesson.count("looks", is_look)
        more = more_of(looked, self._flows)[:, self._zone_of]
        is_owed = is_look & ~np.isnan(more)
        rest = np.abs(looked.fall - scales.owed.fall(more, slice(None)))
        lesson.add("rest", scales.owed.rest.clipped(rest), is_owed)
        lesson.count("rests", is_owed)
        lesson.add("product", looked.fall * more, is_owed)
        lesson.add("square", more * more, is_owed)
        self._learn_five(values[part], is_quiet)
        self._was_quiet = is_quiet[-1].copy()

    def _learn_five(self, values: Floats, is_quiet: Bools) -> None:
        """Add quiet bins to their 5 minutes; what is not quiet spoils those of its zone so far."""
        lesson = self.scales.lesson
        is_said = ~np.isnan(values)
        if not is_quiet.all():
            is_said &= is_quiet[:, self._zone_of]
            for z in np.flatnonzero(~is_quiet.all(axis=0)).tolist():
                last = int(np.flatnonzero(~is_quiet[:, z])[-1])
                is_said[:last, self.columns[z]] = False
                self.scales.forget_last_five(self.columns[z])
        lesson.add("five", values, is_said)
        lesson.count("fives", is_said)


def more_of(looked: Look, flows: Ints) -> Floats:
    """Return by how much the square of each inflow has grown; NaN where it is not known."""
    recent, before = looked.recent[:, flows], looked.reference[:, flows]
    more = recent * np.abs(recent) - before * np.abs(before)
    return np.where(looked.is_valid[:, flows], more, np.nan)


def _lessons(start: Ints, width_ms: int) -> list[tuple[int, int]]:
    """Return the stretches of rows that belong to one lesson each."""
    lesson, five = start // width_ms // LESSON_BINS, start // FIVE_MS
    cuts = np.flatnonzero((lesson[1:] != lesson[:-1]) | (five[1:] != five[:-1])) + 1
    edges = [0, *cuts.tolist(), len(start)]
    return list(pairwise(edges))
