"""A district's heating: EPANET moves the water round its loop, the weather makes it warm.

Supply and return are one closed loop: a boiler pump, substations as throttle valves, and a make-up
reservoir that holds the pressure. What leaks out of the loop comes in through the make-up.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from epanet import toolkit as en

from firmware_sim.core.events import Event
from firmware_sim.core.heat import Current, HeatingCurve, HeatMain, Pipe
from firmware_sim.core.names import known
from firmware_sim.core.noise import key_of, smooth
from firmware_sim.core.plant import Where
from firmware_sim.core.town import Course, Users
from firmware_sim.core.weather import Weather
from firmware_sim.hydraulics import Hydraulics
from telemetry.errors import ConfigError
from telemetry.instant import HOUR_MS, MINUTE_MS, Instant

_MAKE_UP_C = 15.0

_DAY = Course(
    # Night setback, and a morning when everything is to be warm at once.
    values=(
        *(0.90, 0.89, 0.89, 0.90, 0.94, 1.05, 1.10, 1.09, 1.06, 1.03, 1.01, 1.00),
        *(0.99, 0.99, 0.99, 1.00, 1.01, 1.03, 1.05, 1.05, 1.04, 1.01, 0.96, 0.92),
    ),
    step_ms=HOUR_MS,
)
"""How far the valves of substations open over a day."""

_BOILER = (9 * MINUTE_MS, 0.35)
"""How far the boiler strays from its curve, in °C, and for how long."""


class Heating:
    """The loop, balanced by `solve`, which also moves its warmth on to that instant."""

    def __init__(
        self,
        mains: Hydraulics,
        *,
        pump: str,
        curve: HeatingCurve,
        weather: Weather,
        seed: int,
        offset_ms: Callable[[Instant], int],
    ) -> None:
        """Take over open mains. Raises `ConfigError` for a network that is no heating loop."""
        self.tanks, self.names = mains.tanks, mains.names
        self._mains, self._curve, self._weather = mains, curve, weather
        self._offset_ms = offset_ms
        inp = mains.inp
        try:
            known(pump, self.names["pump"], what=f"a pump of {mains.network}")
        except ValueError as e:
            mains.close()
            raise ConfigError(f"heating.pump: {e}") from None
        self._pump = pump
        self._boiler = inp.ends(pump)[1]
        self._stations = inp.links_of(en.TCV)
        if not self._stations:
            mains.close()
            raise ConfigError(
                f"sim.network: expected substations in {mains.network}, as valves of type TCV"
                " from supply to return, found none"
            )
        self._ends = {link: inp.ends(link) for link in inp.links}
        self._resistance = {
            s: en.getlinkvalue(inp.project, inp.links[s], en.INITSETTING) for s in self._stations
        }
        self.users = (
            *mains.users,
            *(Users(name=f"substation {s}", habit=_DAY, alone=False) for s in self._stations),
        )
        self._noise = key_of(seed, "boiler")
        self._at: Instant | None = None
        self._design_kw: dict[str, float] = {}
        self._heat = HeatMain({}, filled={})

    def close(self) -> None:
        """Give the engine's memory back; nothing may be asked afterwards."""
        self._mains.close()

    def solve(
        self,
        at: Instant,
        multipliers: Sequence[float],
        *,
        levels: Mapping[str, float],
        pumping: Mapping[str, bool],
    ) -> None:
        """Balance the loop, and move its warmth on to `at` with the flows of the last balance."""
        split = len(multipliers) - len(self._stations)
        for station, opening in zip(self._stations, multipliers[split:], strict=True):
            self._mains.set_valve(station, self._resistance[station] / max(0.1, opening) ** 2)
        self._mains.solve(at, multipliers[:split], levels=levels, pumping=pumping)
        if self._at is None:
            self._fill(at)
        else:
            self._warm(at, hours=(at - self._at) / HOUR_MS)
        self._at = at

    def pressure_kpa(self, node: str) -> float:
        """Return the pressure at a node."""
        return self._mains.pressure_kpa(node)

    def consumption_m3h(self, node: str) -> float:
        """Return what is taken out of the loop at a node."""
        return self._mains.consumption_m3h(node)

    def flow_m3h(self, link: str) -> float:
        """Return the flow through a link."""
        return self._mains.flow_m3h(link)

    def temperature_c(self, node: str) -> float:
        """Return the temperature at a node."""
        return self._heat.temperatures.get(node, _MAKE_UP_C)

    def tank_inflow_m3h(self, tank: str) -> float:
        """Return what flows into a tank, less what flows out."""
        return self._mains.tank_inflow_m3h(tank)

    def zone_of(self, name: str) -> str:
        """Return the zone that the network file tags a node or link with, or an empty text."""
        return self._mains.zone_of(name)

    def place(self, *, node: str | None, link: str | None) -> tuple[float, float]:
        """Return the coordinates of a node, or of the middle of a link."""
        return self._mains.place(node=node, link=link)

    def where(self, event: Event) -> Where:
        """Return the place of an event."""
        return self._mains.where(event)

    def check(self, event: Event) -> None:
        """Raise `RefusedCommand` when an event names nothing of this network."""
        self._mains.check(event)

    def begin(self, event: Event) -> None:
        """Let an event begin; if it cannot, raise `RefusedCommand`."""
        self._mains.begin(event)

    def finish(self, event: Event) -> None:
        """Let an event end; harmless when it never began."""
        self._mains.finish(event)

    def leaks(self) -> list[tuple[str, float]]:
        """Return the open bursts and leaks by event id, each with what it lets out now, m³/h."""
        return self._mains.leaks()

    def _fill(self, at: Instant) -> None:
        """Begin with a loop that has been warm for long."""
        outdoor = self._outdoor_c(at)
        supply = self._curve.supply_c(outdoor)
        self._design_kw = {
            s: self._curve.design_kw(abs(self._mains.flow_m3h(s))) for s in self._stations
        }
        cold = supply - self._curve.load(outdoor) * (
            self._curve.design_supply_c - self._curve.design_return_c
        )
        warm = self._supply_nodes()
        inp = self._mains.inp
        filled = {n: supply if n in warm else cold for n in inp.nodes}
        pipes = {}
        for name in self.names["pipe"]:
            index = inp.links[name]
            across = en.getlinkvalue(inp.project, index, en.DIAMETER) / 1000
            length = en.getlinkvalue(inp.project, index, en.LENGTH)
            pipes[name] = Pipe(
                volume_m3=max(0.01, length * math.pi * across**2 / 4),
                diameter_m=across,
                filled_c=filled[self._ends[name][0]],
            )
        self._heat = HeatMain(pipes, filled=filled)

    def _warm(self, at: Instant, *, hours: float) -> None:
        if hours <= 0:
            return
        outdoor = self._outdoor_c(at)
        period, size = _BOILER
        sent = self._curve.supply_c(outdoor) + size * smooth(self._noise, at, period)
        load = self._curve.load(outdoor)
        fixed = {}
        if self._mains.flow_m3h(self._pump) > 0.1:  # without water the boiler is off
            fixed[self._boiler] = sent
        self._heat.move(
            self._currents(hours),
            hours=hours,
            ground_c=self._weather.ground_c(local_ms=at + self._offset_ms(at)),
            fixed=fixed,
            taken_kw={s: kw * load for s, kw in self._design_kw.items()},
        )

    def _currents(self, hours: float) -> list[Current]:
        found = []
        for link, (begin, end) in self._ends.items():
            if link == self._pump:
                continue
            flow = self._mains.flow_m3h(link)
            source, sink = (begin, end) if flow >= 0 else (end, begin)
            found.append(
                Current(
                    link=link,
                    begin=source,
                    end=sink,
                    m3=abs(flow) * hours,
                    head_m=self._mains.head_m(source),
                    forward=flow >= 0,
                )
            )
        return found

    def _supply_nodes(self) -> set[str]:
        """Return the nodes that the boiler reaches without passing a substation or its pump."""
        found, waiting = {self._boiler}, [self._boiler]
        barred = {self._pump, *self._stations}
        while waiting:
            node = waiting.pop()
            for link, ends in self._ends.items():
                if link not in barred and node in ends:
                    fresh = {*ends} - found
                    found |= fresh
                    waiting += sorted(fresh)
        return found

    def _outdoor_c(self, at: Instant) -> float:
        return self._weather.outdoor_c(at, local_ms=at + self._offset_ms(at))
