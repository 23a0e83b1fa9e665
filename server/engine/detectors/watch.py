"""All zones whose bins are of one width: their samples into bins, their bins to the detectors."""

import numpy as np

from server.engine.detectors.block import Block
from server.engine.detectors.fall import WIDTH_MAX_MS
from server.engine.detectors.falls import Falls, Wells
from server.engine.detectors.finding import Finding
from server.engine.detectors.grid import Arrivals, Bools, Floats, Grid, Ints, Rows
from server.engine.detectors.limits import LimitsOf
from server.engine.detectors.plot import Plot
from server.engine.detectors.scales import FIVE_MS
from server.engine.detectors.seasons import Seasons
from server.engine.events import Imported
from server.engine.operations import Operations
from server.engine.registry import Inflow, Point, Registry, Zone
from telemetry.instant import SECOND_MS
from telemetry.point import PointId
from telemetry.sample import Quality
from telemetry.units import Quantity

_Pairs = list[tuple[int, int]]


class Nets:
    """The net inflows of zones side by side, each summed meter by meter in its zone's order."""

    def __init__(self, zones: list[tuple[tuple[int, int], ...]]) -> None:
        self._count = len(zones)
        self._is_unknown = np.array([not meters for meters in zones], dtype=np.bool_)
        self._nth: list[tuple[Ints, Ints, Floats]] = []
        for n in range(max((len(meters) for meters in zones), default=0)):
            having = [z for z, meters in enumerate(zones) if len(meters) > n]
            columns = np.array([zones[z][n][0] for z in having], dtype=np.int64)
            signs = np.array([zones[z][n][1] for z in having], dtype=np.float64)
            self._nth.append((np.array(having, dtype=np.int64), columns, signs))

    def of(self, rows: Rows) -> tuple[Floats, Bools]:
        """Return the net inflow of each bin and whether every meter spoke, (bins, zones).

        NaN where a meter has said nothing, or where not all are known.
        """
        net = np.zeros((len(rows.start), self._count))
        is_fresh = np.ones(net.shape, dtype=np.bool_)
        for zones, columns, signs in self._nth:
            net[:, zones] += signs * rows.values[:, columns]
            is_fresh[:, zones] &= rows.is_fresh[:, columns]
        net[:, self._is_unknown] = np.nan
        return net, is_fresh


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
        limited = {c: p for c, p in enumerate(points) if p.low is not None or p.high is not None}
        self.limits = LimitsOf(limited)
        judged = [p for p in self.plots if p.pressures and width_ms <= WIDTH_MAX_MS]
        self.judged = {p.zone.id: n for n, p in enumerate(judged)}
        self.falls = Falls(
            tuple(_wells(p, width_ms) for p in judged), width_ms=width_ms, operations=operations
        )
        self._pick = np.array(
            [c for p in judged for c in [*p.columns[: len(p.pressures)], p.begin]], dtype=np.int64
        )
        self.seasons = Seasons(self.plots, len(points), width_ms=width_ms)
        self._nets = Nets([p.meters for p in judged])
        self._net_columns = np.array([c.stop - 1 for c in self.falls.columns], dtype=np.int64)
        self._tables: list[Ints] = []
        self._names: tuple[PointId, ...] = ()

    def run(self, block: Block, good: Ints) -> tuple[Ints, Bools, list[tuple[int, Finding]]]:
        """Judge a block; `good` are the places of its good samples.

        Return the places that a column wants, whether they came in time, and what is found, with
        the number of its tick.
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
        if not len(rows.start):
            return wanted, is_in_time, []
        found = self.limits.run(rows.start, rows.values, rows.is_fresh)
        found += self._run_falls(rows)
        found += self.seasons.run(rows)
        return wanted, is_in_time, [(int(rows.tick[row]), f) for row, f in found]

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

    def _run_falls(self, rows: Rows) -> list[tuple[int, Finding]]:
        if not len(self._pick):
            return []
        if rows.anew is not None:
            self.falls.begin_anew()
        values, is_fresh = rows.values[:, self._pick], rows.is_fresh[:, self._pick]
        values[:, self._net_columns], is_fresh[:, self._net_columns] = self._nets.of(rows)
        return self.falls.run(rows.start, values, is_fresh)

    def learn_past(self, event: Imported) -> None:
        """Learn from 5-minute means of the past, of pressures and of zones with every meter."""
        if not len(self._pick):
            return
        rows = [r for r in event.rows if r[2] is not None and r[3] == Quality.GOOD]
        at = np.array([r[1] for r in rows], dtype=np.int64)
        value = np.array([r[2] for r in rows], dtype=np.float64)
        names: dict[PointId, int] = {}
        point = np.array([names.setdefault(PointId(r[0]), len(names)) for r in rows], dtype=int)
        series = {p: (at[point == n], value[point == n]) for p, n in names.items()}
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
        and (
            p.id in meters
            or p.id in stores
            or (p.zone == zone.id and (p.low is not None or p.high is not None))
        )
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


def _wells(plot: Plot, width: int) -> Wells:
    slow = max((plot.points[c - plot.begin].period_ms // width for c, _ in plot.meters), default=1)
    return Wells(zone=plot.zone.id, pressures=plot.pressures, slow=slow)


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
