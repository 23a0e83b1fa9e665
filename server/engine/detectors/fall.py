"""Sudden falls of pressure in one zone, told apart by its inflow: burst, supply, or one point.

Inputs: closed bins of the zone's pressure points and the net of its inflow meters (all of them, or
the inflow counts as unknown). Rates are judged against each column's own scale, never a fixed one.
Works on bins of up to 15 s. Late samples do not reach it. docs/detection.md tells its limits.
"""

from dataclasses import dataclass, replace

import numpy as np

from server.engine.detectors.aside import Aside
from server.engine.detectors.finding import Finding
from server.engine.detectors.grid import Bools, Floats
from server.engine.detectors.place import SHARE_MIN, Place, place_of
from server.engine.detectors.scales import RECENT, REFERENCE, Scales
from server.engine.detectors.steps import Look, Ring
from server.engine.effects import AlarmKind
from server.engine.explaining import explain
from server.engine.operations import Operations
from server.engine.registry import Point
from telemetry.instant import HOUR_MS, MINUTE_MS, Instant

WIDTH_MAX_MS = 15_000

STRONG_SCORE, STRONG_KPA = 6.0, 2.0
WEAK_SCORE, WEAK_KPA = 4.0, 1.0
"""One point that falls strongly, or two that fall weakly, confirm a rise of the inflow."""

HINT_SCORE, HINT_KPA = 3.0, 1.5
POOLED_SCORE, POOLED_KPA = 1.5, 0.5
"""So much from one point, or from the mean of all, confirms a rise that is beyond doubt."""

RISE_SCORE, RISE_PART = 5.0, 0.03
RISE_SCORE_ALONE = 9.0
LOCAL_SCORE, LOCAL_KPA = 6.0, 1.0
"""People drawing more water raise the inflow too. A lesser rise must show, at one point, a fall
beyond what goes with so much more water; a rise of 9 is beyond doubt."""

NO_RISE_SCORE = 2.0

SUPPLY_KPA, SUPPLY_PART = 15.0, 0.05
LARGEST_MARGIN = 1.2
"""A supply failure falls by more than 15 kPa, 5 % and 1.2 times all that was seen in weeks."""

CONFIRM_BURST, CONFIRM_SUPPLY, CONFIRM_DROP, CONFIRM_CLEAR = 3, 8, 10, 10
"""Bins in a row."""

CLEAR_PART = 0.4
"""Of what was found: when no more is left, it has gone."""

REBASE_MS = 30 * MINUTE_MS
REBASE_SUPPLY_MS = 4 * HOUR_MS
UPGRADE_BINS = 30

GROWN = 1.2
"""What has grown by a fifth since it was found has another size."""

BURST_SEVERITY, SUPPLY_SEVERITY, DROP_SEVERITY = 1, 2, 3


@dataclass(slots=True, kw_only=True)
class _Event:
    """Something found, with what it is measured against until it has gone."""

    finding: Finding
    size: float
    bins: int = 0
    clear_bins: int = 0


