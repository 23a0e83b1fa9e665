"""What was promised at a point, and when: a change of promise judges only what comes after it.

Pure. The registry of today is walked back, edit by edit; each edit keeps what it found.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from server.engine.registry import Point, Registry
from server.servicecore.rules.registry_edits import loosened
from telemetry.instant import Instant
from telemetry.point import PointId

PROMISES = "promises"
"""The key under which an edit of many points keeps their promises: `{point: [kPa, by whom]}`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """An edit that holds since `at`: of what, and what it found."""

    at: Instant
    subject: str
    before: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What was promised in [start, end)."""

    start: Instant
    end: Instant
    kpa: float


def spans_of(
    point: Point, edits: Sequence[Edit], *, start: Instant, end: Instant
) -> Iterator[Span]:
    """Yield what was promised at a point in [start, end), the newest first; gaps: nothing was.

    `edits` lie in the order in which they came to hold. What a point was first known with also
    holds for the time before.
    """
    kpa = point.promise_kpa
    for edit in reversed(edits):
        is_of_it, found = _found(edit, point.id)
        if not is_of_it or found == kpa:
            continue
        at = Instant(max(edit.at, start))
        if at < end:
            if kpa is not None:
                yield Span(start=at, end=end, kpa=kpa)
            end = at
        kpa = found
    if kpa is not None and start < end:
        yield Span(start=start, end=end, kpa=kpa)


def _found(edit: Edit, point: PointId) -> tuple[bool, float | None]:
    """Return whether an edit may have changed a point's promise, and the one that it found."""
    if edit.subject == f"point {point}":
        return bool(edit.before), edit.before.get("promise_kpa")
    many = edit.before.get(PROMISES, {})
    return point in many, many[point][0] if point in many else None


def told(registry: Registry, points: Sequence[PointId]) -> dict[str, list[Any]]:
    """Return the promises of some points as an edit keeps them."""
    known = ((name, registry.points.get(name)) for name in sorted(points))
    return {name: [p.promise_kpa, p.promise_by] for name, p in known if p is not None}


def split(known: Registry, wanted: Registry) -> tuple[list[PointId], list[PointId]]:
    """Return the points that are promised less than before, and the others that differ."""
    differ = differing(known, wanted)
    fewer = set(loosened(known, carried_out(known, {}, {PROMISES: told(wanted, differ)})))
    less = [name for name in differ if f"{name} promise" in fewer]
    return less, [name for name in differ if name not in less]


def carried_out(known: Registry, before: Mapping[str, Any], after: Mapping[str, Any]) -> Registry:
    """Return a registry with other promises at the points that are as they were before."""
    had: Mapping[str, Any] = before.get(PROMISES, {})
    points = dict(known.points)
    for name, (kpa, by) in after[PROMISES].items():
        point = points.get(PointId(name))
        is_as_before = name not in had or told(known, [name]).get(name) == had[name]
        if point is not None and is_as_before:
            points[point.id] = replace(point, promise_kpa=kpa, promise_by=by)
    return replace(known, points=points)


def differing(one: Registry, other: Registry) -> list[PointId]:
    """Return the points of both registries whose promise is not the same, or another's."""
    return [
        name
        for name in sorted(one.points)
        if name in other.points and told(one, [name]) != told(other, [name])
    ]
