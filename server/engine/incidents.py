"""Alarms with one cause are one incident, and an incident proposes to send somebody once.

Hydraulic alarms of a zone within ten minutes belong together; the most telling kind names the
incident. A supply failure may cross zones and stays one incident. Instruments have incidents of
their own, and so has what an operation explains: nobody is sent for it until it is explained no
longer. An incident closes when all its alarms have cleared and have been acknowledged.
"""

from dataclasses import dataclass, field

from server.engine.commands import ACKNOWLEDGE_ALARM, CLOSE_INCIDENT
from server.engine.effects import (
    AlarmAcknowledged,
    AlarmCleared,
    AlarmKind,
    AlarmRaised,
    DispatchRequested,
    Effect,
    IncidentClosed,
    IncidentOpened,
    IncidentUpdated,
)
from server.engine.events import Commanded, Event
from telemetry.instant import HOUR_MS, MINUTE_MS, Instant

TOGETHER_MS = 10 * MINUTE_MS
"""How long after its last alarm an incident takes in another."""

SAME_ONSET_MS = 2 * HOUR_MS
"""A leak that the inflow tells hours later is the burst, if both began together."""

_TELLING = (
    AlarmKind.PRESSURE_DROP,
    AlarmKind.LIMIT,
    AlarmKind.PRESSURE_LOW,
    AlarmKind.LEAK,
    AlarmKind.SUPPLY,
    AlarmKind.BURST,
)
"""Hydraulic kinds, the most telling last."""

_AUTO = (AlarmKind.SUPPLY, AlarmKind.BURST)
"""Kinds that are proposed for dispatch without asking a dispatcher first."""

_OF_ONE_METER = (AlarmKind.METER_FAULT, AlarmKind.CUSTOMER_LEAK)
"""Kinds of which two are of one cause only at one meter, however near in time."""

_UNSENT = (AlarmKind.REGIME_CHANGE,)
"""Kinds for which nobody is sent: they say why a verdict is held back."""


@dataclass(slots=True, kw_only=True)
class _Member:
    is_active: bool = True
    is_acknowledged: bool = False
    explained_at: Instant | None = None