class ZoneScales:
    """What is learnt of the columns of one zone."""

    def __init__(self, scales: Scales, columns: slice) -> None:
        self._scales = scales
        self._columns = columns

    @property
    def noise(self) -> Floats:
        """Return sigma from one bin to the next."""
        return self._scales.noise[self._columns]

    @property
    def largest_fall(self) -> Floats:
        """Return the largest fall from one 5-minute mean to the next."""
        return self._scales.largest_fall[self._columns]

    @property
    def owed_sigma(self) -> Floats:
        """Return sigma of what is left of a fall."""
        return self._scales.owed.sigma(self._columns)

    def owed(self, step: Look) -> Floats:
        """Return the falls that go with the change of the inflow."""
        more = float("nan")
        if step.is_valid[-1]:
            recent, before = float(step.recent[-1]), float(step.reference[-1])
            more = recent * abs(recent) - before * abs(before)
        return self._scales.owed.fall(np.array(more), self._columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What came before a bin of one zone, and what was learnt of it."""

    scales: ZoneScales
    ring: Ring
    row: int
    columns: slice

    def last(self, bins: int) -> Floats:
        """Return the newest bins, oldest first."""
        return self.ring.last(self.row, bins, self.columns)

    def recent(self, bins: int) -> Floats:
        """Return the means of the newest bins."""
        rows = self.last(bins)
        count = (~np.isnan(rows)).sum(axis=0)
        total = np.add.accumulate(np.where(np.isnan(rows), 0.0, rows), axis=0)[-1]
        mean: Floats = total / np.where(count > 0, count, np.nan)
        return mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What one bin brought: findings, whether it may be learnt from, and columns to forget."""

    findings: list[Finding]
    is_quiet: bool
    forgotten: tuple[int, ...]


class Fall:
    """What is found in one zone, and what may be about to be. `frozen` are its references."""

    def __init__(
        self,
        zone: str,
        points: tuple[Point, ...],
        *,
        width_ms: int,
        slow: int,
        operations: Operations,
    ) -> None:
        self._zone = zone
        self._operations = operations
        self._points = points
        self._n = len(points)
        self._width_ms = width_ms
        self._confirm_supply = CONFIRM_SUPPLY + 2 * slow
        self.frozen = np.full(self._n + 1, np.nan)
        self._event: _Event | None = None
        self._drops: dict[int, _Event] = {}
        self._asides: dict[str, Aside] = {}
        self._burst_bins = 0
        self._supply_bins = 0
        self._drop_bins = np.zeros(self._n, dtype=np.int64)

    @property
    def is_busy(self) -> bool:
        """Say whether every bin must be looked at: something is found, or half confirmed."""
        is_held = self._event is not None or bool(self._drops) or bool(self._asides)
        return (
            is_held or self._burst_bins > 0 or self._supply_bins > 0 or bool(self._drop_bins.any())
        )

    def update(self, at: Instant, step: Look, past: Past) -> Said:
        """Judge one more bin: the pressures, then the net inflow."""
        before, drops, asides = self._event, list(self._drops), len(self._asides)
        findings = self._watch_asides(at, step)
        if self._event is not None:
            findings += self._watch_event(at, self._event, step, past)
        else:
            findings += [*self._watch_drops(step), *self._search(at, step, past)]
        is_over = before is not None and self._event is None
        is_over = is_over or len(self._asides) < asides
        forgotten = [i for i in drops if i not in self._drops and self._event is None]
        return Said(
            findings=findings,
            is_quiet=not (before or asides or self._event or self._burst_bins or self._supply_bins),
            forgotten=tuple(range(self._n + 1)) if is_over else tuple(forgotten),
        )

    def begin_anew(self) -> None:
        """Forget what was half confirmed; what was found stays found."""
        self._burst_bins = self._supply_bins = 0
        self._drop_bins[:] = 0

    def excuse(self, i: int, because: str) -> list[Finding]:
        """Take down what rests on one point alone: its instrument is faulty."""
        self._drop_bins[i] = 0
        event = self._drops.pop(i, None)
        if event is None:
            return []
        self.frozen[i] = np.nan
        return [event.finding.gone(because)]

    def withdraw(self, because: str) -> list[Finding]:
        """Take every finding down, as the zone has gone or has changed."""
        present = [self._event] if self._event is not None else []
        found = [e.finding for e in (*present, *self._drops.values())]
        found += [aside.finding for aside in self._asides.values()]
        return [finding.gone(because) for finding in {f.key: f for f in found}.values()]

    def _search(self, at: Instant, step: Look, past: Past) -> list[Finding]:
        pressures = step.is_valid[: self._n]
        strong, weak = self._falling(step)
        is_burst = self._is_burst(step, strong, weak, past.scales)
        self._burst_bins = self._burst_bins + 1 if is_burst else 0
        is_supply = self._is_supply(step, pressures, strong, past.scales)
        self._supply_bins = self._supply_bins + 1 if is_supply else 0
        if self._burst_bins >= CONFIRM_BURST:
            return self._burst(at, step, past)
        if self._supply_bins >= self._confirm_supply:
            return self._supply(at, step, strong)
        return self._search_drops(at, step, strong, past.scales, is_held=is_burst)

    def _falling(self, step: Look) -> tuple[Bools, Bools]:
        fall, score = step.fall[: self._n], step.score[: self._n]
        strong = (score >= STRONG_SCORE) & (fall >= STRONG_KPA)
        return strong, (score >= WEAK_SCORE) & (fall >= WEAK_KPA)

    def _is_burst(self, step: Look, strong: Bools, weak: Bools, scales: ZoneScales) -> bool:
        score = -step.score[-1]
        if score < RISE_SCORE or -step.fall[-1] < RISE_PART * abs(step.reference[-1]):
            return False
        fall = step.fall[: self._n]
        if score >= RISE_SCORE_ALONE:
            return bool(strong.any() or weak.sum() >= 2 or self._is_hinted(step))
        local = fall - scales.owed(step)[: self._n]
        noise = np.sqrt(1 / RECENT + 1 / REFERENCE) * scales.noise[: self._n]
        sigma = np.maximum(scales.owed_sigma[: self._n], noise)
        is_local = step.is_valid[: self._n] & (local >= np.maximum(LOCAL_SCORE * sigma, LOCAL_KPA))
        return bool((strong.any() or weak.sum() >= 2) and is_local.any())

    def _is_hinted(self, step: Look) -> bool:
        known = step.is_valid[: self._n]
        fall, score = step.fall[: self._n], step.score[: self._n]
        if ((score >= HINT_SCORE) & (fall >= HINT_KPA)).any():
            return True
        if known.sum() < 3:
            return False
        return bool(fall[known].mean() >= POOLED_KPA and score[known].mean() >= POOLED_SCORE)

    def _is_supply(self, step: Look, pressures: Bools, strong: Bools, scales: ZoneScales) -> bool:
        known = int(pressures.sum())
        floor = np.maximum(SUPPLY_KPA, SUPPLY_PART * np.abs(step.reference[: self._n]))
        floor = np.maximum(floor, LARGEST_MARGIN * scales.largest_fall[: self._n])
        fallen = int((strong & (step.fall[: self._n] >= floor)).sum())
        is_rising = bool(step.is_valid[-1] and -step.score[-1] >= NO_RISE_SCORE)
        return known >= 3 and 2 * fallen >= known and not is_rising

    def _burst(self, at: Instant, step: Look, past: Past) -> list[Finding]:
        now = past.recent(3)  # an event has filled these by now
        rise = float(now[-1] - step.reference[-1])
        falls = step.reference[: self._n] - now[: self._n]
        known = np.where(step.is_valid[: self._n], falls, 0.0)
        order = self._most_affected(known, (known > 0.0) & (known >= SHARE_MIN * known.max()))
        measured = np.flatnonzero(step.is_valid[: self._n]).tolist()
        at_points = [(self._points[i].x, self._points[i].y, float(falls[i])) for i in measured]
        because = [self._inflow_fact("rose", step, rise)]
        because += [self._fall_fact(step, i, float(falls[i])) for i in order[:5]]
        finding = self._finding(
            AlarmKind.BURST,
            severity=BURST_SEVERITY,
            onset=self._onset(at, step, past),
            points=order,
            because=because,
            estimate=max(rise, 0.0),
            place=place_of(at_points),
        )
        changes = [finding, *self._retire_drops("it is part of a burst in its zone")]
        if self._event is not None:
            changes.append(self._event.finding.gone("it was recognised as a burst"))
        self._begin(_Event(finding=finding, size=max(rise, 0.0)), step)
        return changes

    def _supply(self, at: Instant, step: Look, strong: Bools) -> list[Finding]:
        order = self._most_affected(step.fall[: self._n], strong)
        known = int(step.is_valid[: self._n].sum())
        because = [f"{len(order)} of {known} points of zone {self._zone} fell together"]
        if step.is_valid[-1]:
            change = float(-step.fall[-1])
            because.append(self._inflow_fact("fell" if change < 0 else "changed", step, change))
        else:
            because.append(f"zone {self._zone} inflow is not measured now")
        because += [self._fall_fact(step, i, float(step.fall[i])) for i in order[:5]]
        finding = self._finding(
            AlarmKind.SUPPLY,
            severity=SUPPLY_SEVERITY,
            onset=Instant(at - self._supply_bins * self._width_ms),
            points=order,
            because=because,
        )
        changes = [finding, *self._retire_drops("it is part of a supply failure in its zone")]
        self._begin(_Event(finding=finding, size=float(np.median(step.fall[order]))), step)
        return changes

    def _begin(self, event: _Event, step: Look) -> None:
        self._event = event
        self.frozen = np.where(step.is_valid, step.reference, np.nan)
        self._burst_bins = self._supply_bins = 0
        self._drop_bins[:] = 0

    def _watch_event(self, at: Instant, event: _Event, step: Look, past: Past) -> list[Finding]:
        """Wait until what was found has gone; no data is no sign of that."""
        is_burst = event.finding.kind is AlarmKind.BURST
        named = [i for i, p in enumerate(self._points) if p.id in event.finding.points]
        columns = [self._n] if is_burst else named
        measured = [i for i in columns if step.is_valid[i]]
        if not measured:
            return []
        left = float(np.median(step.fall[measured])) * (-1 if is_burst else 1)
        event.bins += 1
        if not is_burst and event.bins <= UPGRADE_BINS:
            strong, weak = self._falling(step)
            self._burst_bins = (
                self._burst_bins + 1 if self._is_burst(step, strong, weak, past.scales) else 0
            )
            if self._burst_bins >= CONFIRM_BURST:
                return self._burst(at, step, past)
        event.clear_bins = event.clear_bins + 1 if left < CLEAR_PART * event.size else 0
        unit, what = ("m3/h", "inflow") if is_burst else ("kPa", "median pressure")
        if event.clear_bins >= CONFIRM_CLEAR:
            because = f"{what} is back to {abs(left):.1f} {unit} from where it was before"
        elif event.bins * self._width_ms >= (REBASE_MS if is_burst else REBASE_SUPPLY_MS):
            minutes = event.bins * self._width_ms // MINUTE_MS
            because = (
                f"after {minutes} min the present state is the new reference; what was found may"
                f" go on, {what} is still {left:.1f} {unit} off"
            )
        elif event.bins == UPGRADE_BINS:
            return self._put_aside(at, event, columns, left)
        else:
            return []
        self._end_event()
        return [] if event.finding.key in self._asides else [event.finding.gone(because)]

    def _end_event(self) -> None:
        self._event = None
        self.frozen[:] = np.nan
        self.begin_anew()

    def _put_aside(
        self, at: Instant, event: _Event, columns: list[int], left: float
    ) -> list[Finding]:
        """Search on beside what an operation explains; tell if it has outgrown that."""
        key, sign = event.finding.key, -1 if columns == [self._n] else 1
        before = self._asides.get(key)
        finding, grown = event.finding, []
        if sign < 0 and left > GROWN * event.size:
            finding = replace(finding, estimate_m3h=round(left, 2), is_growth=True)
            grown = [finding] if before is None else []
        held_m3h = 0.0 if before is None or sign > 0 else before.size
        if explain(finding, self._operations, at=at, before_m3h=held_m3h).operation is not None:
            self._asides[key] = before or Aside(
                finding=event.finding,
                size=max(event.size, left),
                columns=tuple(columns),
                before=self.frozen.copy(),
                sign=sign,
            )
            if before is not None:
                before.size += max(event.size, left)
            self._end_event()
        return grown

    def _watch_asides(self, at: Instant, step: Look) -> list[Finding]:
        """Wait until what was put aside has gone, or has outlived its operation for long."""
        gone = []
        for key, aside in list(self._asides.items()):
            if aside.is_over(step):
                because = "what was explained has gone"
            else:
                is_late = explain(aside.finding, self._operations, at=at).operation is None
                aside.late_bins = aside.late_bins + 1 if is_late else 0
                if aside.late_bins * self._width_ms < REBASE_MS:
                    continue
                because = "the present state is the new reference; what was found may go on"
            del self._asides[key]
            if self._event is None or self._event.finding.key != key:
                gone.append(aside.finding.gone(because))
        return gone

    def _search_drops(
        self, at: Instant, step: Look, strong: Bools, scales: ZoneScales, *, is_held: bool
    ) -> list[Finding]:
        """Find points that fall alone: by more than their zone does, and with no more inflow."""
        known = step.is_valid[: self._n]
        can_compare = known.sum() >= 3
        is_common = can_compare and 2 * strong.sum() >= known.sum()
        if is_held or is_common or not strong.any():
            self._drop_bins[:] = 0
            return []
        fall = step.fall[: self._n]
        common = float(np.median(fall[known])) if can_compare else 0.0
        alone = fall - max(common, 0.0)
        needed = np.maximum(STRONG_KPA, LARGEST_MARGIN * scales.largest_fall[: self._n])
        is_drop = strong & (alone >= needed) & (alone >= STRONG_SCORE * step.scale[: self._n])
        self._drop_bins = np.where(is_drop, self._drop_bins + 1, 0)
        findings = []
        for i in np.flatnonzero(self._drop_bins >= CONFIRM_DROP).tolist():
            if i in self._drops:
                continue
            because = [self._fall_fact(step, i, float(fall[i])), "no other evidence of a leak"]
            finding = self._finding(
                AlarmKind.PRESSURE_DROP,
                severity=DROP_SEVERITY,
                onset=Instant(at - CONFIRM_DROP * self._width_ms),
                points=[i],
                because=because,
                subject=self._points[i].id,
            )
            self._drops[i] = _Event(finding=finding, size=float(fall[i]))
            self.frozen[i] = step.reference[i]
            findings.append(finding)
        return findings

    def _watch_drops(self, step: Look) -> list[Finding]:
        gone = []
        for i, event in list(self._drops.items()):
            if not step.is_valid[i]:
                continue
            event.bins += 1
            left = float(step.fall[i])
            event.clear_bins = event.clear_bins + 1 if left < CLEAR_PART * event.size else 0
            is_back = event.clear_bins >= CONFIRM_CLEAR
            if not is_back and event.bins * self._width_ms < REBASE_MS:
                continue
            because = "it is back where it was" if is_back else "it stayed so: the new reference"
            gone.append(event.finding.gone(f"{self._points[i].id}: {because}"))
            del self._drops[i]
            self.frozen[i] = np.nan
        return gone

    def _retire_drops(self, because: str) -> list[Finding]:
        gone = [event.finding.gone(because) for event in self._drops.values()]
        self._drops = {}
        return gone

    def _finding(
        self,
        kind: AlarmKind,
        *,
        severity: int,
        onset: Instant,
        points: list[int],
        because: list[str],
        subject: str = "",
        estimate: float | None = None,
        place: Place | None = None,
    ) -> Finding:
        return Finding(
            kind=kind,
            zone=self._zone,
            subject=subject,
            points=tuple(self._points[i].id for i in points),
            is_present=True,
            severity=severity,
            onset=onset,
            because=tuple(because),
            estimate_m3h=None if estimate is None else round(estimate, 2),
            x=place.x if place else None,
            y=place.y if place else None,
            radius_m=place.radius_m if place else None,
        )

    def _most_affected(self, falls: Floats, falling: Bools) -> list[int]:
        chosen: list[int] = np.flatnonzero(falling).tolist()
        return sorted(chosen, key=lambda i: (-float(falls[i]), i))

    def _onset(self, at: Instant, step: Look, past: Past) -> Instant:
        """Return the start of the bin since which the inflow is over half of its rise."""
        half = step.reference[-1] - step.fall[-1] / 2
        bins = 0
        for value in past.last(15)[::-1, -1].tolist():
            if not value > half:
                break
            bins += 1
        return Instant(at - max(bins - 1, 0) * self._width_ms)

    def _inflow_fact(self, verb: str, step: Look, change: float) -> str:
        before = float(step.reference[-1])
        times = abs(change) / float(step.scale[-1])
        return (
            f"zone {self._zone} inflow {verb} {abs(change):.1f} m3/h, from {before:.1f} to"
            f" {before + change:.1f} m3/h, {times:.0f} times its usual change"
        )

    def _fall_fact(self, step: Look, i: int, fall: float) -> str:
        times = fall / float(step.scale[i])
        before = float(step.reference[i])
        return (
            f"{self._points[i].id} fell {fall:.1f} kPa, from {before:.1f} to"
            f" {before - fall:.1f} kPa, {times:.0f} times its usual change"
        )
