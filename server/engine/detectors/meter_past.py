"""What each meter ordinarily does: 28 days of it, a few figures a day.

A day enters when it is over and at least 18 of its hours are known, and never while something is
found at the meter: what is wrong is not learnt. What is learnt changes only then, at the end of a
UTC day. The most and the least are those of the second most extreme day: one odd day teaches
nothing.
"""

import numpy as np

from server.engine.detectors.grid import Bools, Floats
from server.engine.detectors.meter_sheet import MeterSheet
from telemetry.instant import DAY_MS

DAYS = 28
LEARN_DAYS = 7
"""Days that must be known before anything is told of a meter, except of its direction."""

SIGN_DAYS = 3
"""The same for which way it runs, and for whether flow and total agree."""

KNOWN_HOURS = 18

STILL_M3H, STILL_PART, STILL_PART_DISTRICT = 0.01, 0.005, 0.002
"""An hour stands still at or below this flow, or this part of the most of an hour."""

CUSTOMER_TIMES, CUSTOMER_MORE_M3H = 2.0, 1.5
DISTRICT_TIMES, UNWITNESSED_TIMES = 3.0, 5.0
"""How many times its most a meter must show, a customer's also so much more: a garden hose is no
burst."""

BACK_M3H, BACK_PART = 0.05, 0.02
"""A meter runs backwards below this flow, or this part of its most of an hour."""

OFF_PART, OFF_TIMES = 0.05, 3.0
"""Flow and total differ by this part, or so many times as much as they ordinarily do."""

STILL_DAYS = 5
LARGE_HOURS, SMALL_HOURS, RUN_TIMES = 24, 72, 1.5
"""A customer's meter that stands still on these many days, and half of those that are known, must
not do so for so long: for a large flow, for a small one, and so many times its longest run."""

BUSY_HOURS, AWAY_HOURS, EDGE_HOURS, LONE_HOURS, PAUSE_TIMES = 48, 21 * 24, 24, 2, 3.0
"""A meter may stand still so many times its longest pause. A customer's at least two days if it
hardly ever pauses, else three weeks: people go away, and a school's holiday is no fault. A
district's a day, the only inlet of a zone whose pressures hold two hours."""

BUSY_PAUSE_HOURS = 3

(
    _HOURS,
    _STILL,
    _RUN,
    _PAUSE,
    _MOST,
    _LEAST,
    _MOST_HOUR,
    _LEAST_HOUR,
    _SUM,
    _OFF,
    _LEVEL,
    _LEVELS,
) = range(12)
_START = np.array([0, 0, 0, 0, -np.inf, np.inf, -np.inf, np.inf, 0, -np.inf, 0, 0.0])


