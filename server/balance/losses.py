"""Real losses from below, out of night flows, and how much of them no utility can avoid."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from server.balance.hours import Floats
from server.balance.nights import NIGHT_USE_SHARE, NightUse, number
from server.balance.volumes import SIGMAS
from server.config import BalanceSection
from telemetry.units import KPA_PER_METRE_OF_WATER

N1_RANGE = (0.5, 1.5)
"""Leakage grows with pressure to a power between that of a fixed hole and that of plastic pipe."""

NIGHTS_SHARE_MIN = 0.5
"""A month of which fewer nights are known has no losses from below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A figure with the range that it may lie in."""

    low: float
    likely: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DayFactor:
    """What a day's leakage is to 24 times the night's, by pressure; 1 where no pressure is known.

    `head_m` is the mean pressure of the stretch in metres of water.
    """

    factor: Span
    is_measured: bool
    head_m: float | None


def day_factor(
    pressure_kpa: Floats, clock_hour: npt.NDArray[np.int64], facts: BalanceSection
) -> DayFactor:
    """Return the night-day factor: the mean of (P_hour / P_night)^N1 over the hours of the day.

    Of a mean day, so that gaps do not bend it; hours of the day without any pressure, or a night
    without one, leave it unknown.
    """
    by_hour = np.full(24, np.nan)
    for hour in range(24):
        here = pressure_kpa[(clock_hour == hour) & np.isfinite(pressure_kpa)]
        if len(here):
            by_hour[hour] = np.mean(here)
    known = np.isfinite(by_hour)
    head = number(np.mean(by_hour[known]) / KPA_PER_METRE_OF_WATER) if known.any() else None
    night = float(np.mean(by_hour[facts.night_from_h : facts.night_to_h]))
    if not known.all() or night <= 0 or (by_hour <= 0).any():
        return DayFactor(factor=Span(low=1.0, likely=1.0, high=1.0), is_measured=False, head_m=head)
    at = {n1: float(np.mean((by_hour / night) ** n1)) for n1 in (*N1_RANGE, facts.n1)}
    factor = Span(low=min(at.values()), likely=at[facts.n1], high=max(at.values()))
    return DayFactor(factor=factor, is_measured=True, head_m=head)


def from_nights(
    night_m3h: Sequence[float | None],
    day_hours: Sequence[float],
    use: NightUse,
    factor: Span,
    *,
    meter_error_m3h: float,
) -> Span | None:
    """Return the real losses of some days, m³: (night flow - night use) × hours × factor.

    A day whose night is not known gets the median of the others; with fewer than half known there
    is no figure. The range holds night use, N1, the meters' error, and what the filled nights may
    be off; it begins at 0 where night use is only assumed. Losses below 0 are none.
    """
    flows = np.array([np.nan if m is None else m for m in night_m3h])
    hours = np.array(day_hours)
    known = np.isfinite(flows)
    if not known.any() or known.sum() < NIGHTS_SHARE_MIN * len(flows):
        return None
    flow = np.where(known, flows, np.median(flows[known]))
    unsure = SIGMAS * float(np.std(flows[known])) * float(np.sum(hours[~known]))
    error = meter_error_m3h * float(np.sum(hours)) + unsure
    if use.source == "default":
        # Night use may be all of the night flow: nothing from below bounds what leaks.
        likely, most = (flow * (1 - share) for share in (NIGHT_USE_SHARE[1], NIGHT_USE_SHARE[0]))
        least = np.zeros(len(flow))
    else:
        least, likely, most = flow - use.high, flow - use.likely, flow - use.low

    def total(lost: Floats, times: float, aside: float) -> float:
        return max(0.0, float(np.sum(np.maximum(lost, 0.0) * hours)) * times + aside)

    return Span(
        low=total(least, factor.low, -error),
        likely=total(likely, factor.likely, 0.0),
        high=total(most, factor.high, error),
    )


def unavoidable_m3_day(
    *, mains_km: float, connections: int, service_km: float, head_m: float
) -> float:
    """Return UARL, m³ a day: (18 Lm + 0.8 Nc + 25 Lp) P in litres (IWA; Lambert 1999).

    >>> round(unavoidable_m3_day(mains_km=10, connections=500, service_km=0, head_m=40), 2)
    23.2
    """
    return (18 * mains_km + 0.8 * connections + 25 * service_km) * head_m / 1000
