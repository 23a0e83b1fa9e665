"""All zones whose bins are of one width: their samples into bins, their bins to the detectors."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from server.engine.detectors.bands import Bands
from server.engine.detectors.block import Block
from server.engine.detectors.fall import WIDTH_MAX_MS
from server.engine.detectors.falls import Falls, Wells
from server.engine.detectors.finding import Finding
from server.engine.detectors.grid import Arrivals, Bools, Floats, Grid, Ints, Rows
from server.engine.detectors.jumps import POINTS_MIN, Family
from server.engine.detectors.limits import LimitsOf
from server.engine.detectors.loners import WIDTH_MAX_MS as LONERS_MAX_MS
from server.engine.detectors.loners import Loners
from server.engine.detectors.nets import Nets
from server.engine.detectors.plot import Plot
from server.engine.detectors.point_seasons import PointSeasons
from server.engine.detectors.scales import FIVE_MS
from server.engine.detectors.seasons import Seasons
from server.engine.detectors.symptoms import Change
from server.engine.events import Imported, ModelPublished
from server.engine.operations import Operations
from server.engine.registry import Inflow, Point, Registry, Zone
from telemetry.instant import HOUR_MS, SECOND_MS
from telemetry.point import PointId
from telemetry.sample import Quality
from telemetry.units import Quantity

_Pairs = list[tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What the zones of one width made of a block.

    The places of samples that a column wants, whether they came in time, what is found with the
    number of its tick, and which instruments leave the others of their zone, or come back.
    """

    wanted: Ints
    is_in_time: Bools
    found: list[tuple[int, Finding]]
    changes: list[Change]


