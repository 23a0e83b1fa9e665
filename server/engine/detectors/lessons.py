"""Bins of a block as lessons: those that it ends come out together, padded with NaN to one length.

A lesson that has begun in an earlier block goes on here; what has begun and not ended is kept.
"""

from dataclasses import dataclass

import numpy as np

from server.engine.detectors.grid import Floats, Ints
from server.engine.detectors.kinship import middle

_Bins = tuple[Floats, Floats, Floats]


@dataclass(slots=True, kw_only=True)
class Lesson:
    """What one lesson shows: medians of each pressure, (zones, points), and of each inflow."""

    number: int
    level: Floats
    flow: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """Lessons that a block has ended, oldest first; each is over with the bin at its row.

    `moves` are (lessons, bins, zones, points), `flow_moves` (lessons, bins less one, zones), from
    one bin of a lesson to the next.
    """

    rows: list[int]
    lessons: list[Lesson]
    moves: Floats
    flow_moves: Floats


class Open:
    """The lesson that has begun: values, inflows and moves of its bins."""

    def __init__(self, *, least: int) -> None:
        self.number = -1
        self._least = least
        self._bins: list[_Bins] = []

    def begin_anew(self) -> None:
        """Forget what has begun."""
        self.number, self._bins = -1, []

    def add(self, number: Ints, values: Floats, flows: Floats, moves: Floats) -> Ended | None:
        """Add the bins of a block, with the number of each one's lesson; return what has ended."""
        before = [self.number] * sum(len(v) for v, _, _ in self._bins)
        kept, last = len(before), int(number[-1])
        if last == self.number or (not kept and int(number[0]) == last):
            self._bins.append((values, flows, moves))
            self.number = last
            return None
        parts = [*self._bins, (values, flows, moves)]
        values, flows, moves = (np.concatenate([part[i] for part in parts]) for i in range(3))
        numbers = np.concatenate([np.array(before, dtype=np.int64), number])
        ends = np.flatnonzero(numbers[1:] != numbers[:-1]) + 1
        over = int(ends[-1])
        self.number = last
        self._bins = [(values[over:].copy(), flows[over:].copy(), moves[over:].copy())]
        sizes = np.diff(ends, prepend=0)
        nth = np.repeat(np.arange(len(ends)), sizes)
        place = (nth, np.arange(over) - np.repeat(ends - sizes, sizes))
        shape = (len(ends), int(sizes.max()))
        level, flow, moved = (_laid(rows[:over], place, shape) for rows in (values, flows, moves))
        levels = middle(np.moveaxis(level, 1, -1), least=self._least)
        inflows = middle(np.moveaxis(flow, 1, -1), least=self._least)
        done = numbers[ends - 1].tolist()
        return Ended(
            rows=(ends - kept).tolist(),
            lessons=[
                Lesson(number=done[n], level=levels[n], flow=inflows[n]) for n in range(len(done))
            ],
            moves=moved,
            flow_moves=np.diff(flow, axis=1),
        )


def _laid(rows: Floats, place: tuple[Ints, Ints], shape: tuple[int, int]) -> Floats:
    laid = np.full((*shape, *rows.shape[1:]), np.nan)
    laid[place] = rows
    return laid
