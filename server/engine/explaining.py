"""What known operations explain: between the detectors and the alarms, finding by finding.

An operation explains what it can cause, in its place and time and of a size that it can have; all
else passes as it was found. What is explained is still told, as a note that sends nobody. It is
held here for as long as it stands: when its operation is overdue, called off or changed so that it
does not explain it any more, it is told again, and then it is a finding like any other.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from server.engine.detectors.finding import Finding, Told
from server.engine.detectors.grid import Ints
from server.engine.effects import AlarmKind
from server.engine.events import Event, RegistryChanged, Tick
from server.engine.operations import (
    EARLY_MS,
    GRACE_MS,
    LETS_OUT,
    Operation,
    OperationKind,
    Operations,
    operation_of,
)
from telemetry.instant import SECOND_MS, Instant

EXPLAINED_SEVERITY = 4

DECLARED_MARGIN, DECLARED_MORE_M3H = 1.3, 5.0
"""A crew meets what was declared as well as it can: so much more is still the same hydrant."""

PLAUSIBLE_M3H = {OperationKind.HYDRANT: 80.0, OperationKind.FLUSHING: 150.0}
"""What two 65 mm outlets of a hydrant, or a 100 mm washout, let out at the pressure of a town."""

_LOW = (AlarmKind.SUPPLY, AlarmKind.PRESSURE_LOW, AlarmKind.REGIME_CHANGE)
_SHUT = (*_LOW, AlarmKind.PRESSURE_DROP, AlarmKind.LIMIT)
_RISES = (AlarmKind.BURST, AlarmKind.LEAK)
_INSTRUMENTS = (AlarmKind.SILENT, AlarmKind.SENSOR_FAULT, AlarmKind.METER_FAULT)

EXPLAINS: Mapping[OperationKind, tuple[AlarmKind, ...]] = {
    OperationKind.VALVE: _SHUT,
    OperationKind.WORKS: (*_SHUT, *_INSTRUMENTS),
    OperationKind.PUMP: (*_LOW, AlarmKind.LIMIT),
    OperationKind.PRV: (*_LOW, AlarmKind.LIMIT),
    OperationKind.HYDRANT: (*_RISES, AlarmKind.PRESSURE_DROP, AlarmKind.PRESSURE_LOW),
    OperationKind.FLUSHING: (*_RISES, AlarmKind.PRESSURE_DROP, AlarmKind.PRESSURE_LOW),
}
"""What each kind can cause (docs/explaining.md gives the reasons). A shut valve takes water away,
so it never explains that more flows in; a hydrant lets some out, but it never dries a zone up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """By which operation a finding is explained, or why the nearest one does not explain it."""

    operation: Operation | None = None
    because: str = ""


def explain(
    finding: Finding, operations: Operations, *, at: Instant, before_m3h: float = 0.0
) -> Verdict:
    """Return by which operation that lasts at `at` a finding is explained, if by any.

    `before_m3h` is what has been explained already of what flows in more under the same key.
    """
    because = ""
    for operation in operations.at(finding.zone, at):
        if finding.kind not in EXPLAINS[operation.kind]:
            continue
        if finding.onset < operation.begin - EARLY_MS:
            continue
        is_placed = operations.is_placed(operation)
        beyond = _beyond_place(finding, operation, is_placed=is_placed)
        beyond = beyond or _beyond_size(finding, operation, before_m3h)
        if not beyond:
            return Verdict(operation=operation)
        because = because or f"{name_of(operation)} does not explain it: {beyond}"
    return Verdict(because=because)


def name_of(operation: Operation) -> str:
    """Return how reasons name an operation, such as `works PW-000012`."""
    return f"{operation.kind} {operation.id}"


def _beyond_place(finding: Finding, operation: Operation, *, is_placed: bool) -> str:
    """Return which part of a finding lies where an operation cannot be felt."""
    if not operation.points:
        if finding.kind in _INSTRUMENTS:
            return "it names no points"
        is_local = operation.kind in LETS_OUT or finding.kind is AlarmKind.PRESSURE_DROP
        return "its zone is not known" if is_local and not is_placed else ""
    if not finding.points:
        return "the place of the finding is not known"
    # Water that is let out lowers a whole zone, and most where it leaves.
    felt = finding.points[:1] if finding.kind in _RISES else finding.points
    outside = [p for p in felt if p not in operation.points]
    return f"{', '.join(outside[:5])} beyond its points" if outside else ""