@dataclass(slots=True, kw_only=True)
class _Incident:
    id: str
    kind: AlarmKind
    zones: list[str]
    severity: int
    onset: Instant
    last_raised: Instant
    points: list[str]
    explained_by: str = ""
    is_sent: bool = False
    proposed_at: Instant | None = None
    members: dict[str, _Member] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Say whether every alarm has cleared and has been seen."""
        return all(m.is_acknowledged and not m.is_active for m in self.members.values())

    def takes(self, alarm: AlarmRaised) -> bool:
        """Say whether an alarm has the cause of this incident."""
        if alarm.explained_by != self.explained_by:
            return False
        if self.kind is AlarmKind.BURST and alarm.kind is AlarmKind.LEAK:
            return alarm.zone in self.zones and abs(alarm.onset - self.onset) <= SAME_ONSET_MS
        if alarm.at - self.last_raised > TOGETHER_MS:
            return False
        if self.kind is AlarmKind.SUPPLY and alarm.kind is AlarmKind.SUPPLY:
            return True
        if alarm.zone not in self.zones:
            return False
        if alarm.kind in _OF_ONE_METER and set(alarm.points).isdisjoint(self.points):
            return False
        return self.kind is alarm.kind or (self.kind in _TELLING and alarm.kind in _TELLING)


class Incidents:
    """Every open incident."""

    def __init__(self) -> None:
        self._opened = 0
        self._open: dict[str, _Incident] = {}
        self._by_alarm: dict[str, str] = {}

    def members_of(self, event: Event) -> tuple[str, ...]:
        """Return the alarms that a command speaks of."""
        if not isinstance(event, Commanded):
            return ()
        if event.verb == ACKNOWLEDGE_ALARM:
            return (event.subject,)
        incident = self._open.get(event.subject)
        return () if incident is None else tuple(incident.members)

    def apply(self, event: Event, alarms: list[Effect]) -> list[Effect]:
        """Follow the alarms."""
        effects: list[Effect] = []
        for alarm in alarms:
            match alarm:
                case AlarmRaised():
                    effects += self._raised(alarm)
                case AlarmCleared():
                    self._member(alarm.alarm).is_active = False
                case AlarmAcknowledged():
                    self._member(alarm.alarm).is_acknowledged = True
                case _:
                    continue
        if effects or alarms:
            effects += self._close(event)
        return effects

    def _raised(self, alarm: AlarmRaised) -> list[Effect]:
        held = self._open.get(self._by_alarm.get(alarm.alarm, ""))
        if held is not None:
            return self._join(held, alarm)
        takers = [i for i in reversed(self._open.values()) if i.takes(alarm)]
        if not takers:
            return self._open_with(alarm)
        # What is called a failure of supply already comes first: it may have begun in another zone.
        taker = next((i for i in takers if i.kind is alarm.kind), takers[0])
        if taker.kind is not AlarmKind.SUPPLY:
            return self._join(taker, alarm)
        for other in takers:
            if other is not taker and not other.is_sent:
                self._absorb(taker, other)
        joined = [i for i in takers if i.id not in self._open]
        because = (f"it is part of the failure of supply {taker.id}",)
        closed = [IncidentClosed(at=alarm.at, incident=i.id, because=because) for i in joined]
        return [*self._join(taker, alarm), *closed]

    def _absorb(self, taker: _Incident, other: _Incident) -> None:
        """Let one incident have the alarms of another that has the same cause."""
        del self._open[other.id]
        taker.members |= other.members
        self._by_alarm |= dict.fromkeys(other.members, taker.id)
        taker.zones = list(dict.fromkeys([*taker.zones, *other.zones]))
        taker.points = list(dict.fromkeys([*taker.points, *other.points]))
        taker.severity = min(taker.severity, other.severity)

    def _open_with(self, alarm: AlarmRaised) -> list[Effect]:
        self._opened += 1
        incident = _Incident(
            id=f"INC-{self._opened:06}",
            kind=alarm.kind,
            zones=[alarm.zone],
            severity=alarm.severity,
            onset=alarm.onset,
            last_raised=alarm.at,
            points=list(alarm.points),
            explained_by=alarm.explained_by,
            members={alarm.alarm: _member(alarm)},
        )
        self._open[incident.id] = incident
        self._by_alarm[alarm.alarm] = incident.id
        opened = IncidentOpened(
            at=alarm.at,
            incident=incident.id,
            kind=alarm.kind,
            zone=alarm.zone,
            alarms=(alarm.alarm,),
            points=alarm.points,
            severity=alarm.severity,
            onset=alarm.onset,
            because=alarm.because,
            explained_by=alarm.explained_by,
        )
        if _sends_nobody(alarm):
            return [opened]
        return [opened, self._dispatch(incident, alarm)]

    def _join(self, incident: _Incident, alarm: AlarmRaised) -> list[Effect]:
        is_upgrade = _rank(alarm.kind) > _rank(incident.kind)
        is_due = _is_due(incident, alarm)
        incident.members[alarm.alarm] = _member(alarm)
        self._by_alarm[alarm.alarm] = incident.id
        incident.last_raised = alarm.at
        incident.severity = min(incident.severity, alarm.severity)
        if alarm.zone not in incident.zones:
            incident.zones.append(alarm.zone)
        if is_upgrade:
            incident.kind = alarm.kind
        first = list(alarm.points) if is_upgrade else incident.points
        more = incident.points if is_upgrade else alarm.points
        incident.points = list(dict.fromkeys([*first, *more]))
        if not alarm.explained_by:
            incident.explained_by = ""
        elif incident.explained_by:
            incident.explained_by = alarm.explained_by
        updated = IncidentUpdated(
            at=alarm.at,
            incident=incident.id,
            kind=incident.kind,
            alarms=tuple(incident.members),
            points=tuple(incident.points),
            severity=incident.severity,
            because=alarm.because,
            explained_by=incident.explained_by,
        )
        if _sends_nobody(alarm):
            return [updated]
        if is_due or (is_upgrade and incident.kind in _AUTO and not incident.is_sent):
            return [updated, self._dispatch(incident, alarm)]
        return [updated]

    def _dispatch(self, incident: _Incident, alarm: AlarmRaised) -> DispatchRequested:
        is_auto = incident.kind in _AUTO
        incident.is_sent = incident.is_sent or is_auto
        incident.proposed_at = alarm.at
        return DispatchRequested(
            at=alarm.at,
            incident=incident.id,
            kind=incident.kind,
            zone=alarm.zone,
            points=alarm.points,
            severity=incident.severity,
            mode="auto" if is_auto else "confirm",
            onset=alarm.onset,
            because=alarm.because,
            estimate_m3h=alarm.estimate_m3h,
            x=alarm.x,
            y=alarm.y,
            radius_m=alarm.radius_m,
        )

    def _member(self, alarm: str) -> _Member:
        return self._open[self._by_alarm[alarm]].members[alarm]

    def _close(self, event: Event) -> list[Effect]:
        effects: list[Effect] = []
        for incident in [i for i in self._open.values() if i.is_over]:
            del self._open[incident.id]
            for alarm in incident.members:
                del self._by_alarm[alarm]
            because = "every alarm has cleared and has been acknowledged"
            if isinstance(event, Commanded) and event.verb == CLOSE_INCIDENT:
                because = f"closed by {event.actor}" + (f": {event.note}" if event.note else "")
            effects.append(IncidentClosed(at=event.at, incident=incident.id, because=(because,)))
        return effects


def _member(alarm: AlarmRaised) -> _Member:
    return _Member(explained_at=alarm.at if alarm.explained_by else None)


def _sends_nobody(alarm: AlarmRaised) -> bool:
    """Say whether an alarm is there to be looked at, or explained, so that nobody is sent."""
    return bool(alarm.explained_by) or alarm.is_watch or alarm.kind in _UNSENT


def _is_due(incident: _Incident, alarm: AlarmRaised) -> bool:
    """Say whether nobody was sent yet for what needs it.

    Either all that was told was to be looked at, or an alarm was explained that is so no longer.
    """
    if incident.proposed_at is None and not incident.explained_by and not alarm.explained_by:
        return True
    known = incident.members.get(alarm.alarm)
    if alarm.explained_by or known is None or known.explained_at is None:
        return False
    return incident.proposed_at is None or incident.proposed_at < known.explained_at


def _rank(kind: AlarmKind) -> int:
    """Return how telling a kind is; an instrument says nothing of the water."""
    return _TELLING.index(kind) if kind in _TELLING else -1
