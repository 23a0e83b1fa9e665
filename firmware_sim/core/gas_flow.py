"""Steady flow of gas: pressures and flows of a looped grid by Newton's method.

Pressures are absolute, in bar, and squared wherever pipes are concerned; flows are in cubic metres
an hour at base conditions. Pipes follow Renouard's square law (1952), usual for distribution above
50 mbar. Holes let out in step with the pressure while it is more than about twice the air's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import numpy.typing as npt

AIR_BAR = 1.01325
_AIR_SQUARED = AIR_BAR**2

_RELATIVE_DENSITY = 0.6
_EXPONENT = 1 / 1.82
_SMALL_BAR2 = 1e-6
"""Below this difference a pipe's law is a straight line, so that its slope stays finite."""

_SEEP = 1e-4
"""m³/h for each bar²: joints let out so little; it keeps a cut-off part of the grid solvable."""

_FULL_BAR = 0.2
"""Below this pressure above the air's, people get less than they ask for."""

_CRITICAL = 0.546
"""Air pressure over gas pressure below which the outflow is as fast as sound (methane)."""

_CLOSE_ENOUGH = 1e-6
_TRIES = 60
_STEPS = (0.02, 0.1, 0.3, 0.6, 0.8, 0.9, 1.0)

Floats = npt.NDArray[np.float64]


class Mode(Enum):
    """What a regulator does."""

    HOLDS = "holds"
    """It keeps its outlet at the set pressure."""
    OPEN = "open"
    """The inlet is too low for that: it stands wide open."""
    SHUT = "shut"
    """The outlet is high enough without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The grid as numbers: nodes are counted from 0, pipes and regulators run between two."""

    sources: tuple[tuple[int, float], ...]
    """Nodes that are held at a pressure, in bar absolute."""
    pipes: tuple[tuple[int, int], ...]
    resistance: Floats
    regulators: tuple[tuple[int, int], ...]
    set_bar: tuple[float, ...]
    barred: tuple[bool, ...]
    """Regulators that somebody has shut."""
    demand: Floats
    holes: Floats
    """m³/h for each bar of absolute pressure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """A solved grid."""

    squared: Floats
    pipe_flow: Floats
    regulator_flow: Floats
    taken: Floats
    let_out: Floats
    modes: tuple[Mode, ...]
    is_solved: bool

    @property
    def bar(self) -> Floats:
        """Return the absolute pressure of every node."""
        return np.sqrt(np.maximum(self.squared, _AIR_SQUARED))


def resistance(length_m: float, diameter_mm: float) -> float:
    """Return Renouard's resistance of a pipe, in bar² for (m³/h) to the power of 1.82."""
    return float(48.6 * _RELATIVE_DENSITY * max(0.1, length_m) * diameter_mm**-4.82)


def solved(grid: Grid, *, start: Balance | None = None) -> Balance:
    """Return the grid in balance, from an earlier balance of as many nodes if there is one."""
    # What no source feeds has run empty; told so, it does not keep Newton from the rest.
    dead = _unfed(grid)
    grid = replace(
        grid,
        sources=(*grid.sources, *((node, AIR_BAR) for node in dead)),
        barred=tuple(
            barred or up in dead
            for barred, (up, _) in zip(grid.barred, grid.regulators, strict=True)
        ),
    )
    count, regs = len(grid.demand), len(grid.regulators)
    found = None
    if start is not None and len(start.squared) == count and len(start.modes) == regs:
        state = np.concatenate([start.squared, start.regulator_flow])
        found = _settled(grid, state, start.modes)
    if found is None or not found.is_solved:
        found = _from_nothing(grid)
    return found


def _from_nothing(grid: Grid) -> Balance:
    """Return the grid in balance, reached from a grid that nobody takes from, in steps."""
    count, regs = len(grid.demand), len(grid.regulators)
    high = max((bar for _, bar in grid.sources), default=AIR_BAR) ** 2
    state = np.concatenate([np.linspace(high, 0.95 * high, count), np.zeros(regs)])
    found = _settled(grid, state, [Mode.HOLDS] * regs)
    if found.is_solved:
        return found
    for share in _STEPS:
        part = replace(grid, demand=grid.demand * share, holes=grid.holes * share)
        found = _settled(part, state, found.modes if share > _STEPS[0] else [Mode.HOLDS] * regs)
        state = np.concatenate([found.squared, found.regulator_flow])
    return found


def _settled(grid: Grid, state: Floats, modes: Sequence[Mode]) -> Balance:
    """Return the balance near a state, with every regulator doing what it then must."""
    count, regs = len(grid.demand), len(grid.regulators)
    modes = [
        Mode.SHUT if barred else Mode.HOLDS if mode is Mode.SHUT else mode
        for mode, barred in zip(modes, grid.barred, strict=True)
    ]
    is_solved = False
    for _ in range(2 * regs + 2):
        state, is_solved = _newton(grid, state, modes)
        fresh = _modes(grid, state, modes)
        if fresh == modes:
            break
        modes = fresh
    squared, flow = state[:count], state[count:]
    drop = np.array([squared[a] - squared[b] for a, b in grid.pipes])
    return Balance(
        squared=squared,
        pipe_flow=_pipe_flow(drop, grid.resistance)[0],
        regulator_flow=flow,
        taken=grid.demand * _served(squared)[0],
        let_out=grid.holes * _outflow(squared)[0],
        modes=tuple(modes),
        is_solved=is_solved,
    )


