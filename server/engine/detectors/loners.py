"""Pressures that leave the others of their zone: knocked, re-scaled or drifting instruments.

A reading that jumps while no other moves, and while no more and no less water comes in, is an
instrument's doing, whatever its sign. It is held back at once and named some bins later; smaller
steps are named from lesson to lesson, and drifts from day to day. A fall with a rise of inflow is
never named here: that may be a burst beside the point.

Source: our own; what a point owes to its zone is learnt from what it did (`kinship.py`).
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from server.engine.detectors.days import Days, Drifting
from server.engine.detectors.grid import Bools, Floats, Ints, Rows
from server.engine.detectors.jumps import (
    BEFORE,
    BLIND_PART,
    COMMON_PART,
    JUMP_KPA,
    POINTS_MIN,
    Family,
    Jumped,
    Jumps,
    Part,
    moves_of,
)
from server.engine.detectors.kinship import (
    BLIND_KPA,
    Kinship,
    may_be_water,
    mean_of,
    middle,
    span_ms,
)
from server.engine.detectors.lessons import Ended, Lesson, Open
from server.engine.detectors.nets import Nets
from server.engine.detectors.symptoms import Change, Symptom
from telemetry.instant import DAY_MS, HOUR_MS, SECOND_MS, Instant
from telemetry.point import PointId

WIDTH_MAX_MS = 900 * SECOND_MS

OFFSET_KPA, OFFSET_TIMES = 4.0, 8.0
OFFSET_PART = 0.3
LESSONS_MIN = 12

BACK_PART = 0.4
SETTLE_MS = 7 * DAY_MS
"""After so long the new relation is taken for the true one: somebody has seen to it."""

_ABSOLUTE = float(np.sqrt(np.pi / 2))


@dataclass(slots=True, kw_only=True)
class _Off:
    """An instrument that left the others: levels and inflow before, and by how much it left."""

    symptom: Symptom
    before: Floats
    square: float
    shift: float
    since: int


class Loners:
    """The pressures of the zones of one bin width.

    >>> family = Family(
    ...     zone="north", points=("a", "b", "c"), columns=(0, 1, 2), meters=((3, 1),), slow=1
    ... )
    >>> loners = Loners((family,), width_ms=1_000)
    >>> bins = np.arange(200)
    >>> values = np.full((200, 4), 300.0) + 0.5 * (bins[:, None] * np.array([3, 5, 7, 9]) % 11)
    >>> values[150:, 1] += 40.0
    >>> known = np.ones(values.shape, dtype=np.bool_)
    >>> rows = Rows(start=1_000 * bins, tick=bins, values=values, is_fresh=known)
    >>> [(c.point, str(c.symptom)) for _, c in loners.run(rows)[1]]
    [('b', 'offset')]
    """

    def __init__(self, families: tuple[Family, ...], *, width_ms: int) -> None:
        self.families = families
        self._width_ms = width_ms
        self._span_ms = span_ms(width_ms)
        points = max((len(f.points) for f in families), default=0)
        self.shape = (len(families), points)
        self._columns = np.full(self.shape, -1, dtype=np.int64)
        for z, family in enumerate(families):
            self._columns[z, : len(family.columns)] = family.columns
        self.kinship = Kinship(self.shape, span_ms=self._span_ms)
        self.days = Days(self.shape, span_ms=self._span_ms)
        self._nets = Nets([f.meters for f in families])
        self.jumps = Jumps(families, self.shape, width_ms=width_ms)
        self._tail = np.full((BEFORE, *self.shape), np.nan)
        self._flow_tail = np.full((BEFORE, len(families)), np.nan)
        self.open = Open(least=max(ROWS_LEAST, self._span_ms // width_ms // 2))
        self._past: list[Lesson] = []
        self.cells: dict[tuple[int, int], _Off] = {}

    @property
    def off(self) -> list[PointId]:
        """Return the points that have left the others of their zone."""
        return [self.families[z].points[i] for z, i in self.cells]

    def adopt(self, other: "Loners") -> None:
        """Go on with zones whose pressure points are the same; others begin anew."""
        theirs = {f.zone: n for n, f in enumerate(other.families)}
        self.open.number = other.open.number
        pairs: list[tuple[tuple[int, int], tuple[int, int]]] = []
        for z, family in enumerate(self.families):
            y = theirs.get(family.zone)
            if y is None or other.families[y].points != family.points:
                continue
            n = len(family.points)
            pairs += [((z, i), (y, i)) for i in range(n)]
            self.days.adopt(other.days, z, y, n)
            self.cells |= {(z, i): off for (x, i), off in other.cells.items() if x == y}
            for off in self.cells.values():
                off.before = np.resize(off.before, self.shape[1])
        width, its = self.shape[1], other.shape[1]
        cells = [(a[0] * width + a[1], b[0] * its + b[1]) for a, b in pairs]
        self.jumps.adopt(other.jumps, cells, sorted({(a[0], b[0]) for a, b in pairs}))
        self.kinship.adopt(other.kinship, pairs)

    def learn_past(self, zone: str, start: Ints, levels: Floats, flow: Floats) -> None:
        """Learn from hourly means of the past of one zone, (hours, points), NaN where unknown."""
        z = next((n for n, f in enumerate(self.families) if f.zone == zone), None)
        if z is None or not len(start):
            return
        n = len(self.families[z].points)
        table = np.full((len(start), *self.shape), np.nan)
        table[:, z, :n] = levels
        flows = np.full((len(start), len(self.families)), np.nan)
        flows[:, z] = flow
        square = flows * np.abs(flows)
        for a in range(len(start) - 2):
            if int(start[a + 2] - start[a]) == 2 * HOUR_MS:
                change = table[a + 2] - table[a]
                self.kinship.learn_slopes(change, middle(change), square[a + 2] - square[a])
        day = start // DAY_MS
        for d in np.unique(day).tolist():
            here = day == d
            if here.sum() >= DAY_HOURS:
                level = mean_of(table[here], least=DAY_HOURS)
                more = mean_of(square[here], least=DAY_HOURS)
                self.days.learn(z, level[z], float(more[z]))

    def run(self, rows: Rows) -> tuple[Bools, list[tuple[int, Change]]]:
        """Judge closed bins; return which cells no detector may use, and what changes at a row."""
        mask = np.zeros(rows.values.shape, dtype=np.bool_)
        if not self.families or not len(rows.start):
            return mask, []
        if rows.anew is not None:
            self._begin_anew()
        said = np.concatenate([rows.values, np.full((len(rows.start), 1), np.nan)], axis=1)
        values = said[:, self._columns]
        is_fresh = np.concatenate([rows.is_fresh, np.zeros((len(said), 1), bool)], axis=1)
        flow, meters = self._nets.of(rows.values, rows.is_fresh)
        held = np.zeros(values.shape, dtype=np.bool_)
        lesson = rows.start // self._span_ms
        before = np.concatenate([self._tail, values])
        flows = np.concatenate([self._flow_tail, flow])
        moves = moves_of(before[BEFORE - 1 :], is_fresh[:, self._columns])
        is_far = np.logical_or.reduce(np.abs(moves) >= JUMP_KPA, axis=(1, 2))
        cuts = np.flatnonzero(np.diff(lesson)) + 1
        parts = [
            Part(
                first=a,
                start=rows.start[a:b],
                tick=rows.tick[a:b],
                before=before[a : b + BEFORE],
                flows=flows[a : b + BEFORE],
                moves=moves[a:b],
                meters=meters[a:b],
                may_jump=bool(is_far[a:b].any()),
            )
            for a, b in pairwise([0, *cuts.tolist(), len(lesson)])
        ]
        ended = self.open.add(lesson, values, flow, moves)
        changes = self._run(parts, ended, held)
        self._tail, self._flow_tail = before[-BEFORE:].copy(), flows[-BEFORE:].copy()
        if held.any():
            is_place = self._columns >= 0
            mask[:, self._columns[is_place]] = held[:, is_place]
        changes.sort(key=lambda told: told[0])
        return mask, changes

    def _run(self, parts: list[Part], ended: Ended | None, held: Bools) -> list[tuple[int, Change]]:
        """Judge the lessons that are over, and look for jumps between them.

        Lessons wait until a bin may show a jump: then they are judged together.
        """
        over = {} if ended is None else {row: n for n, row in enumerate(ended.rows)}
        changes: list[tuple[int, Change]] = []
        waiting: list[tuple[int, Part]] = []
        for part in parts:
            a, b = part.first, part.first + len(part.start)
            if a in over:
                waiting.append((over[a], part))
            else:
                self._hold(part, held)
            if not self.jumps.is_looked_at(part):
                continue
            if ended is not None:
                changes += self._end_lessons(ended, waiting, held)
                waiting = []
            found = self.jumps.look(part, held[a:b], set(self.cells))
            changes += [(a + r, self._jumped(int(part.tick[r]), j)) for r, j in found]
        if ended is not None:
            changes += self._end_lessons(ended, waiting, held)
        return changes

    def _hold(self, part: Part, held: Bools) -> None:
        for z, p in self.cells:
            held[part.first : part.first + len(part.start), z, p] = True

    def _begin_anew(self) -> None:
        self._tail[:], self._flow_tail[:] = np.nan, np.nan
        self._past = []
        self.jumps.begin_anew()
        self.open.begin_anew()

    def _jumped(self, tick: int, jumped: Jumped) -> Change:
        z, i = jumped.zone, jumped.point
        square = jumped.flow_before * abs(jumped.flow_before)
        self.cells[z, i] = _Off(
            symptom=Symptom.OFFSET,
            before=jumped.before,
            square=0.0 if np.isnan(square) else square,
            shift=jumped.shift,
            since=jumped.since,
        )
        return Change(
            tick=tick,
            point=self.families[z].points[i],
            symptom=Symptom.OFFSET,
            is_on=True,
            since=Instant(jumped.since),
            because=jumped.because,
        )

    def _end_lessons(
        self, ended: Ended, which: list[tuple[int, Part]], held: Bools
    ) -> list[tuple[int, Change]]:
        """Judge lessons that are over and learn from them, each with the part behind it."""
        if not which:
            return []
        first, last = which[0][0], which[-1][0] + 1
        self.jumps.learn(ended.moves[first:last], ended.flow_moves[first:last])
        changes: list[tuple[int, Change]] = []
        n = first
        while n < last:
            calm = self._learn_calm(ended.lessons[n : min(n + CALM_MAX, last)])
            n += calm
            if n == last or calm == CALM_MAX:
                continue
            part, lesson = which[n - first][1], ended.lessons[n]
            changes += [(part.first, c) for c in self._judge(int(part.tick[0]), lesson)]
            self._past = [p for p in self._past if p.number == lesson.number - 1] + [lesson]
            self._hold(part, held)
            n += 1
        return changes

    def _learn_calm(self, lessons: list[Lesson]) -> int:
        """Learn from lessons at once, up to one that may tell something; return from how many."""
        days = [lesson.number * self._span_ms // DAY_MS for lesson in lessons]
        count = next((n for n, day in enumerate(days) if day != self.days.day), len(days))
        if self.cells or count < 2:
            return 0
        known = {p.number: p for p in self._past}
        pairs: list[tuple[int, Lesson]] = []
        for n, lesson in enumerate(lessons[:count]):
            if (two := known.get(lesson.number - 2)) is not None:
                pairs.append((n, two))
            known[lesson.number] = lesson
        levels = np.stack([lesson.level for lesson in lessons[:count]])
        flows = np.stack([lesson.flow for lesson in lessons[:count]])
        if pairs:
            nth = [n for n, _ in pairs]
            change = levels[nth] - np.stack([two.level for _, two in pairs])
            before = np.stack([two.flow for _, two in pairs])
            square = flows[nth] * np.abs(flows[nth]) - before * np.abs(before)
            course = self.kinship.course(change, middle(change), square, flows[nth] - before)
            is_off = _is_off(course.excess, course.sigma, course.lessons).any(axis=(1, 2))
            calm = int(np.argmax(is_off)) if is_off.any() else len(pairs)
            self.kinship.follow(course, calm)
            count = nth[calm] if calm < len(pairs) else count
        if count:
            self.days.add_all(levels[:count], flows[:count])
            newest = lessons[count - 1].number
            self._past = [known[n] for n in (newest - 1, newest) if n in known]
        return count

    def _judge(self, tick: int, lesson: Lesson) -> list[Change]:
        changes = self._returned(tick, lesson)
        known = self._without(Symptom.OFFSET, lesson.level)
        self.days.add(lesson.number * self._span_ms, known, lesson.flow)
        changes += self._drifts(tick)
        two = [p for p in self._past if p.number == lesson.number - 2]
        if two:
            changes += self._offsets(tick, two[0], lesson)
        return changes

    def _without(self, symptom: Symptom | None, level: Floats) -> Floats:
        """Return levels without those that show a symptom, or any."""
        known = level.copy()
        for (z, p), off in self.cells.items():
            if symptom in {None, off.symptom}:
                known[z, p] = np.nan
        return known

    def _offsets(self, tick: int, first: Lesson, last: Lesson) -> list[Change]:
        change = self._without(None, last.level - first.level)
        others = middle(change)
        square = last.flow * np.abs(last.flow) - first.flow * np.abs(first.flow)
        excess = self.kinship.excess(change, others, square)
        is_off = _is_off(excess, self.kinship.sigma, self.kinship.lessons)
        changes = []
        for z in np.flatnonzero(is_off.any(axis=1)).tolist():
            flow = float(last.flow[z] - first.flow[z])
            found = self._lone(z, excess[z], is_off[z], flow, float(first.flow[z]))
            if found is not None and abs(others[z]) <= COMMON_PART * abs(excess[z, found]):
                changes.append(self._off_by(tick, z, found, float(excess[z, found]), first))
                change[z, found] = np.nan
        if is_off.any():
            change[is_off] = np.nan
            restless = is_off.sum(axis=1) > 1
            change[restless] = np.nan
        self.kinship.learn(change, others, square, last.flow - first.flow)
        return changes

    def _lone(
        self, z: int, excess: Floats, is_off: Bools, flow: float, before: float
    ) -> int | None:
        """Return the one point that is off while no other is, unless the inflow explains it."""
        points = np.flatnonzero(is_off).tolist()
        if len(points) != 1:
            return None
        i: int = points[0]
        own = float(excess[i])
        others = np.abs(np.delete(excess, i))
        others = others[~np.isnan(others)]
        if len(others) < POINTS_MIN - 1 or others.max() > OFFSET_PART * abs(own):
            return None
        if np.isnan(flow):
            is_lone = abs(own) >= BLIND_KPA and others.max() <= 2 * BLIND_PART * abs(own)
            return i if is_lone else None
        sigma = float(self.kinship.flow_sigma[z])
        return None if may_be_water(own, flow, before, sigma) else i

    def _off_by(self, tick: int, z: int, i: int, shift: float, first: Lesson) -> Change:
        family, since = self.families[z], (first.number + 1) * self._span_ms
        square = float(first.flow[z] * abs(first.flow[z]))
        self.cells[z, i] = _Off(
            symptom=Symptom.OFFSET,
            before=first.level[z].copy(),
            square=0.0 if np.isnan(square) else square,
            shift=shift,
            since=since,
        )
        return Change(
            tick=tick,
            point=family.points[i],
            symptom=Symptom.OFFSET,
            is_on=True,
            since=Instant(since),
            because=(
                f"{family.points[i]} left the other points of zone {family.zone} by"
                f" {shift:+.1f} kPa within {2 * self._span_ms // 60_000} min; none of them and"
                " not the inflow shows why"
            ),
        )

    def _returned(self, tick: int, lesson: Lesson) -> list[Change]:
        """Return which instruments are back where the others expect them, or are left alone."""
        changes = []
        end = (lesson.number + 1) * self._span_ms
        for (z, i), off in list(self.cells.items()):
            if off.symptom is not Symptom.OFFSET or lesson.number * self._span_ms < off.since:
                continue
            change = lesson.level[z] - off.before
            own = float(change[i])
            for zone, p in self.cells:
                if zone == z:
                    change[p] = np.nan
            others = middle(change[None], least=POINTS_MIN - 1)[0]
            flow = float(lesson.flow[z])
            more = 0.0 if np.isnan(flow) else flow * abs(flow) - off.square
            left = own - self.kinship.share[z, i] * others - self.kinship.slope[z, i] * more
            is_back = bool(abs(left) < BACK_PART * abs(off.shift))
            if is_back or end - off.since >= SETTLE_MS:
                changes.append(
                    self._gone(tick, z, i, lesson.number * self._span_ms, is_back=is_back)
                )
        return changes

    def _gone(self, tick: int, z: int, i: int, since: int, *, is_back: bool) -> Change:
        symptom = self.cells.pop((z, i)).symptom
        for past in self._past:  # what it said while it was off is no measure of what comes
            past.level[z, i] = np.nan
        if not is_back:
            self.days.forget(z, i)
        point = self.families[z].points[i]
        why = "is back where the others expect it" if is_back else "stays so: the new relation"
        return Change(
            tick=tick,
            point=point,
            symptom=symptom,
            is_on=False,
            since=Instant(since),
            because=f"{point} {why}",
        )

    def _drifts(self, tick: int) -> list[Change]:
        day = self.days.closed
        if day is None:
            return []
        changes = []
        end = (day + 1) * DAY_MS
        for z, i in self.days.back(self.kinship, self._drifting()):
            changes.append(self._gone(tick, z, i, day * DAY_MS, is_back=True))
        for (z, i), off in list(self.cells.items()):
            if off.symptom is Symptom.DRIFT and end - off.since >= 2 * SETTLE_MS:
                changes.append(self._gone(tick, z, i, day * DAY_MS, is_back=False))
        for z, i, shift, since in self.days.drifted(self.kinship, self._drifting()):
            if (z, i) in self.cells:
                continue
            family = self.families[z]
            before, square = self.days.reference(z)
            self.cells[z, i] = _Off(
                symptom=Symptom.DRIFT, before=before, square=square, shift=shift, since=since
            )
            changes.append(
                Change(
                    tick=tick,
                    point=family.points[i],
                    symptom=Symptom.DRIFT,
                    is_on=True,
                    since=Instant(since),
                    because=(
                        f"{family.points[i]} has drifted by {shift:+.1f} kPa from the other"
                        f" points of zone {family.zone}, as they stood in the days before"
                    ),
                )
            )
        return changes

    def _drifting(self) -> Drifting:
        return {
            cell: (off.before, off.square, off.shift)
            for cell, off in self.cells.items()
            if off.symptom is Symptom.DRIFT
        }


def _is_off(excess: Floats, sigma: Floats, lessons: Floats) -> Bools:
    with np.errstate(invalid="ignore"):
        is_off: Bools = np.abs(excess) >= np.maximum(OFFSET_KPA, OFFSET_TIMES * sigma)
    return is_off & (lessons >= LESSONS_MIN)


CALM_MAX = 48
"""Lessons that are learnt from at once."""

ROWS_LEAST = 6
DAY_HOURS = 15
