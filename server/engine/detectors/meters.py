"""Meters, of districts and of customers: leaks behind them, and meters that are wrong.

A customer's meter that ordinarily stands still once a day, and no longer does, has a leak behind
it; one through which far more runs than ever did has a burst. Any meter may stop, run backwards,
say more or less than can be, differ from its own total, or have its counter begun anew. Everything
is judged on bins of 5 minutes or more and on hours, against what the meter did in the 28 days
before (`meter_past`); docs/meters.md has the rules in words.

Source: our own. That a household which never stands still leaks is what water meters with a leak
flag go by; that a district's night does not is why nothing of the kind is held against it.
"""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np

from server.engine.detectors.block import Block, Names
from server.engine.detectors.finding import Finding
from server.engine.detectors.grid import Arrivals, Floats, Grid, Ints, grace_ms
from server.engine.detectors.meter_past import Past
from server.engine.detectors.meter_sheet import MeterSheet, sheets_of
from server.engine.detectors.meter_span import Hours, Span
from server.engine.detectors.meter_walk import LITTLE_PART, Seat, Walk
from server.engine.detectors.meter_words import CHANGED, GONE, negative_net
from server.engine.detectors.totals import TotalOf, Totals
from server.engine.events import Imported
from server.engine.registry import Registry
from telemetry.instant import DAY_MS, HOUR_MS
from telemetry.point import PointId
from telemetry.sample import Quality
from telemetry.units import Quantity

NET_PART, NET_M3H, NET_DAYS = 0.05, 1.0, 2
"""Of what runs through a zone's meters: how far below zero its inflow must be, and how often."""


class Meters:
    """The meters of every width, and every total.

    >>> from server.engine.registry import Point
    >>> school = Point(
    ...     id="school/volume",
    ...     zone="north",
    ...     quantity=Quantity.VOLUME,
    ...     name_zh="",
    ...     name_en="",
    ...     period_ms=300_000,
    ... )
    >>> meters = Meters()
    >>> meters.registry_changed(Registry(points={school.id: school}))
    []
    >>> at, none = 300_000 * np.arange(1, 13), np.zeros(12, dtype=np.int64)
    >>> block = Block(
    ...     ticks=at,
    ...     points=(school.id,),
    ...     gateways=("gw-01",),
    ...     after=np.arange(12),
    ...     now=at,
    ...     at=at,
    ...     point=none,
    ...     gateway=none,
    ...     value=np.where(at < 1_800_000, 5_000.0, 0.0) + np.arange(12),
    ...     quality=none + int(Quality.GOOD),
    ...     reason=none,
    ... )
    >>> [f.because[-1] for _, f in meters.run(block, np.arange(12))]
    ['the counter was reset or replaced']
    """

    def __init__(self) -> None:
        self._groups: list[_Group] = []
        self._totals = Totals([])
        self._names: tuple[PointId, ...] = ()

    def registry_changed(self, registry: Registry) -> list[Finding]:
        """Judge these meters from now on; what was learnt of those that stay is kept."""
        before, self._groups = self._groups, [_Group(s) for s in sheets_of(registry)]
        findings: list[Finding] = []
        left = {group.sheet.width_ms: group for group in before}
        for group in self._groups:
            if (old := left.pop(group.sheet.width_ms, None)) is not None:
                findings += group.adopt(old)
        for old in left.values():
            findings += old.withdraw(GONE)
        totals = Totals(self._totals_of(registry))
        totals.adopt(self._totals)
        findings += totals.left(self._totals)
        self._totals, self._names = totals, ()
        return findings

    def _totals_of(self, registry: Registry) -> list[TotalOf]:
        """Return every volume point; columns are counted on from group to group."""
        columns: dict[PointId, tuple[int, int]] = {}
        begin = 0
        for group in self._groups:
            width = group.sheet.width_ms
            columns |= {p: (begin + c, width) for p, c in group.sheet.total_columns().items()}
            begin += group.size
        found = []
        for name in sorted(registry.points):
            point = registry.points[name]
            if point.quantity is Quantity.VOLUME:
                column, width = columns.get(name, (-1, 0))
                step = max(width, point.period_ms) * 3 // 2
                found.append(TotalOf(point=point, column=column, step_max_ms=step))
        return found

    def run(self, block: Block, good: Ints) -> list[tuple[int, Finding]]:
        """Judge a block, of which `good` are the places of good samples.

        Findings come with the number of their tick.
        """
        if self._names is not block.points:
            self._names = block.points
            for group in self._groups:
                group.name(block.points)
        told, findings = self._totals.run(block)
        begin = 0
        for group in self._groups:
            arrivals = _together(_read(block, good, group.table), told, begin, group.size)
            findings += group.run(block.ticks, arrivals)
            begin += group.size
        return sorted(findings, key=lambda told: told[0])

    def learn_past(self, event: Imported) -> None:
        """Learn from past samples; what they would have said is not told."""
        rows = [r for r in event.rows if r[2] is not None and r[3] == Quality.GOOD]
        names = Names()
        none = np.zeros(len(rows), dtype=np.int64)
        at = np.array([r[1] for r in rows], dtype=np.int64)
        block = Block(
            ticks=none[:0],
            points=(),
            gateways=(),
            after=none,
            now=at,
            at=at,
            point=names.rows(tuple(PointId(r[0]) for r in rows)),
            gateway=none,
            value=np.array([r[2] for r in rows], dtype=np.float64),
            quality=np.full(len(rows), int(Quality.GOOD), dtype=np.int64),
            reason=none,
        )
        block = replace(block, points=names.names)
        told = self._totals.learn(block)
        good = np.flatnonzero(block.is_good)
        begin = 0
        for group in self._groups:
            group.name(block.points)
            group.learn(_together(_read(block, good, group.table), told, begin, group.size))
            begin += group.size
        self._names = ()


