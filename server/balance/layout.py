"""What of the registry makes up a zone's balance: its meters, tanks, customers and pressures."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from server.balance.notes import Note
from server.engine.registry import Point, Registry, Zone
from telemetry.units import Quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Which points say what about a zone; `children` are the zones whose water is in its inflow.

    `notes` tell what in the registry is odd. Customers are flow or volume points, each meter once.
    """

    zone: str
    timezone: str
    meters: tuple[tuple[str, int], ...]
    storage: tuple[tuple[str, float], ...]
    customers: tuple[tuple[str, Quantity], ...]
    pressures: tuple[str, ...]
    children: tuple[str, ...]
    periods: dict[str, int]
    notes: tuple[Note, ...]

    @property
    def points(self) -> tuple[str, ...]:
        """Return every point that is read, each once."""
        named = (
            *(p for p, _ in self.meters),
            *(p for p, _ in self.storage),
            *(p for p, _ in self.customers),
            *self.pressures,
        )
        return tuple(dict.fromkeys(named))


def layout_of(
    registry: Registry, zone_id: str, *, customers: Sequence[str] | None = None
) -> Layout:
    """Return the layout of a zone that the registry has; `customers` where the utility lists them.

    A parent's meters see its children's water, unless they take it off again: a child all of whose
    meters are among the parent's with the opposite sign is not part of the parent. Tanks,
    customers and pressures of the others count to the parent.
    """
    zones = {str(z): found for z, found in registry.zones.items()}
    zone = zones[zone_id]
    notes: list[Note] = []
    children = _children(zones, zone, notes)
    inside = {zone_id, *children}
    parts = [zone, *(zones[c] for c in children)]
    meters = tuple((str(i.point), i.sign) for i in zone.inflow)
    storage = tuple((str(s.point), s.area_m2) for z in parts for s in z.storage)
    edges = {str(i.point) for z in zones.values() for i in z.inflow}
    here = [p for p in registry.points.values() if p.zone in inside]
    if customers is None:
        found = _customers(here, [p for p in registry.points.values() if str(p.id) in edges], notes)
    else:
        found = [p for p in registry.points.values() if str(p.id) in set(customers)]
        notes += [
            Note.of("unknown_customer", point=name)
            for name in customers
            if name not in {str(p.id) for p in found}
        ]
    pressures = [str(p.id) for p in here if p.quantity is Quantity.PRESSURE]
    signs: dict[str, set[int]] = defaultdict(set)
    for point, sign in meters:
        signs[point].add(sign)
    notes += [Note.of("both_signs", point=p) for p, s in sorted(signs.items()) if len(s) > 1]
    periods = {str(p.id): p.period_ms for p in registry.points.values()}
    return Layout(
        zone=zone_id,
        timezone=zone.timezone,
        meters=meters,
        storage=storage,
        customers=tuple((str(p.id), p.quantity) for p in found),
        pressures=tuple(pressures),
        children=children,
        periods=periods,
        notes=tuple(notes),
    )


def _children(zones: dict[str, Zone], top: Zone, notes: list[Note]) -> tuple[str, ...]:
    """Return the zones below one that its meters do not take off, at whatever depth."""
    taken_off = {(str(i.point), -i.sign) for i in top.inflow}
    found: list[str] = []
    waiting = [str(top.id)]
    while waiting:
        parent = waiting.pop(0)
        for name in sorted(z for z, zone in zones.items() if zone.parent == parent):
            if name == str(top.id) or name in found:
                continue  # a circle of parents
            edges = {(str(i.point), i.sign) for i in zones[name].inflow}
            off = edges & taken_off
            if edges and off == edges:
                continue
            if off:
                notes.append(Note.of("half_taken_off", zone=name))
            found.append(name)
            waiting.append(name)
    return tuple(found)


def _customers(here: Sequence[Point], edges: Sequence[Point], notes: list[Note]) -> list[Point]:
    """Return the customers' meters: flows and volumes that are no edge of any zone, each once.

    A meter may tell its flow and its volume by two points, which lie at the same place. The volume
    counts, as it loses nothing to gaps; and what lies at the place of an edge is that edge's.
    """
    edge_ids, edge_places = {p.id for p in edges}, {_place(p) for p in edges} - {None}
    meters = [
        p for p in here if p.quantity in (Quantity.FLOW, Quantity.VOLUME) and p.id not in edge_ids
    ]
    beside = [p for p in meters if _place(p) in edge_places]
    notes += [Note.of("beside_edge", point=str(p.id)) for p in beside if p.quantity == "flow"]
    places: dict[tuple[float, float] | str, list[Point]] = defaultdict(list)
    for p in meters:
        if p not in beside:
            places[_place(p) or str(p.id)].append(p)
    found = []
    for group in places.values():
        volumes = [p for p in group if p.quantity is Quantity.VOLUME]
        flows = [p for p in group if p.quantity is Quantity.FLOW]
        found += volumes if len(volumes) >= len(flows) else flows
    return found


def _place(point: Point) -> tuple[float, float] | None:
    return None if point.x is None or point.y is None else (point.x, point.y)
