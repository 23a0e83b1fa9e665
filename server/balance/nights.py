"""The nights of a zone: each night's flow against its own past, and what of it people may draw."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from server.balance.hours import Floats, Hours
from server.balance.local import windows
from server.config import BalanceSection
from server.engine.night import PAST_NIGHTS_MIN, against_past, night_flow, trend
from telemetry.instant import HOUR_MS

NIGHT_USE_SHARE = (0.1, 0.2, 0.3)
"""Where nothing better is known, night use is so much of the night flow: least, likely, most."""

NIGHT_USE_ERROR = 0.4
"""How far off a configured night use may be: in the one network whose truth we know, L-Town, people
drew so much more in summer nights than in the winter nights of the survey."""

USE_SOURCES = ("configured", "measured", "per_connection", "default")
"""Where a night use comes from, the best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """One night. What is None is not known; `hours` is how long its window was by the clock.

    `m3h` is the mean net inflow in the window, `lowest_m3h` its lowest hour, `share` how much of
    the window was measured. `usual_m3h` and `sigma_m3h` are median and robust sigma of the 28
    nights before.
    """

    night: date
    hours: int
    m3h: float | None
    lowest_m3h: float | None
    share: float
    usual_m3h: float | None
    sigma_m3h: float | None

    @property
    def excess_m3h(self) -> float | None:
        """Return by how much the night lies above its own past."""
        if self.m3h is None or self.usual_m3h is None:
            return None
        return self.m3h - self.usual_m3h

    @property
    def sigmas(self) -> float | None:
        """Return the excess in robust sigmas."""
        excess = self.excess_m3h
        return None if excess is None or not self.sigma_m3h else excess / self.sigma_m3h


@dataclass(frozen=True, slots=True, kw_only=True)
class NightUse:
    """What people may draw at night, m³/h: least, likely and most, and where that comes from.

    `source` is one of `USE_SOURCES`.
    """

    low: float
    likely: float
    high: float
    source: str


def nights_of(
    hours: Hours, net: Floats, dates: Sequence[date], timezone: str, facts: BalanceSection
) -> list[Night]:
    """Return the nights of some dates in a row; the first of them have no past of their own."""
    starts, ends = windows(dates, timezone, from_h=facts.night_from_h, to_h=facts.night_to_h)
    found = night_flow(hours.at, net, starts, ends, width_ms=HOUR_MS)
    past = against_past(found.mean)
    return [
        Night(
            night=day,
            hours=int(ends[n] - starts[n]) // HOUR_MS,
            m3h=number(found.mean[n]),
            lowest_m3h=number(found.lowest[n]),
            share=float(found.share[n]),
            usual_m3h=number(past.median[n]),
            sigma_m3h=number(past.sigma[n]),
        )
        for n, day in enumerate(dates)
    ]


def rise_of(nights: Sequence[Night]) -> float | None:
    """Return by how much the night flow rises from one of these nights to the next, m³/h."""
    values = [np.nan if n.m3h is None else n.m3h for n in nights]
    return number(trend(np.array(values), least=PAST_NIGHTS_MIN))


def night_use_of(night_m3h: float, facts: BalanceSection, measured_m3h: float | None) -> NightUse:
    """Return what of a night flow is people's use, by the best that is known.

    What is configured; what all customers' own meters say (`measured_m3h`, None where not all have
    one); a figure per connection; else 10 to 30 % of the night flow.
    """
    if facts.night_use_m3h is not None:
        return _around(facts.night_use_m3h, NIGHT_USE_ERROR, "configured")
    if measured_m3h is not None:
        return _around(measured_m3h, facts.customer_error_percent / 100, "measured")
    if facts.night_use_l_per_connection_h is not None and facts.connections is not None:
        use = facts.night_use_l_per_connection_h * facts.connections / 1000
        return _around(use, NIGHT_USE_ERROR, "per_connection")
    low, likely, high = (max(0.0, night_m3h) * share for share in NIGHT_USE_SHARE)
    return NightUse(low=low, likely=likely, high=high, source="default")


def _around(m3h: float, error: float, source: str) -> NightUse:
    return NightUse(low=m3h * (1 - error), likely=m3h, high=m3h * (1 + error), source=source)


def number(value: float) -> float | None:
    """Return a number, or None for one that is not known."""
    return float(value) if np.isfinite(value) else None
