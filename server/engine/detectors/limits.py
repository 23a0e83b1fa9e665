"""A value beyond its limit, for some time; gone when it is back by a margin, for as long.

Input: fresh values of closed bins. Limits come from the registry, never by default: a point's own,
what the company has promised there and what the law asks for are told apart, each with an alarm of
its own. A value that is the limit keeps it. A point that says nothing neither raises nor clears.
Late samples do not reach it.

Source: deadband and on-delay of process alarms, as IEC 62682 and ISA-18.2 advise them; how many of
how many bins must agree is our own choice.
"""

import math
from dataclasses import dataclass
from itertools import chain

import numpy as np

from server.engine.detectors.finding import Finding
from server.engine.detectors.grid import Bools, Floats, Ints
from server.engine.effects import AlarmKind
from server.engine.registry import Point
from telemetry.instant import SECOND_MS, Instant
from telemetry.units import Quantity

MARGIN = 0.02
"""Of the limit: how far back a value must be before the alarm clears."""

SEVERITY = 2
STATUTE_SEVERITY = 1
PROMISE_SEVERITY = 3


def votes(period_ms: int) -> tuple[int, int]:
    """Return how many of the last bins must agree: 5 of 6 at 1 s, never much under 10 s."""
    if period_ms <= 2 * SECOND_MS:
        return 5, 6
    if period_ms <= 10 * SECOND_MS:
        return 3, 4
    return 2, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A pair of limits of one kind: its mark in the alarm's key, its name in a reason.

    `by` is whose it is, where that is not the point itself.
    """

    mark: str
    words: str
    severity: int
    low: float | None
    high: float | None = None
    by: str = ""


def lines_of(point: Point) -> tuple[Line, ...]:
    """Return what a point is held to, the most severe first; a floor said twice is one."""
    floors: list[float | None] = []
    found: list[Line] = []
    for mark, words, severity, low, high in (
        ("statute", "the statutory", STATUTE_SEVERITY, point.statute_kpa, None),
        ("", "its limit of", SEVERITY, point.low, point.high),
        ("promise", "the promise of", PROMISE_SEVERITY, point.promise_kpa, None),
    ):
        own = None if low in floors else low
        if own is not None or high is not None:
            by = point.promise_by if mark == "promise" else ""
            line = Line(mark=mark, words=words, severity=severity, low=own, high=high, by=by)
            found.append(line)
        floors.append(low)
    return tuple(found)


class Limits:
    """One line of one point.

    >>> street = Point(
    ...     id="street/pressure",
    ...     zone="north",
    ...     quantity=Quantity.PRESSURE,
    ...     name_zh="",
    ...     name_en="",
    ...     period_ms=60_000,
    ...     low=280.0,
    ... )
    >>> limits = Limits(street, lines_of(street)[0])
    >>> limits.update(at=0, value=279.0)  # one of two
    []
    >>> [found] = limits.update(at=60_000, value=278.0)
    >>> found.because
    ('street/pressure is 278.0 kPa, below its limit of 280.0 kPa',)
    >>> [gone] = [f for n in (2, 3) for f in limits.update(at=n * 60_000, value=290.0)]
    >>> gone.is_present
    False
    """

    def __init__(self, point: Point, line: Line) -> None:
        self._point = point
        self._line = line
        self._need, self._of = votes(point.period_ms)
        self._last: list[tuple[Instant, float]] = []
        self._finding: Finding | None = None

    @property
    def is_calm(self) -> bool:
        """Say whether nothing is found and no value that is remembered is beyond a limit."""
        return self._finding is None and not any(self._is_beyond(v) for _, v in self._last)

    def _is_beyond(self, value: float) -> bool:
        low, high = self._line.low, self._line.high
        return (low is not None and value < low) or (high is not None and value > high)

    def update(self, *, at: Instant, value: float) -> list[Finding]:
        """Judge one more bin."""
        self._last.append((at, value))
        if len(self._last) > self._of:
            del self._last[0]
        if self._finding is not None:
            return self._clear()
        return self._raise()

    def _raise(self) -> list[Finding]:
        low, high = self._line.low, self._line.high
        below = [at for at, v in self._last if low is not None and v < low]
        above = [at for at, v in self._last if high is not None and v > high]
        for beyond, word, limit in ((below, "below", low), (above, "above", high)):
            if len(beyond) >= self._need and limit is not None:
                self._finding = self._found(beyond[0], word, limit)
                return [self._finding]
        return []

    def _found(self, onset: Instant, word: str, limit: float) -> Finding:
        point = self._point
        unit = point.quantity.unit
        value = self._last[-1][1]
        return Finding(
            kind=kind_of(point.quantity, is_low=word == "below"),
            zone=point.zone,
            subject=f"{point.id} {self._line.mark}".rstrip(),
            points=(point.id,),
            is_present=True,
            severity=self._line.severity,
            onset=onset,
            because=(
                f"{point.id} is {value:.1f} {unit}, {word} {self._line.words} {limit:.1f} {unit}",
                *([f"promised by policy {self._line.by}"] if self._line.by else []),
            ),
        )

    def _clear(self) -> list[Finding]:
        low, high = self._line.low, self._line.high
        floor = -math.inf if low is None else low + MARGIN * abs(low)
        roof = math.inf if high is None else high - MARGIN * abs(high)
        is_back = len(self._last) == self._of and all(floor <= v <= roof for _, v in self._last)
        if self._finding is None or not is_back:
            return []
        value = self._last[-1][1]
        gone = self._finding.gone(
            f"{self._point.id} is back within its limits at {value:.1f} {self._point.quantity.unit}"
        )
        self._finding = None
        return [gone]

    def withdraw(self, because: str) -> list[Finding]:
        """Take the finding down, as the point has gone from the registry or has changed."""
        gone = [] if self._finding is None else [self._finding.gone(because)]
        self._finding = None
        return gone

    def excuse(self, because: str) -> list[Finding]:
        """Take the finding down, and forget what the point said: its instrument is faulty."""
        self._last = []
        return self.withdraw(because)


class LimitsOf:
    """The limits of some columns of a grid; only what is beyond one is looked at one by one."""

    def __init__(self, points: dict[int, Point]) -> None:
        self.limits = {
            column: tuple(Limits(point, line) for line in lines_of(point))
            for column, point in points.items()
        }
        self._columns = np.array(list(points), dtype=np.int64)
        lines = [lines_of(p) for p in points.values()]
        lows = [max([-math.inf, *(w.low for w in of if w.low is not None)]) for of in lines]
        highs = [math.inf if p.high is None else p.high for p in points.values()]
        self._low, self._high = np.array(lows), np.array(highs)
        self.restless: set[int] = set()

    def run(self, start: Ints, values: Floats, is_fresh: Bools) -> list[tuple[int, Finding]]:
        """Judge closed bins, oldest first, (bins, columns); findings come with their row."""
        if not len(self._columns) or not len(start):
            return []
        said = np.where(is_fresh[:, self._columns], values[:, self._columns], np.nan)
        is_beyond = ((said < self._low) | (said > self._high)).any(axis=0)
        chosen = set(self._columns[is_beyond].tolist()) | self.restless
        findings = [
            (r, c, f) for c in sorted(chosen) for r, f in self._column(c, start, values, is_fresh)
        ]
        return [(row, f) for row, _, f in sorted(findings, key=lambda found: found[:2])]

    def _column(
        self, column: int, start: Ints, values: Floats, is_fresh: Bools
    ) -> list[tuple[int, Finding]]:
        limits = self.limits[column]
        found = []
        for row in np.flatnonzero(is_fresh[:, column]).tolist():
            at, value = Instant(int(start[row])), float(values[row, column])
            found += [(row, f) for one in limits for f in one.update(at=at, value=value)]
        if all(one.is_calm for one in limits):
            self.restless.discard(column)
        else:
            self.restless.add(column)
        return found

    def adopt(self, other: "LimitsOf", pairs: list[tuple[int, int]]) -> None:
        """Go on with columns whose points have not changed; pairs are (ours, theirs)."""
        for ours, theirs in pairs:
            if theirs in other.limits:
                self.limits[ours] = other.limits[theirs]
                if theirs in other.restless:
                    self.restless.add(ours)

    def excuse(self, column: int, because: str) -> list[Finding]:
        """Take down what rests on a column whose instrument is faulty."""
        if column not in self.limits:
            return []
        self.restless.discard(column)
        return [f for one in self.limits[column] for f in one.excuse(because)]

    def withdraw(self, columns: range, because: str) -> list[Finding]:
        """Take the findings of some columns down."""
        limits = chain.from_iterable(self.limits[c] for c in columns if c in self.limits)
        return [f for one in limits for f in one.withdraw(because)]


def kind_of(quantity: Quantity, *, is_low: bool) -> AlarmKind:
    """Return the kind: pressure below its limit has its own, everything else is a `limit`."""
    return AlarmKind.PRESSURE_LOW if quantity is Quantity.PRESSURE and is_low else AlarmKind.LIMIT
