"""What the instrument desk is told: one fault a point, however many symptoms show it.

A fault comes with its first symptom and goes with its last. What the samples were worth in the
meantime is said in hindsight, as quality marks: when the fault is told, each midnight while it
lasts, and when it is over. Noise and spikes wait for a while: where a third of a zone shows them,
the water does it, and nobody is told.
"""

from dataclasses import dataclass, field

import numpy as np

from server.engine.detectors.finding import Finding
from server.engine.detectors.grid import Ints
from server.engine.detectors.symptoms import RELATIONS, SHARED, Change, Symptom
from server.engine.effects import AlarmKind, QualityMarked
from server.engine.registry import Point
from telemetry.instant import DAY_MS, MINUTE_MS, Instant
from telemetry.point import PointId
from telemetry.sample import Quality
from telemetry.units import Quantity

SEVERITY = 4

WAIT_MIN_MS = MINUTE_MS
WAIT_PERIODS = 24
"""How long noise and spikes wait for others of their zone: two pages."""

SHARED_PART = 1 / 3
SHARED_MIN = 2

AUTHOR = "engine"

NEVER = Instant(0)

_UNCERTAIN = (Symptom.SPIKES, Symptom.NOISE, Symptom.DROPOUTS, Symptom.DOUBTED)
_METERS = (Quantity.FLOW, Quantity.VOLUME)

Told = tuple[int, Finding | QualityMarked]


@dataclass(slots=True, kw_only=True)
class _Case:
    """A point and its symptoms, those that are told and those that wait until an instant."""

    point: Point
    told: dict[Symptom, Change] = field(default_factory=dict)
    waiting: dict[Symptom, tuple[Instant, Change]] = field(default_factory=dict)
    finding: Finding | None = None
    marked: Instant = NEVER


