"""A zone whose water is known to the litre: one inlet, a tank, customers, and a leak of our own."""

import numpy as np

from server.balance.account import ZoneMonth, account
from server.balance.hours import Hours, PointHours
from server.balance.layout import layout_of
from server.balance.local import midnight
from server.config import BalanceSection
from server.engine.registry import Inflow, Point, Registry, Storage, Zone
from telemetry.instant import HOUR_MS, Instant
from telemetry.point import PointId, ZoneId
from telemetry.units import Quantity

TIMEZONE = "Europe/Rome"
AREA_M2 = 100.0
NIGHT_USE = 1.0
LEAK = 4.0
DRAW = np.array([NIGHT_USE] * 6 + [8.0] * 16 + [NIGHT_USE] * 2)
"""What each of two customers draws by the hour of the clock, m³/h."""


def point(name: str, quantity: Quantity, **more: object) -> Point:
    return Point(
        **{
            "id": PointId(name),
            "zone": ZoneId("north"),
            "quantity": quantity,
            "name_zh": name,
            "name_en": name,
            "period_ms": 900_000,
            **more,
        }
    )


def zone(name: str = "north", **more: object) -> Zone:
    return Zone(
        **{
            "id": ZoneId(name),
            "name_zh": "北区",
            "name_en": "North",
            "timezone": TIMEZONE,
            "calendar": "none",
            "inflow": (Inflow(point=PointId("inlet/flow"), sign=1),),
            **more,
        }
    )


POINTS = (
    point("inlet/flow", Quantity.FLOW, x=1.0, y=1.0),
    point("inlet/volume", Quantity.VOLUME, x=1.0, y=1.0),
    point("tower/level", Quantity.LEVEL),
    point("one/volume", Quantity.VOLUME, x=2.0, y=2.0),
    point("one/flow", Quantity.FLOW, x=2.0, y=2.0),
    point("two/flow", Quantity.FLOW),
    point("street/pressure", Quantity.PRESSURE),
)


def registry(*zones: Zone, points: tuple[Point, ...] = POINTS) -> Registry:
    tower = (Storage(point=PointId("tower/level"), area_m2=AREA_M2),)
    zones = zones or (zone(storage=tower),)
    return Registry(zones={z.id: z for z in zones}, points={p.id: p for p in points})


def of_flow(m3h: np.ndarray) -> PointHours:
    """Return the hours of a point that speaks 12 times an hour; NaN says nothing."""
    known = np.isfinite(m3h)
    return PointHours(count=np.where(known, 12, 0), mean=m3h, low=m3h, high=m3h)


def of_volume(m3h: np.ndarray, *, first: float = 1000.0) -> PointHours:
    """Return the hours of a counter that counts a flow from `first` on."""
    high = first + np.cumsum(m3h)
    return PointHours(count=np.full(len(m3h), 12), mean=high - m3h / 2, low=high - m3h, high=high)


def of_level(edge: np.ndarray) -> PointHours:
    mean = (edge[1:] + edge[:-1]) / 2
    return PointHours(count=np.full(len(mean), 12), mean=mean, low=mean, high=mean, edge=edge)


def hours(begin: Instant, length: int, *, leak: float | np.ndarray = LEAK) -> Hours:
    """Return the hours of the town; the tank fills by day, and empties by night into the zone."""
    at = begin + np.arange(length) * HOUR_MS
    clock = clock_of(at)
    draw, leaks = DRAW[clock], np.full(length, 1.0) * leak
    level = 2.0 + np.concatenate([[0.0], np.cumsum(np.where(clock < 12, -0.01, 0.01))])
    inlet = 2 * draw + leaks + np.diff(level) * AREA_M2
    return Hours(
        begin=begin,
        length=length,
        points={
            "inlet/flow": of_flow(inlet),
            "inlet/volume": of_volume(inlet),
            "tower/level": of_level(level),
            "one/volume": of_volume(draw),
            "one/flow": of_flow(draw),
            "two/flow": of_flow(draw),
        },
    )


def clock_of(at: np.ndarray) -> np.ndarray:
    from server.balance.local import clock_hours

    return clock_hours(at, TIMEZONE)


def stretch(first: str = "2026-01-20", last: str = "2026-03-01", **more: object) -> Hours:
    """Return the town's hours from midnight to midnight."""
    from datetime import date

    begin, end = (midnight(date.fromisoformat(d), TIMEZONE) for d in (first, last))
    return hours(begin, (end - begin) // HOUR_MS, **more)


def february(
    found: Hours | None = None, known: Registry | None = None, **facts: object
) -> ZoneMonth:
    """Return the account of February 2026."""
    found = found or stretch()
    told = BalanceSection(zone="north", **facts)
    layout = layout_of(known or registry(), "north", customers=told.customers)
    return account(layout, found, "2026-02", told, until=found.end)


def notes(found: ZoneMonth) -> dict[str, dict[str, str]]:
    """Return the reservations by code."""
    return {n.code: n.blanks for n in found.balance.notes}
