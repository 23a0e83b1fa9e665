"""Readings that jump alone: held back at once, and a few bins later named or let go.

A pressure that jumps while no other of its zone moves, and while no more and no less water comes
in, is its instrument's doing. Where the inflow has risen with a fall, or another point moves too,
it is let go in the same bin: that may be a burst beside the point.
"""

from dataclasses import dataclass

import numpy as np

from server.engine.detectors.grid import Bools, Floats, Ints
from server.engine.detectors.kinship import BLIND_KPA, may_be_water, middle
from server.engine.detectors.scales import Mean
from telemetry.instant import DAY_MS, SECOND_MS
from telemetry.point import PointId

POINTS_MIN = 3

JUMP_KPA, JUMP_TIMES = 4.0, 10.0
BEFORE = 5
FAST_MS = 10 * SECOND_MS
"""Up to here the level before a jump is the median of five bins, above the last bin alone."""

LEFT_PART = 0.6
"""Of a jump: what must be left of it when it is judged."""

ALONE_PART = 0.25
"""Of a jump: no other point may have moved by more."""

COMMON_PART = 0.5
"""Of a jump: the zone may not have moved by more, or it is the one that has stayed."""

SEEN_PART = 0.4
"""Of a jump: where another point moves by more in any one bin, it is the water."""

BLIND_PART = 0.08
"""Without a known inflow a jump must be larger, and as lonely as this, to be no burst."""

ROWS_KNOWN = 40
"""Fresh bins after which the noise of a point is known well enough for a jump."""

_ABSOLUTE = float(np.sqrt(np.pi / 2))

