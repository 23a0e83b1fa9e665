"""Sudden falls of pressure in one zone, told apart by its inflow: burst, supply, or one point.

Inputs: closed bins of the zone's pressure points and the net of its inflow meters (all of them, or
the inflow counts as unknown). Rates are judged against each column's own scale, never a fixed one.
Works on bins of up to 15 s. Late samples do not reach it. docs/detection.md tells its limits.
"""

from dataclasses import dataclass

import numpy as np

from server.engine.detectors.finding import Finding
from server.engine.detectors.frames import Bools, Floats
from server.engine.detectors.place import SHARE_MIN, Place, place_of
from server.engine.detectors.scales import FiveMinutes, Scales
from server.engine.detectors.steps import RECENT, REFERENCE, Step, Steps
from server.engine.effects import AlarmKind
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

BURST_SEVERITY, SUPPLY_SEVERITY, DROP_SEVERITY = 1, 2, 3


@dataclass(slots=True, kw_only=True)
class _Event:
    """Something found, with what it is measured against until it has gone."""

    finding: Finding
    size: float
    bins: int = 0
    clear_bins: int = 0


class Fall:
    """The fall detector of one zone."""

    def __init__(self, zone: str, points: tuple[Point, ...], *, width_ms: int, slow: int) -> None:
        self._zone = zone
        self._points = points
        self._n = len(points)
        self._width_ms = width_ms
        self._confirm_supply = CONFIRM_SUPPLY + 2 * slow
        floor = np.full(self._n + 1, 0.2)
        self.scales = Scales(floor=floor)
        self._five = FiveMinutes(self._n + 1)
        self._steps = Steps(self._n + 1, width_ms=width_ms)
        self._frozen = np.full(self._n + 1, np.nan)
        self._event: _Event | None = None
        self._drops: dict[int, _Event] = {}
        self._burst_bins = 0
        self._supply_bins = 0
        self._drop_bins = np.zeros(self._n, dtype=np.int64)

    def update(self, *, at: Instant, values: Floats, is_fresh: Bools) -> list[Finding]:
        """Judge one more bin: the pressures, then the net inflow."""
        self._steps.push(values)
        step = self._steps.look(self.scales, self._frozen)
        if self._event is not None:
            findings = self._watch_event(at, self._event, step)
        else:
            findings = [*self._watch_drops(step), *self._search(at, step)]
        self._learn(at, values, is_fresh, step)
        return findings

    def learn_past(self, *, at: Instant, column: int, value: float) -> None:
        """Learn from one past value; values come in the order of time."""
        self._turn(at)
        self._five.add(column, value)

    def begin_anew(self) -> None:
        """Forget the reference after a gap in time; what was found stays found."""
        self._steps.clear()
        self.scales.forget_last()
        self._burst_bins = self._supply_bins = 0
        self._drop_bins[:] = 0

    def withdraw(self, because: str) -> list[Finding]:
        """Take every finding down, as the zone has gone or has changed."""
        present = [self._event] if self._event is not None else []
        return [e.finding.gone(because) for e in [*present, *self._drops.values()]]

    def _learn(self, at: Instant, values: Floats, is_fresh: Bools, step: Step) -> None:
        """Learn what is normal, from bins that are."""
        is_quiet = self._event is None and not self._burst_bins and not self._supply_bins
        if not is_quiet:
            self.scales.forget_last()
            self._five = FiveMinutes(self._n + 1)
            return
        self.scales.learn_bin(values, is_fresh)
        is_moving = step.is_valid & np.isnan(self._frozen)
        self.scales.learn_look(np.where(is_moving, step.fall, np.nan), step.more)
        self._turn(at)
        self._five.add_all(values)

    def _turn(self, at: Instant) -> None:
        left = self._five.turn(at)
        if left is not None:
            self.scales.learn_five(*left)

    def _search(self, at: Instant, step: Step) -> list[Finding]:
        pressures = step.is_valid[: self._n]
        strong, weak = self._falling(step)
        is_burst = self._is_burst(step, strong, weak)
        self._burst_bins = self._burst_bins + 1 if is_burst else 0
        is_supply = self._is_supply(step, pressures, strong)
        self._supply_bins = self._supply_bins + 1 if is_supply else 0
        if self._burst_bins >= CONFIRM_BURST:
            return self._burst(at, step)
        if self._supply_bins >= self._confirm_supply:
            return self._supply(at, step, strong)
        return self._search_drops(at, step, strong, is_held=is_burst)

    def _falling(self, step: Step) -> tuple[Bools, Bools]:
        fall, score = step.fall[: self._n], step.score[: self._n]
        strong = (score >= STRONG_SCORE) & (fall >= STRONG_KPA)
        return strong, (score >= WEAK_SCORE) & (fall >= WEAK_KPA)

    def _is_burst(self, step: Step, strong: Bools, weak: Bools) -> bool:
        score = -step.score[-1]
        if score < RISE_SCORE or -step.fall[-1] < RISE_PART * abs(step.reference[-1]):
            return False
        fall = step.fall[: self._n]
        if score >= RISE_SCORE_ALONE:
            return bool(strong.any() or weak.sum() >= 2 or self._is_hinted(step))
        owed = self.scales.owed
        local = fall - owed.fall(step.more)[: self._n]
        noise = np.sqrt(1 / RECENT + 1 / REFERENCE) * self.scales.noise[: self._n]
        sigma = np.maximum(owed.sigma[: self._n], noise)
        is_local = step.is_valid[: self._n] & (local >= np.maximum(LOCAL_SCORE * sigma, LOCAL_KPA))
        return bool((strong.any() or weak.sum() >= 2) and is_local.any())

    def _is_hinted(self, step: Step) -> bool:
        known = step.is_valid[: self._n]
        fall, score = step.fall[: self._n], step.score[: self._n]
        if ((score >= HINT_SCORE) & (fall >= HINT_KPA)).any():
            return True
        if known.sum() < 3:
            return False
        return bool(fall[known].mean() >= POOLED_KPA and score[known].mean() >= POOLED_SCORE)

    def _is_supply(self, step: Step, pressures: Bools, strong: Bools) -> bool:
        known = int(pressures.sum())
        floor = np.maximum(SUPPLY_KPA, SUPPLY_PART * np.abs(step.reference[: self._n]))
        floor = np.maximum(floor, LARGEST_MARGIN * self.scales.largest_fall[: self._n])
        fallen = int((strong & (step.fall[: self._n] >= floor)).sum())
        is_rising = bool(step.is_valid[-1] and -step.score[-1] >= NO_RISE_SCORE)
        return known >= 3 and 2 * fallen >= known and not is_rising

    def _burst(self, at: Instant, step: Step) -> list[Finding]:
        now = self._steps.recent(3)  # an event has filled these by now
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
            onset=self._onset(at, step),
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

    def _supply(self, at: Instant, step: Step, strong: Bools) -> list[Finding]:
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

    def _begin(self, event: _Event, step: Step) -> None:
        self._event = event
        self._frozen = np.where(step.is_valid, step.reference, np.nan)
        self._burst_bins = self._supply_bins = 0
        self._drop_bins[:] = 0

    def _watch_event(self, at: Instant, event: _Event, step: Step) -> list[Finding]:
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
            self._burst_bins = self._burst_bins + 1 if self._is_burst(step, strong, weak) else 0
            if self._burst_bins >= CONFIRM_BURST:
                return self._burst(at, step)
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
        else:
            return []
        self._event = None
        self._frozen[:] = np.nan
        self.begin_anew()
        return [event.finding.gone(because)]

    def _search_drops(
        self, at: Instant, step: Step, strong: Bools, *, is_held: bool
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
        needed = np.maximum(STRONG_KPA, LARGEST_MARGIN * self.scales.largest_fall[: self._n])
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
            self._frozen[i] = step.reference[i]
            findings.append(finding)
        return findings

    def _watch_drops(self, step: Step) -> list[Finding]:
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
            self._frozen[i] = np.nan
            self._steps.forget(i)
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

    def _onset(self, at: Instant, step: Step) -> Instant:
        """Return the start of the bin since which the inflow is over half of its rise."""
        half = step.reference[-1] - step.fall[-1] / 2
        bins = 0
        for value in self._steps.last(15)[::-1, -1].tolist():
            if not value > half:
                break
            bins += 1
        return Instant(at - max(bins - 1, 0) * self._width_ms)

    def _inflow_fact(self, verb: str, step: Step, change: float) -> str:
        before = float(step.reference[-1])
        times = abs(change) / float(step.scale[-1])
        return (
            f"zone {self._zone} inflow {verb} {abs(change):.1f} m3/h, from {before:.1f} to"
            f" {before + change:.1f} m3/h, {times:.0f} times its usual change"
        )

    def _fall_fact(self, step: Step, i: int, fall: float) -> str:
        times = fall / float(step.scale[i])
        before = float(step.reference[i])
        return (
            f"{self._points[i].id} fell {fall:.1f} kPa, from {before:.1f} to"
            f" {before - fall:.1f} kPa, {times:.0f} times its usual change"
        )
