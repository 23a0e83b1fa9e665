"""The registry: zones and points as the engineers know them, as one value.

It lives in the service core's database; the engine receives it whole in `RegistryChanged` events.
Points that a gateway announces and the registry does not know are *in test*: recorded and shown,
never alarmed.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from telemetry.point import PointId, ZoneId
from telemetry.units import Quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Inflow:
    """One meter at the edge of a zone; `sign` is 1 for water coming in, -1 for water going out."""

    point: PointId
    sign: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """A tank inside a zone: the level that `point` tells, times `area_m2`, is what it holds."""

    point: PointId
    area_m2: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """A metered area. `timezone` is an IANA name, `calendar` one of the working calendars."""

    id: ZoneId
    name_zh: str
    name_en: str
    timezone: str
    calendar: str
    inflow: tuple[Inflow, ...]
    storage: tuple[Storage, ...] = ()
    parent: ZoneId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A measured quantity at a place. `x`, `y` in metres on the map; limits in house units.

    Of a pressure, `statute_kpa` is what the law asks for at this place, `promise_kpa` what the
    company has promised; neither is known unless somebody wrote it down. A promise that is not the
    point's own is that of a policy for places of the kind `place`; `promise_by` says whose it is.
    """

    id: PointId
    zone: ZoneId
    quantity: Quantity
    name_zh: str
    name_en: str
    period_ms: int
    x: float | None = None
    y: float | None = None
    elevation_m: float | None = None
    low: float | None = None
    high: float | None = None
    promise_kpa: float | None = None
    statute_kpa: float | None = None
    place: str = ""
    promise_by: str = ""

    @property
    def own_promise_kpa(self) -> float | None:
        """Return the promise that is written at the point itself, if there is one."""
        return None if self.promise_by else self.promise_kpa

    @property
    def is_limited(self) -> bool:
        """Say whether any limit of its value is known."""
        limits = (self.low, self.high, self.promise_kpa, self.statute_kpa)
        return any(limit is not None for limit in limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What a policy promises at places of a kind: at least so much; `by` is `policy: key`."""

    kpa: float
    by: str


def with_promise(point: Point, promises: Mapping[str, Promise]) -> Point:
    """Return a point with what is promised at places of its kind; its own promise wins.

    >>> street = Point(
    ...     id=PointId("street/pressure"),
    ...     zone=ZoneId("north"),
    ...     quantity=Quantity.PRESSURE,
    ...     name_zh="",
    ...     name_en="",
    ...     period_ms=1_000,
    ...     place="central",
    ... )
    >>> central = {"central": Promise(kpa=280.0, by="ours: pressure.central.min_mpa")}
    >>> with_promise(street, central).promise_kpa
    280.0
    >>> with_promise(replace(street, promise_kpa=250.0), central).promise_kpa
    250.0
    """
    if point.quantity is not Quantity.PRESSURE or point.own_promise_kpa is not None:
        return point
    found = promises.get(point.place) if point.place else None
    if found is None:
        return replace(point, promise_kpa=None, promise_by="")
    return replace(point, promise_kpa=found.kpa, promise_by=found.by)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """Every zone and every accepted point, by id."""

    zones: dict[ZoneId, Zone] = field(default_factory=dict)
    points: dict[PointId, Point] = field(default_factory=dict)

    def promised(self, promises: Mapping[str, Promise]) -> "Registry":
        """Return the registry with what a policy promises, by kind of place, at its points."""
        points = {name: with_promise(p, promises) for name, p in self.points.items()}
        return Registry(zones=self.zones, points=points)

    def to_json(self) -> dict[str, Any]:
        """Return the registry as plain values, in the order of its ids."""
        return {
            "zones": [asdict(self.zones[z]) for z in sorted(self.zones)],
            "points": [asdict(self.points[p]) for p in sorted(self.points)],
        }

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> "Registry":
        """Return the registry that `to_json` wrote."""
        zones = [
            Zone(
                **{
                    **z,
                    "inflow": tuple(Inflow(**i) for i in z["inflow"]),
                    "storage": tuple(Storage(**s) for s in z.get("storage", ())),
                }
            )
            for z in body["zones"]
        ]
        points = [Point(**{**p, "quantity": Quantity(p["quantity"])}) for p in body["points"]]
        return cls(zones={z.id: z for z in zones}, points={p.id: p for p in points})
