"""The seasonal detectors of all zones of one width: bins into hours, hours against their habits.

What all zones of a width do together, such as the first hot day, is the towns' habit and no leak:
part of the median deviation of the others is taken from each. Where pressures are measured too, a
leak is placed near those that stand furthest below their last days.
"""

from dataclasses import replace
from math import isnan

from server.engine.detectors.finding import Finding
from server.engine.detectors.forecast import Forecast
from server.engine.detectors.grid import Floats, Rows
from server.engine.detectors.hours import Hour, Hours
from server.engine.detectors.lately import Lately
from server.engine.detectors.place import place_of
from server.engine.detectors.plot import Plot
from server.engine.detectors.season import Season, Seen
from server.engine.events import ModelPublished
from server.engine.operations import Operations
from telemetry.instant import HOUR_MS, Instant

COMMON = 0.7
"""Part of what the others do that is taken from a zone."""

COMMON_MIN = 3
"""So many other zones must be known."""

COMMON_CLIP = 6.0

CLEAR_KPA = 0.15
"""Hourly means that differ by less than this in their drops leave the place open in the zone."""

POINTS_MAX = 3
"""Points that a leak names: those that feel it most."""


class Seasons:
    """One CUSUM a zone that has meters; `n` columns of bins."""

    def __init__(
        self,
        plots: tuple[Plot, ...],
        n: int,
        *,
        width_ms: int,
        operations: Operations | None = None,
    ) -> None:
        self._operations = Operations() if operations is None else operations
        self.hours = Hours(n, width_ms=width_ms)
        self.plots = tuple(p for p in plots if p.meters and len(p.stores) == len(p.zone.storage))
        self.zones: dict[str, Season] = {p.zone.id: Season(p.zone.id) for p in self.plots}
        self._before: Hour | None = None
        self.lately = Lately(n)

    def publish(self, event: ModelPublished) -> list[Finding]:
        """Apply what was learnt of a zone; a zone that is not ours is passed over."""
        season = self.zones.get(event.zone)
        return [] if season is None else season.publish(Forecast.of(event.artefact), at=event.at)

    def close(self, rows: Rows) -> list[Hour]:
        """Return the hours that closed bins close."""
        if rows.anew is not None:
            self.hours.begin_anew()
            self._before = None
        return self.hours.run(rows.start, rows.values)

    def run(self, hours: list[Hour]) -> list[tuple[int, Finding]]:
        """Judge closed hours; findings come with their row."""
        if not self.zones:
            return []
        found: list[tuple[int, Finding]] = []
        for hour in hours:
            found += [(hour.row, f) for f in self._judge(hour)]
        return found

    def _judge(self, hour: Hour) -> list[Finding]:
        before, self._before = self._before, hour
        self.lately.add(hour)
        seen: dict[str, Seen] = {}
        for plot in self.plots:
            known = self.zones[plot.zone.id].look(hour.start, net_inflow(plot, hour, before))
            if known is not None:
                seen[plot.zone.id] = known
        off = {z: min(max(s.above / s.sigma, -COMMON_CLIP), COMMON_CLIP) for z, s in seen.items()}
        at = Instant(hour.start + HOUR_MS)
        findings: list[Finding] = []
        for zone, one in seen.items():
            if self._operations.disturbs(zone, Instant(hour.start), at):
                continue  # what flows now is somebody's doing: nothing is added up
            others = sorted(value for z, value in off.items() if z != zone)
            common = COMMON * _middle(others) if len(others) >= COMMON_MIN else 0.0
            told = self.zones[zone].step(one, common, at=at)
            findings += [self._placed(f, hour) for f in told]
        return findings

    def _placed(self, finding: Finding, hour: Hour) -> Finding:
        """Return a leak with its place: where pressures stand furthest below their last days."""
        plot = next(p for p in self.plots if p.zone.id == finding.zone)
        columns = range(plot.begin, plot.begin + len(plot.pressures))
        onset = finding.onset // HOUR_MS * HOUR_MS
        drops = self.lately.drops(columns, onset, hour.start).tolist()
        known = [(p, d) for p, d in zip(plot.pressures, drops, strict=True) if not isnan(d)]
        if not known:
            return finding
        common = _middle(sorted(d for _, d in known))
        place = place_of([(p.x, p.y, max(0.0, d - common)) for p, d in known], clear_kpa=CLEAR_KPA)
        deepest = sorted(known, key=lambda k: (-k[1], k[0].id))[:POINTS_MAX]
        felt = [(p, d) for p, d in deepest if d - common >= CLEAR_KPA]
        words = ", ".join(f"{p.id} {d:.1f} kPa" for p, d in felt)
        because = (f"pressure stands below its last days: {words}",) if felt else ()
        return replace(
            finding,
            points=tuple(p.id for p, _ in felt),
            because=(*finding.because, *because),
            x=None if place is None else place.x,
            y=None if place is None else place.y,
            radius_m=None if place is None else place.radius_m,
        )

    def adopt(self, other: "Seasons", pairs: list[tuple[int, int]]) -> None:
        """Go on with zones whose water is measured as before, and with columns that go on."""
        self.hours.adopt(other.hours, pairs)
        self.lately.adopt(other.lately, pairs)
        theirs = {p.zone.id: p.zone for p in other.plots}
        for plot in self.plots:
            zone, old = plot.zone, theirs.get(plot.zone.id)
            if old is not None and (old.inflow, old.storage) == (zone.inflow, zone.storage):
                self.zones[zone.id] = other.zones[zone.id]

    def withdraw(self, zone: str, because: str) -> list[Finding]:
        """Take down what is told of a zone."""
        return self.zones[zone].withdraw(because) if zone in self.zones else []


def net_inflow(plot: Plot, hour: Hour, before: Hour | None) -> float:
    """Return the net inflow of an hour in m³/h, less what the zone stores; NaN where unknown."""
    net = sum(float(sign) * float(hour.means[meter]) for meter, sign in plot.meters)
    for column, area in plot.stores:
        net -= area * _rise(hour.ends, before, hour, column)
    return net


def _rise(ends: Floats, before: Hour | None, hour: Hour, column: int) -> float:
    if before is None or before.start + HOUR_MS != hour.start:
        return float("nan")
    return float(ends[column]) - float(before.ends[column])


def _middle(ordered: list[float]) -> float:
    n = len(ordered)
    return ordered[n // 2] if n % 2 else (ordered[n // 2 - 1] + ordered[n // 2]) / 2
