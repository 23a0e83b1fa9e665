"""How sure a count makes us of a rate: exact intervals of a Poisson count (Garwood 1936)."""

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, lgamma, log

OUTSIDE = 0.05
"""A 95 % interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """So many in so many years; none of the figures where no time has passed."""

    count: int
    years: float
    per_year: float | None
    low: float | None
    high: float | None


def rate(count: int, *, years: float) -> Rate:
    """Return a rate with its exact 95 % interval.

    >>> none = rate(0, years=1.0)
    >>> none.low, round(none.high, 2)
    (0.0, 3.69)
    """
    if years <= 0:
        return Rate(count=count, years=0.0, per_year=None, low=None, high=None)
    low, high = interval(count)
    return Rate(
        count=count, years=years, per_year=count / years, low=low / years, high=high / years
    )


def interval(count: int) -> tuple[float, float]:
    """Return the lowest and the highest mean under which the count is not strange.

    >>> low, high = interval(10)
    >>> round(low, 3), round(high, 3)
    (4.795, 18.39)
    """
    beyond = 2.0 * count + 20.0
    low = 0.0
    if count:
        low = _root(lambda mean: 1 - at_most(count - 1, mean) - OUTSIDE / 2, beyond)
    high = _root(lambda mean: OUTSIDE / 2 - at_most(count, mean), beyond)
    return low, high


def at_most(count: int, mean: float) -> float:
    """Return the chance that a Poisson count of this mean is not above `count`."""
    if mean <= 0:
        return 1.0
    return sum(exp(n * log(mean) - mean - lgamma(n + 1)) for n in range(count + 1))


def _root(rising: Callable[[float], float], beyond: float) -> float:
    """Return where a rising function passes zero, between 0 and `beyond`."""
    below, above = 0.0, beyond
    for _ in range(80):
        middle = (below + above) / 2
        if rising(middle) < 0:
            below = middle
        else:
            above = middle
    return (below + above) / 2
