"""From hours to volumes: what a counter counted, and what a flow with gaps comes to."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from server.balance.hours import Flags, Floats

SIGMAS = 1.96
"""Of a 95 % interval."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Counted:
    """What a counter counted in each hour, m³, NaN where it cannot be known.

    `spread` are the hours of gaps: what passed in a gap is known, when it passed in it is not, so
    that each of its hours has an equal part. `resets` are the hours that began again lower, and
    `spikes` those that held a value which the next hour took back.
    """

    m3: Floats
    spread: Flags
    resets: Flags
    spikes: Flags


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """What passed in some hours: measured, and filled in for the hours that nobody measured.

    `filled_error` is how far the filled part may be off, at 95 %.
    """

    measured_m3: float
    filled_m3: float
    filled_error: float
    hours: int
    known_hours: int

    @property
    def m3(self) -> float:
        """Return both parts."""
        return self.measured_m3 + self.filled_m3

    @property
    def share(self) -> float:
        """Return which share of the hours was measured."""
        return self.known_hours / self.hours if self.hours else 0.0


def counted(low: Floats, high: Floats) -> Counted:
    """Return what a running total counted, out of its lowest and highest value in each hour.

    Differences of the highest values, each counted once and none backwards. A total that falls was
    reset: of that hour only what it counted from its new beginning is known, and what was lost at
    the reset is not guessed. What the next hour takes back, up or down, was never there.
    """
    m3 = np.full(len(low), np.nan)
    spread, resets, spikes = (np.zeros(len(low), np.bool_) for _ in range(3))
    heard = np.flatnonzero(np.isfinite(high)).tolist()
    last: int | None = None
    for n, hour in enumerate(heard):
        if (
            last is not None
            and n + 1 < len(heard)
            and _is_taken_back(low, high, last, *heard[n : n + 2])
        ):
            spikes[hour] = True
            continue
        if last is not None and high[hour] >= high[last]:
            m3[last + 1 : hour + 1] = (high[hour] - high[last]) / (hour - last)
            spread[last + 1 : hour + 1] = hour - last > 1
        else:
            resets[hour] = last is not None
            m3[hour] = high[hour] - low[hour]
        last = hour
    return Counted(m3=m3, spread=spread, resets=resets, spikes=spikes)


def _is_taken_back(low: Floats, high: Floats, last: int, hour: int, following: int) -> bool:
    """Say whether an hour stands out between neighbours that go on as if it were not there."""
    goes_on = bool(low[following] >= high[last])
    stands_out = high[hour] < high[last] or high[following] < high[hour]
    return goes_on and bool(stands_out)


def filled(m3: Floats, clock_hour: npt.NDArray[np.int64]) -> Volume:
    """Return the volume of some hours; those without one get the median of their hour of the day.

    `clock_hour` is each hour's hour by the zone's clock. An hour of the day that was never measured
    gets the median of all. The error takes every filled hour as wrong the same way.
    """
    known = np.isfinite(m3)
    fill = error = 0.0
    if known.any():
        for hour in np.unique(clock_hour[~known]).tolist():
            same = m3[known & (clock_hour == hour)]
            some = same if len(same) else m3[known]
            count = int(np.count_nonzero(~known & (clock_hour == hour)))
            fill += count * float(np.median(some))
            error += count * SIGMAS * float(np.std(some))
    return Volume(
        measured_m3=float(np.sum(m3[known])),
        filled_m3=fill,
        filled_error=error,
        hours=len(m3),
        known_hours=int(np.count_nonzero(known)),
    )