class _Group:
    """The meters of one width."""

    def __init__(self, sheet: MeterSheet) -> None:
        self.sheet = sheet
        self.size = len(sheet.periods_ms)
        self.grid = Grid(sheet.periods_ms, width_ms=sheet.width_ms)
        self.past = Past(sheet)
        self.hours = Hours(sheet)
        self.walks: dict[int, Walk] = {}
        self.nets: dict[str, tuple[int, Finding | None]] = {}
        self.table = np.zeros(0, dtype=np.int64)
        self._read = sheet.read_columns()
        self._witnesses = sheet.witness_columns()
        self._customers = sheet.customers()
        self.last = -(2**62)
        self.day: int | None = None

    def name(self, points: tuple[PointId, ...]) -> None:
        """Note which number of a block stands for which of our columns."""
        self.table = np.array([self._read.get(p, -1) for p in points], dtype=np.int64)

    def adopt(self, other: "_Group") -> list[Finding]:
        """Go on with the meters that are still here; return what is taken down."""
        theirs = {m.key: n for n, m in enumerate(other.sheet.meters)}
        ours = [n for n, m in enumerate(self.sheet.meters) if m.key in theirs]
        its = [theirs[self.sheet.meters[n].key] for n in ours]
        size, their_size = len(self.sheet.meters), len(other.sheet.meters)
        witness = {p.id: 2 * their_size + n for n, p in enumerate(other.sheet.witnesses)}
        pairs = [*zip(ours, its, strict=True)]
        pairs += [(size + a, their_size + b) for a, b in zip(ours, its, strict=True)]
        pairs += [
            (2 * size + n, witness[p.id])
            for n, p in enumerate(self.sheet.witnesses)
            if p.id in witness
        ]
        self.grid.adopt(other.grid, pairs)
        self.past.adopt(other.past, ours, its)
        self.hours.adopt(other.hours, pairs, ours)
        self.last, self.day = other.last, other.day
        place = dict(zip(its, ours, strict=True))
        findings: list[Finding] = []
        for column, walk in other.walks.items():
            if column in place:
                mine = place[column]
                walk.move(self._seat(mine))
                self.walks[mine] = walk
            else:
                findings += walk.withdraw(CHANGED)
        self.walks = dict(sorted(self.walks.items()))
        return findings + other.take_down_nets(CHANGED)

    def withdraw(self, because: str) -> list[Finding]:
        """Take every finding down."""
        findings = [f for walk in self.walks.values() for f in walk.withdraw(because)]
        return findings + self.take_down_nets(because)

    def take_down_nets(self, because: str) -> list[Finding]:
        """Take down what was found of whole zones."""
        return [f.gone(because) for _, f in self.nets.values() if f is not None]

    def _seat(self, column: int) -> Seat:
        meter = self.sheet.meters[column]
        return Seat(
            meter=meter,
            column=column,
            witnesses=tuple(w for w in self._witnesses[column].tolist() if w >= 0),
            neighbours=self._customers[meter.point.zone],
        )

    def run(self, ticks: Ints, arrivals: Arrivals) -> list[tuple[int, Finding]]:
        """Close the bins whose time has come, and judge them."""
        kept = self._closing(ticks)
        heard = replace(arrivals, after=np.searchsorted(kept, arrivals.after, side="left"))
        rows, _ = self.grid.run(ticks[kept], heard)
        return self._judge(rows.start, kept[rows.tick], rows.values)

    def _closing(self, ticks: Ints) -> Ints:
        """Return the first tick, and those on which bins close: no other one changes anything."""
        if len(ticks) < 2:
            return np.arange(len(ticks))
        width, grace = self.sheet.width_ms, grace_ms(self.sheet.width_ms)
        first = (int(ticks[0]) - grace) // width * width + width + grace
        moments = np.arange(first, int(ticks[-1]) + 1, width)
        kept: Ints = np.unique(np.concatenate([[0], np.searchsorted(ticks, moments)]))
        return kept

    def learn(self, arrivals: Arrivals) -> None:
        """Take in past flows; what is found in them is not told, and not learnt from."""
        width = self.sheet.width_ms
        start = arrivals.at // width * width
        is_new = start > self.last
        start, column, value = start[is_new], arrivals.column[is_new], arrivals.value[is_new]
        for day in np.unique(start // DAY_MS).tolist():
            of_day = start // DAY_MS == day
            first = int(start[of_day].min())
            count = (int(start[of_day].max()) - first) // width + 1
            sums, counts = np.zeros((count, self.size)), np.zeros((count, self.size))
            row = (start[of_day] - first) // width
            np.add.at(sums, (row, column[of_day]), value[of_day])
            np.add.at(counts, (row, column[of_day]), 1.0)
            means = np.full_like(sums, np.nan)
            np.divide(sums, counts, out=means, where=counts > 0)
            starts = first + width * np.arange(count)
            self._judge(starts, np.zeros(count, dtype=np.int64), means)
        self.walks.clear()
        self.nets.clear()

    def _judge(self, start: Ints, tick: Ints, values: Floats) -> list[tuple[int, Finding]]:
        is_new = start > self.last
        start, tick, values = start[is_new], tick[is_new], values[is_new]
        findings: list[tuple[int, Finding]] = []
        if not len(start) or not len(self.sheet.meters):
            return findings
        self.last = int(start[-1])
        days = start // DAY_MS
        cuts = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), len(start)]
        for begin, end in pairwise(cuts):
            if self.day != int(days[begin]):
                self.day = int(days[begin])
                self.past.begin_day()
            findings += self._of_day(start[begin:end], tick[begin:end], values[begin:end])
        return findings

    def _of_day(self, start: Ints, tick: Ints, values: Floats) -> list[tuple[int, Finding]]:
        """Judge some bins of one UTC day, and learn where it ends."""
        size, past, width = len(self.sheet.meters), self.past, self.sheet.width_ms
        values, leaps = self._leaps(values)
        span = self.hours.take(start, tick, values, past)
        is_told = np.zeros((len(start), size), dtype=np.bool_)
        found: list[tuple[int, int, Finding]] = []
        chosen = {*self._odd(span), *leaps, *self.walks}
        for column in sorted(chosen):
            walk = self.walks.get(column) or Walk(self._seat(column))
            said = walk.run(span, past, is_told, leaps.get(column, {}), width)
            found += [(row, column, f) for row, f in said]
            self.walks.pop(column, None)
            if not walk.is_calm:
                self.walks[column] = walk
        past.take_rows(values[:, :size], is_told)
        if len(span.hour):
            off = span.off(past.still)
            past.take_hours(
                span.mean, runs=span.runs, pauses=span.pauses, off=off, level=span.level
            )
        findings = [(int(tick[row]), f) for row, _, f in sorted(found, key=lambda f: f[:2])]
        end = int(start[-1]) + width
        if end % DAY_MS == 0:
            findings += [(int(tick[-1]), f) for f in self._end_day(end)]
        return findings

    def _odd(self, span: Span) -> list[int]:
        """Return the meters at which something is odd; to return more of them changes nothing."""
        past, size = self.past, len(self.sheet.meters)
        flows = span.values[:, :size]
        is_odd = ((flows > past.high) | (flows < past.low)).any(axis=0)
        found = np.flatnonzero(is_odd).tolist()
        if len(span.hour):
            little = np.where(past.is_lone & past.is_learnt, LITTLE_PART * past.least_hour, -np.inf)
            is_long = (span.run >= past.run_hours) | (span.pause >= past.pause_hours)
            is_wrong = (span.mean < little) | (span.off(past.still) > past.off)
            found += np.flatnonzero((is_long | is_wrong).any(axis=0)).tolist()
        return [int(c) for c in found]

    def _leaps(self, values: Floats) -> tuple[Floats, dict[int, dict[int, float]]]:
        """Take out the flows that a total tells when it rises by more than a day's use at once."""
        size, leap = len(self.sheet.meters), self.past.leap
        is_leap = values[:, : 2 * size] > np.concatenate([leap, leap])
        leaps: dict[int, dict[int, float]] = {}
        if not is_leap.any():
            return values, leaps
        values = values.copy()
        for row, column in np.argwhere(is_leap).tolist():
            meter = column % size
            is_total = self.sheet.meters[meter].point.quantity is Quantity.VOLUME
            if column >= size or is_total:
                volume = float(values[row, column]) * self.sheet.width_ms / HOUR_MS
                leaps.setdefault(meter, {})[row] = volume
                values[row, column] = np.nan
        return values, leaps

    def _end_day(self, end: int) -> list[Finding]:
        findings = self._net(end)
        is_odd = np.zeros(len(self.sheet.meters), dtype=np.bool_)
        for column, walk in self.walks.items():
            is_odd[column] = walk.is_odd
        self.past.end_day(is_odd)
        return findings

    def _net(self, end: int) -> list[Finding]:
        """Find zones that by their meters gave more water than they got, two days in a row."""
        mean = self.past.day_mean()
        findings: list[Finding] = []
        for zone, meters in self.sheet.nets:
            flows = [float(mean[c]) * sign for c, sign in meters]
            net, gross = sum(flows), sum(abs(f) for f in flows)
            is_told = any(c in self.walks and self.walks[c].is_odd for c, _ in meters)
            if is_told or math.isnan(net):
                continue
            count, finding = self.nets.get(zone, (0, None))
            is_wrong = net < -max(NET_M3H, NET_PART * gross)
            # Counted up while it is wrong, and down again from two days when it is right.
            count = min(NET_DAYS, count + 1) if is_wrong else max(0, count - 1)
            if finding is None and count == NET_DAYS:
                points = tuple(self.sheet.meters[c].point for c, _ in meters)
                finding = negative_net(zone, points, end - NET_DAYS * DAY_MS, net=net)
                findings.append(finding)
            elif finding is not None and count == 0:
                findings.append(finding.gone("what comes into the zone is more than what leaves"))
                finding = None
            self.nets[zone] = (count, finding)
        return findings


def _read(block: Block, good: Ints, table: Ints) -> Arrivals:
    column = table[block.point] if len(good) == len(block.point) else table[block.point[good]]
    is_ours = np.flatnonzero(column >= 0)
    places, column = good[is_ours], column[is_ours]
    return Arrivals(
        after=block.after[places],
        now=block.now[places],
        at=block.at[places],
        column=column,
        value=block.value[places],
    )


def _together(read: Arrivals, told: Arrivals, begin: int, size: int) -> Arrivals:
    """Return what was read with what totals tell of the columns of one group."""
    ours = (told.column >= begin) & (told.column < begin + size)
    if not ours.any():
        return read
    return Arrivals(
        after=np.concatenate([read.after, told.after[ours]]),
        now=np.concatenate([read.now, told.now[ours]]),
        at=np.concatenate([read.at, told.at[ours]]),
        column=np.concatenate([read.column, told.column[ours] - begin]),
        value=np.concatenate([read.value, told.value[ours]]),
    )
