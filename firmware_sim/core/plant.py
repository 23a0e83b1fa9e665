"""The plant in time: tanks fill and empty, pumps switch, counters add up, events come and go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from firmware_sim.core.events import Event, Kind
from firmware_sim.core.instruments import Instrument, Site
from firmware_sim.core.names import known
from firmware_sim.core.noise import key_of, uniform
from firmware_sim.core.town import Town, Users
from telemetry.errors import RefusedCommand
from telemetry.instant import DAY_MS, HOUR_MS, Instant
from telemetry.units import Quantity

_BIRTHDAY = Instant(1_735_689_600_000)
"""2025-01-01: the counters have run since then, so that a restart finds them about where they were.
"""

_TOWN = (Kind.HOLIDAY, Kind.WEATHER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tank:
    """The shape of a tank, from the network file."""

    area_m2: float
    minimum_m: float
    maximum_m: float
    start_m: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """The place of an event: what it is at, and its coordinates if it is at one place."""

    zone: str = ""
    pipe: str | None = None
    node: str | None = None
    link: str | None = None
    x: float | None = None
    y: float | None = None


class Water(Protocol):
    """What the plant asks of what flows: drinking water, heating water or gas."""

    @property
    def users(self) -> tuple[Users, ...]:
        """Return who takes from the mains, group by group."""
        ...

    @property
    def tanks(self) -> Mapping[str, Tank]:
        """Return the shape of every tank."""
        ...

    @property
    def names(self) -> Mapping[str, tuple[str, ...]]:
        """Return every pipe, node, link, pump, tank and zone, under these words."""
        ...

    def solve(
        self,
        at: Instant,
        multipliers: Sequence[float],
        *,
        levels: Mapping[str, float],
        pumping: Mapping[str, bool],
    ) -> None:
        """Balance the mains for these demands and levels; pumps not named switch themselves."""
        ...

    def pressure_kpa(self, node: str) -> float:
        """Return the pressure at a node, never below that of the air."""
        ...

    def consumption_m3h(self, node: str) -> float:
        """Return what the customers of a node take, leaks not counted."""
        ...

    def flow_m3h(self, link: str) -> float:
        """Return the flow through a link."""
        ...

    def temperature_c(self, node: str) -> float:
        """Return the temperature at a node."""
        ...

    def tank_inflow_m3h(self, tank: str) -> float:
        """Return what flows into a tank, less what flows out."""
        ...

    def zone_of(self, name: str) -> str:
        """Return the zone of a node or link, or an empty text."""
        ...

    def place(self, *, node: str | None, link: str | None) -> tuple[float, float]:
        """Return the coordinates of a node, or of the middle of a link."""
        ...

    def where(self, event: Event) -> Where:
        """Return the place of an event."""
        ...

    def check(self, event: Event) -> None:
        """Raise `RefusedCommand` when an event names nothing of these mains."""
        ...

    def begin(self, event: Event) -> None:
        """Let an event begin; if that cannot be, raise `RefusedCommand` and change nothing."""
        ...

    def finish(self, event: Event) -> None:
        """Let an event end; harmless when it never began."""
        ...

    def leaks(self) -> list[tuple[str, float]]:
        """Return the open bursts and leaks by event id, each with what it lets out now, m³/h."""
        ...

    def close(self) -> None:
        """Give back what was taken; nothing may be asked afterwards."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TankRule:
    """The levels of a tank between which its pumps work."""

    tank: str
    pumps: tuple[str, ...]
    on_below_m: float
    off_above_m: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drain:
    """A tank that is being emptied, from one level to another."""

    tank: str
    begin: Instant
    end: Instant
    from_m: float
    to_m: float

    def ceiling_m(self, at: Instant) -> float:
        done = min(1.0, max(0.0, (at - self.begin) / max(1, self.end - self.begin)))
        return self.from_m + (self.to_m - self.from_m) * done


