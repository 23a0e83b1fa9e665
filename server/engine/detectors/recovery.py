"""Whether the pressures and the inflow of a place are back where they belong after an operation.

Half-hour means of eight days are kept. What a point was before the operation began, and how it
usually moves between these two times of day, say what it should be; a point that is not, half an
hour after the end and half an hour later still, may tell of a valve that was left shut.

Source: our own; sigmas are 1.4826 times the median absolute deviation, as is usual.
"""

from dataclasses import dataclass

import numpy as np

from server.engine.detectors.block import Block
from server.engine.detectors.finding import Finding
from server.engine.detectors.grid import Floats, Ints
from server.engine.effects import AlarmKind
from server.engine.events import Imported
from server.engine.operations import EARLY_MS, LETS_OUT, Operation, OperationKind, Operations
from server.engine.registry import Registry
from telemetry.instant import DAY_MS, MINUTE_MS, Instant
from telemetry.point import PointId
from telemetry.sample import Quality
from telemetry.units import Quantity

SLOT_MS = 30 * MINUTE_MS
A_DAY = DAY_MS // SLOT_MS
DAYS = 7
RING = (DAYS + 1) * A_DAY

CLOSES_MS = 2 * MINUTE_MS
"""So long after its end a slot waits for the last samples of 5-minute instruments."""

SETTLING_MS = 30 * MINUTE_MS
CONFIRM_SLOTS = 2
WATCHED_MS = 2 * DAY_MS
"""How long after the end it is looked whether all is back."""

DAYS_MIN = 3
"""With fewer days to compare with, only what no day does to a point's pressure is told."""

OFF_SIGMAS, OFF_KPA, OFF_PART = 5.0, 4.0, 0.01
STRANGE_KPA, STRANGE_PART = 60.0, 0.2
OFF_FLOW_M3H, OFF_FLOW_PART = 5.0, 0.05
BACK_PART = 0.5
"""Of what made it off: so much less, and it is back."""

SEVERITY = 3