Cells = list[tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A zone with its pressure points and meters, as columns of a grid; `sign` of each meter."""

    zone: str
    points: tuple[PointId, ...]
    columns: tuple[int, ...]
    meters: tuple[tuple[int, int], ...]
    slow: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The bins of one lesson in a block; `before` and `flows` begin some bins earlier.

    `first` is the number of its first bin in the block; `may_jump` says that a reading has moved by
    as much as a jump at least must.
    """

    first: int
    start: Ints
    tick: Ints
    before: Floats
    flows: Floats
    moves: Floats
    meters: Bools
    may_jump: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Jumped:
    """A point that has jumped alone: its zone's levels and inflow before, and by how much."""

    zone: int
    point: int
    before: Floats
    flow_before: float
    shift: float
    since: int
    because: str


@dataclass(slots=True, kw_only=True)
class _Jump:
    """A reading that has jumped and is held back; sums are since then, points then inflow."""

    point: int
    size: float
    since: int
    before: Floats
    flow_before: float
    sums: Floats
    counts: Floats
    flow: float = np.nan
    rows: int = 0


class Jumps:
    """The jumps of the pressures of some zones, (zones, points)."""

    def __init__(
        self, families: tuple[Family, ...], shape: tuple[int, int], *, width_ms: int
    ) -> None:
        self._families = families
        self._shape = shape
        self._width_ms = width_ms
        memory = max(500, DAY_MS // width_ms)
        self.noise = Mean(shape[0] * shape[1], memory=memory, trusted=20, clip=3.0)
        self.flow_noise = Mean(shape[0], memory=memory, trusted=20, clip=3.0)
        self._jumps: dict[int, _Jump] = {}
        if width_ms <= 2 * SECOND_MS:
            self._wait = 6
        else:
            self._wait = 3 if width_ms <= FAST_MS else 2

    def adopt(self, other: "Jumps", cells: Cells, zones: Cells) -> None:
        """Take over what was learnt; pairs are (ours, theirs)."""
        self.noise.adopt(other.noise, cells)
        self.flow_noise.adopt(other.flow_noise, zones)

    def begin_anew(self) -> None:
        """Forget what is held back, after a gap."""
        self._jumps = {}

    def learn(self, moves: Floats, flow_moves: Floats) -> None:
        """Learn from the bins of lessons how far pressures and inflows move from bin to bin."""
        lessons, bins = moves.shape[:2]
        self.noise.learn_lessons(np.abs(moves).reshape(lessons, bins, -1))
        self.flow_noise.learn_lessons(np.abs(flow_moves))

    def is_looked_at(self, part: Part) -> bool:
        """Say whether the bins of a lesson may show a jump, or one is held back."""
        return bool(self._jumps) or part.may_jump

    def look(self, part: Part, held: Bools, off: set[tuple[int, int]]) -> list[tuple[int, Jumped]]:
        """Look for jumps in the bins of one lesson."""
        noise = _ABSOLUTE * self.noise.mean.reshape(self._shape)
        is_known = self.noise.count.reshape(self._shape) >= ROWS_KNOWN
        limit = np.where(is_known, np.maximum(JUMP_KPA, JUMP_TIMES * noise), np.inf)
        with np.errstate(invalid="ignore"):
            is_jump = np.abs(part.moves) >= limit
        zones = set(np.flatnonzero(is_jump.any(axis=(0, 2))).tolist()) | set(self._jumps)
        found: list[tuple[int, Jumped]] = []
        for z in sorted(zones):
            found += self._zone(z, part, is_jump[:, z], held[:, z], off)
        return found

    def _zone(
        self, z: int, part: Part, is_jump: Bools, held: Bools, off: set[tuple[int, int]]
    ) -> list[tuple[int, Jumped]]:
        found: list[tuple[int, Jumped]] = []
        starts = np.flatnonzero(is_jump.any(axis=1)).tolist()
        r = 0
        while r < len(is_jump):
            jump = self._jumps.get(z)
            if jump is None:
                r = next((s for s in starts if s >= r), len(is_jump))
                if r == len(is_jump):
                    break
                self._begin(z, part, r, np.flatnonzero(is_jump[r]).tolist(), off)
                jump = self._jumps.get(z)
                if jump is None:
                    r += 1
                    continue
            elif (is_jump[r] & (np.arange(len(is_jump[r])) != jump.point)).any():
                del self._jumps[z]  # others jump too: it is the water
                r += 1
                continue
            verdict = self._step(z, part, r, jump)
            held[r, jump.point] = verdict is not False
            if verdict is not None:
                del self._jumps[z]
                if verdict:
                    off.add((z, jump.point))
                    held[r:, jump.point] = True
                    found.append((r, self._jumped(z, jump)))
            r += 1
        return found

    def _begin(
        self, z: int, part: Part, r: int, points: list[int], off: set[tuple[int, int]]
    ) -> None:
        if len(points) != 1 or (z, points[0]) in off:
            return
        back = r if self._width_ms <= FAST_MS else r + BEFORE - 1
        before = middle(part.before[back : r + BEFORE, z].T, least=1)
        flow = middle(part.flows[back : r + BEFORE, z][None], least=1)[0]
        self._jumps[z] = _Jump(
            point=points[0],
            size=float(part.moves[r, z, points[0]]),
            since=int(part.start[r]),
            before=before,
            flow_before=float(flow),
            sums=np.zeros(self._shape[1]),
            counts=np.zeros(self._shape[1]),
        )

    def _step(self, z: int, part: Part, r: int, jump: _Jump) -> bool | None:
        """Take one more bin in; say whether it is the instrument, or nothing yet."""
        row = part.before[r + BEFORE, z]
        is_said = ~np.isnan(row)
        jump.sums += np.where(is_said, row, 0.0)
        jump.counts += is_said
        jump.rows += 1
        if part.meters[r, z]:
            jump.flow = float(part.flows[r + BEFORE, z])
            own, others = _apart(row - jump.before, jump.point)
            if self._is_explained(z, jump, own) or (others > SEEN_PART * abs(jump.size)).any():
                return False
        family = self._families[z]
        patience = self._wait + (3 * family.slow if family.meters else 0)
        if jump.rows < self._wait or (
            family.meters and np.isnan(jump.flow) and jump.rows < patience
        ):
            return None
        after = jump.sums / np.where(jump.counts > 0, jump.counts, np.nan)
        change = after - jump.before
        own, others = _apart(change, jump.point)
        if not abs(own) >= LEFT_PART * abs(jump.size) or len(others) < POINTS_MIN - 1:
            return False
        if not abs(change[jump.point] - own) <= COMMON_PART * abs(own):
            return False  # the others have moved together, and it has stayed
        if np.isnan(jump.flow - jump.flow_before):
            return bool(abs(own) >= BLIND_KPA and others.max() <= BLIND_PART * abs(own))
        return bool(others.max() <= ALONE_PART * abs(own))

    def _is_explained(self, z: int, jump: _Jump, own: float) -> bool:
        """Say whether the inflow may have risen with a fall, or fallen with a rise."""
        sigma = _ABSOLUTE * float(self.flow_noise.mean[z])
        return may_be_water(own, jump.flow - jump.flow_before, jump.flow_before, sigma)

    def _jumped(self, z: int, jump: _Jump) -> Jumped:
        family, i = self._families[z], jump.point
        after = jump.sums / np.where(jump.counts > 0, jump.counts, np.nan)
        shift, others = _apart(after - jump.before, i)
        flow = "the inflow is not known"
        if not np.isnan(jump.flow):
            flow = f"the inflow went from {jump.flow_before:.1f} to {jump.flow:.1f} m3/h"
        return Jumped(
            zone=z,
            point=i,
            before=jump.before,
            flow_before=jump.flow_before,
            shift=shift,
            since=jump.since,
            because=(
                f"{family.points[i]} jumped by {shift:+.1f} kPa; no other point of zone"
                f" {family.zone} moved by more than {others.max():.1f} kPa, and {flow}"
            ),
        )


def moves_of(values: Floats, is_fresh: Bools) -> Floats:
    """Return how far each fresh reading moves beyond its zone, (bins, zones, points).

    `values` begin one bin earlier than `is_fresh`.
    """
    moves = np.where(is_fresh, values[1:] - values[:-1], np.nan)
    left: Floats = moves - middle(moves)[:, :, None]
    return left


def _apart(change: Floats, i: int) -> tuple[float, Floats]:
    """Return by how much one point moved, and the others, beyond what is common to them all."""
    left = change - middle(change[None], least=1)[0]
    others = np.abs(np.delete(left, i))
    return float(left[i]), others[~np.isnan(others)]
