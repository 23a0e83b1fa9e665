"""One zone's net inflow against its habit: CUSUMs of hourly deviations (Page 1954).

Input: the hour's net inflow in sigmas from what the zone's forecast says. Two sums look for a rise.
The quick one has a high reference and is told within hours, when it looks like water that runs
away: steady, and no better explained by customers who all use more. A leak of constant size is
steady whatever the hour; demand grows in proportion to itself. The slow one has a low reference and
a high threshold: it finds in days what is small against the noise of its zone, and asks for a part
of the inflow instead of a shape. Afterwards the zone rests until its level is known again.

Source: the sums are those of Page (1954), the clipping of Huber (1964), two references under one
budget of alarms after Sparks (2000); the test of the shape is our own.
docs/detection.md tells why the figures are what they are.
"""

from dataclasses import dataclass, replace

from server.engine.detectors.finding import Finding
from server.engine.detectors.forecast import Forecast
from server.engine.effects import AlarmKind
from telemetry.instant import DAY_MS, HOUR_MS, Instant

REFERENCE = 1.5
"""k: sigmas that an hour may deviate without adding to the quick sum, or to that of a fall."""

SLOW_REFERENCE = 1.0
"""The same of the slow sum: half of a rise of two sigmas, a fifth of the inflow of noisy zones."""

CLIP = 4.0
"""An hour counts for no more sigmas than this (Huber): no single one raises an alarm."""

FREEZE = 0.3
"""Of the threshold: a sum beyond it puts the days since its start under suspicion."""

SUSPECT_MAX_MS = 7 * DAY_MS
REST_MS = 3 * DAY_MS
"""After an alarm nothing is told for so long: so many days show the new level."""

SHAPE_HOURS = 48
SHAPE_MIN = 3
UNSTEADY = 3.0
"""Mean square of what a steady leak leaves unexplained, in sigmas²; more is no leak."""

DOUBT = 2.0
"""In sigmas²: how much better demand may explain hours that leave both open."""

CAP = 3.0
"""Of the threshold: where the sum stays while its shape is not that of a leak."""

QUICK_MS = 12 * HOUR_MS
LATE = 2.0
"""Times the threshold for a quick sum that took longer: weak rises are the slow sum's business."""

SLOW_SHARE = 0.1
"""Of the day's level: a slow rise of less may be the season's drift, and waits."""

GROWN_MS = DAY_MS
"""A rise that took longer than this is growth of what is already told in the zone."""

BACK = 0.4
"""Part of a leak that may be left when a day's level says that it is gone."""

FORGET_MS = 60 * DAY_MS
SEVERITY = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One hour: what was expected, its sigma, and how far the net inflow was above, in m³/h."""

    start: int
    expected: float
    sigma: float
    above: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A leak that is told: the level before it, and when it was last said to have grown."""

    finding: Finding
    base: float
    at: Instant


QUICK, FALL, SLOW = range(3)
_WAYS = ((1.0, REFERENCE), (-1.0, REFERENCE), (1.0, SLOW_REFERENCE))


