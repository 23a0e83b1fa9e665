"""Pages of twelve readings of one point: whether it stands still, leaps about, or hisses.

Everything is judged when a page is full, from its own readings and the six before them, and is
learnt then too: what a channel is known to do (its longest run of equal readings, how often two
follow each other, its noise, its spikes). How a stream is cut into blocks changes nothing.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from server.engine.detectors.grid import Bools, Floats, Ints
from server.engine.detectors.symptoms import Symptom
from telemetry.instant import DAY_MS

PAGE = 12
CARRY = 6
"""Readings before a page: a median of seven needs three on either side, and comes three late."""

FLAT_TIMES = 3
"""A frozen reading stays for three times the longest run that its channel was seen to do,"""

FLAT_MIN = 12
FLAT_NATS = 25.0
"""and for longer than chance: the probability of so many equal pairs is under exp(-25)."""

RESTLESS_SHARE = 0.45
"""A channel of which fewer pairs are equal hisses day and night, and is known at once;"""

RESTLESS_PAGES = 5
KNOWN_MS = 2 * DAY_MS
"""any other, of coarse steps or quiet water, after two nights."""

NOISE_TIMES, NOISE_PAGES = 6.0, 3
NOISE_KNOWN_PAGES = 8
MEMORY_PAGES = 500

SCREEN_TIMES = 12.0
SPIKE_MADS = 8.0
SPIKES_PAGES = 30
HABIT_PAGES = 20
SPIKES_ON, SPIKES_OFF = 5.0, 1.5
"""Spikes within some 360 readings, beyond three times what is usual there."""

_MAD = 1.4826

_Number = TypeVar("_Number", np.float64, np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A symptom of a point comes or goes with the reading at `place` of the block.

    `since` is when it began, or ended; `figure` is what was counted, in the symptom's own way.
    """

    number: int
    place: int
    symptom: Symptom
    is_on: bool
    since: int
    figure: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Readings of a block in the order of their points, then of arrival; arrays of one length."""

    number: Ints
    place: Ints
    at: Ints
    value: Floats


class Pages:
    """The pages of `n` points. `floor` is the least noise of each.

    `is_steady` says which of them neither leap nor hiss in ordinary life.
    """

    def __init__(self, n: int, *, floor: Floats, is_steady: Bools) -> None:
        self._floor = floor
        self._is_steady = is_steady
        self._values = np.full((n, CARRY + PAGE), np.nan)
        self._at = np.zeros((n, CARRY + PAGE), dtype=np.int64)
        self._fill = np.zeros(n, dtype=np.int64)
        self._first_at = np.full(n, -1, dtype=np.int64)
        self._pages = np.zeros(n)
        self._equal = np.zeros(n)
        self._longest = np.zeros(n)
        self._run = np.zeros(n)
        self._run_since = np.zeros(n, dtype=np.int64)
        self._noise = np.zeros(n)
        self._noisy = np.zeros(n)
        self._spikes = np.zeros(n)
        self._habit = np.zeros(n)
        self.is_flat, self.is_noisy, self.is_spiky = (np.zeros(n, dtype=np.bool_) for _ in range(3))

    def adopt(self, other: "Pages", pairs: list[tuple[int, int]]) -> None:
        """Go on with points of another registry; pairs are (ours, theirs)."""
        ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
        for name, mine in vars(self).items():
            if name not in {"_floor", "_is_steady"}:
                mine[ours] = getattr(other, name)[theirs]

    def run(self, readings: Readings) -> list[Turn]:
        """Take readings in; return what comes and goes, in the order of points and pages."""
        number = readings.number
        if not len(number):
            return []
        is_first = np.concatenate([[True], number[1:] != number[:-1]])
        begins = np.flatnonzero(is_first)
        who, counts = number[begins], np.diff(begins, append=len(number))
        total = self._fill[who] + counts
        column = CARRY + self._fill[number]
        if len(who) < len(number):
            column += np.arange(len(number)) - np.repeat(begins, counts)
        if int(total.max()) < PAGE:
            self._values[number, column] = readings.value
            self._at[number, column] = readings.at
            self._fill[who] = total
            return []
        return self._turn_over(readings, who, counts, column)

    def _turn_over(self, readings: Readings, who: Ints, counts: Ints, column: Ints) -> list[Turn]:
        """Lay what was kept and what is new end to end, point after point, and judge the pages."""
        total = self._fill[who] + counts
        full = total // PAGE
        lengths = CARRY + PAGE + full * PAGE
        offsets = np.cumsum(lengths) - lengths
        size = int(lengths.sum())
        values, at, place = np.full(size, np.nan), *np.zeros((2, size), dtype=np.int64)
        _windows(values)[offsets], _windows(at)[offsets] = self._values[who], self._at[who]
        new = np.repeat(offsets, counts) + column
        values[new], at[new], place[new] = readings.value, readings.at, readings.place
        turns = self._judge(who, full, offsets, values, at, place)
        tail = offsets + full * PAGE
        self._values[who], self._at[who] = _windows(values)[tail], _windows(at)[tail]
        self._fill[who] = total - full * PAGE
        return turns

    def _judge(
        self, who: Ints, full: Ints, offsets: Ints, values: Floats, at: Ints, place: Ints
    ) -> list[Turn]:
        first = np.concatenate([[0], np.cumsum(full)[:-1]])
        nth = np.arange(int(full.sum())) - np.repeat(first, full)
        start = np.repeat(offsets, full) + PAGE * nth
        page = _Page.of(_windows(values)[start])
        is_new = (self._first_at[who] < 0) & (full > 0)
        self._first_at[who[is_new]] = at[offsets[is_new] + CARRY]
        some = np.flatnonzero(full)
        is_there = np.arange(int(full.max()))[:, None] < full[some]
        row = np.where(is_there, first[some] + np.arange(len(is_there))[:, None], 0)
        begin = start[row] + CARRY
        sheet = _Sheet(
            who=who[some],
            full=full[some],
            is_there=is_there,
            row=row,
            begin=begin,
            at=at,
            page=page,
        )
        left = full.copy()
        left[some[self._learn_calm(sheet)]] = 0
        turns: list[Turn] = []
        for wave in range(int(left.max())):
            chosen = np.flatnonzero(left > wave)
            rows = first[chosen] + wave
            begin = start[rows] + CARRY
            told = _Wave(
                who=who[chosen],
                page=page.part(rows),
                at=at[begin[:, None] + np.arange(-1, PAGE)],
                place=place[begin + PAGE - 1],
            )
            turns += self._wave(told)
        turns.sort(key=lambda t: t.place)
        return turns

    def _learn_calm(self, sheet: "_Sheet") -> Bools:
        """Learn all pages of those points at once of which nothing comes or goes; say of which.

        What a page brings is what `_wave` would find in it, to the bit.
        """
        who, full = sheet.who, sheet.full
        pages = self._pages[who] + np.arange(float(len(sheet.row)))[:, None]
        is_off, courses = self._moves(sheet, pages)
        is_flat, standing, since = self._stands(sheet, pages, courses["_equal"])
        is_off |= is_flat
        is_off[0] |= self.is_flat[who] | self.is_noisy[who] | self.is_spiky[who]
        is_calm: Bools = ~np.logical_or.reduce(is_off, axis=0)
        calm = np.flatnonzero(is_calm)
        whom, full = who[calm], full[calm]
        for name, course in (courses | standing).items():
            getattr(self, name)[whom] = course[full, calm]
        self._run_since[whom] = since[calm]
        self._pages[whom] += full
        self._noisy[whom] = np.maximum(self._noisy[whom] - full, 0)
        return is_calm

    def _moves(self, sheet: "_Sheet", pages: Floats) -> tuple[Bools, dict[str, Floats]]:
        """Return which pages are loud or full of spikes, and what all teach if none is."""
        who, page, row = sheet.who, sheet.page, sheet.row
        typical, floor = page.typical[row], self._floor[who]
        rate = 1 / np.clip(pages + 1.0, 1.0, MEMORY_PAGES)
        roof = np.where(pages + 1.0 > NOISE_KNOWN_PAGES, 3.0, np.inf)
        noises = _drawn(self._noise[who], typical, rate, floor, roof)
        noise = np.maximum(noises[:-1], floor)
        is_known = sheet.is_there & (pages >= NOISE_KNOWN_PAGES) & self._is_steady[who]
        is_loud = is_known & (typical > NOISE_TIMES * noise)
        count = np.zeros(row.shape)
        leaps = is_known & ~is_loud & (page.largest[row] > SCREEN_TIMES * noise)
        if leaps.any():
            count[leaps] = _spikes(page.values[row[leaps]], noise[leaps])
        is_young = pages < HABIT_PAGES
        slow = np.where(is_young, 1 / (pages + 1.0), 1 / MEMORY_PAGES)
        habits = _drawn(self._habit[who], count, slow)
        usual = np.where(is_young, np.inf, 3.0 * SPIKES_PAGES * habits[:-1])
        spikes = _faded(self._spikes[who], np.full(row.shape, 1 - 1 / SPIKES_PAGES), count)
        is_spiky = sheet.is_there & (spikes[1:] >= SPIKES_ON + usual)
        equals = _drawn(self._equal[who], page.equal[row] / PAGE, rate)
        courses = {"_noise": noises, "_habit": habits, "_spikes": spikes, "_equal": equals}
        return is_loud | is_spiky, courses

    def _stands(
        self, sheet: "_Sheet", pages: Floats, equals: Floats
    ) -> tuple[Bools, dict[str, Floats], Ints]:
        """Return which pages stand still for too long, what all teach, and since when each run."""
        who, page, row = sheet.who, sheet.page, sheet.row
        lead, trailing = page.lead[row], page.trailing[row]
        is_still = lead == PAGE
        runs = _faded(self._run[who], is_still.astype(np.float64), trailing)
        ended = np.maximum(runs[:-1] + lead, page.ended[row])
        best = np.maximum(ended, trailing)
        over = np.concatenate([self._longest[None, who], np.where(is_still, 0.0, ended)])
        longest = np.maximum.accumulate(over, axis=0)
        is_flat = sheet.is_there & (best >= FLAT_MIN - 1)
        n, p = np.nonzero(is_flat)
        if len(n):
            now = sheet.at[sheet.begin[n, p] + PAGE - 1]
            limit = self._limit(who[p], now, pages[n, p], equals[n, p], longest[n, p])
            is_flat[n, p] = best[n, p] >= limit
        nth = np.where(sheet.is_there & ~is_still, np.arange(len(row))[:, None], -1).max(axis=0)
        every = np.arange(len(who))
        moved = sheet.at[sheet.begin[nth, every] + PAGE - 1 - trailing[nth, every].astype(np.int64)]
        before = np.where(self._run[who] > 0, self._run_since[who], sheet.at[sheet.begin[0] - 1])
        return is_flat, {"_run": runs, "_longest": longest}, np.where(nth < 0, before, moved)

    def _wave(self, wave: "_Wave") -> list[Turn]:
        """Judge one page of each of some points, and learn from it."""
        who, page = wave.who, wave.page
        is_still = page.lead == PAGE
        run = self._run[who]
        through = run + page.lead
        best = np.maximum(np.maximum(through, page.ended), page.trailing)
        was_flat, was_noisy, was_spiky = self.is_flat[who], self.is_noisy[who], self.is_spiky[who]
        is_flat = was_flat
        if best.max() >= FLAT_MIN - 1 or was_flat.any():
            limit = self._limit(
                who, wave.at[:, -1], self._pages[who], self._equal[who], self._longest[who]
            )
            is_flat = np.where(was_flat, best >= PAGE - 1, best >= limit)
        noise = np.maximum(self._noise[who], self._floor[who])
        is_known = (self._pages[who] >= NOISE_KNOWN_PAGES) & self._is_steady[who]
        is_loud = is_known & (page.typical > NOISE_TIMES * noise)
        noisy = np.where(is_loud, np.maximum(self._noisy[who], 0) + 1, self._noisy[who] - 1)
        noisy = np.clip(noisy, 0, NOISE_PAGES)
        is_noisy = np.where(was_noisy, noisy > 0, noisy >= NOISE_PAGES)
        is_spiky = self._spiky(who, page, noise, is_known & ~is_loud)
        turns = self._turns(wave, Symptom.FLAT, was_flat, is_flat, best + 1)
        turns += self._turns(wave, Symptom.NOISE, was_noisy, is_noisy, page.typical / noise)
        turns += self._turns(wave, Symptom.SPIKES, was_spiky, is_spiky, self._spikes[who])
        if turns:
            self.is_flat[who], self.is_noisy[who], self.is_spiky[who] = is_flat, is_noisy, is_spiky
        self._noisy[who] = noisy
        ended = np.where(is_still, 0.0, np.maximum(through, page.ended))
        is_ordinary = ~(is_flat | was_flat)
        self._longest[who] = np.maximum(self._longest[who], np.where(is_ordinary, ended, 0.0))
        self._run_since[who] = np.where(
            is_still, np.where(run > 0, self._run_since[who], wave.at[:, 0]), wave.trailing_since
        )
        self._run[who] = np.where(is_still, run + PAGE, page.trailing)
        self._learn(who, page, noise, is_ordinary, is_loud)
        return turns

    def _learn(
        self, who: Ints, page: "_Page", noise: Floats, is_ordinary: Bools, is_loud: Bools
    ) -> None:
        pages = self._pages[who] + is_ordinary
        self._pages[who] = pages
        rate = np.where(is_ordinary & ~is_loud, 1 / np.clip(pages, 1.0, MEMORY_PAGES), 0.0)
        roof = np.where(pages > NOISE_KNOWN_PAGES, 3.0 * noise, np.inf)
        self._noise[who] += rate * (np.minimum(page.typical, roof) - self._noise[who])
        self._equal[who] += rate * (page.equal / PAGE - self._equal[who])

    def _limit(self, who: Ints, now: Ints, pages: Floats, equal: Floats, longest: Floats) -> Floats:
        """Return how many equal pairs in a row each point must show to be called frozen."""
        share = (equal * pages * PAGE + 2.0) / (pages * PAGE + 4.0)
        chance = FLAT_NATS / -np.log(np.minimum(share, 0.999))
        longest = FLAT_TIMES * (longest + 1.0)
        limit = np.maximum(np.maximum(FLAT_MIN - 1.0, longest), chance)
        is_restless = (share <= RESTLESS_SHARE) & (pages >= RESTLESS_PAGES) & self._is_steady[who]
        is_known = is_restless | (now - self._first_at[who] >= KNOWN_MS)
        return np.where(is_known, limit, np.inf)

    def _spiky(self, who: Ints, page: "_Page", noise: Floats, is_known: Bools) -> Bools:
        """Count spikes where a page moves much; say who has too many of them."""
        count = np.zeros(len(who))
        chosen = np.flatnonzero(is_known & (page.largest > SCREEN_TIMES * noise))
        if len(chosen):
            count[chosen] = _spikes(page.values[chosen], noise[chosen])
        score = self._spikes[who] * (1 - 1 / SPIKES_PAGES) + count
        self._spikes[who] = score
        was = self.is_spiky[who]
        pages = self._pages[who]
        usual = np.where(pages < HABIT_PAGES, np.inf, 3.0 * SPIKES_PAGES * self._habit[who])
        is_spiky: Bools = np.where(was, score >= SPIKES_OFF + usual, score >= SPIKES_ON + usual)
        rate = np.where(pages < HABIT_PAGES, 1 / (pages + 1.0), 1 / MEMORY_PAGES)
        rate = np.where(is_spiky | was, 0.0, rate)
        self._habit[who] += rate * (count - self._habit[who])
        return is_spiky

    def _turns(
        self, wave: "_Wave", symptom: Symptom, was: Bools, is_now: Bools, figure: Floats
    ) -> list[Turn]:
        is_other = was != is_now
        if not is_other.any():
            return []
        return [
            Turn(
                number=int(wave.who[i]),
                place=int(wave.place[i]),
                symptom=symptom,
                is_on=bool(is_now[i]),
                since=self._since(wave, i, symptom, is_on=bool(is_now[i])),
                figure=float(figure[i]),
            )
            for i in np.flatnonzero(is_other).tolist()
        ]

    def _since(self, wave: "_Wave", i: int, symptom: Symptom, *, is_on: bool) -> int:
        """Return since when a reading stands still; other symptoms begin with their page."""
        if symptom is not Symptom.FLAT or not is_on:
            return int(wave.at[i, 1])
        run, lead = self._run[wave.who[i]], wave.page.lead[i]
        if run > 0 and run + lead >= max(wave.page.ended[i], wave.page.trailing[i]):
            return int(self._run_since[wave.who[i]])
        return int(wave.at[i, 0] if lead == PAGE else wave.at[i, 1])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """Pages, (pages, 18) readings each, and what they show; runs count equal pairs."""

    values: Floats
    lead: Floats
    ended: Floats
    trailing: Floats
    equal: Floats
    typical: Floats
    largest: Floats

    @classmethod
    def of(cls, values: Floats) -> "_Page":
        moves = values[:, CARRY:] - values[:, CARRY - 1 : -1]
        is_same = (moves == 0.0) & (values[:, CARRY:] != 0.0)
        moves = np.where(np.isnan(moves), 0.0, moves)
        n = len(values)
        lead, ended, run = np.zeros(n), np.zeros(n), np.zeros(n)
        is_leading = np.ones(n, dtype=np.bool_)
        for k in range(PAGE):
            same = is_same[:, k]
            ended = np.where(same | is_leading, ended, np.maximum(ended, run))
            is_leading &= same
            lead += is_leading
            run = np.where(same, run + 1.0, 0.0)
        ordered = np.sort(moves, axis=1)
        slope = (ordered[:, PAGE // 2 - 1] + ordered[:, PAGE // 2]) / 2
        smallest = np.sort(np.abs(ordered - slope[:, None]), axis=1)  # a ramp is no noise
        typical = smallest[:, 0].copy()
        for k in range(1, 9):  # the larger quarter is left out: a spike moves twice
            typical += smallest[:, k]
        return cls(
            values=values,
            lead=lead,
            ended=ended,
            trailing=run,
            equal=is_same.sum(axis=1).astype(np.float64),
            typical=typical / 9,
            largest=smallest[:, -1],
        )

    def part(self, rows: Ints) -> "_Page":
        """Return some of the pages."""
        return _Page(
            values=self.values[rows],
            lead=self.lead[rows],
            ended=self.ended[rows],
            trailing=self.trailing[rows],
            equal=self.equal[rows],
            typical=self.typical[rows],
            largest=self.largest[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sheet:
    """All pages of some points, `full` of each: tables of (pages, points).

    `row` is the number of a page and `begin` the place of its first reading in `at`; where a point
    has no such page, they are those of any.
    """

    who: Ints
    full: Ints
    is_there: Bools
    row: Ints
    begin: Ints
    at: Ints
    page: _Page


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wave:
    """One page of each of some points; `at` has the instant before it and its own twelve."""

    who: Ints
    page: _Page
    at: Ints
    place: Ints

    @property
    def trailing_since(self) -> Ints:
        """Return since when the last reading stands."""
        column = PAGE - self.page.trailing.astype(np.int64)
        since: Ints = np.take_along_axis(self.at, column[:, None], axis=1)[:, 0]
        return since


def _spikes(values: Floats, noise: Floats) -> Floats:
    """Return how many readings of each page stand far off the median of seven around them."""
    windows = np.lib.stride_tricks.sliding_window_view(values, 7, axis=1)
    median = np.median(windows, axis=2)
    mad = _MAD * np.median(np.abs(windows - median[:, :, None]), axis=2)
    far = np.abs(values[:, 3:-3] - median) > SPIKE_MADS * np.maximum(mad, noise[:, None])
    count: Floats = far.sum(axis=1).astype(np.float64)
    return count


def _windows(laid: NDArray[_Number]) -> NDArray[_Number]:
    """Return every page with what is carried before it, by where it begins; they share memory."""
    return np.lib.stride_tricks.sliding_window_view(laid, CARRY + PAGE, writeable=True)


def _drawn(
    state: Floats,
    targets: Floats,
    rates: Floats,
    floor: Floats | None = None,
    roof: Floats | None = None,
) -> Floats:
    """Draw a state towards one target after another; return it before the first and after each.

    No target is beyond `roof` times the state, which counts as at least the floor.
    """
    course = np.empty((len(targets) + 1, len(state)))
    course[0] = state
    for n in range(len(targets)):
        target = targets[n]
        if floor is not None and roof is not None:
            target = np.minimum(target, roof[n] * np.maximum(state, floor))
        state = state + rates[n] * (target - state)
        course[n + 1] = state
    return course


def _faded(state: Floats, factors: Floats, more: Floats) -> Floats:
    """Let a state fade and grow, once for each row; return it before the first and after each."""
    course = np.empty((len(more) + 1, len(state)))
    course[0] = state
    for n in range(len(more)):
        state = state * factors[n] + more[n]
        course[n + 1] = state
    return course