class Instruments:
    """Every point that shows a symptom."""

    def __init__(self) -> None:
        self._points: dict[PointId, Point] = {}
        self._sizes: dict[str, int] = {}
        self._cases: dict[PointId, _Case] = {}
        self._early: list[Change] = []

    def registry_changed(self, points: dict[PointId, Point], off: list[PointId]) -> list[Finding]:
        """Watch these points from now on; return what has gone with those that went.

        `off` are the points that are still held against the others of their zone.
        """
        self._points = points
        self._sizes = {}
        for point in points.values():
            self._sizes[point.zone] = self._sizes.get(point.zone, 0) + 1
        gone = []
        for name, case in list(self._cases.items()):
            known = points.get(name)
            if known is not None and known.zone == case.point.zone:
                case.point = known
                if name in off:
                    continue
                for symptom in RELATIONS:
                    case.told.pop(symptom, None)
                if case.told or case.waiting:
                    continue
            del self._cases[name]
            if case.finding is not None:
                gone.append(case.finding.gone(f"the zone of {name} was changed in the registry"))
        return gone

    def run(self, ticks: Ints, changes: list[Change]) -> list[Told]:
        """Follow what comes and goes; return what is told, with the number of its tick."""
        first = [(0, c) for c in self._early]
        queue = [*first, *sorted(((c.tick, c) for c in changes), key=lambda told: told[0])]
        self._early = []
        told: list[Told] = []
        for tick, change in queue:
            if tick >= len(ticks):
                self._early.append(change)
                continue
            told += self._due(ticks, before=tick)
            told += self._change(tick, Instant(int(ticks[tick])), change)
        return [*told, *self._due(ticks, before=len(ticks))]

    def _due(self, ticks: Ints, *, before: int) -> list[Told]:
        """Return what falls due at ticks before this one."""
        told: list[Told] = []
        while True:
            due = [(d, p) for p, case in self._cases.items() if (d := _next_due(case)) is not None]
            if not due:
                return told
            instant, point = min(due)
            tick = int(np.searchsorted(ticks, instant))
            if tick >= before:
                return told
            told += self._at_due(tick, Instant(int(ticks[tick])), self._cases[point])

    def _at_due(self, tick: int, now: Instant, case: _Case) -> list[Told]:
        told: list[Told] = []
        for symptom, (due, change) in list(case.waiting.items()):
            if due > now:
                continue
            if self._is_shared(case.point.zone, symptom):
                case.waiting[symptom] = (Instant(now + _wait_ms(case.point)), change)
                continue
            del case.waiting[symptom]
            told += self._tell(tick, now, case, change)
        if case.told and now >= case.marked // DAY_MS * DAY_MS + DAY_MS:
            told += [(tick, m) for m in self._mark(now, case, now)]
        return told

    def _is_shared(self, zone: str, symptom: Symptom) -> bool:
        count = sum(
            symptom in case.told or symptom in case.waiting
            for case in self._cases.values()
            if case.point.zone == zone
        )
        return count >= SHARED_MIN and count > SHARED_PART * self._sizes.get(zone, 0)

    def _change(self, tick: int, now: Instant, change: Change) -> list[Told]:
        point = self._points.get(change.point)
        if point is None:
            return []
        case = self._cases.get(change.point)
        if not change.is_on:
            return [] if case is None else self._gone(tick, now, case, change)
        if case is None:
            case = self._cases[change.point] = _Case(point=point)
        if change.symptom in SHARED:
            case.waiting[change.symptom] = (Instant(now + _wait_ms(point)), change)
            return []
        return self._tell(tick, now, case, change)

    def _tell(self, tick: int, now: Instant, case: _Case, change: Change) -> list[Told]:
        case.told[change.symptom] = change
        marks = self._mark(now, case, now, change)
        told: list[Told] = [(tick, m) for m in marks]
        if case.finding is None:
            point = case.point
            is_meter = point.quantity in _METERS
            case.finding = Finding(
                kind=AlarmKind.METER_FAULT if is_meter else AlarmKind.SENSOR_FAULT,
                zone=point.zone,
                subject=f"{point.id} instrument",
                points=(point.id,),
                is_present=True,
                severity=SEVERITY,
                onset=change.since,
                because=(change.because,),
            )
            told.append((tick, case.finding))
        return told

    def _gone(self, tick: int, now: Instant, case: _Case, change: Change) -> list[Told]:
        case.waiting.pop(change.symptom, None)
        begun = case.told.get(change.symptom)
        told: list[Told] = []
        if begun is not None:
            told += [(tick, m) for m in self._mark(now, case, change.since)]
            del case.told[change.symptom]
            if not case.told and case.finding is not None:
                told.append((tick, case.finding.gone(change.because)))
                case.finding = None
        if not case.told and not case.waiting:
            del self._cases[case.point.id]
        return told

    def _mark(
        self, now: Instant, case: _Case, end: Instant, begins: Change | None = None
    ) -> list[QualityMarked]:
        """Say what the samples up to `end` were worth, as far as it is not said yet."""
        begin = case.marked if begins is None or len(case.told) > 1 else begins.since
        if begins is not None:
            begin = min(begin, begins.since)
        case.marked = max(end, begin)
        if end <= begin:
            return []
        is_bad = any(s not in _UNCERTAIN for s in case.told)
        worst = begins or next(iter(case.told.values()))
        mark = QualityMarked(
            at=now,
            point=case.point.id,
            begin=begin,
            end=end,
            quality=int(Quality.BAD if is_bad else Quality.UNCERTAIN),
            reason=worst.symptom.value,
            author=AUTHOR,
            because=worst.because,
        )
        return [mark]


def _wait_ms(point: Point) -> int:
    return max(WAIT_MIN_MS, WAIT_PERIODS * point.period_ms)


def _next_due(case: _Case) -> Instant | None:
    due = [d for d, _ in case.waiting.values()]
    if case.told:
        due.append(Instant(case.marked // DAY_MS * DAY_MS + DAY_MS))
    return min(due, default=None)
