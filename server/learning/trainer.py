"""The trainer: each night it works out what the coming days should bring, zone by zone.

It runs outside the engine's fold, reads past hours only, and what it finds enters the journal as a
`ModelPublished`. Live and replayed it is called at the same instants: half past midnight of each
zone's own time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import isnan, nan
from typing import Any

import numpy as np

from server.engine.detectors.forecast import LEVEL_DAYS, READY, VERSION, Forecast
from server.engine.detectors.grid import Floats
from server.engine.detectors.season import CLIP, Season
from server.engine.events import ModelPublished, hash_of
from server.engine.registry import Registry, Zone
from server.engine.training import Period
from server.learning import point_habits
from server.learning.bands import learnt_of
from server.learning.day_kinds import Calendar, Days, weekday_of
from server.learning.habits import KNOWN_HOURS, MAD, Habit, habit_of
from server.learning.past import Past, net_of
from telemetry.instant import HOUR_MS, MINUTE_MS, Instant

AT_MS = 30 * MINUTE_MS
"""After midnight of the zone: then the last day is known, late samples included."""

WINDOW = 42
"""Days that a habit is learnt from: six of each weekday."""

LEARNT = 14
"""Known days that are needed before anything is told."""

BANDS_ON = 0
"""The weekday on which the bands of points are learnt: Monday."""

COMING = 2
"""Days that are told beforehand: one more than needed, should a training fail."""

REMEMBERED = 90
"""Days of its own deviations that a zone's threshold is set by."""

THRESHOLD_MIN, THRESHOLD_MAX = 12.0, 60.0
UNPROVEN = 20.0
"""The threshold until two weeks of deviations are known."""

PROVEN = 14

GROWTH = 2.75
"""Threshold over the long-run variance of a zone's deviations."""

SLOW_MIN, SLOW_MAX, SLOW_GROWTH = 60.0, 120.0, 7.0
"""The same of the slow sum, whose threshold is the least one until deviations are known."""

ODD = 3.0
"""How much wider sigma is on days of which little is known: holidays and their eves."""


NO_METER = "no meter of its inflow is known"
TOO_LITTLE = f"fewer than {LEARNT} days of the chosen period are known: learnt from the last days"


@dataclass(slots=True, kw_only=True)
class _Diary:
    """What is known of one zone by day: net inflow by hour of the clock, and how far it was off.

    `season` is the detector itself, run over the zone's past: `off` has its deviations in sigmas,
    NaN while it rests, and `alarms` how often it told of a rise. `is_known` says of which days
    enough is known, `mean_off` how far a day was off in the mean; NaN where too little is known.
    """

    season: Season
    net: dict[int, Floats] = field(default_factory=dict)
    hours: dict[int, list[tuple[int, float]]] = field(default_factory=dict)
    off: dict[int, Floats] = field(default_factory=dict)
    alarms: dict[int, int] = field(default_factory=dict)
    is_known: dict[int, bool] = field(default_factory=dict)
    mean_off: dict[int, float] = field(default_factory=dict)
    tonight: tuple[int, dict[str, Any]] | None = None

    def forget(self, before: int) -> None:
        """Forget the days before one."""
        tables = (self.net, self.hours, self.off, self.alarms, self.is_known, self.mean_off)
        for days in tables:
            for day in [d for d in days if d < before]:
                del days[day]


