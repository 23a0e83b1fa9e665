"""What people do to the mains on purpose: works, valves, pumps, hydrants, where and how long.

The engine is told of each by a command, `TELL_OPERATION`, whose note is canonical JSON; told again
under its id it has changed. `Operations` remembers them and says which were going on where.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from server.engine.commands import TELL_OPERATION
from server.engine.events import Commanded, Event
from server.engine.registry import Registry, Zone
from telemetry.instant import DAY_MS, MINUTE_MS, Instant

EARLY_MS = 5 * MINUTE_MS
"""So much before the told begin a crew may have begun: people's clocks are not exact."""

GRACE_MS = 15 * MINUTE_MS
"""So much after the told end what was explained may still stand."""

OPEN_MS = DAY_MS
"""How long slow detectors wait for one whose end nobody told."""

KEPT_MS = 8 * DAY_MS
"""How long an operation that is over is remembered: slow detectors look back."""


class OperationKind(StrEnum):
    """What somebody did to the mains on purpose (`kind` of operations.jsonl)."""

    WORKS = "works"
    VALVE = "valve"
    PUMP = "pump"
    PRV = "prv"
    FLUSHING = "flushing"
    HYDRANT = "hydrant"


LETS_OUT = (OperationKind.FLUSHING, OperationKind.HYDRANT)
"""Kinds that take water out of the mains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation in [begin, end); without `end` nobody has said when it is over.

    `zone` "", or one that is not in the registry, is the whole network; no `points` are those of
    the whole zone. `m3h` is what a hydrant is to let out, if somebody said so. `is_withdrawn`: it
    was called off before it began.
    """

    id: str
    kind: OperationKind
    zone: str
    begin: Instant
    end: Instant | None
    points: tuple[str, ...] = ()
    m3h: float | None = None
    note: str = ""
    is_withdrawn: bool = False

    def lasts(self, at: Instant) -> bool:
        """Say whether it can explain what stands at an instant: begun, and not overdue."""
        return at >= self.begin - EARLY_MS and not self.is_overdue(at)

    def is_overdue(self, at: Instant) -> bool:
        """Say whether it should have been over for longer than people's clocks differ."""
        return self.is_withdrawn or (self.end is not None and at >= self.end + GRACE_MS)


def note_of(operation: Operation) -> str:
    """Return the note of the command that tells of an operation: canonical JSON."""
    body = asdict(operation)
    return json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def operation_of(event: Event) -> Operation | None:
    """Return the operation that an event tells of; None where it tells of none, or of no sense."""
    if not isinstance(event, Commanded) or event.verb != TELL_OPERATION:
        return None
    try:
        return read(event.note)
    except ValueError:
        return None  # `Alarms` refuses the command and says why


def read(note: str) -> Operation:
    """Return the operation that `note_of` wrote. Raises `ValueError` saying what is wrong."""
    try:
        body = json.loads(note)
    except ValueError as e:
        raise ValueError(f"expected an operation as JSON, was {note[:40]!r}") from e
    try:
        kind = OperationKind(body["kind"])
        fields: dict[str, Any] = {**body, "kind": kind, "points": tuple(body.get("points", ()))}
        operation = Operation(**fields)
    except (KeyError, TypeError, ValueError) as e:
        raise ValueError(f"expected the fields of an operation: {e}") from None
    _check(operation)
    return operation


def refusal_of(note: str) -> str:
    """Return what is wrong with a note that should tell of an operation; nothing if it is right."""
    try:
        read(note)
    except ValueError as e:
        return str(e)
    return ""


def _check(operation: Operation) -> None:
    texts = (operation.id, operation.zone, operation.note, *operation.points)
    if not all(isinstance(t, str) for t in texts) or not operation.id:
        raise ValueError("an operation: expected texts in id, zone, note and points")
    begin, end = operation.begin, operation.end
    if type(begin) is not int or type(end) not in (int, type(None)):
        raise ValueError(f"operation {operation.id}: expected instants in ms, was {begin}, {end}")
    if end is not None and end < begin:
        raise ValueError(f"operation {operation.id}: expected an end after its begin")
    if operation.m3h is not None and not isinstance(operation.m3h, int | float):
        raise ValueError(f"operation {operation.id}: expected m3h to be a number")


