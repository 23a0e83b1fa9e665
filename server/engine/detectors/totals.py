"""What totals tell: the flow between two readings, and counters that began anew.

Rule 1: a total that falls by more than a meter can run backwards has begun anew, if the next
reading goes on from there; if the next one goes on from before, it was noise. A fall from just
below the end of a counter to just above its beginning is a roll-over, and nothing is said.
Rule 2: a gateway that follows its counters itself says that one began anew by the reason of its
samples; that is believed when the reading before it was in doubt as well.
No difference is made over either, so no consumption leaps.
"""

from dataclasses import dataclass

import numpy as np

from server.engine.detectors.block import REASONS, Block
from server.engine.detectors.finding import Finding
from server.engine.detectors.grid import Arrivals, Bools, Floats, Ints
from server.engine.detectors.meter_words import begun_anew, restarted
from server.engine.registry import Point
from telemetry.instant import DAY_MS, HOUR_MS, Instant
from telemetry.point import PointId
from telemetry.sample import Quality, Reason

TOLD_FOR_MS = DAY_MS
"""How long a finding stays that a counter began anew: it is an event, not a state."""

FALL_PART, FALL_M3 = 0.01, 2.0
"""Of the total, and at least: what falls by more has not run backwards."""

ENDS_M3 = tuple(
    sorted(
        {
            float(round(count * step, 9))
            for count in (2**16, 2**24, 2**31, 2**32, *(10**k for k in range(4, 10)))
            for step in (0.001, 0.01, 0.1, 1.0, 10.0)
        }
    )
)
"""Where counters end: binary or decimal counts of so many m³."""

NEAR_END = 0.001
"""Of the whole range: what may have passed unseen at a roll-over."""

_RESET = REASONS.index(Reason.COUNTER_RESET)


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalOf:
    """A volume point: the column of the flow that it tells (-1: none), and its longest step."""

    point: Point
    column: int
    step_max_ms: int


@dataclass(slots=True, kw_only=True)
class _Held:
    """A reading that did not follow, and waits for the next one."""

    at: int
    value: float


