"""One meter in the order of time: what is odd about it comes, is told, and goes.

Only meters at which something is odd, or was when last looked at, are walked; to walk a meter at
which nothing is odd changes nothing.
"""

import math
from dataclasses import dataclass

import numpy as np

from server.engine.detectors import meter_words as words
from server.engine.detectors.finding import Finding
from server.engine.detectors.grid import Bools, Floats, Ints
from server.engine.detectors.meter_past import (
    LARGE_HOURS,
    SMALL_HOURS,
    UNWITNESSED_TIMES,
    Past,
)
from server.engine.detectors.meter_sheet import Meter
from server.engine.detectors.meter_span import RECENT, Span
from telemetry.instant import DAY_MS, HOUR_MS, MINUTE_MS

FAST_MS, UNWITNESSED_MS = 15 * MINUTE_MS, HOUR_MS
"""How long a flow must be odd; of a district's meter without pressures beside it, longer."""

BEYOND_ALL = 20.0
"""Times its most: what no customer's pipe lets through."""

CALM_TIMES = 1.2
LARGE_M3H, LARGE_PART = 1.0, 0.3
"""A leak is large from this flow and this part of the customer's mean use."""

LITTLE_PART, LITTLE_BACK, LITTLE_HOURS = 1 / 3, 0.6, 6
OFF_HOURS = 3
HOLDS, HOLDS_TOO_MUCH = 0.7, 0.9
"""Of their usual mean: the pressures beside a meter still say that there is water."""

COMMON_MIN, COMMON_PART, COMMON_HOURS = 3, 1 / 3, 24
"""What so many customers of a zone, and more than this part of them, begin within a day, is none of
theirs: heating that is turned on or off, or a supply that failed."""

GRANT_MS, CONTINUOUS_HOURS = 7 * DAY_MS, 28 * 24
LEAP_MS = DAY_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """Where a meter is: its column, those of its witnesses, and the customers of its zone."""

    meter: Meter
    column: int
    witnesses: tuple[int, ...]
    neighbours: Ints


@dataclass(slots=True)
class _Case:
    """One thing that may be odd: how often in a row, since when, and what was told of it."""

    count: int = 0
    since: int = 0
    total: float = 0.0
    extreme: float = 0.0
    calm: int = 0
    finding: Finding | None = None

    @property
    def is_idle(self) -> bool:
        return self.count == 0 and self.finding is None

    def add(self, at: int, value: float) -> None:
        if self.count == 0:
            self.since, self.total, self.extreme = at, 0.0, value
        self.count += 1
        self.calm = 0
        self.total += value
        self.extreme = max(self.extreme, value) if value > 0 else min(self.extreme, value)

    def clear(self) -> None:
        self.count, self.calm, self.finding = 0, 0, None

    def gone(self, because: str) -> list[Finding]:
        gone = [] if self.finding is None else [self.finding.gone(because)]
        self.clear()
        return gone


