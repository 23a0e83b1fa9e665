"""What a replay says: effects of the engine as objects of `events.jsonl`, and its reader.

`at` is the instant at which a live server would have said it. An alarm's id is the alarm's, that
of everything else the incident's; `mode` of what comes before a proposal is "confirm".
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from server.engine.effects import (
    AlarmCleared,
    AlarmRaised,
    DispatchRequested,
    Effect,
    IncidentClosed,
    IncidentOpened,
    IncidentUpdated,
)
from server.history.labels import Number, read_rows
from server.history.recording_toml import Stamp, told_instant
from telemetry.errors import ConfigError
from telemetry.instant import Instant

Kind = Literal[
    "burst",
    "leak",
    "pressure_low",
    "pressure_drop",
    "limit",
    "supply",
    "sensor_fault",
    "meter_fault",
    "customer_leak",
    "silent",
    "regime_change",
    "recovery",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A node at which it may be, and how well it fits."""

    node: str
    score: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One object of `events.jsonl` (docs/replay.md)."""

    at: Stamp
    event: Literal["finding", "alarm", "incident", "dispatch", "closed"]
    id: str
    kind: Kind
    zone: str
    points: tuple[str, ...]
    severity: Annotated[int, Field(ge=1, le=4)]
    mode: Literal["auto", "confirm"]
    onset: Stamp
    because: tuple[str, ...]
    estimate_m3h: Number | None = None
    node: str | None = None
    pipe: str | None = None
    x: Number | None = None
    y: Number | None = None
    radius_m: Number | None = None
    candidates: tuple[Candidate, ...] = ()
    explained_by: str = ""


class Teller:
    """Remembers what each alarm and incident is about, so that every line stands for itself."""

    def __init__(self) -> None:
        self._alarms: dict[str, Said] = {}
        self._incidents: dict[str, Said] = {}

    def tell(self, effect: Effect) -> Said | None:
        """Return what an effect says; nothing where it is not for people."""
        match effect:
            case AlarmRaised():
                said = self._alarms[effect.alarm] = _of(effect, "alarm", effect.alarm)
                return said
            case IncidentOpened():
                said = self._incidents[effect.incident] = _of(effect, "incident", effect.incident)
                return said
            case IncidentUpdated():
                return self._updated(effect)
            case DispatchRequested():
                said = _of(effect, "dispatch", effect.incident)
                before = self._incidents.get(effect.incident, said)
                self._incidents[effect.incident] = replace(before, mode=said.mode)
                return said
            case AlarmCleared():
                return _closed(self._alarms.pop(effect.alarm, None), effect)
            case IncidentClosed():
                return _closed(self._incidents.pop(effect.incident, None), effect)
            case _:
                return None

    def _updated(self, effect: IncidentUpdated) -> Said | None:
        before = self._incidents.get(effect.incident)
        if before is None:
            return None
        said = replace(
            before,
            at=effect.at,
            kind=_kind(effect.kind),
            points=effect.points,
            severity=effect.severity,
            because=effect.because,
            explained_by=effect.explained_by,
        )
        self._incidents[effect.incident] = said
        return said


def tell(effects: Iterable[Effect]) -> Iterator[Said]:
    """Yield what effects say, in their order."""
    teller = Teller()
    for effect in effects:
        said = teller.tell(effect)
        if said is not None:
            yield said


def line_of(said: Said) -> str:
    """Return one line of `events.jsonl`: canonical JSON, without what is not known."""
    body: dict[str, Any] = {
        f.name: value for f in fields(said) if (value := getattr(said, f.name)) is not None
    }
    body["at"] = told_instant(said.at)
    body["onset"] = told_instant(said.onset)
    body.pop("candidates")
    if not said.explained_by:
        del body["explained_by"]
    if said.candidates:
        body["candidates"] = [{"node": c.node, "score": c.score} for c in said.candidates]
    return json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def read(path: Path) -> tuple[Said, ...]:
    """Return what an `events.jsonl` says. Raises `ConfigError` with every mistake and its row."""
    if not path.is_file():
        raise ConfigError(f"{path}: expected a file of what a replay said, found none")
    found = read_rows(path, Said)
    wrong = list(found.wrong)
    for n, (before, said) in enumerate(zip(found.rows, found.rows[1:], strict=False), 2):
        if said.at < before.at and not wrong:
            wrong.append(
                f"{path}: row {n}: at: expected nothing before {told_instant(before.at)},"
                f" was {told_instant(said.at)}"
            )
    if wrong:
        raise ConfigError("; ".join(wrong))
    return found.rows


def _of(
    effect: AlarmRaised | IncidentOpened | DispatchRequested,
    event: Literal["alarm", "incident", "dispatch"],
    name: str,
) -> Said:
    where: dict[str, Any] = {}
    if not isinstance(effect, IncidentOpened):
        # The engine may know more of the place in time: whatever it tells by these names is said.
        names = ("estimate_m3h", "node", "pipe", "x", "y", "radius_m")
        where = {n: getattr(effect, n, None) for n in names}
        where["candidates"] = tuple(
            Candidate(node=node, score=score) for node, score in getattr(effect, "candidates", ())
        )
    is_auto = isinstance(effect, DispatchRequested) and effect.mode == "auto"
    return Said(
        at=effect.at,
        event=event,
        id=name,
        kind=_kind(effect.kind),
        zone=effect.zone,
        points=effect.points,
        severity=effect.severity,
        mode="auto" if is_auto else "confirm",
        onset=effect.onset,
        because=effect.because,
        explained_by=getattr(effect, "explained_by", ""),
        **where,
    )


def _closed(before: Said | None, effect: AlarmCleared | IncidentClosed) -> Said | None:
    if before is None:
        return None
    return replace(before, at=Instant(effect.at), event="closed", because=effect.because)


def _kind(kind: str) -> Any:
    return str(kind)
