"""Warmth on its way: what a boiler sends out, how slowly it arrives and what is lost meanwhile."""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

KWH_PER_M3_KELVIN = 1.15
"""Heat in a cubic metre of hot water for each degree (4.19 kJ/kgK, 985 kg/m³)."""

INDOOR_C = 20.0
_MILD_C = 18.0
"""At this temperature outdoors, heating ends."""

_HOT_WATER_SHARE = 0.06
"""What taps take of the design load, summer and winter."""

_PARCELS = 24
"""About so many of them lie in a pipe: finer ones are mixed, which smears a front by as much."""

_LOSS_W_PER_M2K = 0.6
"""Of pre-insulated pipe, some years old."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatingCurve:
    """What a plant sends out in which weather, and what it was designed for."""

    design_outdoor_c: float
    design_supply_c: float
    design_return_c: float
    mild_supply_c: float

    def supply_c(self, outdoor_c: float) -> float:
        """Return the temperature that the plant sends out.

        >>> curve = HeatingCurve(
        ...     design_outdoor_c=-9, design_supply_c=95, design_return_c=55, mild_supply_c=45
        ... )
        >>> curve.supply_c(-9.0), curve.supply_c(25.0)
        (95.0, 45.0)
        """
        share = (_MILD_C - outdoor_c) / (_MILD_C - self.design_outdoor_c)
        share = min(1.0, max(0.0, share))
        return self.mild_supply_c + share * (self.design_supply_c - self.mild_supply_c)

    def load(self, outdoor_c: float) -> float:
        """Return the share of the design load that is asked for."""
        share = (INDOOR_C - outdoor_c) / (INDOOR_C - self.design_outdoor_c)
        return max(_HOT_WATER_SHARE, min(1.2, share))

    def design_kw(self, flow_m3h: float) -> float:
        """Return the heat that a substation was designed for, from its flow."""
        return flow_m3h * KWH_PER_M3_KELVIN * (self.design_supply_c - self.design_return_c)


def return_c(supply_c: float, kw: float, flow_m3h: float) -> float:
    """Return what a substation sends back after taking `kw`; never colder than its rooms allow."""
    coldest = min(supply_c, INDOOR_C + 8.0)
    if flow_m3h < 0.05:
        return coldest
    return max(coldest, supply_c - kw / (KWH_PER_M3_KELVIN * flow_m3h))


class Pipe:
    """A pipe full of parcels of water, each as warm as it is; they move like a column."""

    def __init__(self, *, volume_m3: float, diameter_m: float, filled_c: float) -> None:
        self._volume = volume_m3
        hours = KWH_PER_M3_KELVIN * 1000 * diameter_m / (4 * _LOSS_W_PER_M2K)
        self._cooling_h = max(1.0, hours)
        self._parcels = deque([(volume_m3, filled_c)])

    def push(self, m3: float, temperature_c: float, *, forward: bool) -> float | None:
        """Let `m3` in at one end; return how warm what left at the other was, or None."""
        if m3 <= 0:
            return None
        parcels = self._parcels
        if not forward:
            parcels.reverse()
        self._enter(m3, temperature_c)
        left, heat = 0.0, 0.0
        while left < m3 - 1e-12 and parcels:
            volume, warmth = parcels.pop()
            part = min(volume, m3 - left)
            left, heat = left + part, heat + part * warmth
            if volume > part:
                parcels.append((volume - part, warmth))
        if not forward:
            parcels.reverse()
        return heat / left if left else temperature_c

    def cool(self, hours: float, *, ground_c: float) -> None:
        """Lose warmth to the ground for a while."""
        kept = math.exp(-hours / self._cooling_h)
        for n, (volume, warmth) in enumerate(self._parcels):
            self._parcels[n] = (volume, ground_c + (warmth - ground_c) * kept)

    def _enter(self, m3: float, temperature_c: float) -> None:
        first, warmth = self._parcels[0]
        if first + m3 <= self._volume / _PARCELS:
            mixed = (first * warmth + m3 * temperature_c) / (first + m3)
            self._parcels[0] = (first + m3, mixed)
        else:
            self._parcels.appendleft((m3, temperature_c))


@dataclass(frozen=True, slots=True, kw_only=True)
class Current:
    """Water that moved through a link while a step lasted, from one node to another."""

    link: str
    begin: str
    end: str
    m3: float
    head_m: float
    """At its beginning: water runs from the higher to the lower."""
    forward: bool = True


class HeatMain:
    """The temperatures of a whole loop, moved on step by step."""

    def __init__(self, pipes: Mapping[str, Pipe], *, filled: Mapping[str, float]) -> None:
        self.temperatures = dict(filled)
        self._pipes = dict(pipes)

    def move(
        self,
        currents: Iterable[Current],
        *,
        hours: float,
        ground_c: float,
        fixed: Mapping[str, float],
        taken_kw: Mapping[str, float],
    ) -> None:
        """Let water move: `fixed` nodes are as warm as told, substations take `taken_kw`."""
        for pipe in self._pipes.values():
            pipe.cool(hours, ground_c=ground_c)
        self.temperatures |= fixed
        volume: dict[str, float] = {}
        heat: dict[str, float] = {}
        # From the highest head down, so that what a node sends on is what has just come in.
        for c in sorted(currents, key=lambda c: -c.head_m):
            if volume.get(c.begin) and c.begin not in fixed:
                self.temperatures[c.begin] = heat[c.begin] / volume[c.begin]
            warmth = self.temperatures[c.begin]
            arrived: float | None = warmth
            if c.link in self._pipes:
                arrived = self._pipes[c.link].push(c.m3, warmth, forward=c.forward)
            elif c.link in taken_kw:
                arrived = return_c(warmth, taken_kw[c.link], c.m3 / hours)
            if arrived is not None and c.m3 > 0:
                volume[c.end] = volume.get(c.end, 0.0) + c.m3
                heat[c.end] = heat.get(c.end, 0.0) + c.m3 * arrived
        for node, moved in volume.items():
            if node not in fixed:
                self.temperatures[node] = heat[node] / moved
