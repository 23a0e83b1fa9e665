"""The plant in time: the tank fills and empties, the pump switches, the counters add up."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from firmware_sim.core.instruments import Instrument, Site
from firmware_sim.core.noise import key_of, uniform
from firmware_sim.core.town import Town
from telemetry.instant import DAY_MS, HOUR_MS, Instant
from telemetry.units import Quantity

_BIRTHDAY = Instant(1_735_689_600_000)
"""2025-01-01: the counters have run since then, so that a restart finds them about where they were.
"""


class Water(Protocol):
    """What the plant asks of the hydraulic engine."""

    def solve(self, multipliers: Sequence[float], *, level_m: float, is_pumping: bool) -> None:
        """Balance the network for these demands and this level."""
        ...

    def pressure_kpa(self, node: str) -> float:
        """Return the pressure at a node."""
        ...

    def consumption_m3h(self, node: str) -> float:
        """Return what the customers of a node take, leaks not counted."""
        ...

    def flow_m3h(self, link: str) -> float:
        """Return the flow through a link."""
        ...

    def tank_inflow_m3h(self) -> float:
        """Return what flows into the tank, less what flows out."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TankRule:
    """The tank's shape, and the levels between which its pump works."""

    area_m2: float
    minimum_m: float
    maximum_m: float
    start_m: float
    on_below_m: float
    off_above_m: float


class Plant:
    """Water, town and instruments at one instant, moved on by `advance`."""

    def __init__(
        self,
        *,
        at: Instant,
        water: Water,
        town: Town,
        tank: TankRule,
        instruments: tuple[Instrument, ...],
        seed: int,
    ) -> None:
        self.at = at
        self.instruments = instruments
        self.level_m = tank.start_m
        self.is_pumping = True
        self._water = water
        self._town = town
        self._tank = tank
        water.solve([1.0] * len(town.users), level_m=tank.start_m, is_pumping=True)
        self._totals = [self._first_total(i, seed=seed) if i.counts else 0.0 for i in instruments]
        self.solve()

    def advance(self, to: Instant, *, step_ms: int) -> None:
        """Move to the instant `to` in steps of at most `step_ms`; never back."""
        while self.at < to:
            elapsed = min(step_ms, to - self.at)
            self._integrate(elapsed / HOUR_MS)
            self.at = Instant(self.at + elapsed)
            self.solve()

    def solve(self) -> None:
        """Balance the network as it stands, after something in it was changed."""
        self._water.solve(
            self._town.multipliers(self.at), level_m=self.level_m, is_pumping=self.is_pumping
        )

    def truths(self) -> list[float]:
        """Return the true value of every instrument, in house units; totals for counters."""
        return [
            self._totals[n] if i.counts else self._moment(i) for n, i in enumerate(self.instruments)
        ]

    def _integrate(self, hours: float) -> None:
        tank = self._tank
        rise = self._water.tank_inflow_m3h() * hours / tank.area_m2
        self.level_m = min(max(self.level_m + rise, tank.minimum_m), tank.maximum_m)
        if self.level_m < tank.on_below_m:
            self.is_pumping = True
        elif self.level_m > tank.off_above_m:
            self.is_pumping = False
        for n, i in enumerate(self.instruments):
            if i.counts:
                self._totals[n] += max(0.0, self._through(i.site)) * i.gain * hours

    def _moment(self, instrument: Instrument) -> float:
        match instrument.register.quantity:
            case Quantity.PRESSURE:
                assert instrument.site.node is not None
                return self._water.pressure_kpa(instrument.site.node)
            case Quantity.LEVEL:
                return self.level_m
            case _:
                return self._through(instrument.site)

    def _through(self, site: Site) -> float:
        if site.link is not None:
            return self._water.flow_m3h(site.link)
        assert site.node is not None
        return self._water.consumption_m3h(site.node)

    def _first_total(self, instrument: Instrument, *, seed: int) -> float:
        """Return what a counter stands at, from the flow of an average hour."""
        years = 1 + 4 * uniform(key_of(seed, f"first total {instrument.point}"), 0)
        hours = (years * 365 * DAY_MS + max(0, self.at - _BIRTHDAY)) / HOUR_MS
        return max(0.0, self._through(instrument.site)) * hours