class Season:
    """The CUSUMs of one zone and what it has told. Silent until a forecast is published."""

    def __init__(self, zone: str) -> None:
        self.zone = zone
        self.forecast: Forecast | None = None
        self.level = 0.0
        self._sums = [0.0] * len(_WAYS)
        self._starts = [Instant(0)] * len(_WAYS)
        self._since = Instant(0)
        self._rests_until = Instant(0)
        self._seen: list[Seen] = []
        self._told: list[Told] = []
        self._count = 0

    def publish(self, forecast: Forecast | None, *, at: Instant) -> list[Finding]:
        """Take in what was learnt; return the leaks that the last whole day says are gone."""
        self.forecast = forecast
        if forecast is None or not forecast.levels:
            return []
        self.level = forecast.level(since=self._since, before=self._suspect(at, forecast))
        day, level = forecast.levels[-1]
        gone = [f for t in self._told if (f := _over(t, day, level, at)) is not None]
        keys = {f.key for f in gone}
        self._told = [t for t in self._told if t.finding.key not in keys]
        return gone

    def _suspect(self, at: Instant, forecast: Forecast) -> Instant:
        """Return from when on days are under suspicion: where a sum that is pending began."""
        limits = (forecast.threshold, forecast.threshold, forecast.slow_threshold)
        pending = [
            start
            for total, start, limit in zip(self._sums, self._starts, limits, strict=True)
            if total > FREEZE * limit and at - start <= SUSPECT_MAX_MS
        ]
        return min(pending, default=at)

    def look(self, start: int, net: float) -> Seen | None:
        """Return an hour against the forecast; None where either is unknown."""
        known = None if self.forecast is None else self.forecast.hour(start)
        if known is None or net != net:  # noqa: PLR0124  NaN is the one number that is not itself
            return None
        expected = self.level + known[0]
        return Seen(start=start, expected=expected, sigma=known[1], above=net - expected)

    def step(self, seen: Seen, common: float, *, at: Instant) -> list[Finding]:
        """Add an hour, less `common`: the sigmas by which all zones deviate. `at` is its end."""
        assert self.forecast is not None
        self._seen = [*self._seen[1 - SHAPE_HOURS :], seen]
        if self.rests(at):
            self._sums = [0.0] * len(_WAYS)
            return []
        self._add(seen, common)
        threshold = self.forecast.threshold
        is_late = at - self._starts[QUICK] > QUICK_MS
        if self._sums[QUICK] > threshold * (LATE if is_late else 1.0):
            estimate = leak_of([s for s in self._seen if s.start > self._starts[QUICK]])
            if estimate is not None:
                return [self._rise(QUICK, estimate, seen, at=at)]
            self._sums[QUICK] = min(self._sums[QUICK], CAP * threshold)
        if self._sums[SLOW] > self.forecast.slow_threshold:
            estimate = mean_above([s for s in self._seen if s.start >= self._starts[SLOW]])
            if estimate > SLOW_SHARE * abs(self.level):
                return [self._rise(SLOW, estimate, seen, at=at)]
            self._sums[SLOW] = self.forecast.slow_threshold
        if self._sums[FALL] > threshold:
            self._rest(self._starts[FALL], at)
        return []

    def _add(self, seen: Seen, common: float) -> None:
        """Add an hour to the sums."""
        z = seen.above / seen.sigma - common
        z = min(max(z, -CLIP), CLIP)
        for way, (sign, reference) in enumerate(_WAYS):
            total = max(0.0, self._sums[way] + sign * z - reference)
            if total > 0.0 and self._sums[way] == 0.0:
                self._starts[way] = Instant(seen.start)
            self._sums[way] = total

    def _rise(self, way: int, estimate: float, seen: Seen, *, at: Instant) -> Finding:
        onset = self._starts[way]
        hours = round((at - onset) / HOUR_MS)
        assert self.forecast is not None
        because = (
            self._words(way, estimate, hours),
            f"last hour {seen.expected + seen.above:.1f} m³/h, usual {seen.expected:.1f} m³/h",
            f"the zone's own past would bring {self.forecast.alarms_a_year:.1f} such alarms a year",
        )
        newest = self._told[-1] if self._told else None
        if newest is not None and at - onset > GROWN_MS:
            grown = (newest.finding.estimate_m3h or 0.0) + estimate
            finding = replace(
                newest.finding,
                estimate_m3h=grown,
                because=(f"it has grown to {grown:.1f} m³/h", *because),
            )
            self._told[-1] = replace(newest, finding=finding, at=at)
        else:
            self._count += 1
            finding = Finding(
                kind=AlarmKind.LEAK,
                zone=self.zone,
                subject=f"rise-{self._count}",
                points=(),
                is_present=True,
                severity=SEVERITY,
                onset=onset,
                because=because,
                estimate_m3h=estimate,
            )
            self._told.append(Told(finding=finding, base=self.level, at=at))
        self._rest(onset, at)
        return finding

    def _words(self, way: int, estimate: float, hours: int) -> str:
        share = 100 * estimate / max(abs(self.level), 0.1)
        how = "at every hour alike" if way == QUICK else "on the mean of its last hours"
        return (
            f"net inflow of {self.zone} has stood {estimate:.1f} m³/h ({share:.0f} %) above its"
            f" habit for {hours} h, {how}"
        )

    def rests(self, at: Instant) -> bool:
        """Say whether the zone rests: nothing is told while its new level is not known."""
        return at <= self._rests_until

    def _rest(self, start: Instant, at: Instant) -> None:
        """Wait until the level is known again, from days after the change alone."""
        self._since = Instant(max(start, at - 2 * DAY_MS))
        self._rests_until = Instant(at + REST_MS)
        self._sums = [0.0] * len(_WAYS)

    def withdraw(self, because: str) -> list[Finding]:
        """Take down what is told."""
        gone = [t.finding.gone(because) for t in self._told]
        self._told = []
        return gone


def _over(told: Told, day: int, level: float, at: Instant) -> Finding | None:
    """Return that a leak is gone, if a whole day after it says so, or nothing speaks of it more."""
    size = told.finding.estimate_m3h or 0.0
    if day > told.at and level < told.base + BACK * size:
        return told.finding.gone(
            f"a day's level of net inflow is {level:.1f} m³/h again;"
            f" before the leak it was {told.base:.1f}"
        )
    if at - told.at > FORGET_MS:
        days = (at - told.at) // DAY_MS
        return told.finding.gone(f"nothing more was seen of it for {days} days: it is habit now")
    return None


def leak_of(seen: list[Seen]) -> float | None:
    """Return the size in m³/h of a steady leak that hours show; None if they look otherwise.

    A leak adds the same at every hour; demand adds in proportion to what is expected. Each is
    fitted by weighted least squares; the leak must fit, and better than demand does.

    >>> hours = [Seen(start=n, expected=50.0 + n, sigma=2.0, above=9.0) for n in range(6)]
    >>> leak_of(hours)
    9.0
    >>> leak_of([Seen(start=n, expected=10.0 * n, sigma=2.0, above=3.0 * n) for n in range(6)])
    """
    if len(seen) < SHAPE_MIN:
        return None
    pairs = [(1.0 / s.sigma**2, s) for s in seen]
    steady = mean_above(seen)
    size = sum(w * s.expected**2 for w, s in pairs)
    share = sum(w * s.above * s.expected for w, s in pairs) / size if size > 0 else 0.0
    as_leak = sum(w * (s.above - steady) ** 2 for w, s in pairs)
    as_demand = sum(w * (s.above - share * s.expected) ** 2 for w, s in pairs)
    is_leak = as_leak <= as_demand + DOUBT and as_leak <= UNSTEADY * len(seen)
    return steady if is_leak and steady > 0 else None


def mean_above(seen: list[Seen]) -> float:
    """Return how far some hours were above, in m³/h, each by what it says for certain."""
    weights = [1.0 / s.sigma**2 for s in seen]
    return sum(w * s.above for w, s in zip(weights, seen, strict=True)) / sum(weights)
