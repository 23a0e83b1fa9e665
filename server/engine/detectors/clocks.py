"""Which gateways are dated so far off that no detector looks at what they send.

A bin that has closed is never re-opened, so a gateway whose clock is slow by more than the grace,
or fast by more than a minute, is recorded and not judged. That must be said: it looks like calm.

Source: our own.
"""

from dataclasses import dataclass, field

import numpy as np

from server.engine.detectors.block import Block
from server.engine.detectors.finding import Board, Finding
from server.engine.detectors.grid import Bools, Ints, awake, ticks_before
from server.engine.effects import AlarmKind
from server.engine.registry import Point
from telemetry.instant import DAY_MS, MINUTE_MS, SECOND_MS, Instant
from telemetry.point import PointId, ZoneId

UNJUDGED_MS = MINUTE_MS
HOLD_MS = 30 * SECOND_MS
AWAKE_MS = HOLD_MS + 10 * SECOND_MS
"""After a change every tick is looked at, until what has gone has been told."""

FORGET_MS = DAY_MS
"""A gateway that has said nothing for so long is silent, and no longer unpunctual."""

SEVERITY = 3


@dataclass(slots=True, kw_only=True)
class _Unjudged:
    """What a gateway has sent since its last sample that a detector could use."""

    since: Instant
    last: Instant
    late_ms: int
    needed_ms: int
    points: dict[PointId, ZoneId] = field(default_factory=dict)

    @property
    def is_told(self) -> bool:
        return self.last - self.since >= self.needed_ms


class Clocks:
    """The punctuality of every gateway; one sample in time excuses it.

    >>> from telemetry.units import Quantity
    >>> street = Point(
    ...     id="street/pressure",
    ...     zone="north",
    ...     quantity=Quantity.PRESSURE,
    ...     name_zh="",
    ...     name_en="",
    ...     period_ms=1_000,
    ... )
    >>> now, none = 1_000 * np.arange(90), np.zeros(90, dtype=np.int64)
    >>> late = Block(
    ...     ticks=now,
    ...     points=(street.id,),
    ...     gateways=("gw-01",),
    ...     after=np.arange(90),
    ...     now=now,
    ...     at=now - 9_000,
    ...     point=none,
    ...     gateway=none,
    ...     value=300.0 + none,
    ...     quality=192 + none,
    ...     reason=none,
    ... )
    >>> said = Clocks().run(late, np.arange(90), none > 0, {street.id: street})
    >>> [(tick, found.subject) for tick, found in said]
    [(60, 'clock of gateway gw-01')]
    """

    def __init__(self) -> None:
        self._unjudged: dict[str, _Unjudged] = {}
        self._board = Board(hold_ms=HOLD_MS)
        self._awake_until = Instant(0)
        self._last_tick = Instant(0)

    def run(
        self, block: Block, watched: Ints, is_in_time: Bools, points: dict[PointId, Point]
    ) -> list[tuple[int, Finding]]:
        """Judge a block; `watched` are the places of samples that a detector wants.

        Findings come with the number of their tick.
        """
        acts = self._acts(block, watched, is_in_time)
        is_awake = awake(block.ticks, self._last_tick, self._awake_until)
        findings: list[tuple[int, Finding]] = []
        done = 0
        for place, is_excuse in acts:
            after = int(block.after[place])
            findings += self._look(block.ticks, done, after, is_awake)
            done = after
            changed = self._note(block, place, points, is_excuse=is_excuse)
            if changed is not None:
                self._awake_until = Instant(max(self._awake_until, changed + AWAKE_MS))
                is_awake[after:] |= awake(block.ticks[after:], changed, self._awake_until)
        findings += self._look(block.ticks, done, len(block.ticks), is_awake)
        if len(block.ticks):
            self._last_tick = Instant(int(block.ticks[-1]))
        return findings

    def _acts(self, block: Block, watched: Ints, is_in_time: Bools) -> list[tuple[int, bool]]:
        """Return the samples that matter: the late ones, and the first in time after each."""
        late = watched[~is_in_time]
        names = {block.gateways[g] for g in np.unique(block.gateway[late]).tolist()}
        names |= {g for g in block.gateways if g in self._unjudged}
        acts = [(place, False) for place in late.tolist()]
        for name in names:
            number = block.gateways.index(name)
            good = watched[is_in_time & (block.gateway[watched] == number)]
            bad = late[block.gateway[late] == number]
            following = np.unique(np.searchsorted(good, np.concatenate([[-1], bad])))
            acts += [(int(good[n]), True) for n in following.tolist() if n < len(good)]
        return sorted(acts)

    def _note(
        self, block: Block, place: int, points: dict[PointId, Point], *, is_excuse: bool
    ) -> Instant | None:
        """Take in one sample; return its instant where it changes what is told."""
        gateway, now = block.gateways[block.gateway[place]], Instant(int(block.now[place]))
        found = self._unjudged.get(gateway)
        if is_excuse:
            self._unjudged.pop(gateway, None)
            return now if found is not None and found.is_told else None
        point = points[block.points[block.point[place]]]
        if found is None or now - found.last >= FORGET_MS:
            needed = max(UNJUDGED_MS, 3 * point.period_ms)
            found = _Unjudged(since=now, last=now, late_ms=0, needed_ms=needed)
            self._unjudged[gateway] = found
        found.last, found.late_ms = now, now - int(block.at[place])
        found.points[point.id] = point.zone
        return now if found.is_told else None

    def _look(
        self, ticks: Ints, begin: int, end: int, is_awake: Bools
    ) -> list[tuple[int, Finding]]:
        findings: list[tuple[int, Finding]] = []
        if begin == end:
            return findings
        is_stale = np.zeros(end - begin, dtype=np.bool_)
        for unjudged in self._unjudged.values():
            if unjudged.is_told:
                age = ticks[begin:end] - unjudged.last
                last = int(ticks[begin - 1]) if begin else self._last_tick
                earlier = ticks_before(age, last - unjudged.last)
                is_stale |= (age >= FORGET_MS) & (earlier < FORGET_MS + AWAKE_MS)
        awake = begin + np.flatnonzero(is_awake[begin:end] | is_stale)
        for n in awake.tolist():
            if n > begin:
                self._board.hold(Instant(int(ticks[n - 1])))
            findings += [(n, f) for f in self._tick(Instant(int(ticks[n])))]
        if not len(awake) or awake[-1] != end - 1:
            self._board.hold(Instant(int(ticks[end - 1])))
        return findings

    def _tick(self, now: Instant) -> list[Finding]:
        holding = [
            _finding(name, unjudged)
            for name, unjudged in self._unjudged.items()
            if unjudged.is_told and now - unjudged.last < FORGET_MS
        ]
        return self._board.update(holding, at=now, because="its samples come in time again")


def _finding(gateway: str, unjudged: _Unjudged) -> Finding:
    seconds = abs(unjudged.late_ms) // SECOND_MS
    if unjudged.late_ms >= 0:
        what = f"come {seconds} s late: its clock or its link is slow"
    else:
        what = f"are dated {seconds} s ahead: its clock is fast"
    zones = list(dict.fromkeys(unjudged.points.values()))
    return Finding(
        kind=AlarmKind.SENSOR_FAULT,
        zone=zones[0] if len(zones) == 1 else "",
        subject=f"clock of gateway {gateway}",
        points=tuple(unjudged.points),
        is_present=True,
        severity=SEVERITY,
        onset=unjudged.since,
        because=(f"the samples of gateway {gateway} {what}; they are kept, and not judged",),
    )