class Watch:
    """The detectors of the zones of one width."""

    def __init__(
        self,
        zones: list[tuple[Zone, tuple[Point, ...]]],
        *,
        width_ms: int,
        operations: Operations | None = None,
    ) -> None:
        self.width_ms = width_ms
        self.plots = _plots(zones)
        points = [p for plot in self.plots for p in plot.points]
        self.grid = Grid([p.period_ms for p in points], width_ms=width_ms)
        limited = {c: p for c, p in enumerate(points) if p.is_limited}
        self.limits = LimitsOf(limited)
        judged = [p for p in self.plots if p.pressures and width_ms <= WIDTH_MAX_MS]
        self.judged = {p.zone.id: n for n, p in enumerate(judged)}
        self.falls = Falls(
            tuple(_wells(p, width_ms) for p in judged), width_ms=width_ms, operations=operations
        )
        self._columns_of: dict[PointId, tuple[int, ...]] = {}
        for column, point in enumerate(points):
            self._columns_of[point.id] = (*self._columns_of.get(point.id, ()), column)
        self._pick = np.array(
            [c for p in judged for c in [*p.columns[: len(p.pressures)], p.begin]], dtype=np.int64
        )
        self.seasons = Seasons(self.plots, len(points), width_ms=width_ms, operations=operations)
        self.bands = Bands(self.plots)
        self.point_seasons = PointSeasons(self.plots, operations)
        self._nets = Nets([p.meters for p in judged])
        self._net_columns = np.array([c.stop - 1 for c in self.falls.columns], dtype=np.int64)
        self.loners = Loners(_families(self.plots, width_ms), width_ms=width_ms)
        self._excuses: list[tuple[int, PointId, str]] = []
        self._tables: list[Ints] = []
        self._names: tuple[PointId, ...] = ()

    def run(self, block: Block, good: Ints, excuses: list[Change]) -> "Watched":
        """Judge a block; `good` are the places of its good samples.

        `excuses` say of which points the instrument has just been found faulty.
        """
        wanted, column = self._wanted(block, good)
        arrivals = Arrivals(
            after=block.after[wanted],
            now=block.now[wanted],
            at=block.at[wanted],
            column=column,
            value=block.value[wanted],
        )
        rows, is_in_time = self.grid.run(block.ticks, arrivals)
        self._excuses += [(c.tick, c.point, c.because) for c in excuses if c.is_on]
        found, changes = self._judge(rows) if len(rows.start) else ([], [])
        self._excuses = [(0, p, why) for _, p, why in self._excuses]
        return Watched(wanted=wanted, is_in_time=is_in_time, found=found, changes=changes)

    def _judge(self, rows: Rows) -> tuple[list[tuple[int, Finding]], list[Change]]:
        """Judge closed bins, without those of faulty instruments; what rests on them goes."""
        is_unfit, changes = self.loners.run(rows)
        if is_unfit.any():
            rows = replace(
                rows,
                values=np.where(is_unfit, np.nan, rows.values),
                is_fresh=rows.is_fresh & ~is_unfit,
            )
        if rows.anew is not None:
            self.falls.begin_anew()
        excuses = self._excuses_in(rows, changes)
        edges = sorted({0, *(row for row, _, _ in excuses), len(rows.start)})
        found: list[tuple[int, Finding]] = []
        for a, b in pairwise(edges):
            for row, column, because in excuses:
                if row == a:
                    found += [(a, f) for f in self._excuse(column, because)]
            part = slice(a, b)
            values, is_fresh = rows.values[part], rows.is_fresh[part]
            said = self.limits.run(rows.start[part], values, is_fresh)
            said += self._run_falls(rows.start[part], values, is_fresh)
            found += [(a + row, f) for row, f in said]
        hours = self.seasons.close(rows)
        found += self.seasons.run(hours)
        found += self.bands.run(hours, found)
        found += self.point_seasons.run(hours, found)
        told = [(int(rows.tick[row]), f) for row, f in found]
        return told, [c for _, c in changes]

    def _excuses_in(
        self, rows: Rows, changes: list[tuple[int, Change]]
    ) -> list[tuple[int, int, str]]:
        """Return at which row which column is excused, and why; later ones are kept."""
        told = [(int(np.searchsorted(rows.tick, t)), p, why) for t, p, why in self._excuses]
        self._excuses = [
            e for e, (row, _, _) in zip(self._excuses, told, strict=True) if row == len(rows.start)
        ]
        told += [(row, c.point, c.because) for row, c in changes if c.is_on]
        return [
            (row, column, f"the instrument is faulty: {why}")
            for row, point, why in told
            if row < len(rows.start)
            for column in self._columns_of.get(point, ())
        ]

    def _excuse(self, column: int, because: str) -> list[Finding]:
        found = self.limits.excuse(column, because) + self.bands.excuse(column, because)
        found += self.point_seasons.excuse(column, because)
        for plot in self.plots:
            number = self.judged.get(plot.zone.id)
            i = column - plot.begin
            if number is not None and 0 <= i < len(plot.pressures):
                found += self.falls.machines[number].excuse(i, because)
        return found

    def _wanted(self, block: Block, good: Ints) -> tuple[Ints, Ints]:
        if self._names is not block.points:
            self._names = block.points
            self._tables = _tables(self.plots, block.points)
        point = block.point[good]
        places, columns = [good[:0]], [good[:0]]
        for table in self._tables:
            column = table[point]
            places.append(good[column >= 0])
            columns.append(column[column >= 0])
        return np.concatenate(places), np.concatenate(columns)

    def _run_falls(self, start: Ints, said: Floats, is_fresh: Bools) -> list[tuple[int, Finding]]:
        if not len(self._pick):
            return []
        values, is_new = said[:, self._pick], is_fresh[:, self._pick]
        values[:, self._net_columns], is_new[:, self._net_columns] = self._nets.of(said, is_fresh)
        return self.falls.run(start, values, is_new)

    def publish(self, event: ModelPublished) -> list[Finding]:
        """Apply what was learnt of a zone; return what is gone by it."""
        found = self.seasons.publish(event)
        for finding in found:
            self.bands.others.hear(finding)
            self.point_seasons.others.hear(finding)
        self.bands.publish(event)
        self.point_seasons.publish(event)
        return found

    def learn_past(self, event: Imported) -> None:
        """Learn from 5-minute means of the past, of pressures and of zones with every meter."""
        rows = [r for r in event.rows if r[2] is not None and r[3] == Quality.GOOD]
        at = np.array([r[1] for r in rows], dtype=np.int64)
        value = np.array([r[2] for r in rows], dtype=np.float64)
        names: dict[PointId, int] = {}
        point = np.array([names.setdefault(PointId(r[0]), len(names)) for r in rows], dtype=int)
        series = {p: (at[point == n], value[point == n]) for p, n in names.items()}
        self._learn_hours(series)
        if not len(self._pick):
            return
        starts = np.unique(at // FIVE_MS)
        sums, counts = (np.zeros((len(starts), len(self._pick))) for _ in range(2))
        for plot in self.plots:
            for column, (instants, values) in self._past_of(plot, series):
                row = np.searchsorted(starts, instants // FIVE_MS)
                np.add.at(sums[:, column], row, values)
                np.add.at(counts[:, column], row, 1.0)
        means = np.full_like(sums, np.nan)
        np.divide(sums, counts, out=means, where=counts > 0)
        self.falls.learn_past(starts * FIVE_MS, means)

    def _learn_hours(self, series: dict[PointId, tuple[Ints, Floats]]) -> None:
        """Let the pressures of each zone learn what they owe to each other, from hourly means."""
        for plot in self.plots:
            known = [series.get(p.id) for p in plot.pressures]
            hours = np.unique(
                np.concatenate(
                    [s[0] // HOUR_MS for s in known if s is not None]
                    or [np.zeros(0, dtype=np.int64)]
                )
            )
            meters = [(series.get(plot.points[c - plot.begin].id), sign) for c, sign in plot.meters]
            levels = [_hourly(s, hours) for s in (*known, _past_net(meters))]
            if len(hours):
                table = np.stack(levels, axis=1)
                self.loners.learn_past(plot.zone.id, hours * HOUR_MS, table[:, :-1], table[:, -1])

    def _past_of(
        self, plot: Plot, series: dict[PointId, tuple[Ints, Floats]]
    ) -> list[tuple[int, tuple[Ints, Floats]]]:
        """Return the past of each column that the fall detector judges in a zone."""
        number = self.judged.get(plot.zone.id)
        if number is None:
            return []
        columns = self.falls.columns[number]
        found = [
            (columns.start + i, series[p.id])
            for i, p in enumerate(plot.pressures)
            if p.id in series
        ]
        meters = [(series.get(plot.points[c - plot.begin].id), sign) for c, sign in plot.meters]
        net = _past_net(meters)
        return found if net is None else [*found, (columns.stop - 1, net)]

    def adopt(self, other: "Watch") -> list[Finding]:
        """Go on with zones that have not changed, and with what was learnt in those that have."""
        theirs = {plot.zone.id: plot for plot in other.plots}
        findings: list[Finding] = []
        same: _Pairs = []
        for plot in self.plots:
            old = theirs.pop(plot.zone.id, None)
            if old is None:
                continue
            self._adopt_scales(plot, other, old)
            if (old.zone, old.points) == (plot.zone, plot.points):
                same += zip(plot.columns, old.columns, strict=True)
                self._adopt_falls(plot, other)
            else:
                findings += other.withdrawn(old, "the zone was changed in the registry")
        self.grid.adopt(other.grid, same)
        self.seasons.adopt(other.seasons, same)
        self.bands.adopt(other.bands, same)
        self.point_seasons.adopt(other.point_seasons, same)
        self.loners.adopt(other.loners)
        self.limits.adopt(other.limits, same)
        for old in theirs.values():
            findings += other.withdrawn(old, "the zone was taken out of the registry")
        return findings

    def _adopt_scales(self, plot: Plot, other: "Watch", old: Plot) -> None:
        ours, theirs = self.judged.get(plot.zone.id), other.judged.get(old.zone.id)
        if ours is None or theirs is None:
            return
        mine, its = self.falls.columns[ours], other.falls.columns[theirs]
        places = {p.id: i for i, p in enumerate(old.pressures)}
        pairs = [
            (mine.start + i, its.start + places[p.id])
            for i, p in enumerate(plot.pressures)
            if p.id in places
        ]
        if plot.zone.inflow == old.zone.inflow:
            pairs.append((mine.stop - 1, its.stop - 1))
        self.falls.scales.adopt(other.falls.scales, pairs)

    def _adopt_falls(self, plot: Plot, other: "Watch") -> None:
        ours, theirs = self.judged.get(plot.zone.id), other.judged.get(plot.zone.id)
        if ours is not None and theirs is not None:
            self.falls.adopt(other.falls, ours, theirs)

    def withdraw(self, because: str) -> list[Finding]:
        """Take every finding down."""
        return [f for plot in self.plots for f in self.withdrawn(plot, because)]

    def withdrawn(self, plot: Plot, because: str) -> list[Finding]:
        """Take the findings of one zone down."""
        number = self.judged.get(plot.zone.id)
        gone = [] if number is None else self.falls.machines[number].withdraw(because)
        gone += self.seasons.withdraw(plot.zone.id, because)
        for of_points in (self.bands, self.point_seasons):
            gone += of_points.withdraw(plot.columns, because)
        return [*gone, *self.limits.withdraw(plot.columns, because)]


def watches_of(registry: Registry, operations: Operations | None = None) -> list[Watch]:
    """Return the watches over a registry, the finest first."""
    by_width: dict[int, list[tuple[Zone, tuple[Point, ...]]]] = {}
    for zone_id in sorted(registry.zones):
        zone = registry.zones[zone_id]
        points = points_of(zone, registry.points)
        by_width.setdefault(width_ms(points, zone.inflow), []).append((zone, points))
    return [
        Watch(by_width[width], width_ms=width, operations=operations) for width in sorted(by_width)
    ]


def points_of(zone: Zone, points: dict[PointId, Point]) -> tuple[Point, ...]:
    """Return what a zone's detectors look at: pressures, inflow meters, levels, limited points."""
    meters, stores = [i.point for i in zone.inflow], [s.point for s in zone.storage]
    ordered = [points[p] for p in sorted(points)]
    pressures = [p for p in ordered if p.zone == zone.id and p.quantity is Quantity.PRESSURE]
    others = [
        p
        for p in ordered
        if p.quantity is not Quantity.PRESSURE
        and (p.id in meters or p.id in stores or (p.zone == zone.id and p.is_limited))
    ]
    return (*pressures, *others)


def width_ms(points: tuple[Point, ...], inflow: tuple[Inflow, ...]) -> int:
    """Return the width of a zone's bins: its fastest pressure or inflow point, at least 1 s."""
    meters = [i.point for i in inflow]
    periods = [
        p.period_ms for p in points if p.quantity is Quantity.PRESSURE or p.id in meters
    ] or [p.period_ms for p in points]
    return max(SECOND_MS, min(periods, default=SECOND_MS))


def _plots(zones: list[tuple[Zone, tuple[Point, ...]]]) -> tuple[Plot, ...]:
    plots, begin = [], 0
    for zone, points in zones:
        place = {p.id: begin + n for n, p in enumerate(points)}
        meters = tuple((place[i.point], i.sign) for i in zone.inflow if i.point in place)
        stores = tuple((place[s.point], s.area_m2) for s in zone.storage if s.point in place)
        plots.append(
            Plot(
                zone=zone,
                points=points,
                begin=begin,
                meters=meters if len(meters) == len(zone.inflow) else (),
                stores=stores,
            )
        )
        begin += len(points)
    return tuple(plots)


def _families(plots: tuple[Plot, ...], width_ms: int) -> tuple[Family, ...]:
    """Return the zones whose pressures can be held against each other."""
    chosen = [p for p in plots if len(p.pressures) >= POINTS_MIN and width_ms <= LONERS_MAX_MS]
    return tuple(
        Family(
            zone=p.zone.id,
            points=tuple(point.id for point in p.pressures),
            columns=tuple(p.columns[: len(p.pressures)]),
            meters=p.meters,
            slow=_slow(p, width_ms),
        )
        for p in chosen
    )


def _slow(plot: Plot, width_ms: int) -> int:
    """Return how many bins the slowest meter of a zone takes for a reading."""
    periods = [plot.points[c - plot.begin].period_ms // width_ms for c, _ in plot.meters]
    return max(periods, default=1)


def _wells(plot: Plot, width: int) -> Wells:
    return Wells(zone=plot.zone.id, pressures=plot.pressures, slow=_slow(plot, width))


def _tables(plots: tuple[Plot, ...], names: tuple[PointId, ...]) -> list[Ints]:
    """Return tables from the number of a point to a column, -1 for none.

    There is more than one where a point stands in several zones: no table holds a column twice.
    """
    number = {p: n for n, p in enumerate(names)}
    tables: list[Ints] = []
    for plot in plots:
        for column, point in zip(plot.columns, plot.points, strict=True):
            place = number.get(point.id)
            if place is None:
                continue
            table = next((t for t in tables if t[place] < 0), None)
            if table is None:
                table = np.full(len(names), -1, dtype=np.int64)
                tables.append(table)
            table[place] = column
    return tables


def _hourly(series: tuple[Ints, Floats] | None, hours: Ints) -> Floats:
    """Return the hourly means of a series, NaN where it says nothing."""
    sums, counts = np.zeros(len(hours)), np.zeros(len(hours))
    if series is not None:
        row = np.searchsorted(hours, series[0] // HOUR_MS)
        is_here = row < len(hours)
        np.add.at(sums, row[is_here], series[1][is_here])
        np.add.at(counts, row[is_here], 1.0)
    means = np.full(len(hours), np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means


def _past_net(
    meters: list[tuple[tuple[Ints, Floats] | None, int]],
) -> tuple[Ints, Floats] | None:
    """Return the net inflow at the instants at which every meter has said its part."""
    known = [(found, sign) for found, sign in meters if found is not None]
    if not known or len(known) != len(meters):
        return None
    common = np.unique(known[0][0][0])
    for (instants, _), _ in known[1:]:
        common = np.intersect1d(common, instants)
    net = np.zeros(len(common))
    for (instants, values), sign in known:
        order = np.argsort(instants, kind="stable")
        newest = np.searchsorted(instants[order], common, side="right") - 1
        net += float(sign) * values[order][newest]
    return common, net