class Operations:
    """Every operation that was told, by id, for as long as anybody looks back on it."""

    def __init__(self) -> None:
        self._known: dict[str, Operation] = {}
        self._zones: dict[str, Zone] = {}

    def __iter__(self) -> Iterator[Operation]:
        return iter(self._known.values())

    @property
    def is_empty(self) -> bool:
        """Say whether none is known."""
        return not self._known

    def get(self, name: str) -> Operation | None:
        """Return an operation by its id."""
        return self._known.get(name)

    def tell(self, operation: Operation, *, at: Instant) -> None:
        """Take in an operation, or how it has changed; forget those that are long over."""
        self._known[operation.id] = operation
        past = [k for k, o in self._known.items() if o.end is not None and o.end < at - KEPT_MS]
        for key in past:
            del self._known[key]

    def registry_changed(self, registry: Registry) -> None:
        """Learn which zones belong together."""
        self._zones = {str(z.id): z for z in registry.zones.values()}

    def at(self, zone: str, at: Instant) -> list[Operation]:
        """Return the operations that may be felt in a zone at an instant, the latest begun first.

        Those of the zone itself come before those of others.
        """
        found = [o for o in self._known.values() if o.lasts(at) and self.reaches(o, zone)]
        return sorted(found, key=lambda o: (o.zone != zone, -o.begin, o.id))

    def reaches(self, operation: Operation, zone: str) -> bool:
        """Say whether an operation may be felt in a zone.

        Water that is let out is seen by the meters of the zone and of those around it. A valve, a
        pump or a regulator is felt in the zone, in those inside it, and in neighbours that hang on
        the same inflow.
        """
        if operation.zone == zone or not self.is_placed(operation):
            return True
        if operation.kind in LETS_OUT:
            return zone in self._around(operation.zone)
        return operation.zone in self._around(zone) or self._share_inflow(operation.zone, zone)

    def is_placed(self, operation: Operation) -> bool:
        """Say whether its zone is known; else it is upstream of all, or nobody knows where."""
        return operation.zone in self._zones

    def disturbs(self, zone: str, begin: Instant, end: Instant) -> bool:
        """Say whether something that changes the inflow was going on in a zone in [begin, end).

        For slow detectors, which learn nothing and add nothing up meanwhile.
        """
        return any(
            not o.is_withdrawn
            and o.begin - EARLY_MS < end
            and (o.begin + OPEN_MS if o.end is None else o.end) + GRACE_MS > begin
            and self.reaches(o, zone)
            for o in self._known.values()
        )

    def _around(self, zone: str) -> list[str]:
        """Return the zones that a zone lies in, the nearest first."""
        found: list[str] = []
        parent = self._parent(zone)
        while parent and parent not in found:
            found.append(parent)
            parent = self._parent(parent)
        return found

    def _parent(self, zone: str) -> str:
        known = self._zones.get(zone)
        return "" if known is None or known.parent is None else str(known.parent)

    def _share_inflow(self, one: str, other: str) -> bool:
        a, b = self._zones.get(one), self._zones.get(other)
        if a is None or b is None:
            return False
        return bool({i.point for i in a.inflow} & {i.point for i in b.inflow})

    def to_json(self) -> list[dict[str, Any]]:
        """Return the operations as plain values, in the order in which they became known."""
        return [asdict(o) for o in self._known.values()]

    def adopt(self, body: list[dict[str, Any]]) -> None:
        """Take over what `to_json` wrote."""
        for fields in body:
            kind, points = OperationKind(fields["kind"]), tuple(fields["points"])
            self._known[fields["id"]] = Operation(**{**fields, "kind": kind, "points": points})
