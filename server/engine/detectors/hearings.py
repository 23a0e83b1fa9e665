"""Signs of life as arrays, and when the silences between them become long."""

from dataclasses import dataclass

import numpy as np

from server.engine.detectors.grid import Bools, Ints, order_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearings:
    """Live samples of points of the registry, in the order of arrival; arrays of one length."""

    after: Ints
    now: Ints
    number: Ints
    gateway: Ints
    is_bad: Bools
    reason: Ints

    def part(self, which: Bools) -> "Hearings":
        """Return some of them."""
        return Hearings(
            after=self.after[which],
            now=self.now[which],
            number=self.number[which],
            gateway=self.gateway[which],
            is_bad=self.is_bad[which],
            reason=self.reason[which],
        )


def crossings(
    number: Ints, now: Ints, last: Ints, patience_ms: Ints, ticks: Ints, *, since: int
) -> list[int]:
    """Return when silences become long enough to be told, and when those end.

    `number` and `now` are of hearings; `last` and `patience_ms` of everybody who may be heard. A
    silence that nobody has ended is of interest where it became long at `since` or later.
    """
    who, heard = number, now
    if (number[1:] < number[:-1]).any():
        order = order_of(number)
        who, heard = number[order], now[order]
    is_first = np.concatenate([[True], who[1:] != who[:-1]])[: len(who)]
    before = np.where(is_first, last[who], np.concatenate([[0], heard[:-1]])[: len(who)])
    is_long = heard - before >= patience_ms[who]
    begins = before[is_long] + patience_ms[who[is_long]]
    newest = last.copy()
    newest[number] = now
    to_come = newest + patience_ms
    if len(ticks):
        near = (to_come <= ticks[-1]) & (to_come >= since)
        begins = np.concatenate([begins, to_come[near]])
    moments: list[int] = np.unique(np.concatenate([begins, heard[is_long]])).tolist()
    return moments
