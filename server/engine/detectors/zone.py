"""One zone: its samples into bins, its bins to the limits and to the fall detector."""

import numpy as np

from server.engine.detectors.fall import WIDTH_MAX_MS, Fall
from server.engine.detectors.finding import Finding
from server.engine.detectors.frames import Floats, Frame, Frames, width_ms
from server.engine.detectors.limits import Limits
from server.engine.registry import Point, Zone
from telemetry.instant import Instant
from telemetry.point import PointId
from telemetry.units import Quantity


class ZoneWatch:
    """The detectors of one zone. `points` are those it looks at, pressures first."""

    def __init__(self, zone: Zone, points: tuple[Point, ...]) -> None:
        self.zone = zone
        self.points = points
        self.columns = {p.id: i for i, p in enumerate(points)}
        width = width_ms(points, zone.inflow)
        self._frames = Frames(points, width_ms=width)
        self._limits = {
            i: Limits(p) for i, p in enumerate(points) if p.low is not None or p.high is not None
        }
        self.pressures = tuple(p for p in points if p.quantity is Quantity.PRESSURE)
        meters = [self.columns[i.point] for i in zone.inflow if i.point in self.columns]
        is_metered = len(meters) == len(zone.inflow) > 0
        self._meters = tuple(meters) if is_metered else ()
        self._signs = tuple(float(i.sign) for i in zone.inflow)
        slow = max((points[i].period_ms // width for i in self._meters), default=1)
        self._past: dict[int, tuple[Instant, float]] = {}
        self.fall: Fall | None = None
        if self.pressures and width <= WIDTH_MAX_MS:
            self.fall = Fall(zone.id, self.pressures, width_ms=width, slow=slow)

    def adopt(self, other: "ZoneWatch") -> None:
        """Take over what was learnt about the same points before the registry changed."""
        if self.fall is None or other.fall is None:
            return
        theirs = {p.id: i for i, p in enumerate(other.pressures)}
        pairs = [(i, theirs[p.id]) for i, p in enumerate(self.pressures) if p.id in theirs]
        if self.zone.inflow == other.zone.inflow:
            pairs.append((len(self.pressures), len(other.pressures)))
        self.fall.scales.adopt(other.fall.scales, pairs)

    def withdraw(self, because: str) -> list[Finding]:
        """Take every finding of this zone down."""
        gone = [] if self.fall is None else self.fall.withdraw(because)
        for limits in self._limits.values():
            gone += limits.withdraw(because)
        return gone

    def take(self, point: PointId, *, at: Instant, value: float, now: Instant) -> bool:
        """Take in one good live sample; say whether it came in time to be judged."""
        return self._frames.take(self.columns[point], at=at, value=value, now=now)

    def learn_past(self, point: PointId, *, at: Instant, value: float) -> None:
        """Learn from one past value; an inflow counts once every meter has said its part."""
        column = self.columns[point]
        if self.fall is None:
            return
        if column < len(self.pressures):
            self.fall.learn_past(at=at, column=column, value=value)
        if column not in self._meters:
            return
        self._past[column] = (at, value)
        said = [self._past[m] for m in self._meters if m in self._past]
        if len(said) == len(self._meters) and all(t == at for t, _ in said):
            net = sum(sign * v for sign, (_, v) in zip(self._signs, said, strict=True))
            self.fall.learn_past(at=at, column=len(self.pressures), value=net)

    def tick(self, now: Instant) -> list[Finding]:
        """Close the bins whose time has come and judge them."""
        is_anew, frames = self._frames.close(now)
        if is_anew and self.fall is not None:
            self.fall.begin_anew()
        findings: list[Finding] = []
        for frame in frames:
            findings += self._judge(frame)
        return findings

    def _judge(self, frame: Frame) -> list[Finding]:
        findings: list[Finding] = []
        for column, limits in self._limits.items():
            if frame.is_fresh[column]:
                findings += limits.update(at=frame.start, value=float(frame.values[column]))
        if self.fall is not None:
            n = len(self.pressures)
            values = np.append(frame.values[:n], self._net(frame.values))
            is_new = all(frame.is_fresh[m] for m in self._meters)
            is_fresh = np.append(frame.is_fresh[:n], is_new)
            findings += self.fall.update(at=frame.start, values=values, is_fresh=is_fresh)
        return findings

    def _net(self, values: Floats) -> float:
        if not self._meters:
            return float("nan")
        net = 0.0
        for sign, meter in zip(self._signs, self._meters, strict=True):
            net += sign * float(values[meter])
        return net


def points_of(zone: Zone, points: dict[PointId, Point]) -> tuple[Point, ...]:
    """Return the points that a zone's detectors look at: pressures, inflow meters, limited ones."""
    meters = [i.point for i in zone.inflow]
    ordered = [points[p] for p in sorted(points)]
    pressures = [p for p in ordered if p.zone == zone.id and p.quantity is Quantity.PRESSURE]
    others = [
        p
        for p in ordered
        if p.quantity is not Quantity.PRESSURE
        and (p.id in meters or (p.zone == zone.id and (p.low is not None or p.high is not None)))
    ]
    return (*pressures, *others)