class Trainer:
    """Every zone with meters; `calendars` by the names that zones use, none for "none"."""

    def __init__(self, calendars: Mapping[str, Calendar]) -> None:
        self._calendars = calendars
        self._diaries: dict[tuple[Any, ...], _Diary] = {}
        self._last: dict[str, tuple[int, Period | None]] = {}

    def due(self, registry: Registry, after: Instant) -> Instant | None:
        """Return the next instant after `after` at which a zone is to be trained."""
        found = [self._next(zone, after) for zone in registry.zones.values()]
        return min(found, default=None)

    def _next(self, zone: Zone, after: Instant) -> Instant:
        days = self._days(zone)
        day = days.day(after)
        today = Instant(days.start(day) + AT_MS)
        return today if today > after else Instant(days.start(day + 1) + AT_MS)

    def _days(self, zone: Zone) -> Days:
        return Days(timezone=zone.timezone, calendar=self._calendars.get(zone.calendar, Calendar()))

    def train(
        self,
        registry: Registry,
        past: Past,
        *,
        at: Instant,
        clean: Mapping[str, Period] | None = None,
    ) -> list[ModelPublished]:
        """Return what was learnt of each zone that is due.

        `clean` are periods that engineers chose for a zone to be learnt from.
        """
        published = []
        for zone in self.zones_due(registry, at, clean=clean):
            day, chosen = self._days(zone).day(at), (clean or {}).get(zone.id)
            published.append(self._publish(registry, zone, past, day, at, chosen))
            self._last[zone.id] = (day, chosen)
        return published

    def zones_due(
        self, registry: Registry, at: Instant, *, clean: Mapping[str, Period] | None = None
    ) -> list[Zone]:
        """Return the zones that are to be trained now.

        Those never trained, each once a day, and those whose chosen period is another one now.
        """
        found = []
        for name in sorted(registry.zones):
            zone = registry.zones[name]
            days = self._days(zone)
            day, last = days.day(at), self._last.get(name)
            is_other = last is not None and last[1] != (clean or {}).get(name)
            is_new_day = last is not None and last[0] != day and at >= days.start(day) + AT_MS
            if last is None or is_other or is_new_day:
                found.append(zone)
        return found

    def _publish(
        self,
        registry: Registry,
        zone: Zone,
        past: Past,
        day: int,
        at: Instant,
        clean: Period | None,
    ) -> ModelPublished:
        days = self._days(zone)
        artefact, used = self._artefact(zone, past, days, day, clean)
        window = (days.start(day - WINDOW), days.start(day)) if used is None else used
        if used is not None or weekday_of(day) == BANDS_ON:
            artefact["points"] = learnt_of(zone, registry.points, past, window)
            habits = point_habits.learnt_of(zone, registry.points, past, window, days, day)
            artefact |= {} if habits is None else {"habits": habits}
        return ModelPublished(
            at=at, zone=zone.id, window=window, artefact=artefact, hash=hash_of(artefact)
        )

    def _artefact(
        self, zone: Zone, past: Past, days: Days, day: int, clean: Period | None
    ) -> tuple[dict[str, Any], Period | None]:
        """Return what was learnt, and the chosen period if it was learnt from that."""
        told: dict[str, Any] = {"version": VERSION, "of": LEARNT}
        if not zone.inflow:
            return {**told, "state": "off", "days": 0, "because": NO_METER}, None
        # Another registry of the same zone is another past.
        key = (zone.id, zone.inflow, zone.storage)
        diary = self._diaries.setdefault(key, _Diary(season=Season(zone.id)))
        self._write_down(diary, zone, past, days, day)
        told["days"] = _known(diary, diary.net)
        if told["days"] < LEARNT:
            return {**told, "state": "learning"}, None
        if clean is not None and _known(diary, _within(diary, days, clean)) < LEARNT:
            told["because"], clean = TOO_LITTLE, None
        self._judge(diary, days)
        inflow = self._inflow(diary, days, day, clean)
        diary.tonight = (day, inflow) if clean is None else None
        return {**told, "state": READY, "inflow": inflow}, clean

    def _write_down(self, diary: _Diary, zone: Zone, past: Past, days: Days, day: int) -> None:
        """Read the days before `day` that are not in the diary yet."""
        first = max(day - WINDOW - REMEMBERED, max(diary.net, default=day - 10_000) + 1)
        diary.forget(day - WINDOW - REMEMBERED)
        begin = Instant(days.start(first) // HOUR_MS * HOUR_MS)
        net = net_of(past, zone, begin, days.start(day)).tolist()
        for d in range(first, day):
            hours = [(at, clock, net[(at - begin) // HOUR_MS]) for at, clock in days.hours(d)]
            row, count = np.zeros(24), np.zeros(24)
            for _, clock, value in hours:
                if not isnan(value):
                    row[clock] += value
                    count[clock] += 1
            if count.any() or diary.net:  # before the first that is known there is no past
                means = np.where(count > 0, row / np.maximum(count, 1), np.nan)
                diary.net[d], diary.is_known[d] = means, _is_known(means)
                diary.hours[d] = [(at, value) for at, _, value in hours]

    def _judge(self, diary: _Diary, days: Days) -> None:
        """Run the detector over the days that it has not seen."""
        for d in [d for d in diary.net if d not in diary.off]:
            diary.off[d], diary.alarms[d], diary.mean_off[d] = np.full(24, np.nan), 0, nan
            if len(self._window(diary, d)) < LEARNT:
                continue
            told = diary.tonight[1] if diary.tonight is not None and diary.tonight[0] == d else None
            told = told or self._inflow(diary, days, d, None)
            artefact = {"version": VERSION, "state": READY, "inflow": told}
            diary.season.publish(Forecast.of(artefact), at=Instant(days.start(d) + AT_MS))
            off = []
            for start, value in diary.hours[d]:
                seen = diary.season.look(start, value)
                if seen is None:
                    continue
                at = Instant(start + HOUR_MS)
                diary.alarms[d] += len(diary.season.step(seen, 0.0, at=at))
                off.append(nan if diary.season.rests(at) else seen.above / seen.sigma)
            diary.off[d] = np.array(off)
            diary.mean_off[d] = mean_off(diary.off[d])

    def _inflow(self, diary: _Diary, days: Days, day: int, clean: Period | None) -> dict[str, Any]:
        """Return what the days from `day` on should bring of net inflow, and the threshold."""
        habit = self._habit(diary, days, day, clean)
        expected: list[float | None] = []
        sigma: list[float | None] = []
        for d in range(day, day + COMING):
            shape = habit.expected(days.kind(d), weekday_of(d))
            noise = habit.sigma * (ODD if days.is_odd(d) else 1.0)
            for _, clock in days.hours(d):
                expected.append(_rounded(shape[clock]))
                sigma.append(_rounded(noise[clock]))
        levels = [
            [days.start(d), _rounded(level)]
            for d, level in zip(self._window(diary, day), habit.levels.tolist(), strict=True)
            if not isnan(level)
        ]
        judged = [d for d in sorted(diary.off) if day - REMEMBERED <= d < day and len(diary.off[d])]
        means = [diary.mean_off[d] for d in judged]
        return {
            "begin": -(-days.start(day) // HOUR_MS) * HOUR_MS,
            "expected": expected,
            "sigma": sigma,
            "levels": levels[-2 * LEVEL_DAYS :],
            "threshold": _rounded(threshold_of(means)),
            "slow_threshold": _rounded(slow_threshold_of(means)),
            "past_days": len(judged),
            "past_alarms": sum(diary.alarms[d] for d in judged),
        }

    def _window(self, diary: _Diary, day: int) -> list[int]:
        return [d for d in range(day - WINDOW, day) if d in diary.net]

    def _habit(self, diary: _Diary, days: Days, day: int, clean: Period | None) -> Habit:
        """Return the habit as the days before `day` show it.

        Those of a clean period, if one is given, and the levels of the last days all the same.
        """
        chosen = window = self._window(diary, day)
        if clean is not None:
            chosen = _within(diary, days, clean)
        together = sorted({*chosen, *window})
        habit = habit_of(
            np.array([diary.net[d] for d in together]),
            np.array([days.kind(d) for d in together], dtype=np.int64),
            np.array([weekday_of(d) for d in together], dtype=np.int64),
            learnt=np.isin(together, chosen),
        )
        return replace(habit, levels=habit.levels[np.isin(together, window)])


def _within(diary: _Diary, days: Days, period: Period) -> list[int]:
    """Return the days of a diary that lie in a period whole."""
    begin, end = period
    return [d for d in sorted(diary.net) if begin <= days.start(d) and days.start(d + 1) <= end]


def _known(diary: _Diary, chosen: Iterable[int]) -> int:
    """Return how many of some days have hours enough."""
    return sum(diary.is_known[d] for d in chosen)


def threshold_of(means: list[float]) -> float:
    """Return the quick CUSUM's threshold in sigmas, from how far each past day was off in the mean.

    What a sum of deviations reaches by chance grows with their variance in the long run, which is
    24 times that of daily means: a sum with drift -k and variance v passes h by chance as often as
    exp(-2kh/v) says (docs/detection.md).
    """
    variance = _variance_of(means)
    return (
        UNPROVEN if isnan(variance) else min(max(GROWTH * variance, THRESHOLD_MIN), THRESHOLD_MAX)
    )


def slow_threshold_of(means: list[float]) -> float:
    """Return that of the slow CUSUM."""
    variance = _variance_of(means)
    known = 0.0 if isnan(variance) else SLOW_GROWTH * variance
    return min(max(known, SLOW_MIN), SLOW_MAX)


def _variance_of(means: list[float]) -> float:
    """Return the long-run variance of hourly deviations in sigmas²; NaN of too few days."""
    known = [mean for mean in means if not isnan(mean)]
    if len(known) < PROVEN:
        return nan
    return 24 * (MAD * float(np.median(np.abs(known)))) ** 2


def mean_off(day: Floats) -> float:
    """Return how far a day was off in the mean; NaN where too little of it is known."""
    return float(np.nanmean(np.clip(day, -CLIP, CLIP))) if _is_known(day) else nan


def _is_known(day: Floats) -> bool:
    return bool((~np.isnan(day)).sum() >= KNOWN_HOURS)


def _rounded(value: float) -> float | None:
    """Return a value to five digits, as JSON has it; None for NaN."""
    return None if isnan(value) else float(f"{value:.5g}")