_NOT_LOOKED_AT = (OperationKind.PUMP,)
"""A pump that was switched is meant to stay so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Off:
    """By how much a column is off, and by how much it may be."""

    by: float
    limit: float


class Recovery:
    """The half-hour means of pressures and inflows, and what is not back."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._registry = Registry()
        self._points: tuple[PointId, ...] = ()
        self._column: dict[PointId, int] = {}
        self._means = np.zeros((RING, 0), dtype=np.float32)
        self._slots = np.full(RING, -1, dtype=np.int64)
        self._newest = -1
        self._open = -1
        self._sums = np.zeros((2, 0))
        self._counts = np.zeros((2, 0))
        self._names: tuple[PointId, ...] = ()
        self._table = np.zeros(0, dtype=np.int64)
        self._off: dict[str, int] = {}
        self._present: dict[str, Finding] = {}

    def registry_changed(self, registry: Registry) -> None:
        """Look at the pressures and inflow meters of a registry; keep what is known of them."""
        meters = {i.point for z in registry.zones.values() for i in z.inflow}
        points = tuple(
            p
            for p in sorted(registry.points)
            if registry.points[p].quantity is Quantity.PRESSURE or p in meters
        )
        old = {p: n for n, p in enumerate(self._points)}
        pairs = [(n, old[p]) for n, p in enumerate(points) if p in old]
        ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
        means = np.full((RING, len(points)), np.nan, dtype=np.float32)
        means[:, ours] = self._means[:, theirs]
        for name in ("_sums", "_counts"):
            fresh = np.zeros((2, len(points)))
            fresh[:, ours] = getattr(self, name)[:, theirs]
            setattr(self, name, fresh)
        self._means, self._points, self._registry = means, points, registry
        self._column = {p: n for n, p in enumerate(points)}
        self._names = ()

    def learn_past(self, event: Imported) -> None:
        """Take in the means of imported days."""
        rows = [r for r in event.rows if r[2] is not None and r[3] == Quality.GOOD]
        rows = [r for r in rows if r[0] in self._column]
        if not rows:
            return
        slot = np.array([r[1] // SLOT_MS for r in rows], dtype=np.int64)
        column = np.array([self._column[PointId(r[0])] for r in rows], dtype=np.int64)
        value = np.array([r[2] for r in rows], dtype=np.float64)
        for one in np.unique(slot).tolist():
            chosen = slot == one
            sums, counts = np.zeros(len(self._points)), np.zeros(len(self._points))
            np.add.at(sums, column[chosen], value[chosen])
            np.add.at(counts, column[chosen], 1.0)
            self._keep(one, sums, counts)

    def run(self, block: Block, good: Ints) -> list[tuple[int, Finding]]:
        """Follow a block; `good` are the places of its good samples."""
        if not len(self._points):
            return []
        if self._names is not block.points:
            self._names = block.points
            columns = [self._column.get(p, -1) for p in block.points]
            self._table = np.array(columns, dtype=np.int64)
        column = self._table[block.point[good]]
        if not (column >= 0).all():
            good, column = good[column >= 0], column[column >= 0]
        slot, after = block.at[good] // SLOT_MS, block.after[good]
        place = (slot & 1) * len(self._points) + column
        value, taken = block.value[good], 0
        found: list[tuple[int, Finding]] = []
        if self._open < 0 and len(block.ticks):
            self._open = int(block.ticks[0]) // SLOT_MS
            taken = int(np.searchsorted(after, 0, side="right"))  # nothing before the first tick
        while self._open >= 0:
            closes = (self._open + 1) * SLOT_MS + CLOSES_MS
            tick = int(block.ticks.searchsorted(closes))
            until = int(after.searchsorted(tick, side="right"))
            self._add(slot[taken:until], place[taken:until], value[taken:until])
            taken = until
            if tick >= len(block.ticks):
                break
            at = Instant(int(block.ticks[tick]))
            found += [(tick, f) for f in self._close(at)]
        return found

    def _add(self, slot: Ints, place: Ints, value: Floats) -> None:
        """Add samples one after another; what is of neither of two slots comes too late."""
        if not len(slot):
            return
        if int(slot.min()) < self._open or int(slot.max()) > self._open + 1:
            is_open = (slot >= self._open) & (slot <= self._open + 1)
            place, value = place[is_open], value[is_open]
        np.add.at(self._sums.reshape(-1), place, value)
        np.add.at(self._counts.reshape(-1), place, 1.0)

    def _close(self, at: Instant) -> list[Finding]:
        """Close the open slot and every other that has passed by; look at what must be back."""
        row = self._open % 2
        closed = self._open
        self._keep(closed, self._sums[row], self._counts[row])
        self._sums[row] = self._counts[row] = 0.0
        self._open += 1
        passed = (at - CLOSES_MS) // SLOT_MS
        if passed > self._open:  # the clock was away: nothing is known of the time between
            self._sums[:] = self._counts[:] = 0.0
            self._open = passed
        return self._look(closed)

    def _keep(self, slot: int, sums: Floats, counts: Floats) -> None:
        if slot <= self._newest - RING:
            return
        row = self._means[slot % RING]
        row[:] = np.nan
        np.divide(sums, counts, out=row, where=counts > 0, casting="same_kind")
        self._slots[slot % RING] = slot
        self._newest = max(self._newest, slot)

    def _row(self, slot: int) -> Floats:
        """Return the means of a slot, NaN where it is not known."""
        if slot < 0 or self._slots[slot % RING] != slot:
            return np.full(len(self._points), np.nan)
        row: Floats = self._means[slot % RING].astype(np.float64)
        return row

    def _look(self, slot: int) -> list[Finding]:
        found: list[Finding] = []
        if self._operations.is_empty and not self._present:
            return found
        begin = slot * SLOT_MS
        known = {o.id: o for o in self._operations}
        past = [k for k in self._present if k not in known]
        found += [self._present.pop(name).gone("its operation is long over") for name in past]
        for name, operation in known.items():
            if operation.end is None or operation.kind in _NOT_LOOKED_AT:
                continue
            since = begin - (operation.end + SETTLING_MS)
            is_watched = not operation.is_withdrawn and 0 <= since < WATCHED_MS
            if not is_watched or self._is_disturbed(operation, Instant(begin)):
                self._off.pop(name, None)
                if not is_watched and name in self._present:
                    found.append(self._present.pop(name).gone("its operation is long over"))
                continue
            found += self._judge(operation, slot)
        return found

    def _is_disturbed(self, operation: Operation, begin: Instant) -> bool:
        """Say whether another operation is felt there now: then nothing can be compared."""
        end = Instant(begin + SLOT_MS)
        return any(
            o.id != operation.id
            and not o.is_withdrawn
            and o.begin - EARLY_MS < end
            and (o.end is None or o.end > begin)
            and self._operations.reaches(o, operation.zone)
            for o in self._operations
        )

    def _judge(self, operation: Operation, slot: int) -> list[Finding]:
        before = (operation.begin - EARLY_MS) // SLOT_MS - 1
        change = self._row(slot) - self._row(before)
        ago = [A_DAY * day for day in range(1, DAYS + 1)]
        usual = np.array([self._row(slot - a) - self._row(before - a) for a in ago])
        off = {}
        for point in self._watched(operation):
            n = self._column[point]
            part = slice(n, n + 1)
            size = abs(float(self._row(before)[n]))
            found = _off_of(change[part], usual[:, part], np.ones(1), is_flow=False, size=size)
            if found is not None:
                off[point] = found
        flow = self._flow_off(operation, change, usual, before)
        is_flow = flow is not None and operation.kind in LETS_OUT and flow.by > flow.limit
        beyond = [p for p, o in off.items() if abs(o.by) > o.limit]
        if operation.id in self._present:
            return self._still(operation, list(off.values()), flow)
        is_off = bool(beyond) or is_flow
        if off or flow is not None:  # without samples nothing is known
            self._off[operation.id] = self._off.get(operation.id, 0) + 1 if is_off else 0
        if self._off.get(operation.id, 0) < CONFIRM_SLOTS:
            return []
        finding = self._found(operation, {p: off[p] for p in beyond}, flow)
        self._present[operation.id] = finding
        return [finding]

    def _still(self, operation: Operation, off: list[_Off], flow: _Off | None) -> list[Finding]:
        """Say whether what was off is back."""
        looked = [*off, *([flow] if flow is not None and operation.kind in LETS_OUT else [])]
        if not looked or any(abs(o.by) > BACK_PART * o.limit for o in looked):
            return []
        del self._off[operation.id]
        return [self._present.pop(operation.id).gone("all is back where it was before")]

    def _watched(self, operation: Operation) -> list[PointId]:
        """Return the pressure points of an operation's place."""
        named = set(operation.points)
        return [
            p
            for p in self._points
            if self._registry.points[p].quantity is Quantity.PRESSURE
            and (p in named if named else self._registry.points[p].zone == operation.zone)
        ]

    def _flow_off(
        self, operation: Operation, change: Floats, usual: Floats, before: int
    ) -> _Off | None:
        zone = next((z for z in self._registry.zones.values() if z.id == operation.zone), None)
        if zone is None or not zone.inflow or any(i.point not in self._column for i in zone.inflow):
            return None
        columns = [self._column[i.point] for i in zone.inflow]
        signs = np.array([float(i.sign) for i in zone.inflow])
        size = abs(_net(self._row(before)[columns], signs))
        return _off_of(change[columns], usual[:, columns], signs, is_flow=True, size=size)

    def _found(self, operation: Operation, off: dict[PointId, _Off], flow: _Off | None) -> Finding:
        order = sorted(off, key=lambda p: (-abs(off[p].by), p))
        because = [f"a valve may have been left as it was in {operation.kind} {operation.id}"]
        because += [_fact(p, "kPa", off[p].by) for p in order[:5]]
        if flow is not None and abs(flow.by) > flow.limit:
            because.append(_fact(f"zone {operation.zone} inflow", "m3/h", flow.by))
        end = operation.begin if operation.end is None else operation.end
        zone = operation.zone or str(self._registry.points[order[0]].zone)
        return Finding(
            kind=AlarmKind.RECOVERY,
            zone=zone,
            subject=operation.id,
            points=tuple(order),
            is_present=True,
            severity=SEVERITY,
            onset=end,
            because=tuple(because),
        )


def _off_of(
    change: Floats, usual: Floats, signs: Floats, *, is_flow: bool, size: float
) -> _Off | None:
    """Return by how much a change differs from the usual one; nothing where it is not known.

    >>> usual = np.array([[2.0], [3.0], [4.0]])
    >>> _off_of(np.array([-9.0]), usual, np.ones(1), is_flow=False, size=300.0).by
    -12.0
    """
    by = _net(change, signs)
    if np.isnan(by) or np.isnan(size):
        return None
    past = np.array([_net(row, signs) for row in usual])
    past = past[~np.isnan(past)]
    if len(past) < DAYS_MIN:
        return None if is_flow else _Off(by=by, limit=max(STRANGE_KPA, STRANGE_PART * size))
    middle = float(np.median(past))
    sigma = 1.4826 * float(np.median(np.abs(past - middle)))
    least = max(OFF_FLOW_M3H, OFF_FLOW_PART * size) if is_flow else max(OFF_KPA, OFF_PART * size)
    return _Off(by=by - middle, limit=max(least, OFF_SIGMAS * sigma))


def _net(values: Floats, signs: Floats) -> float:
    """Return the sum of signed values, added in their order."""
    total = 0.0
    for value, sign in zip(values.tolist(), signs.tolist(), strict=True):
        total += sign * value
    return total


def _fact(what: str, unit: str, by: float) -> str:
    way = "lower" if by < 0 else "higher"
    return (
        f"{what} is {abs(by):.1f} {unit} {way} than is usual at this time after what it was before"
    )
