"""Which points are meters, and whose: what a registry tells of them, as columns of arrays.

A meter is a flow point, with the volume point that stands at its very place as its total; or a
volume point alone, whose differences are its flow. Ids are never parsed: two points are of one
meter when zone and position are the same. A meter in the inflow of any zone is a district's; every
other is a customer's. A volume point is left out where it may belong to a flow point without a
position.
"""

from dataclasses import dataclass

import numpy as np

from server.engine.detectors.grid import Ints
from server.engine.registry import Point, Registry
from telemetry.instant import HOUR_MS, MINUTE_MS
from telemetry.point import PointId, ZoneId
from telemetry.units import Quantity

WIDTHS_MS = (5 * MINUTE_MS, 15 * MINUTE_MS, 30 * MINUTE_MS, HOUR_MS)
"""Of bins. A meter that speaks less than once an hour is not judged but for its total."""

WITNESSES_MAX = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """One meter; `point` tells its flow, or is its total where nothing else tells a flow.

    `is_lone` says that its zone gets water through no other meter; `witnesses` are pressure points
    of that zone.
    """

    point: Point
    total: PointId | None
    is_district: bool
    is_lone: bool = False
    witnesses: tuple[PointId, ...] = ()

    @property
    def key(self) -> tuple[PointId, PointId | None, ZoneId, bool]:
        """Return what must be the same for what was learnt to be of use."""
        return self.point.id, self.total, self.point.zone, self.is_district

    @property
    def name_of_total(self) -> PointId | None:
        """Return the point that tells its total, if any does."""
        return self.point.id if self.point.quantity is Quantity.VOLUME else self.total


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterSheet:
    """The meters whose bins are of one width.

    Columns are the meters' flows, then the flows that their totals tell, then witnesses.
    """

    width_ms: int
    meters: tuple[Meter, ...]
    witnesses: tuple[Point, ...]
    nets: tuple[tuple[ZoneId, tuple[tuple[int, int], ...]], ...]

    @property
    def rows_per_hour(self) -> int:
        """Return how many bins make an hour."""
        return HOUR_MS // self.width_ms

    @property
    def periods_ms(self) -> list[int]:
        """Return the period of each column, never longer than a bin: no value is kept."""
        return [self.width_ms] * (2 * len(self.meters) + len(self.witnesses))

    def read_columns(self) -> dict[PointId, int]:
        """Return the columns of points that are read as they are: flows and pressures."""
        size = len(self.meters)
        found = {
            m.point.id: n
            for n, m in enumerate(self.meters)
            if m.point.quantity is not Quantity.VOLUME
        }
        return found | {p.id: 2 * size + n for n, p in enumerate(self.witnesses)}

    def total_columns(self) -> dict[PointId, int]:
        """Return the columns of flows that are told by a total."""
        size, found = len(self.meters), {}
        for n, meter in enumerate(self.meters):
            if meter.point.quantity is Quantity.VOLUME:
                found[meter.point.id] = n
            elif meter.total is not None:
                found[meter.total] = size + n
        return found

    def customers(self) -> dict[ZoneId, Ints]:
        """Return the columns of the customers' meters of each zone."""
        zones = dict.fromkeys(m.point.zone for m in self.meters)
        return {
            zone: np.array(
                [
                    n
                    for n, m in enumerate(self.meters)
                    if m.point.zone == zone and not m.is_district
                ],
                dtype=np.int64,
            )
            for zone in zones
        }

    def witness_columns(self) -> Ints:
        """Return the columns of each meter's witnesses, (meters, `WITNESSES_MAX`), -1 for none."""
        place = {p.id: 2 * len(self.meters) + n for n, p in enumerate(self.witnesses)}
        found = np.full((len(self.meters), WITNESSES_MAX), -1, dtype=np.int64)
        for n, meter in enumerate(self.meters):
            for k, witness in enumerate(meter.witnesses):
                found[n, k] = place[witness]
        return found


def sheets_of(registry: Registry) -> list[MeterSheet]:
    """Return the sheets of a registry's meters, the finest first."""
    by_width: dict[int, list[Meter]] = {}
    for meter in meters_of(registry):
        width = next((w for w in WIDTHS_MS if meter.point.period_ms <= w), None)
        if width is not None:
            by_width.setdefault(width, []).append(meter)
    return [_sheet(width, by_width[width], registry) for width in sorted(by_width)]


def meters_of(registry: Registry) -> list[Meter]:
    """Return every meter of a registry, in the order of its points."""
    points = [registry.points[p] for p in sorted(registry.points)]
    edges = {i.point for zone in registry.zones.values() for i in zone.inflow}
    flows = [p for p in points if p.quantity is Quantity.FLOW]
    volumes = [p for p in points if p.quantity is Quantity.VOLUME]
    at: dict[tuple[ZoneId, float, float], list[Point]] = {}
    for volume in volumes:
        if (place := _place(volume)) is not None:
            at.setdefault(place, []).append(volume)
    meters = []
    for flow in flows:
        beside = at.get(place, []) if (place := _place(flow)) is not None else []
        total = beside[0].id if len(beside) == 1 else None
        meters.append(_meter(flow, total, registry, is_district=flow.id in edges))
    blind = {p.zone for p in flows if _place(p) is None}
    taken = {_place(p) for p in flows}
    alone = [v for v in volumes if _place(v) not in taken and v.zone not in blind]
    meters += [_meter(v, None, registry, is_district=v.id in edges) for v in alone]
    return sorted(meters, key=lambda m: m.point.id)


def _place(point: Point) -> tuple[ZoneId, float, float] | None:
    if point.x is None or point.y is None:
        return None
    return point.zone, point.x, point.y


def _meter(point: Point, total: PointId | None, registry: Registry, *, is_district: bool) -> Meter:
    if not is_district:
        return Meter(point=point, total=total, is_district=False)
    fed = [
        z
        for _, z in sorted(registry.zones.items())
        if any(i.point == point.id and i.sign > 0 for i in z.inflow)
    ]
    lone = [z for z in fed if sum(i.sign > 0 for i in z.inflow) == 1]
    pressures = [
        registry.points[p].id
        for p in sorted(registry.points)
        if lone and registry.points[p].zone == lone[0].id
        if registry.points[p].quantity is Quantity.PRESSURE
    ]
    return Meter(
        point=point,
        total=total,
        is_district=True,
        is_lone=bool(lone),
        witnesses=tuple(pressures[:WITNESSES_MAX]),
    )


def _sheet(width_ms: int, meters: list[Meter], registry: Registry) -> MeterSheet:
    names = list(dict.fromkeys(w for m in meters for w in m.witnesses))
    column = {m.point.id: n for n, m in enumerate(meters)}
    nets = [
        (zone.id, tuple((column[i.point], i.sign) for i in zone.inflow))
        for _, zone in sorted(registry.zones.items())
        if zone.inflow and not zone.storage and all(i.point in column for i in zone.inflow)
    ]
    return MeterSheet(
        width_ms=width_ms,
        meters=tuple(meters),
        witnesses=tuple(registry.points[w] for w in names),
        nets=tuple(nets),
    )
