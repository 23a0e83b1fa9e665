"""Everything that leaves the engine.

Recorded effects are written beside the journal with the identity (seq, n) and are what the desk
reads; passing ones are derived again at every replay and drive the wire and the historian.
"""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, TypeGuard

from server.engine.samples import Samples
from telemetry.instant import Instant


class AlarmKind(StrEnum):
    """What an alarm or an incident is about (DESIGN: kinds of `events.jsonl`)."""

    BURST = "burst"
    LEAK = "leak"
    SUPPLY = "supply"
    PRESSURE_LOW = "pressure_low"
    PRESSURE_DROP = "pressure_drop"
    LIMIT = "limit"
    SENSOR_FAULT = "sensor_fault"
    METER_FAULT = "meter_fault"
    CUSTOMER_LEAK = "customer_leak"
    REGIME_CHANGE = "regime_change"
    RECOVERY = "recovery"
    SILENT = "silent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """Passing: samples taken in once, in the gateway's order; `first_offset` is of the first one.

    `is_historical` says that they came late and must not move a live value.
    """

    at: Instant
    gateway: str
    epoch: int
    first_offset: int
    samples: Samples
    is_historical: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AckDue:
    """Passing: tell a gateway that everything below `offset` is committed."""

    group: str
    edge: str
    epoch: int
    offset: int
    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RebirthDue:
    """Passing: ask an edge node for its births, and why."""

    group: str
    edge: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDropped:
    """Recorded: a message broke the contract; the first and then every hundredth of a source."""

    at: Instant
    source: str
    because: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayChanged:
    """Recorded: a gateway was born, died, or told of a hole in its log."""

    at: Instant
    gateway: str
    online: bool
    epoch: int
    because: str
    lost: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PointSeen:
    """Recorded: a birth named a point for the first time, or another gateway claimed it."""

    at: Instant
    point: str
    gateway: str
    device: str
    metric: str
    quantity: str
    zone: str
    place: str
    period_ms: int
    status: str  # accepted | in_test | refused


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmRaised:
    """Recorded: a condition needs a person. `severity` 1 is the most severe, 4 the least.

    An alarm that has cleared, but that nobody has acknowledged, is raised again under its old id.
    So is one that the operation it was `explained_by` does not explain any more. For `is_watch`
    nobody is sent: it is something to look at.
    """

    at: Instant
    alarm: str
    kind: AlarmKind
    zone: str
    points: tuple[str, ...]
    severity: int
    onset: Instant
    because: tuple[str, ...]
    estimate_m3h: float | None = None
    x: float | None = None
    y: float | None = None
    radius_m: float | None = None
    explained_by: str = ""
    is_watch: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmCleared:
    """Recorded: the condition has gone."""

    at: Instant
    alarm: str
    because: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmAcknowledged:
    """Recorded: a dispatcher has seen it."""

    at: Instant
    alarm: str
    actor: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentOpened:
    """Recorded: alarms with one cause, in one zone. Nobody is sent while it is `explained_by`."""

    at: Instant
    incident: str
    kind: AlarmKind
    zone: str
    alarms: tuple[str, ...]
    points: tuple[str, ...]
    severity: int
    onset: Instant
    because: tuple[str, ...]
    explained_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentUpdated:
    """Recorded: an alarm joined, or the incident was recognised as another kind or explained."""

    at: Instant
    incident: str
    kind: AlarmKind
    alarms: tuple[str, ...]
    points: tuple[str, ...]
    severity: int
    because: tuple[str, ...]
    explained_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentClosed:
    """Recorded: every alarm of it has gone and has been seen, or a person closed it."""

    at: Instant
    incident: str
    because: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchRequested:
    """Recorded: the engine proposes to send somebody. `mode` auto or confirm; metres for x, y."""

    at: Instant
    incident: str
    kind: AlarmKind
    zone: str
    points: tuple[str, ...]
    severity: int
    mode: str
    onset: Instant
    because: tuple[str, ...]
    estimate_m3h: float | None = None
    x: float | None = None
    y: float | None = None
    radius_m: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandDone:
    """Recorded: a person's act reached the engine; `refused` says why it had no effect, if so."""

    at: Instant
    key: str
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityMarked:
    """Recorded: what the samples of a point from `begin` up to `end` are worth, in hindsight.

    `quality` is a number of `Quality`, `reason` the symptom; None: as they were measured.
    """

    at: Instant
    point: str
    begin: Instant
    end: Instant
    quality: int | None
    reason: str
    author: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelApplied:
    """Recorded: from now on a zone is judged by what was learnt from `window`.

    `state` is learning, ready or off; `days` of `of` needed days were known. `is_chosen`: an
    engineer chose the window. `alarms_a_year` is what `past_days` of its own past would have
    brought at this threshold, in sigmas; both None unless it is ready.
    """

    at: Instant
    zone: str
    window: tuple[Instant, Instant]
    is_chosen: bool
    hash: str
    state: str
    days: int
    of: int
    threshold: float | None
    alarms_a_year: float | None
    past_days: int
    because: str = ""


Passing = Accepted | AckDue | RebirthDue
Recorded = (
    MessageDropped
    | GatewayChanged
    | PointSeen
    | AlarmRaised
    | AlarmCleared
    | AlarmAcknowledged
    | IncidentOpened
    | IncidentUpdated
    | IncidentClosed
    | DispatchRequested
    | CommandDone
    | QualityMarked
    | ModelApplied
)
Effect = Passing | Recorded

_PASSING = (Accepted, AckDue, RebirthDue)


def is_recorded(effect: Effect) -> TypeGuard[Recorded]:
    """Say whether an effect is written beside the journal."""
    return not isinstance(effect, _PASSING)


def to_record(effect: Recorded) -> tuple[str, str]:
    """Return the kind of an effect (its class name) and its body as canonical JSON."""
    body = json.dumps(asdict(effect), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return type(effect).__name__, body


def fields_of(body: str) -> dict[str, Any]:
    """Return the fields of a recorded effect's body."""
    fields: dict[str, Any] = json.loads(body)
    return fields
