"""The life of an alarm, on two axes: active or cleared, acknowledged or not.

Rule 1: nothing outside this file changes an alarm.
Rule 2: this file does not know what raised it; it knows keys, findings and commands.

An alarm is forgotten when it has cleared and a person has seen it. One that holds again before that
is the same alarm; afterwards it is a new one.
"""

from dataclasses import dataclass

from server.engine.commands import (
    ACKNOWLEDGE_ALARM,
    CHANGE_REGISTRY,
    CLOSE_INCIDENT,
    MARK_QUALITY,
    TELL_OPERATION,
    TRAIN,
    VERBS,
)
from server.engine.detectors.finding import Finding
from server.engine.effects import (
    AlarmAcknowledged,
    AlarmCleared,
    AlarmRaised,
    CommandDone,
    Effect,
)
from server.engine.events import Commanded, Event
from server.engine.operations import refusal_of
from telemetry.instant import Instant

_ANSWERED_BY_OTHERS = (TRAIN, MARK_QUALITY)
"""Commands that touch no alarm: `Training` and `marked` answer them."""


@dataclass(slots=True, kw_only=True)
class _Alarm:
    id: str
    key: str
    is_active: bool
    is_acknowledged: bool


class Alarms:
    """Every alarm that is active or that nobody has acknowledged."""

    def __init__(self) -> None:
        self._raised = 0
        self._alarms: dict[str, _Alarm] = {}
        self._by_key: dict[str, str] = {}

    def apply(
        self, event: Event, findings: list[Finding], members: tuple[str, ...]
    ) -> list[Effect]:
        """Follow the findings, and a person's act on `members`, the alarms it speaks of."""
        effects: list[Effect] = []
        for finding in findings:
            if finding.is_present:
                effects.append(self._raise(event.at, finding))
            else:
                effects += self._clear(event.at, finding)
        if isinstance(event, Commanded) and event.verb not in _ANSWERED_BY_OTHERS:
            effects += self._command(event, members)
        return effects

    def _raise(self, at: Instant, finding: Finding) -> Effect:
        alarm = self._alarms.get(self._by_key.get(finding.key, ""))
        if alarm is None:
            self._raised += 1
            alarm = _Alarm(
                id=f"A-{self._raised:06}", key=finding.key, is_active=True, is_acknowledged=False
            )
            self._alarms[alarm.id] = alarm
            self._by_key[finding.key] = alarm.id
        alarm.is_active = True
        alarm.is_acknowledged = False  # what was seen was what was told then
        return AlarmRaised(
            at=at,
            alarm=alarm.id,
            kind=finding.kind,
            zone=finding.zone,
            points=finding.points,
            severity=finding.severity,
            onset=finding.onset,
            because=finding.because,
            estimate_m3h=finding.estimate_m3h,
            x=finding.x,
            y=finding.y,
            radius_m=finding.radius_m,
            explained_by=finding.explained_by,
            is_watch=finding.is_watch,
        )

    def _clear(self, at: Instant, finding: Finding) -> list[Effect]:
        alarm = self._alarms.get(self._by_key.get(finding.key, ""))
        if alarm is None or not alarm.is_active:
            return []
        alarm.is_active = False
        self._forget_if_done(alarm)
        return [AlarmCleared(at=at, alarm=alarm.id, because=finding.because)]

    def _command(self, event: Commanded, members: tuple[str, ...]) -> list[Effect]:
        chosen = [self._alarms[a] for a in members if a in self._alarms]
        refused = self._refusal(event, chosen, is_known=bool(members))
        done = CommandDone(at=event.at, key=event.key, refused=refused)
        effects: list[Effect] = [] if refused else self._acknowledge(event, chosen)
        return [*effects, done]

    def _refusal(self, event: Commanded, chosen: list[_Alarm], *, is_known: bool) -> str:
        verb, subject = event.verb, event.subject
        if verb not in VERBS:
            return f"expected one of {', '.join(VERBS)}, was {verb}"
        if verb == CHANGE_REGISTRY:
            return ""
        if verb == ACKNOWLEDGE_ALARM:
            return "" if chosen else f"there is no alarm {subject} to acknowledge"
        if verb == TELL_OPERATION:
            return refusal_of(event.note)
        if not is_known:
            return f"there is no open incident {subject}"
        active = [alarm.id for alarm in chosen if alarm.is_active]
        if verb == CLOSE_INCIDENT and active:
            return f"{subject} cannot be closed while {', '.join(active)} is active"
        return ""

    def _acknowledge(self, event: Commanded, chosen: list[_Alarm]) -> list[Effect]:
        effects: list[Effect] = []
        for alarm in chosen:
            if alarm.is_acknowledged:
                continue
            alarm.is_acknowledged = True
            self._forget_if_done(alarm)
            effects.append(
                AlarmAcknowledged(at=event.at, alarm=alarm.id, actor=event.actor, note=event.note)
            )
        return effects

    def _forget_if_done(self, alarm: _Alarm) -> None:
        if alarm.is_acknowledged and not alarm.is_active:
            del self._alarms[alarm.id], self._by_key[alarm.key]
