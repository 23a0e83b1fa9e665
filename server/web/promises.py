"""Whose promise a pressure point has, as pages show it: its own, or a policy's and by which key."""

from collections.abc import Mapping
from dataclasses import dataclass

from server.engine.registry import Point, Promise


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownPromise:
    """A promise of at least `kpa`; `policy` and `key` are empty where it is the point's own.

    `other` is what the policy in force says there, where that is something else.
    """

    kpa: float | None
    policy: str
    key: str
    other: "ShownPromise | None" = None


def shown_promise(point: Point, promises: Mapping[str, Promise]) -> ShownPromise:
    """Return what is promised at a pressure point, and by whom."""
    policy, _, key = point.promise_by.partition(": ")
    found = promises.get(point.place) if point.place else None
    other = None
    if found is not None and (found.kpa, found.by) != (point.promise_kpa, point.promise_by):
        by, _, name = found.by.partition(": ")
        other = ShownPromise(kpa=found.kpa, policy=by, key=name)
    return ShownPromise(kpa=point.promise_kpa, policy=policy, key=key, other=other)