class Plant:
    """Water, town and instruments at one instant, moved on by `advance`."""

    def __init__(
        self,
        *,
        at: Instant,
        water: Water,
        town: Town,
        rules: Sequence[TankRule],
        instruments: tuple[Instrument, ...],
        seed: int,
    ) -> None:
        self.at = at
        self.instruments = instruments
        self.town = town
        self.water = water
        self.levels = {name: tank.start_m for name, tank in water.tanks.items()}
        self.pumping = {pump: True for rule in rules for pump in rule.pumps}
        self._rules = tuple(rules)
        self._drains: dict[str, _Drain] = {}
        self._balance([1.0] * len(town.users))
        self._totals = [self._first_total(i, seed=seed) if i.counts else 0.0 for i in instruments]
        self.solve()

    @property
    def level_m(self) -> float:
        """Return the level of the first tank; 0 when there is none."""
        return next(iter(self.levels.values()), 0.0)

    @property
    def is_pumping(self) -> bool:
        """Say whether a pump is told to work."""
        return any(self.pumping.values())

    def advance(self, to: Instant, *, step_ms: int) -> None:
        """Move to the instant `to` in steps of at most `step_ms`; never back."""
        while self.at < to:
            elapsed = min(step_ms, to - self.at)
            self._integrate(elapsed / HOUR_MS, until=Instant(self.at + elapsed))
            self.at = Instant(self.at + elapsed)
            self.solve()

    def solve(self) -> None:
        """Balance the network as it stands, after something in it was changed."""
        self._balance(self.town.multipliers(self.at))

    def truths(self) -> list[float]:
        """Return the true value of every instrument, in house units; totals for counters."""
        return [
            self._totals[n] if i.counts else self._moment(i) for n, i in enumerate(self.instruments)
        ]

    def check(self, event: Event) -> None:
        """Raise `RefusedCommand` when an event names nothing of this plant."""
        if event.kind is Kind.TANK_EMPTIED:
            self._tank_of(event)
        elif event.kind not in _TOWN:
            self.water.check(event)

    def begin(self, event: Event) -> None:
        """Let an event of the water begin now; if it cannot, raise `RefusedCommand`."""
        self.check(event)
        if event.kind is Kind.TANK_EMPTIED:
            tank = self._tank_of(event)
            shape = self.water.tanks[tank]
            self._drains[event.id] = _Drain(
                tank=tank,
                begin=self.at,
                end=Instant(self.at + HOUR_MS) if event.end is None else event.end,
                from_m=self.levels[tank],
                to_m=max(shape.minimum_m, event.numbers.get("m", 0.0)),
            )
        elif event.kind in _TOWN:
            self.town.begin(event)
        else:
            self.water.begin(event)
        self.solve()

    def finish(self, event: Event) -> None:
        """Let it end now; harmless when it never began."""
        if event.kind is Kind.TANK_EMPTIED:
            self._drains.pop(event.id, None)
        elif event.kind in _TOWN:
            self.town.finish(event, self.at)
        else:
            self.water.finish(event)
        self.solve()

    def leaks(self) -> list[tuple[str, float]]:
        """Return the open bursts and leaks by event id, each with what it lets out now, m³/h."""
        return self.water.leaks()

    def where(self, event: Event) -> Where:
        """Return the place of an event of the water."""
        return self.water.where(event)

    def _balance(self, multipliers: Sequence[float]) -> None:
        self.water.solve(self.at, multipliers, levels=self.levels, pumping=self.pumping)

    def _tank_of(self, event: Event) -> str:
        if not event.target and self.levels:
            return next(iter(self.levels))
        try:
            return known(event.target, self.levels, what="a tank")
        except ValueError as e:
            raise RefusedCommand(str(e)) from None

    def _integrate(self, hours: float, *, until: Instant) -> None:
        for name, tank in self.water.tanks.items():
            level = self.levels[name] + self.water.tank_inflow_m3h(name) * hours / tank.area_m2
            for drain in self._drains.values():
                if drain.tank == name:
                    level = min(level, drain.ceiling_m(until))
            self.levels[name] = min(max(level, tank.minimum_m), tank.maximum_m)
        for rule in self._rules:
            level = self.levels[rule.tank]
            if level < rule.on_below_m or level > rule.off_above_m:
                self.pumping |= dict.fromkeys(rule.pumps, level < rule.on_below_m)
        for n, i in enumerate(self.instruments):
            if i.counts:
                self._totals[n] += max(0.0, self._through(i.site)) * i.gain * hours

    def _moment(self, instrument: Instrument) -> float:
        site = instrument.site
        match instrument.register.quantity:
            case Quantity.PRESSURE:
                assert site.node is not None
                return self.water.pressure_kpa(site.node)
            case Quantity.TEMPERATURE:
                assert site.node is not None
                return self.water.temperature_c(site.node)
            case Quantity.LEVEL:
                assert site.node is not None
                return self.levels[site.node]
            case _:
                return self._through(site)

    def _through(self, site: Site) -> float:
        if site.link is not None:
            return self.water.flow_m3h(site.link)
        assert site.node is not None
        return self.water.consumption_m3h(site.node)

    def _first_total(self, instrument: Instrument, *, seed: int) -> float:
        """Return what a counter stands at, from the flow of an average hour."""
        years = 1 + 4 * uniform(key_of(seed, f"first total {instrument.point}"), 0)
        hours = (years * 365 * DAY_MS + max(0, self.at - _BIRTHDAY)) / HOUR_MS
        return max(0.0, self._through(instrument.site)) * hours
