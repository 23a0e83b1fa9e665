"""Edits of the registry: what may be in it, what loosens a must-alarm limit, what differs.

A limit of pressure is a must-alarm limit: it is what the utility promises (R01). An edit that makes
such an alarm come later, or not at all, is for two persons.
"""

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from server.engine.registry import Point, Registry, Zone
from server.servicecore.rules.refusal import Refused
from telemetry.point import PointId, ZoneId
from telemetry.units import Quantity

CALENDARS = ("cn", "it", "none")
PLACE_MAX_M = 1e8
"""Beyond this no coordinate of a map in metres lies, nor any height."""
PROMISE_MAX_KPA = 5_000.0


def fingerprint(item: Point | Zone | Registry) -> int:
    """Return a number that another content has not: what a stale form is known by."""
    body = item.to_json() if isinstance(item, Registry) else asdict(item)
    text = json.dumps(body, sort_keys=True, ensure_ascii=False, default=str)
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16)


def with_point(registry: Registry, point: Point) -> Registry:
    """Return the registry with a point as it is from now on."""
    return Registry(zones=registry.zones, points={**registry.points, point.id: point})


def with_zone(registry: Registry, zone: Zone) -> Registry:
    """Return the registry with a zone as it is from now on."""
    return Registry(zones={**registry.zones, zone.id: zone}, points=registry.points)


def check(registry: Registry) -> None:
    """Refuse a registry that the engine could not work with, naming the first mistake."""
    for zone in registry.zones.values():
        _check_zone(zone, registry)
    for point in registry.points.values():
        _check_point(point, registry)


def _check_point(point: Point, registry: Registry) -> None:
    if point.zone not in registry.zones:
        known = ", ".join(sorted(registry.zones)) or "-"
        raise Refused("registry_zone", subject=point.id, found=point.zone, known=known)
    for value in (point.low, point.high, point.promise_kpa, point.statute_kpa):
        if value is not None and not math.isfinite(value):
            raise Refused("number_form", subject=str(value))
    if point.low is not None and point.high is not None and point.low >= point.high:
        raise Refused("registry_limits", subject=point.id)
    for value in (point.x, point.y, point.elevation_m):
        if value is not None and not abs(value) <= PLACE_MAX_M:
            raise Refused("number_form", subject=str(value))
    if point.own_promise_kpa is not None and not 0 < point.own_promise_kpa <= PROMISE_MAX_KPA:
        raise Refused("number_form", subject=f"{point.own_promise_kpa:.10g} kPa")
    if not (point.name_zh.strip() and point.name_en.strip()):
        raise Refused("fields_missing", subject=point.id, fields="name")


def _check_zone(zone: Zone, registry: Registry) -> None:
    if not (zone.name_zh.strip() and zone.name_en.strip()):
        raise Refused("fields_missing", subject=zone.id, fields="name")
    try:
        ZoneInfo(zone.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Refused("registry_timezone", subject=zone.timezone or "-") from None
    if zone.calendar not in CALENDARS:
        raise Refused(
            "not_in_state", subject=zone.id, state=zone.calendar, allowed_words=", ".join(CALENDARS)
        )
    meters = [i.point for i in zone.inflow]
    for inflow in zone.inflow:
        meter = registry.points.get(inflow.point)
        if meter is None or meter.quantity is not Quantity.FLOW or inflow.sign not in (1, -1):
            raise Refused("registry_meter", subject=zone.id, found=inflow.point)
        if meters.count(inflow.point) > 1:
            raise Refused("registry_meter_twice", subject=zone.id, found=inflow.point)


def loosened(before: Registry, after: Registry) -> tuple[str, ...]:
    """Return the must-alarm limits that an edit loosens, such as `point low` or `point promise`."""
    found = []
    for name in sorted(before.points):
        old = before.points[name]
        if old.quantity is not Quantity.PRESSURE:
            continue
        new = after.points.get(name)
        is_judged = new is not None and new.quantity is old.quantity
        low, high = (new.low, new.high) if new is not None and is_judged else (None, None)
        for word, before_it, after_it in (
            ("low", old.low, low),
            ("promise", old.promise_kpa, new.promise_kpa if new is not None else None),
            ("statute", old.statute_kpa, new.statute_kpa if new is not None else None),
        ):
            if before_it is not None and (after_it is None or after_it < before_it):
                found.append(f"{name} {word}")
        if old.high is not None and (high is None or high > old.high):
            found.append(f"{name} high")
    return tuple(found)


def differing(one: Registry, other: Registry) -> tuple[str, ...]:
    """Return the zones and points that two registries do not have alike."""
    zones = (f"zone {z}" for z in _unlike(one.zones, other.zones))
    return (*zones, *(f"point {p}" for p in _unlike(one.points, other.points)))


def _unlike(one: dict[ZoneId, Zone] | dict[PointId, Point], other: dict[Any, Any]) -> Iterable[str]:
    names: set[str] = {*one, *other}
    mine: dict[Any, Any] = dict(one)
    return (name for name in sorted(names) if mine.get(name) != other.get(name))