def _beyond_size(finding: Finding, operation: Operation, before_m3h: float) -> str:
    """Return why a rise of inflow is more than an operation can let out."""
    if finding.kind not in _RISES:
        return ""
    if finding.estimate_m3h is None:
        return "how much it lets out is not known"
    total = before_m3h + finding.estimate_m3h
    if operation.m3h is not None:
        limit = DECLARED_MARGIN * operation.m3h + DECLARED_MORE_M3H
    elif before_m3h:
        return f"it is {finding.estimate_m3h:.0f} m3/h beyond the {before_m3h:.0f} m3/h before"
    else:
        limit = PLAUSIBLE_M3H[operation.kind]
    return f"{total:.0f} m3/h are more than its {limit:.0f} m3/h" if total > limit else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A finding that stands and is explained, as it was found, and by which operation."""

    finding: Finding
    operation: str


class Explaining:
    """Every explained finding that stands, and the operations that were told."""

    def __init__(self) -> None:
        self.operations = Operations()
        self._held: dict[str, _Held] = {}

    @property
    def due(self) -> Instant | None:
        """Return the first instant at which something held ceases to be explained, if any."""
        ends = [o.end for o in self._holding() if o is not None and o.end is not None]
        return Instant(min(ends) + GRACE_MS) if ends else None

    def apply(self, event: Event, told: Sequence[Told]) -> list[Told]:
        """Return what is told with an event, findings explained or not, and those released."""
        at = event.at
        found: list[Told] = []
        for one in told:
            found += self._judged(at, one) if isinstance(one, Finding) else [one]
        if isinstance(event, RegistryChanged):
            self.operations.registry_changed(event.registry)
        operation = operation_of(event)
        if operation is not None:
            self.operations.tell(operation, at=at)
            found += self._released(
                at, [k for k, h in self._held.items() if h.operation == operation.id]
            )
        elif self._held and isinstance(event, Tick):
            found += self._released(at, self._overdue(at))
        return found

    def over(
        self, ticks: Ints, found: Sequence[tuple[int, Told]]
    ) -> Iterator[tuple[int, list[Told]]]:
        """Yield what is said at which tick of a block, as if its ticks came one by one."""
        place = 0
        while True:
            due = self.due
            late = len(ticks) if due is None else int(np.searchsorted(ticks, due))
            tick = min(late, found[place][0] if place < len(found) else len(ticks))
            if tick >= len(ticks):
                return
            findings: list[Told] = []
            while place < len(found) and found[place][0] == tick:
                findings.append(found[place][1])
                place += 1
            yield tick, self.apply(Tick(at=Instant(int(ticks[tick]))), findings)

    def _holding(self) -> list[Operation | None]:
        return [self.operations.get(h.operation) for h in self._held.values()]

    def _judged(self, at: Instant, finding: Finding) -> list[Finding]:
        held = self._held.get(finding.key)
        if not finding.is_present:
            self._held.pop(finding.key, None)
            return [finding]
        if finding.is_growth and held is None:
            return []  # it has been told, and nobody waits for a new figure
        is_more = held is not None and not finding.is_growth
        before = (held.finding.estimate_m3h or 0.0) if held is not None and is_more else 0.0
        verdict = explain(finding, self.operations, at=at, before_m3h=before)
        if verdict.operation is None:
            self._held.pop(finding.key, None)
            because = (verdict.because,) if verdict.because else ()
            return [replace(finding, because=(*finding.because, *because), is_growth=False)]
        total = before + (finding.estimate_m3h or 0.0)
        grown = finding if not is_more else replace(finding, estimate_m3h=total)
        self._held[finding.key] = _Held(finding=grown, operation=verdict.operation.id)
        return [] if held is not None else [_explained(finding, verdict.operation)]

    def _overdue(self, at: Instant) -> list[str]:
        pairs = zip(self._held, self._holding(), strict=True)
        return [key for key, operation in pairs if operation is None or operation.is_overdue(at)]

    def _released(self, at: Instant, keys: list[str]) -> list[Finding]:
        """Look again at what is held: tell what is explained otherwise now, or not at all."""
        found = []
        for key in keys:
            held = self._held[key]
            verdict = explain(held.finding, self.operations, at=at)
            if verdict.operation is None:
                del self._held[key]
                because = (self._ended(held.operation, at), *held.finding.because)
                found.append(replace(held.finding, because=because, is_growth=False))
            elif verdict.operation.id != held.operation:
                self._held[key] = replace(held, operation=verdict.operation.id)
                found.append(_explained(held.finding, verdict.operation))
        return found

    def _ended(self, name: str, at: Instant) -> str:
        """Return why an operation does not explain any more what stands."""
        operation = self.operations.get(name)
        if operation is None or operation.is_withdrawn:
            return f"{name if operation is None else name_of(operation)} was called off"
        if operation.end is not None and operation.is_overdue(at):
            end = np.datetime64(int(operation.end) // SECOND_MS, "s")
            return f"{name_of(operation)} should have ended at {end}Z"
        return f"{name_of(operation)} was changed and does not explain it any more"


def _explained(finding: Finding, operation: Operation) -> Finding:
    return replace(
        finding,
        explained_by=operation.id,
        severity=EXPLAINED_SEVERITY,
        because=(f"explained by {name_of(operation)}", *finding.because),
        is_growth=False,
    )
