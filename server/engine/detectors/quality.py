"""Whether an instrument can be believed: every reading of every point, as it comes.

Works on raw live samples of accepted points, whatever their quantity, and keeps what is wrong from
every other detector. What is found is told by `instruments.py`; docs/quality.md tells the rules.

Source: our own, after what range, persistence, spike and noise checks of measured series usually
look at; distances are in median absolute deviations.
"""

from dataclasses import dataclass

import numpy as np

from server.engine.detectors.block import Block
from server.engine.detectors.grid import Bools, Ints, order_of
from server.engine.detectors.pages import Pages, Readings, Turn
from server.engine.detectors.symptoms import Change, Symptom
from server.engine.detectors.wrong import Wrongs, floors, is_reading
from server.engine.registry import Point, Registry
from telemetry.instant import Instant
from telemetry.point import PointId
from telemetry.units import Quantity

NEVER_PAGED = (Quantity.VOLUME, Quantity.STATE)
"""A total stands as long as nobody draws, and a state stays: neither hisses nor freezes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Which samples of a block no other detector may use, and which symptoms come and go."""

    is_unfit: Bools
    changes: list[Change]


class Quality:
    """The readings of every point of the registry.

    >>> street = Point(
    ...     id="street/pressure",
    ...     zone="north",
    ...     quantity=Quantity.PRESSURE,
    ...     name_zh="",
    ...     name_en="",
    ...     period_ms=1_000,
    ... )
    >>> quality = Quality()
    >>> quality.registry_changed(Registry(points={street.id: street}))
    >>> now, none = 1_000 * np.arange(15), np.zeros(15, dtype=np.int64)
    >>> block = Block(
    ...     ticks=now,
    ...     points=(street.id,),
    ...     gateways=("gw-01",),
    ...     after=np.arange(15),
    ...     now=now,
    ...     at=now,
    ...     point=none,
    ...     gateway=none,
    ...     value=np.full(15, 9_000.0),
    ...     quality=none + 192,
    ...     reason=none,
    ... )
    >>> quality.run(block).changes[-1].because
    'street/pressure says 9000 kPa: no such thing can be there'
    """

    def __init__(self) -> None:
        self._points: dict[PointId, Point] = {}
        self._order: list[PointId] = []
        self._pages = Pages(0, floor=np.zeros(0), is_steady=np.zeros(0, dtype=np.bool_))
        self._wrongs = Wrongs([])
        self._is_paged = np.zeros(0, dtype=np.bool_)
        self._symptoms: dict[int, dict[Symptom, None]] = {}
        self._names: tuple[PointId, ...] = ()
        self._numbers = np.zeros(0, dtype=np.int64)

    def registry_changed(self, registry: Registry) -> None:
        """Judge its points from now on; what was learnt of those that stay is kept."""
        points = registry.points
        edges = {i.point for zone in registry.zones.values() for i in zone.inflow}
        before = {p: n for n, p in enumerate(self._order)}
        order = sorted(points)
        pairs = [
            (n, before[p])
            for n, p in enumerate(order)
            if p in before and points[p].quantity is self._points[p].quantity
        ]
        steady = [points[p].quantity is not Quantity.FLOW or p in edges for p in order]
        pages = Pages(
            len(order),
            floor=floors(order, points),
            is_steady=np.array(steady, dtype=np.bool_),
        )
        pages.adopt(self._pages, pairs)
        wrongs = Wrongs([points[p] for p in order])
        wrongs.adopt(self._wrongs, pairs)
        self._symptoms = {a: self._symptoms[b] for a, b in pairs if b in self._symptoms}
        self._points, self._order, self._pages, self._wrongs = points, order, pages, wrongs
        paged = [points[p].quantity not in NEVER_PAGED for p in order]
        self._is_paged = np.array(paged, dtype=np.bool_)
        self._names = ()

    def run(self, block: Block) -> Judged:
        """Judge a block."""
        number = self._numbers_of(block.points)[block.point]
        chosen = np.flatnonzero((number >= 0) & is_reading(block))
        readings = _ordered(block, number[chosen], chosen)
        code = self._wrongs.codes(block, readings)
        is_unfit = np.zeros(len(block.at), dtype=np.bool_)
        is_unfit[readings.place[code != 0]] = True
        turns = self._wrongs.run(readings, code)
        fine = (code == 0) & self._is_paged[readings.number]
        turns += self._pages.run(readings if fine.all() else _part(readings, fine))
        turns.sort(key=lambda t: t.place)
        self._shade(readings, turns, is_unfit)
        return Judged(is_unfit=is_unfit, changes=[self._told(block, t) for t in turns])

    def _numbers_of(self, points: tuple[PointId, ...]) -> Ints:
        """Return our numbers of a block's points, -1 for those of no registry."""
        if self._names is not points:
            self._names = points
            number = {p: n for n, p in enumerate(self._order)}
            self._numbers = np.array([number.get(p, -1) for p in points], dtype=np.int64)
        return self._numbers

    def _shade(self, readings: Readings, turns: list[Turn], is_unfit: Bools) -> None:
        """Mark what points say while they show a symptom; follow the symptoms."""
        by_point: dict[int, list[Turn]] = {}
        for turn in turns:
            by_point.setdefault(turn.number, []).append(turn)
        for n in sorted({*self._symptoms, *by_point}):
            begin, end = np.searchsorted(readings.number, [n, n + 1]).tolist()
            places = readings.place[begin:end]
            shown = self._symptoms.setdefault(n, {})
            done = 0
            for turn in by_point.get(n, []):
                here = int(np.searchsorted(places, turn.place, side="right"))
                if shown:
                    is_unfit[places[done:here]] = True
                done = here
                if turn.is_on:
                    shown[turn.symptom] = None
                else:
                    shown.pop(turn.symptom, None)
            if shown:
                is_unfit[places[done:]] = True
            else:
                del self._symptoms[n]

    def _told(self, block: Block, turn: Turn) -> Change:
        point = self._points[self._order[turn.number]]
        words = _BEGUN if turn.is_on else _GONE
        return Change(
            tick=int(block.after[turn.place]),
            point=point.id,
            symptom=turn.symptom,
            is_on=turn.is_on,
            since=Instant(turn.since),
            because=words[turn.symptom].format(
                point=point.id,
                figure=turn.figure,
                value=block.value[turn.place],
                unit=point.quantity.unit,
            ),
        )


