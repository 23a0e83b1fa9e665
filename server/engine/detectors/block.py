"""A block: ticks and what arrived between them, as arrays; live it is one instant, replayed a day.

Nothing may depend on how a stream is cut into blocks, except that two ticks of one block are at
most five minutes apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from server.engine.detectors.grid import Bools, Floats, Ints
from server.engine.effects import Accepted
from telemetry.instant import MINUTE_MS, Instant
from telemetry.point import PointId
from telemetry.sample import Quality, Reason

TICKS_APART_MS = 5 * MINUTE_MS

REASONS = tuple(Reason)
_CODES = {reason: n for n, reason in enumerate(REASONS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Live samples in the order of arrival, arrays of one length, and the instants of ticks.

    `after` counts the ticks before a sample; `point` and `gateway` are places in the tuples of
    names; `value` is NaN for a bad sample; `reason` is a place in `REASONS`.
    """

    ticks: Ints
    points: tuple[PointId, ...]
    gateways: tuple[str, ...]
    after: Ints
    now: Ints
    at: Ints
    point: Ints
    gateway: Ints
    value: Floats
    quality: Ints
    reason: Ints

    @property
    def is_good(self) -> Bools:
        """Say which samples are fit to be judged."""
        good: Bools = (self.quality == int(Quality.GOOD)) & ~np.isnan(self.value)
        return good


class Names:
    """Numbers for names, in the order in which they came up."""

    def __init__(self) -> None:
        self._number: dict[PointId, int] = {}
        self._names: tuple[PointId, ...] = ()
        self._rows: dict[tuple[PointId, ...], Ints] = {}

    @property
    def names(self) -> tuple[PointId, ...]:
        """Return every name by its number: the same tuple until there are more."""
        if len(self._names) != len(self._number):
            self._names = tuple(self._number)
        return self._names

    def rows(self, names: tuple[PointId, ...]) -> Ints:
        """Return the numbers of names; scans name the same points again and again."""
        found = self._rows.get(names)
        if found is None:
            number = self._number
            found = np.array([number.setdefault(n, len(number)) for n in names], dtype=np.int64)
            if len(self._rows) < ROWS_MAX:
                self._rows[names] = found
        return found


ROWS_MAX = 10_000
"""Sets of points that are remembered; what comes beyond them is looked up each time."""


def block_of(
    ticks: Sequence[Instant], accepted: Sequence[tuple[int, Accepted]], names: Names
) -> Block:
    """Return the block of some ticks and of what was taken in after so many of them."""
    said = [(after, a) for after, a in accepted if not a.is_historical]
    sizes = [len(a.samples) for _, a in said]
    gateways: dict[str, int] = {}
    of = [gateways.setdefault(a.gateway, len(gateways)) for _, a in said]
    none = np.zeros(0, dtype=np.int64)
    point = np.concatenate([none, *(names.rows(a.samples.points) for _, a in said)])
    quality = np.full(len(point), int(Quality.GOOD), dtype=np.int64)
    reason = np.zeros(len(point), dtype=np.int64)
    begin = 0
    for (_, a), size in zip(said, sizes, strict=True):
        if a.samples.qualities.count(Quality.GOOD) != size:
            quality[begin : begin + size] = [int(q) for q in a.samples.qualities]
            reason[begin : begin + size] = [_CODES[r] for r in a.samples.reasons]
        begin += size
    return Block(
        ticks=np.array(ticks, dtype=np.int64),
        points=names.names,
        gateways=tuple(gateways),
        after=np.repeat(np.array([after for after, _ in said], dtype=np.int64), sizes),
        now=np.repeat(np.array([a.at for _, a in said], dtype=np.int64), sizes),
        at=np.array(list(chain.from_iterable(a.samples.at for _, a in said)), dtype=np.int64),
        point=point,
        gateway=np.repeat(np.array(of, dtype=np.int64), sizes),
        value=np.array(
            list(chain.from_iterable(a.samples.values for _, a in said)), dtype=np.float64
        ),
        quality=quality,
        reason=reason,
    )