class Past:
    """The past of the meters of one sheet, and what follows from it until the next day's end."""

    def __init__(self, sheet: MeterSheet) -> None:
        self._width_ms = sheet.width_ms
        size = len(sheet.meters)
        self.is_district = np.array([m.is_district for m in sheet.meters], dtype=np.bool_)
        self.is_lone = np.array(
            [m.is_lone and bool(m.witnesses) for m in sheet.meters], dtype=np.bool_
        )
        self._ring = np.full((12, DAYS, size), np.nan)
        self._next = np.zeros(size, dtype=np.int64)
        self.today = np.repeat(_START[:, None], size, axis=1)
        self.granted = np.full(size, -np.inf)
        self._learn()

    def adopt(self, other: "Past", ours: list[int], theirs: list[int]) -> None:
        """Go on with what is known of some meters."""
        for name in ("_ring", "_next", "today", "granted"):
            getattr(self, name)[..., ours] = getattr(other, name)[..., theirs]
        self._learn()

    def forget(self, meter: int) -> None:
        """Begin anew with one meter: its use has changed. Nothing is told until it is learnt."""
        self._ring[:, :, meter] = np.nan
        for limit in (self.high, self.leap, self.off, self.run_hours, self.pause_hours):
            limit[meter] = np.inf
        self.low[meter] = -np.inf

    def grant(self, meter: int, flow: float) -> None:
        """Take a flow for ordinary from now on."""
        self.granted[meter] = flow
        self.most[meter] = max(self.most[meter], flow)
        self.high[meter] = max(CUSTOMER_TIMES * flow, flow + CUSTOMER_MORE_M3H)

    def take_rows(self, values: Floats, is_told: Bools) -> None:
        """Take in the flows of some bins, but those at which something was found."""
        said = np.where(is_told | np.isnan(values), np.nan, values)
        self.today[_MOST] = np.fmax(self.today[_MOST], np.fmax.reduce(said, axis=0))
        self.today[_LEAST] = np.fmin(self.today[_LEAST], np.fmin.reduce(said, axis=0))

    def take_back(self, meter: int, value: float) -> None:
        """Take in the extreme of some bins that looked odd and came to nothing."""
        self.today[_MOST, meter] = max(self.today[_MOST, meter], value)
        self.today[_LEAST, meter] = min(self.today[_LEAST, meter], value)

    def take_hours(
        self, mean: Floats, *, runs: Floats, pauses: Floats, off: Floats, level: Floats
    ) -> None:
        """Take in closed hours, (hours, meters); NaN is not known.

        `runs` and `pauses` have the lengths of those that ended in an hour, else 0.
        """
        today = self.today
        is_known = ~np.isnan(mean)
        today[_HOURS] += is_known.sum(axis=0)
        today[_STILL] += (is_known & (np.abs(mean) <= self.still)).sum(axis=0)
        today[_RUN] = np.maximum(today[_RUN], runs.max(axis=0))
        today[_PAUSE] = np.maximum(today[_PAUSE], pauses.max(axis=0))
        today[_MOST_HOUR] = np.fmax(today[_MOST_HOUR], np.fmax.reduce(mean, axis=0))
        today[_LEAST_HOUR] = np.fmin(today[_LEAST_HOUR], np.fmin.reduce(mean, axis=0))
        today[_OFF] = np.fmax(today[_OFF], np.fmax.reduce(off, axis=0))
        has_level = ~np.isnan(level)
        today[_LEVELS] += has_level.sum(axis=0)
        flows, levels = np.where(is_known, mean, 0.0), np.where(has_level, level, 0.0)
        for n in range(len(mean)):  # one after another: sums must not depend on how hours come
            today[_SUM] += flows[n]
            today[_LEVEL] += levels[n]

    def end_day(self, is_odd: Bools) -> None:
        """Keep the day, but of meters at which something is found, and learn."""
        kept = np.flatnonzero((self.today[_HOURS] >= KNOWN_HOURS) & ~is_odd)
        day = self.today[:, kept].copy()
        hours, levels = day[_HOURS], np.maximum(day[_LEVELS], 1)
        day[_SUM] /= hours
        day[_LEVEL] = np.where(day[_LEVELS] > 0, day[_LEVEL] / levels, np.nan)
        day[~np.isfinite(day)] = np.nan
        self._ring[:, self._next[kept], kept] = day
        self._next[kept] = (self._next[kept] + 1) % DAYS
        self.begin_day()
        self._learn()

    def begin_day(self) -> None:
        """Forget a day that is not over."""
        self.today[:] = _START[:, None]

    def day_mean(self) -> Floats:
        """Return the mean flow of today, NaN where too little of it is known."""
        hours = self.today[_HOURS]
        is_known = hours >= KNOWN_HOURS
        return np.where(is_known, self.today[_SUM] / np.maximum(hours, 1), np.nan)

    def _learn(self) -> None:
        ring = self._ring
        is_known = ~np.isnan(ring[_HOURS])
        self.days = is_known.sum(axis=0)
        self.still_days = (ring[_STILL] > 0).sum(axis=0)
        self.run, self.pause = np.fmax.reduce(ring[[_RUN, _PAUSE]], axis=1, initial=0.0)
        extremes = np.stack(
            [ring[_MOST], -ring[_LEAST], ring[_MOST_HOUR], -ring[_LEAST_HOUR], ring[_OFF]]
        )
        most, least, self.most_hour, least_hour, off = _second(extremes)
        self.most = np.fmax(most, self.granted)
        self.least, self.least_hour = -least, -least_hour
        self.mean, self.level = _mean(ring[[_SUM, _LEVEL]])
        self.off_days = (~np.isnan(ring[_OFF])).sum(axis=0)
        part = np.where(self.is_district, STILL_PART_DISTRICT, STILL_PART)
        hourly = np.nan_to_num(self.most_hour, nan=0.0)
        self.still = np.maximum(STILL_M3H, part * hourly)
        self._limits(hourly, off)

    def _limits(self, hourly: Floats, off: Floats) -> None:
        is_learnt = (self.days >= LEARN_DAYS) & (self.most > self.still)
        times = np.where(self.is_lone, DISTRICT_TIMES, UNWITNESSED_TIMES)
        customer = np.maximum(CUSTOMER_TIMES * self.most, self.most + CUSTOMER_MORE_M3H)
        high = np.where(self.is_district, times * self.most, customer)
        self.high = np.where(is_learnt, high, np.inf)
        self.leap = np.where(is_learnt, self.most * (DAY_MS / self._width_ms), np.inf)
        back = np.maximum(BACK_M3H, BACK_PART * hourly)
        runs_forward = (self.days >= SIGN_DAYS) & (self.least > -back / 2)
        self.low = np.where(runs_forward, -back, -np.inf)
        limit = np.maximum(OFF_PART, OFF_TIMES * np.nan_to_num(off, nan=0.0))
        self.off = np.where(self.off_days >= SIGN_DAYS, limit, np.inf)
        self.is_learnt = is_learnt
        self._waits()

    def _waits(self) -> None:
        """Set how many hours in a row, all of them still or none, are told."""
        often = self.still_days >= np.maximum(STILL_DAYS, self.days / 2)
        may_leak = ~self.is_district & (self.days >= LEARN_DAYS) & often
        self.run_hours = np.where(may_leak, np.maximum(LARGE_HOURS, RUN_TIMES * self.run), np.inf)
        pause = self.pause
        by_habit = np.where(pause <= BUSY_PAUSE_HOURS, BUSY_HOURS, AWAY_HOURS)
        edge = np.where(self.is_lone, LONE_HOURS, EDGE_HOURS)
        least = np.where(self.is_district, edge, by_habit)
        turns = (self.days >= LEARN_DAYS) & (self.most_hour > self.still)
        self.pause_hours = np.where(turns, np.maximum(least, PAUSE_TIMES * pause), np.inf)


def _second(days: Floats) -> Floats:
    """Return the second largest of the days, (figures, days, meters), or the only one, or NaN."""
    filled = np.where(np.isnan(days), -np.inf, days)
    top = np.partition(filled, DAYS - 2, axis=1)
    found = np.where(top[:, DAYS - 2] == -np.inf, top[:, DAYS - 1], top[:, DAYS - 2])
    return np.where(found == -np.inf, np.nan, found)


def _mean(days: Floats) -> Floats:
    """Return the mean of the days, (figures, days, meters), NaN where there is none."""
    is_known = ~np.isnan(days)
    count = is_known.sum(axis=1)
    sums = np.where(is_known, days, 0.0).sum(axis=1)
    return np.where(count > 0, sums / np.maximum(count, 1), np.nan)