class Walk:
    """What is odd about one meter."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._burst_at: int | None = None  # the last hour of one, until it has stood still since
        self.high, self.low = _Case(), _Case()
        self.leak, self.stop, self.little, self.off = _Case(), _Case(), _Case(), _Case()
        self.leap = _Case()

    @property
    def meter(self) -> Meter:
        """Return whose walk it is."""
        return self._seat.meter

    @property
    def column(self) -> int:
        """Return its place among the meters."""
        return self._seat.column

    def move(self, seat: Seat) -> None:
        """Go on at another place: the registry has changed."""
        self._seat = seat

    @property
    def _cases(self) -> tuple[_Case, ...]:
        slow = (self.leak, self.stop, self.little, self.off)
        return (self.high, self.low, *slow, self.leap)

    @property
    def is_calm(self) -> bool:
        """Say whether there is nothing left to remember."""
        return self._burst_at is None and all(case.is_idle for case in self._cases)

    @property
    def is_odd(self) -> bool:
        """Say whether today must not be learnt from."""
        return any(c.finding is not None for c in self._cases[:-1])

    def withdraw(self, because: str) -> list[Finding]:
        """Take every finding down."""
        return [f for case in self._cases for f in case.gone(because)]

    def run(
        self, span: Span, past: Past, is_told: Bools, leaps: dict[int, float], width_ms: int
    ) -> list[tuple[int, Finding]]:
        """Walk the bins of a span; those at which something is odd are noted in `is_told`.

        `leaps` are the m³ by which its total rose at once, by bin. Lengths of runs and pauses
        during which something was told are taken out of the span.
        """
        found: list[tuple[int, Finding]] = []
        values = span.values[:, self.column].tolist()
        starts, ends = span.start.tolist(), span.ends.tolist()
        for n, (at, value, hour) in enumerate(zip(starts, values, ends, strict=True)):
            said = self._leap(at, leaps.get(n), past)
            if not math.isnan(value):
                said += self._fast(at, value, past, span, n, width_ms)
            is_told[n, self.column] = not (self.high.is_idle and self.low.is_idle)
            if hour >= 0:
                said += self._hour(hour, span, past)
            found += [(n, f) for f in said]
        return found

    def _leap(self, at: int, volume: float | None, past: Past) -> list[Finding]:
        case = self.leap
        if volume is not None and case.finding is None:
            most = float(past.most[self.column])
            point = self.meter.point
            case.finding = words.leapt(point, at, volume=volume, most=most)
            case.since = at
            return [case.finding]
        if case.finding is not None and at - case.since >= LEAP_MS:
            return case.gone("its total has gone on for a day")
        return []

    def _fast(
        self, at: int, value: float, past: Past, span: Span, n: int, width_ms: int
    ) -> list[Finding]:
        c = self.column
        said = self._high(at, value, past, span, n, width_ms)
        low = float(past.low[c])
        need = _rows(FAST_MS, width_ms)
        case = self.low
        if value < low:
            case.add(at, value)
            if case.finding is None and case.count >= need:
                case.finding = words.reversed_flow(
                    self.meter.point,
                    case.since,
                    flow=-case.total / case.count,
                    minutes=case.count * width_ms // MINUTE_MS,
                )
                said.append(case.finding)
        elif not case.is_idle:
            said += self._over(case, past, is_calm=value >= low / 2, need=need)
        return said

    def _high(
        self, at: int, value: float, past: Past, span: Span, n: int, width_ms: int
    ) -> list[Finding]:
        c, case = self.column, self.high
        most = float(past.most[c])
        need = _rows(FAST_MS, width_ms)
        if value > past.high[c]:
            case.add(at, value)
            if case.finding is None and case.count >= need:
                case.finding = self._too_much(past, span, n, width_ms)
                return [] if case.finding is None else [case.finding]
        elif not case.is_idle:
            is_calm = not value > CALM_TIMES * most  # also where nothing is known of it any more
            return self._over(case, past, is_calm=is_calm, need=need)
        if case.finding is not None and at - case.since >= GRANT_MS:
            past.grant(c, case.total / case.count)
            return case.gone(words.GRANTED)
        return []

    def _over(self, case: _Case, past: Past, *, is_calm: bool, need: int) -> list[Finding]:
        """Take in a bin that is not odd: what was not told is forgotten, what was may go."""
        if case.finding is None:
            past.take_back(self.column, case.extreme)
            case.clear()
            return []
        case.calm = case.calm + 1 if is_calm else 0
        if case.calm < need:
            return []
        # What ended is learnt like any one odd day: if it comes again it was use.
        past.take_back(self.column, case.total / case.count)
        return case.gone("its flow is as usual again")

    def _too_much(self, past: Past, span: Span, n: int, width_ms: int) -> Finding | None:
        c, case, point = self.column, self.high, self.meter.point
        most, usual = float(past.most[c]), float(past.mean[c])
        flow, minutes = case.total / case.count, case.count * width_ms // MINUTE_MS
        if not self.meter.is_district and flow <= BEYOND_ALL * most:
            return words.burst_behind(
                point, case.since, flow=flow, minutes=minutes, most=most, usual=usual
            )
        finding = words.implausible(point, case.since, flow=flow, minutes=minutes, most=most)
        if not self.meter.is_district:
            return finding
        level = self._level(span, n)
        if past.is_lone[c] and not math.isnan(level):
            return finding if level >= HOLDS_TOO_MUCH * past.level[c] else None
        is_long = case.count >= _rows(UNWITNESSED_MS, width_ms)
        return finding if is_long and flow > UNWITNESSED_TIMES * most else None

    def _is_common(self, hours: Floats, limits: Floats) -> bool:
        """Say whether many customers of the zone have done the same for as long: a season."""
        others, limit = hours[self._seat.neighbours], limits[self._seat.neighbours]
        is_alike = np.abs(others - hours[self.column]) <= COMMON_HOURS
        alike = int((is_alike & (others >= limit / 2)).sum())
        return alike >= COMMON_MIN and alike > COMMON_PART * len(others)

    def _level(self, span: Span, n: int) -> float:
        """Return the mean pressure beside it in a bin, NaN where nothing tells it."""
        said = [
            v for v in (float(span.values[n, w]) for w in self._seat.witnesses) if not math.isnan(v)
        ]
        return sum(said) / len(said) if said else math.nan

    def _hour(self, hour: int, span: Span, past: Past) -> list[Finding]:
        c = self.column
        if self.high.finding is not None:
            self._burst_at = int(span.hour[hour])
        if self._burst_at is not None or self.leak.finding is not None:
            span.runs[hour, c] = 0.0
        if self.stop.finding is not None:
            span.pauses[hour, c] = 0.0
        mean = float(span.mean[hour, c])
        if math.isnan(mean):
            return []
        is_still = bool(abs(mean) <= past.still[c])
        if is_still:
            self._burst_at = None
        said = self._leaking(hour, span, past, is_still=is_still)
        said += self._stopped(hour, span, past, is_still=is_still)
        if past.is_lone[c]:
            said += self._too_little(hour, span, past, mean, is_still=is_still)
        return said + self._disagreeing(hour, span, past, mean)

    def _leaking(self, hour: int, span: Span, past: Past, *, is_still: bool) -> list[Finding]:
        c, case, now = self.column, self.leak, int(span.hour[hour])
        if case.finding is not None:
            if is_still:
                twice = case.calm > 0 and now - case.calm <= RECENT
                case.calm = now
                return case.gone("it stands still again") if twice else []
            if now - case.since >= CONTINUOUS_HOURS:
                past.forget(c)
                return case.gone(words.CONTINUOUS)
            return []
        run = float(span.run[hour, c])
        if self._burst_at is not None:  # what came before it ended says nothing
            run = min(run, float(now - self._burst_at))
        if is_still or run < past.run_hours[c]:
            return []
        last = span.recent[hour + 1 : hour + 1 + RECENT, c]
        known = last[~np.isnan(last)]
        least = float(known.min())
        is_large = least >= max(LARGE_M3H, LARGE_PART * float(past.mean[c]))
        if (not is_large and run < SMALL_HOURS) or len(known) < LARGE_HOURS - 4:
            return []
        if self._is_common(span.run[hour], past.run_hours):
            return []
        case.since = now
        case.finding = words.never_zero(
            self.meter.point,
            (now - int(run) + 1) * HOUR_MS,
            hours=int(run),
            least=least,
            still_days=int(past.still_days[c]),
            days=int(past.days[c]),
        )
        return [case.finding]

    def _stopped(self, hour: int, span: Span, past: Past, *, is_still: bool) -> list[Finding]:
        c, case, now = self.column, self.stop, int(span.hour[hour])
        if case.finding is not None:
            case.calm = 0 if is_still else case.calm + 1
            return case.gone("it turns again") if case.calm >= 2 else []
        pause = float(span.pause[hour, c])
        if not is_still or pause < past.pause_hours[c]:
            return []
        if not self.meter.is_district and self._is_common(span.pause[hour], past.pause_hours):
            return []
        level, usual = float(span.level[hour, c]), float(past.level[c])
        is_witnessed = bool(past.is_lone[c]) and not math.isnan(level)
        if is_witnessed and level < HOLDS * usual:
            return []
        if self.meter.is_district and not is_witnessed and pause < LARGE_HOURS:
            return []
        finding = words.stopped(
            self.meter.point,
            (now - int(pause) + 1) * HOUR_MS,
            hours=int(pause),
            pause=int(past.pause[c]),
            is_district=self.meter.is_district,
        )
        if is_witnessed:
            finding = words.with_reason(finding, words.pressures_hold(level, usual))
        case.finding = finding
        return [finding]

    def _too_little(
        self, hour: int, span: Span, past: Past, mean: float, *, is_still: bool
    ) -> list[Finding]:
        c, case, now = self.column, self.little, int(span.hour[hour])
        least = float(past.least_hour[c])
        if case.finding is not None:
            case.calm = case.calm + 1 if mean >= LITTLE_BACK * least else 0
            return case.gone("its flow is as usual again") if case.calm >= 2 else []
        level = float(span.level[hour, c])
        is_little = not is_still and 0 < mean < LITTLE_PART * least and bool(past.is_learnt[c])
        if not is_little or not level >= HOLDS * past.level[c]:
            case.clear()
            return []
        case.add(now * HOUR_MS, mean)
        if case.count < LITTLE_HOURS:
            return []
        finding = words.too_little(
            self.meter.point,
            case.since,
            flow=case.total / case.count,
            hours=case.count,
            least=least,
        )
        case.finding = words.with_reason(finding, words.pressures_hold(level, float(past.level[c])))
        return [case.finding]

    def _disagreeing(self, hour: int, span: Span, past: Past, mean: float) -> list[Finding]:
        c, case, now = self.column, self.off, int(span.hour[hour])
        told = float(span.told[hour, c])
        larger = max(abs(mean), abs(told))  # a meter may run backwards where its total cannot
        if math.isnan(told) or larger <= 2 * past.still[c]:
            return []
        off = abs(abs(mean) - abs(told)) / larger
        if case.finding is not None:
            case.calm = case.calm + 1 if off <= past.off[c] else 0
            return case.gone("flow and total agree again") if case.calm >= OFF_HOURS else []
        if off <= past.off[c]:
            case.clear()
            return []
        case.add(now * HOUR_MS, mean)
        if case.count < OFF_HOURS:
            return []
        case.finding = words.disagrees(
            self.meter.point,
            case.since,
            flow=mean,
            told=told,
            hours=case.count,
            is_district=self.meter.is_district,
        )
        return [case.finding]


def _rows(span_ms: int, width_ms: int) -> int:
    """Return how many bins make a span, two at least."""
    return max(2, -(-span_ms // width_ms))
