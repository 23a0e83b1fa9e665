"""Night flow: what flows into a zone while people sleep, and how it stands against its own past.

Plain arithmetic over closed bins; which instants are night is for the caller to say, as only the
zone's time zone knows. Each night is added up by itself: what else is in the arrays, or was there
before, changes no bit of it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Instants = npt.NDArray[np.int64]

SHARE_MIN = 0.75
"""A night of which less was measured has no flow: what is missing may be its quietest part."""

PAST_NIGHTS = 28
PAST_NIGHTS_MIN = 14
"""A night is held against the median of so many before it; with fewer known it has no past."""

SIGMA_SHARE_MIN = 0.02
"""No past is taken for steadier than this share of its median: what a good meter may be off."""

SIGMA_OF_MAD = 1.4826
"""The median absolute deviation of normal noise, times this, is its standard deviation."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Nights:
    """Row n: the net inflow in night n, m³/h, NaN where too little of it was measured.

    `mean`, `median` and `lowest` are over the bins of the night; `share` is how much of it they
    cover, from 0 to 1.
    """

    mean: Floats
    median: Floats
    lowest: Floats
    share: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Past:
    """Row n: what the nights before night n were like, m³/h, NaN where too few are known."""

    median: Floats
    sigma: Floats
    count: npt.NDArray[np.int64]


def night_flow(
    at: Instants,
    m3h: Floats,
    starts: Instants,
    ends: Instants,
    *,
    width_ms: int,
    share_min: float = SHARE_MIN,
) -> Nights:
    """Return the flow of each night [start, end) out of bins of `width_ms` that begin at `at`.

    `at` ascends; `m3h` is NaN where a bin was not measured whole. A bin counts when all of it lies
    in the night, so that a night of one hour (spring) or three (autumn) is measured as such.
    """
    first = np.searchsorted(at, starts, side="left")
    behind = np.searchsorted(at, ends - width_ms, side="right")
    rows = np.full((4, len(starts)), np.nan)
    rows[3] = 0.0
    for n, (lo, hi) in enumerate(zip(first.tolist(), behind.tolist(), strict=True)):
        expected = int(ends[n] - starts[n]) // width_ms
        inside = m3h[lo:hi]
        known = inside[~np.isnan(inside)]
        if expected < 1 or not len(known):
            continue
        rows[3, n] = len(known) / expected
        if rows[3, n] >= share_min:
            rows[:3, n] = np.add.reduce(known) / len(known), np.median(known), known.min()
    return Nights(mean=rows[0], median=rows[1], lowest=rows[2], share=rows[3])


def against_past(
    nightly: Floats, *, nights: int = PAST_NIGHTS, least: int = PAST_NIGHTS_MIN
) -> Past:
    """Return median and robust sigma of the `nights` before each night, itself not among them.

    Unknown nights (NaN) are passed over. The sigma is that of the median absolute deviation, which
    one burst among the nights does not widen; it is at least 2 % of the median.
    """
    median, sigma = np.full(len(nightly), np.nan), np.full(len(nightly), np.nan)
    count = np.zeros(len(nightly), np.int64)
    for n in range(len(nightly)):
        before = nightly[max(0, n - nights) : n]
        known = before[~np.isnan(before)]
        count[n] = len(known)
        if len(known) >= least:
            median[n] = np.median(known)
            spread = SIGMA_OF_MAD * np.median(np.abs(known - median[n]))
            sigma[n] = max(spread, SIGMA_SHARE_MIN * abs(median[n]))
    return Past(median=median, sigma=sigma, count=count)


def trend(nightly: Floats, *, least: int = PAST_NIGHTS_MIN) -> float:
    """Return by how much the night flow rises from night to night, m³/h; NaN of too few nights.

    The median of the slopes between all pairs of known nights (Theil 1950, Sen 1968): a burst of
    some nights does not bend it.

    >>> round(trend(np.arange(20.0) * 0.5), 3)
    0.5
    """
    night = np.flatnonzero(~np.isnan(nightly))
    if len(night) < max(2, least):
        return float("nan")
    one, other = np.triu_indices(len(night), k=1)
    rise = nightly[night[other]] - nightly[night[one]]
    return float(np.median(rise / (night[other] - night[one])))