_BEGUN = {
    Symptom.RANGE: "{point} says {value:.4g} {unit}: no such thing can be there",
    Symptom.ZERO: "{point} says nothing at all, {value:.1f} {unit}, while others of its zone do",
    Symptom.DOUBTED: "the gateway of {point} has doubted {figure:.0f} readings in a row",
    Symptom.DROPOUTS: "{point} drops out again and again: {figure:.0f} of its last 180 readings",
    Symptom.FLAT: "{point} stands at {value:.4g} {unit}: {figure:.0f} equal readings, more than it"
    " was ever seen to do",
    Symptom.SPIKES: "{point} leaps and comes back: {figure:.0f} times in its last 360 readings",
    Symptom.NOISE: "{point} moves {figure:.0f} times as much as it usually does",
}
_GONE = {
    **dict.fromkeys(
        (Symptom.RANGE, Symptom.ZERO, Symptom.DROPOUTS), "{point} says something sensible again"
    ),
    Symptom.DOUBTED: "the gateway of {point} doubts it no more",
    Symptom.FLAT: "{point} moves again",
    Symptom.SPIKES: "{point} has stopped leaping",
    Symptom.NOISE: "{point} moves as it usually does",
}


def _ordered(block: Block, number: Ints, chosen: Ints) -> Readings:
    """Return readings in the order of their points, then of their arrival."""
    if (number[1:] < number[:-1]).any():
        order = order_of(number)
        number, chosen = number[order], chosen[order]
    return Readings(number=number, place=chosen, at=block.at[chosen], value=block.value[chosen])


def _part(readings: Readings, which: Bools) -> Readings:
    return Readings(
        number=readings.number[which],
        place=readings.place[which],
        at=readings.at[which],
        value=readings.value[which],
    )
