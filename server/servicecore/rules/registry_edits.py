"""Edits of the registry: what may be in it, what loosens a must-alarm limit, what differs.

A limit of pressure is a must-alarm limit: it is what the utility promises (R01). An edit that makes
such an alarm come later, or not at all, is for two persons.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from server.engine.registry import Point, Registry, Zone
from server.servicecore.rules.refusal import Refused
from telemetry.point import PointId, ZoneId, is_name
from telemetry.units import Quantity

CALENDARS = ("cn", "it", "none")
FLOOR_MAX_KPA = 5_000.0
"""Beyond this no law asks for a pressure; `statute_mpa` of server.toml has the same bound."""
NAMED_MAX = 5
"""How many names a refusal tells."""
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


def without_zone(registry: Registry, zone: ZoneId) -> Registry:
    """Return the registry without a zone. Raises `Refused` while points or zones lie in it."""
    points = [p.id for p in registry.points.values() if p.zone == zone]
    zones = [z.id for z in registry.zones.values() if z.parent == zone]
    if points or zones:
        raise Refused("registry_in_use", zone=zone, found=named(sorted([*zones, *points])))
    left = {name: z for name, z in registry.zones.items() if name != zone}
    return Registry(zones=left, points=registry.points)


def without_point(registry: Registry, point: PointId) -> Registry:
    """Return the registry without a point."""
    left = {name: p for name, p in registry.points.items() if name != point}
    return Registry(zones=registry.zones, points=left)


def named(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are.

    >>> named(["a", "b"]), named(["a", "b", "c", "d", "e", "f", "g"])
    ('a, b', 'a, b, c, d, e (+2)')
    """
    more = f" (+{len(names) - NAMED_MAX})" if len(names) > NAMED_MAX else ""
    return ", ".join(names[:NAMED_MAX]) + more


def check(registry: Registry) -> None:
    """Refuse a registry that the engine could not work with, naming the first mistake."""
    for zone in registry.zones.values():
        _check_zone(zone, registry)
    for point in registry.points.values():
        _check_point(point, registry)
        _check_floor(point)


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
        raise Refused("registry_names", subject=point.id)


def _check_floor(point: Point) -> None:
    floor = point.statute_kpa
    if floor is None:
        return
    if point.quantity is not Quantity.PRESSURE:
        raise Refused("registry_floor_of", subject=point.id)
    if not 0 < floor <= FLOOR_MAX_KPA:
        limit, found = f"{FLOOR_MAX_KPA / 1000:g} MPa", f"{floor / 1000:.10g} MPa"
        raise Refused("registry_floor", subject=point.id, limit=limit, found=found)


def _check_zone(zone: Zone, registry: Registry) -> None:
    if not is_name(zone.id):
        raise Refused("registry_id", subject=zone.id or "-")
    if not (zone.name_zh.strip() and zone.name_en.strip()):
        raise Refused("registry_names", subject=zone.id)
    try:
        ZoneInfo(zone.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Refused("registry_timezone", subject=zone.timezone or "-") from None
    if zone.calendar not in CALENDARS:
        words = ", ".join(CALENDARS)
        raise Refused("registry_calendar", subject=zone.calendar or "-", allowed_words=words)
    if zone.parent is not None and zone.id in _around(zone, registry):
        raise Refused("registry_within", subject=zone.id, found=zone.parent)
    _check_meters(zone, registry)


def _check_meters(zone: Zone, registry: Registry) -> None:
    meters = [i.point for i in zone.inflow]
    for inflow in zone.inflow:
        meter = registry.points.get(inflow.point)
        if meter is None or meter.quantity is not Quantity.FLOW or inflow.sign not in (1, -1):
            raise Refused("registry_meter", subject=zone.id, found=inflow.point)
        if meters.count(inflow.point) > 1:
            raise Refused("registry_meter_twice", subject=zone.id, found=inflow.point)
    for store in zone.storage:
        level = registry.points.get(store.point)
        if level is None or level.quantity is not Quantity.LEVEL:
            raise Refused("registry_store", subject=zone.id, found=store.point)


def _around(zone: Zone, registry: Registry) -> list[ZoneId]:
    """Return the zones that a zone lies in, the nearest first; itself where they are a ring."""
    found: list[ZoneId] = []
    parent = zone.parent
    while parent is not None and parent not in found:
        if parent not in registry.zones:
            raise Refused("registry_within", subject=zone.id, found=parent)
        found.append(parent)
        parent = registry.zones[parent].parent
    return found


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


def known_point(known: Registry, point: str, version: int | None) -> Point:
    """Return a point; refuse one that is not there, or that has changed since it was looked at."""
    found = known.points.get(PointId(point))
    if found is None:
        raise Refused("unknown", subject=point)
    if version is not None and version != fingerprint(found):
        raise Refused("changed", ticket=point)
    return found


def known_zone(known: Registry, zone: str, version: int | None) -> Zone:
    """Return a zone; refuse one that is not there, or that has changed since it was looked at."""
    found = known.zones.get(ZoneId(zone))
    if found is None:
        raise Refused("unknown", subject=zone)
    if version is not None and version != fingerprint(found):
        raise Refused("changed", ticket=zone)
    return found


def alone(kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of one point or zone, or of none, as those of a registry of it alone."""
    items = [dict(body)] if body else []
    return {"points": items, "zones": []} if kind == "point" else {"points": [], "zones": items}


def only(held: Point | Zone | None) -> Registry:
    """Return the registry of one point or zone, or of none."""
    if isinstance(held, Point):
        return Registry(points={held.id: held})
    return Registry() if held is None else Registry(zones={held.id: held})