def _unfed(grid: Grid) -> list[int]:
    """Return the nodes that no source reaches through pipes and open regulators."""
    onward: dict[int, list[int]] = {}
    for begin, end in grid.pipes:
        onward.setdefault(begin, []).append(end)
        onward.setdefault(end, []).append(begin)
    for (up, down), barred in zip(grid.regulators, grid.barred, strict=True):
        if not barred:
            onward.setdefault(up, []).append(down)
    waiting = [node for node, _ in grid.sources]
    fed = dict.fromkeys(waiting)
    while waiting:
        for node in onward.get(waiting.pop(), ()):
            if node not in fed:
                fed[node] = None
                waiting.append(node)
    return [node for node in range(len(grid.demand)) if node not in fed]


def _modes(grid: Grid, state: Floats, modes: Sequence[Mode]) -> list[Mode]:
    count = len(grid.demand)
    found = []
    for n, (up, down) in enumerate(grid.regulators):
        mode, wanted = modes[n], grid.set_bar[n] ** 2
        if grid.barred[n] or (mode is Mode.HOLDS and state[count + n] < -1e-6):
            mode = Mode.SHUT
        elif mode is Mode.HOLDS and state[up] < wanted - 1e-9:
            mode = Mode.OPEN
        elif mode is Mode.OPEN and state[down] > wanted + 1e-9:
            mode = Mode.HOLDS
        elif mode is Mode.OPEN and state[count + n] < -1e-6:
            mode = Mode.SHUT
        elif mode is Mode.SHUT and state[down] < min(wanted, state[up]) - 1e-9:
            mode = Mode.HOLDS
        found.append(mode)
    return found


def _newton(grid: Grid, state: Floats, modes: Sequence[Mode]) -> tuple[Floats, bool]:
    error, slope = _residual(grid, state, modes)
    size = float(np.abs(error).max())
    for _ in range(_TRIES):
        if size < _CLOSE_ENOUGH:
            return state, True
        try:
            step = np.linalg.solve(slope, -error)
        except np.linalg.LinAlgError:
            return state, False
        part = 1.0
        while part > 1e-3:
            tried = state + part * step
            fresh_error, fresh_slope = _residual(grid, tried, modes)
            fresh_size = float(np.abs(fresh_error).max())
            if fresh_size < size:
                break
            part /= 2
        state, error, slope, size = tried, fresh_error, fresh_slope, fresh_size
    return state, size < 1e3 * _CLOSE_ENOUGH


def _residual(grid: Grid, state: Floats, modes: Sequence[Mode]) -> tuple[Floats, Floats]:
    """Return by how much every node and regulator is out of balance, and the slopes of that."""
    count = len(grid.demand)
    squared, through = state[:count], state[count:]
    error = np.zeros(len(state))
    slope = np.zeros((len(state), len(state)))
    served, served_slope = _served(squared)
    out, out_slope = _outflow(squared)
    error[:count] -= grid.demand * served + grid.holes * out + _SEEP * (squared - _AIR_SQUARED)
    diagonal = np.arange(count)
    slope[diagonal, diagonal] -= grid.demand * served_slope + grid.holes * out_slope + _SEEP
    if grid.pipes:
        ends = np.array(grid.pipes)
        begin, end = ends[:, 0], ends[:, 1]
        flow, rate = _pipe_flow(squared[begin] - squared[end], grid.resistance)
        np.add.at(error, begin, -flow)
        np.add.at(error, end, flow)
        for row, column, sign in (
            (begin, begin, -1.0),
            (begin, end, 1.0),
            (end, begin, 1.0),
            (end, end, -1.0),
        ):
            np.add.at(slope, (row, column), sign * rate)
    for n, (up, down) in enumerate(grid.regulators):
        own = count + n
        error[up] -= through[n]
        error[down] += through[n]
        slope[up, own] -= 1.0
        slope[down, own] += 1.0
        match modes[n]:
            case Mode.HOLDS:
                error[own], slope[own, down] = squared[down] - grid.set_bar[n] ** 2, 1.0
            case Mode.OPEN:
                error[own] = squared[down] - squared[up]
                slope[own, down], slope[own, up] = 1.0, -1.0
            case Mode.SHUT:
                error[own], slope[own, own] = through[n], 1.0
    for node, bar in grid.sources:
        error[node] = squared[node] - bar**2
        slope[node] = 0.0
        slope[node, node] = 1.0
    return error, slope


def _pipe_flow(drop: Floats, resistances: Floats) -> tuple[Floats, Floats]:
    """Return the flow for a difference of squared pressures, and its slope."""
    width = np.abs(drop)
    steep = np.maximum(width, _SMALL_BAR2)
    straight = (steep / resistances) ** _EXPONENT / steep
    rate = np.where(width > _SMALL_BAR2, _EXPONENT * straight, straight)
    return straight * drop, rate


def _served(squared: Floats) -> tuple[Floats, Floats]:
    """Return the share of the demand that is served at a pressure, and its slope."""
    bar = np.sqrt(np.maximum(squared, _AIR_SQUARED))
    share = (bar - AIR_BAR) / _FULL_BAR
    within = (share < 1.0) & (squared > _AIR_SQUARED)
    return np.clip(share, 0.0, 1.0), np.where(within, 0.5 / bar / _FULL_BAR, 0.0)


def _outflow(squared: Floats) -> tuple[Floats, Floats]:
    """Return what a hole of size one lets out at a pressure, and its slope."""
    bar = np.sqrt(np.maximum(squared, _AIR_SQUARED))
    over = np.clip((AIR_BAR / bar - _CRITICAL) / (1.0 - _CRITICAL), 0.0, 1.0)
    root = np.sqrt(1.0 - over**2)
    steep = np.maximum(root, 0.05)  # without end where the outflow begins
    by_bar = root + over * AIR_BAR / (bar * (1.0 - _CRITICAL) * steep)
    return bar * root, np.where(squared > _AIR_SQUARED, 0.5 / bar * by_bar, 0.0)