class Totals:
    """The totals of some points, in the order of arrival."""

    def __init__(self, totals: list[TotalOf]) -> None:
        self.of = {t.point.id: n for n, t in enumerate(totals)}
        self._totals = totals
        size = len(totals)
        self.value = np.full(size, np.nan)
        self.at = np.full(size, -(2**62), dtype=np.int64)
        self.is_sure = np.ones(size, dtype=np.bool_)
        self._column = np.array([t.column for t in totals], dtype=np.int64)
        self._step_max = np.array([t.step_max_ms for t in totals], dtype=np.int64)
        self.held: dict[int, _Held] = {}
        self.told: dict[int, tuple[int, Finding]] = {}
        self._waiting: list[Finding] = []
        self._names: tuple[PointId, ...] = ()
        self._numbers = np.zeros(0, dtype=np.int64)

    def adopt(self, other: "Totals") -> None:
        """Go on with the points that are still here."""
        for name, ours in self.of.items():
            theirs = other.of.get(name)
            if theirs is None:
                continue
            for array in ("value", "at", "is_sure"):
                getattr(self, array)[ours] = getattr(other, array)[theirs]
            if theirs in other.held:
                self.held[ours] = other.held[theirs]
            if theirs in other.told and self.zone_of(ours) == other.zone_of(theirs):
                self.told[ours] = other.told[theirs]

    def left(self, other: "Totals") -> list[Finding]:
        """Return the findings of another that were not adopted, as gone."""
        kept = {f.key for _, f in self.told.values()}
        lost = [f for _, f in other.told.values() if f.key not in kept]
        return [f.gone("the meter was changed in the registry") for f in lost]

    def zone_of(self, number: int) -> str:
        """Return the zone of a total."""
        return self._totals[number].point.zone

    def run(self, block: Block) -> tuple[Arrivals, list[tuple[int, Finding]]]:
        """Return the flows that are told on their way to the grid, and what began anew."""
        number = self._number_of(block.points)[block.point]
        heard = np.flatnonzero(number >= 0)
        is_sure = (block.quality[heard] == int(Quality.GOOD)) & ~np.isnan(block.value[heard])
        said = self._reasons(block, heard, number[heard], is_sure)
        ours = heard[is_sure]
        places, flows, anew = self._follow(block, ours, number[ours])
        told = self._tell(block, sorted([*said, *anew], key=lambda told: told[0]))
        return self._arrivals(block, number, places, flows), told

    def learn(self, block: Block) -> Arrivals:
        """Return the flows that the past tells, and say nothing of it."""
        number = self._number_of(block.points)[block.point]
        ours = np.flatnonzero((number >= 0) & block.is_good)
        places, flows, _ = self._follow(block, ours, number[ours])
        return self._arrivals(block, number, places, flows)

    def _arrivals(self, block: Block, number: Ints, places: Ints, flows: Floats) -> Arrivals:
        column = self._column[number[places]]
        is_wanted = column >= 0
        at = places[is_wanted]
        return Arrivals(
            after=block.after[at],
            now=block.now[at],
            at=block.at[at] - 1,  # of the time before it, to the bin before it
            column=column[is_wanted],
            value=flows[is_wanted],
        )

    def _number_of(self, points: tuple[PointId, ...]) -> Ints:
        if self._names is not points:
            self._names = points
            self._numbers = np.array([self.of.get(p, -1) for p in points], dtype=np.int64)
        return self._numbers

    def _reasons(
        self, block: Block, heard: Ints, number: Ints, sure: Bools
    ) -> list[tuple[int, Finding]]:
        """Return what gateways say of counters that began anew."""
        said: list[tuple[int, Finding]] = []
        if sure.all() and self.is_sure.all():
            return said
        is_reset = (block.reason[heard] == _RESET) & (
            block.quality[heard] == int(Quality.UNCERTAIN)
        )
        named = np.unique(number[is_reset]).tolist() if is_reset.any() else []
        for n in named:
            of_it = np.flatnonzero(number == n)
            before = np.concatenate([[self.is_sure[n]], sure[of_it]])[: len(of_it)]
            for place in heard[of_it[is_reset[of_it] & ~before]].tolist():
                point = self._totals[n].point
                said.append((place, restarted(point, Instant(int(block.at[place])))))
        self.is_sure[number] = sure  # the last one of each stays
        return said

    def _follow(
        self, block: Block, ours: Ints, number: Ints
    ) -> tuple[Ints, Floats, list[tuple[int, Finding]]]:
        """Return the places of readings that tell a flow, the flows, and what began anew."""
        is_scan = len(number) < 2 or bool((number[1:] > number[:-1]).all())
        order = slice(None) if is_scan else np.argsort(number, kind="stable")
        places, who = ours[order], number[order]
        value, at = block.value[places], block.at[places]
        before, since = self.value[who], self.at[who]
        if not is_scan:  # of all but the first of each, what came before is in this block
            again = np.flatnonzero(who[1:] == who[:-1]) + 1
            before[again], since[again] = value[again - 1], at[again - 1]
        passed, step = value - before, at - since
        is_odd = (step <= 0) | (passed < 0)
        is_any = bool(is_odd.any()) or bool(self.held)
        odd = sorted({*np.unique(who[is_odd]).tolist(), *self.held}) if is_any else []
        is_plain = ~np.isin(who, np.array(odd)) if odd else np.ones(len(who), dtype=np.bool_)
        tells = is_plain & ~np.isnan(passed) & (step <= self._step_max[who])
        flows = passed[tells] * HOUR_MS / step[tells]
        found, more = places[tells], []
        anew: list[tuple[int, Finding]] = []
        # Of several readings of one total the last one stays.
        self.value[who[is_plain]], self.at[who[is_plain]] = value[is_plain], at[is_plain]
        for n in odd:
            for place in places[who == n].tolist():
                flow, finding = self._one(n, int(block.at[place]), float(block.value[place]))
                if flow is not None:
                    more.append((place, flow))
                if finding is not None:
                    anew.append((place, finding))
        if more:
            found = np.concatenate([found, np.array([p for p, _ in more], dtype=np.int64)])
            flows = np.concatenate([flows, np.array([f for _, f in more])])
        return found, flows, anew

    def _one(self, n: int, at: int, value: float) -> tuple[float | None, Finding | None]:
        """Take in one reading of a total that does not simply go on."""
        before, since = float(self.value[n]), int(self.at[n])
        if at <= since:
            return None, None
        held = self.held.pop(n, None)
        passed = value - before
        if -passed > max(FALL_M3, FALL_PART * before):
            end = _end(before, value)
            if end is not None:
                return self._accept(n, at, value, passed + end), None
            if held is None or not 0 <= value - held.value <= max(FALL_M3, FALL_PART * before):
                self.held[n] = _Held(at=at, value=value)
                return None, None
            passed = value - held.value
            told = begun_anew(self._totals[n].point, Instant(held.at), before, held.value)
            self.at[n] = held.at
            return self._accept(n, at, value, passed), told
        return self._accept(n, at, value, passed), None

    def _accept(self, n: int, at: int, value: float, passed: float) -> float | None:
        step = at - int(self.at[n])
        self.value[n], self.at[n] = value, at
        if np.isnan(passed) or step > self._step_max[n]:
            return None
        return passed * HOUR_MS / step

    def _tell(self, block: Block, said: list[tuple[int, Finding]]) -> list[tuple[int, Finding]]:
        """Return findings with the number of the tick that brings them; others wait for one."""
        count = len(block.ticks)
        found = [(0, f) for f in self._waiting] if count else []
        waiting = [] if count else self._waiting
        for place, finding in said:
            tick = int(block.after[place])
            found += self._over(block.ticks[:tick])
            number = self.of[PointId(finding.points[0])]
            if number in self.told:
                continue
            self.told[number] = (int(block.now[place]) + TOLD_FOR_MS, finding)
            if tick < count:
                found.append((tick, finding))
            else:
                waiting.append(finding)
        self._waiting = waiting
        found += self._over(block.ticks)
        return sorted(found, key=lambda told: told[0])

    def _over(self, ticks: Ints) -> list[tuple[int, Finding]]:
        """Take down what was told a day before one of these ticks."""
        found = []
        for number, (until, finding) in list(self.told.items()):
            tick = int(np.searchsorted(ticks, until, side="left"))
            if tick < len(ticks):
                del self.told[number]
                found.append((tick, finding.gone("its total has gone on for a day")))
        return found


def _end(before: float, value: float) -> float | None:
    """Return where a counter ends that rolled over between two readings, if one did."""
    for end in ENDS_M3:
        if before < end and end - before + value <= NEAR_END * end:
            return end
    return None
