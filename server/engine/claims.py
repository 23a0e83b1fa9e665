"""Who reports which point: the first gateway that names a point has it, a second is refused."""

from dataclasses import asdict, replace
from typing import Any

from server.engine.effects import PointSeen
from server.engine.registry import Registry
from telemetry.errors import ContractError
from telemetry.instant import Instant
from telemetry.point import PointId, is_point_id

POINTS_MAX = 100_000
"""Points of the whole control room, and as many refused claims; one more is refused loudly."""

ACCEPTED = "accepted"
IN_TEST = "in_test"
REFUSED = "refused"


class Claims:
    """The points that births named, each with its owner and what was last said of it."""

    def __init__(self) -> None:
        self._registry = Registry()
        self._seen: dict[str, PointSeen] = {}
        self._refused: dict[tuple[str, str], PointSeen] = {}

    def claim(self, said: PointSeen) -> tuple[bool, list[PointSeen]]:
        """Judge a claim; return whether it is refused, and what is new about the point."""
        owner = self._seen.get(said.point)
        is_taken = owner is not None and owner.gateway != said.gateway
        if is_taken or not is_point_id(said.point) or not said.quantity:
            return True, self._remember_refusal(replace(said, status=REFUSED))
        if owner is None and len(self._seen) >= POINTS_MAX:
            raise ContractError(f"expected at most {POINTS_MAX} points, {said.point} is one more")
        now = replace(said, status=self._status(PointId(said.point)))
        if owner is not None and replace(now, at=owner.at) == owner:
            return False, []
        self._seen[said.point] = now
        return False, [now]

    def _remember_refusal(self, refusal: PointSeen) -> list[PointSeen]:
        key = (refusal.point, refusal.gateway)
        before = self._refused.get(key)
        if before is not None and replace(refusal, at=before.at) == before:
            return []
        if before is None and len(self._refused) >= POINTS_MAX:
            raise ContractError(f"expected at most {POINTS_MAX} refused points, was told of more")
        self._refused[key] = refusal
        return [refusal]

    def registry_changed(self, registry: Registry, *, at: Instant) -> list[PointSeen]:
        """Take the new registry; return the points whose standing it changed."""
        self._registry = registry
        changed = []
        for point, seen in self._seen.items():
            status = self._status(PointId(point))
            if status != seen.status:
                self._seen[point] = replace(seen, at=at, status=status)
                changed.append(self._seen[point])
        return changed

    def _status(self, point: PointId) -> str:
        return ACCEPTED if point in self._registry.points else IN_TEST

    def to_json(self) -> dict[str, Any]:
        """Return every claim as plain values; the registry is kept elsewhere."""
        return {
            "seen": [asdict(seen) for seen in self._seen.values()],
            "refused": [asdict(refusal) for refusal in self._refused.values()],
        }

    @classmethod
    def from_json(cls, body: dict[str, Any], registry: Registry) -> "Claims":
        """Return the claims that `to_json` wrote."""
        claims = cls()
        claims._registry = registry
        claims._seen = {fields["point"]: PointSeen(**fields) for fields in body["seen"]}
        claims._refused = {
            (fields["point"], fields["gateway"]): PointSeen(**fields) for fields in body["refused"]
        }
        return claims
