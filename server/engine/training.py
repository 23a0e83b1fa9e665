"""What was learnt, as the engine keeps account of it: models that apply, periods that were chosen.

An engineer may choose a clean period for a zone to be learnt from, by a command `TRAIN` whose note
is canonical JSON `{"from": ms, "to": ms}`; both null: the trailing days again. The trainer outside
the fold reads what stands here, and what it publishes comes back as an event.
"""

import json
from typing import Any

from server.engine.commands import TRAIN
from server.engine.detectors.forecast import Forecast
from server.engine.effects import CommandDone, Effect, ModelApplied
from server.engine.events import Commanded, Event, ModelPublished
from server.engine.registry import Registry
from telemetry.instant import DAY_MS, HOUR_MS, Instant
from telemetry.point import ZoneId

Period = tuple[Instant, Instant]
"""[from, to)."""

PERIOD_MIN_DAYS = 14
"""Days of a period that is chosen: two of each weekday."""

READ_DAYS = 132
"""How far back the trainer reads."""

_CLOCK_MS = HOUR_MS
"""What a change of the clocks may take from a period."""


class Training:
    """The periods that engineers chose, by zone; none: the trailing days."""

    def __init__(self) -> None:
        self.clean: dict[str, Period] = {}

    def apply(self, event: Event, registry: Registry) -> list[Effect]:
        """Return what is recorded of a model that applies from now on, or of a chosen period."""
        if isinstance(event, ModelPublished):
            return [self._applied(event)]
        if isinstance(event, Commanded) and event.verb == TRAIN:
            refused = self._choose(event, registry)
            return [CommandDone(at=event.at, key=event.key, refused=refused)]
        return []

    def _applied(self, event: ModelPublished) -> ModelApplied:
        artefact = event.artefact
        forecast = Forecast.of(artefact)
        return ModelApplied(
            at=event.at,
            zone=event.zone,
            window=event.window,
            is_chosen=self.clean.get(event.zone) == event.window,
            hash=event.hash,
            state=str(artefact.get("state", "")),
            days=_count(artefact.get("days")),
            of=_count(artefact.get("of")),
            threshold=None if forecast is None else forecast.threshold,
            alarms_a_year=None if forecast is None else forecast.alarms_a_year,
            past_days=0 if forecast is None else forecast.past_days,
            because=str(artefact.get("because", "")),
        )

    def _choose(self, event: Commanded, registry: Registry) -> str:
        """Take in a chosen period; return why not, if so."""
        if ZoneId(event.subject) not in registry.zones:
            return f"there is no zone {event.subject}"
        try:
            period = read(event.note)
        except ValueError as e:
            return str(e)
        if period is None:
            self.clean.pop(event.subject, None)
            return ""
        if found := fault_of(period, now=event.at):
            return f"zone {event.subject}: {SENTENCES[found]}"
        self.clean[event.subject] = period
        return ""

    def to_json(self) -> dict[str, list[int]]:
        """Return the chosen periods as plain values."""
        return {zone: list(period) for zone, period in sorted(self.clean.items())}

    def adopt(self, body: dict[str, list[int]]) -> None:
        """Take over what `to_json` wrote."""
        self.clean = {z: (Instant(begin), Instant(end)) for z, (begin, end) in body.items()}


def _count(told: object) -> int:
    """Return a count that an artefact tells; 0 where that of another trainer tells none."""
    return told if type(told) is int else 0


SENTENCES = {
    "order": "expected an end after the beginning",
    "short": f"expected a period of at least {PERIOD_MIN_DAYS} days",
    "future": "expected a period that is over",
    "old": f"expected a period of the last {READ_DAYS} days, which is how far the trainer reads",
}
"""What may be wrong with a period."""


def fault_of(period: Period, *, now: Instant) -> str:
    """Return what is wrong with a period, a key of `SENTENCES`; nothing if it is right."""
    begin, end = period
    if end <= begin:
        return "order"
    if end > now:
        return "future"
    if end - begin < PERIOD_MIN_DAYS * DAY_MS - _CLOCK_MS:
        return "short"
    if begin < now - READ_DAYS * DAY_MS:
        return "old"
    return ""


def note_of(period: Period | None) -> str:
    """Return the note of the command that chooses a period; None: the trailing days."""
    begin, end = period or (None, None)
    return json.dumps({"from": begin, "to": end}, separators=(",", ":"))


def read(note: str) -> Period | None:
    """Return the period that `note_of` wrote. Raises `ValueError` saying what is wrong."""
    try:
        body: Any = json.loads(note)
        begin, end = body["from"], body["to"]
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"expected JSON with from and to, was {note[:40]!r}") from None
    if begin is None and end is None:
        return None
    if type(begin) is not int or type(end) is not int:
        raise ValueError(f"expected instants in ms, was {begin!r}, {end!r}")
    return Instant(begin), Instant(end)
