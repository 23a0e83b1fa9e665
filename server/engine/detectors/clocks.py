"""Which gateways are dated so far off that no detector looks at what they send.

A bin that has closed is never re-opened, so a gateway whose clock is slow by more than the grace,
or fast by more than a minute, is recorded and not judged. That must be said: it looks like calm.
"""

from dataclasses import dataclass, field

from server.engine.detectors.finding import Board, Finding
from server.engine.effects import AlarmKind
from telemetry.instant import DAY_MS, MINUTE_MS, SECOND_MS, Instant
from telemetry.point import PointId, ZoneId

UNJUDGED_MS = MINUTE_MS
HOLD_MS = 30 * SECOND_MS
FORGET_MS = DAY_MS
"""A gateway that has said nothing for so long is silent, and no longer unpunctual."""

SEVERITY = 3


@dataclass(slots=True, kw_only=True)
class _Unjudged:
    """What a gateway has sent since its last sample that a detector could use."""

    since: Instant
    last: Instant
    late_ms: int
    points: dict[PointId, ZoneId] = field(default_factory=dict)


class Clocks:
    """The punctuality of every gateway; one sample in time excuses it."""

    def __init__(self) -> None:
        self._unjudged: dict[str, _Unjudged] = {}
        self._board = Board(hold_ms=HOLD_MS)

    def in_time(self, gateway: str) -> None:
        """Note a live sample that a detector has looked at."""
        self._unjudged.pop(gateway, None)

    def out_of_time(
        self, gateway: str, *, point: PointId, zone: ZoneId, at: Instant, now: Instant
    ) -> None:
        """Note a live sample that came too late or too early for every detector."""
        found = self._unjudged.get(gateway)
        if found is None:
            found = self._unjudged[gateway] = _Unjudged(since=now, last=now, late_ms=0)
        found.last, found.late_ms = now, now - at
        found.points[point] = zone

    def tick(self, now: Instant) -> list[Finding]:
        """Say which gateways have sent nothing but unpunctual samples for a minute."""
        for name in [n for n, u in self._unjudged.items() if now - u.last >= FORGET_MS]:
            del self._unjudged[name]
        holding = [
            _finding(name, unjudged)
            for name, unjudged in self._unjudged.items()
            if unjudged.last - unjudged.since >= UNJUDGED_MS
        ]
        return self._board.update(holding, at=now, because="its samples come in time again")


def _finding(gateway: str, unjudged: _Unjudged) -> Finding:
    seconds = abs(unjudged.late_ms) // SECOND_MS
    if unjudged.late_ms >= 0:
        what = f"come {seconds} s late: its clock or its link is slow"
    else:
        what = f"are dated {seconds} s ahead: its clock is fast"
    zones = list(dict.fromkeys(unjudged.points.values()))
    return Finding(
        kind=AlarmKind.SENSOR_FAULT,
        zone=zones[0] if len(zones) == 1 else "",
        subject=f"clock of gateway {gateway}",
        points=tuple(unjudged.points),
        is_present=True,
        severity=SEVERITY,
        onset=unjudged.since,
        because=(f"the samples of gateway {gateway} {what}; they are kept, and not judged",),
    )
