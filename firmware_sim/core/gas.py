"""A medium-pressure gas grid: its data sheet, and the grid as the plant asks for it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from firmware_sim.core.events import Event, Kind
from firmware_sim.core.gas_flow import AIR_BAR, Balance, Grid, resistance, solved
from firmware_sim.core.names import known
from firmware_sim.core.plant import Tank, Where
from firmware_sim.core.town import Habit, Users
from telemetry.errors import ConfigError, RefusedCommand, Unavailable
from telemetry.instant import HOUR_MS, Instant

AT_LINE = "@line"
"""Behind the name of a link: its flow as the meter sees it, at the pressure of the line."""

_BASE_K = 293.15
"""20 °C and the pressure of the air: the cubic metre that is paid for in China (GB/T 19205)."""

_SONIC = 7.2e5
"""m³/h at base conditions for each bar and square metre: natural gas through an opening."""

_HOLES = (Kind.BURST, Kind.LEAK, Kind.HYDRANT)

_TARGETS: dict[Kind, tuple[str, ...]] = {
    Kind.BURST: ("pipe", "node"),
    Kind.LEAK: ("pipe", "node"),
    Kind.HYDRANT: ("node",),
    Kind.LARGE_DEMAND: ("node",),
    Kind.CUSTOMER_LEAK: ("node",),
    Kind.VALVE_CLOSED: ("pipe", "regulator"),
    Kind.POWER_FAILURE: ("zone",),
    Kind.PRV_SETPOINT: ("regulator",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A joint of the grid, and what is taken there in an average hour."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  read by pydantic's TypeAdapter

    id: str
    x_m: float
    y_m: float
    zone: str = ""
    m3h: float = 0.0
    habit: Habit = Habit.RESIDENTIAL
    source_kpa: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipe:
    """A main between two nodes."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  read by pydantic's TypeAdapter

    id: str
    begin: str
    end: str
    length_m: float
    diameter_mm: float
    zone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Regulator:
    """A station that lets gas through from `begin` to `end` and keeps `end` at `kpa`."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  read by pydantic's TypeAdapter

    id: str
    begin: str
    end: str
    kpa: float
    zone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GasNetwork:
    """The whole network file."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  read by pydantic's TypeAdapter

    node: tuple[Node, ...]
    pipe: tuple[Pipe, ...]
    regulator: tuple[Regulator, ...] = ()

    def problems(self) -> list[str]:
        """Return every mistake of sense, one sentence each."""
        found = []
        nodes = [n.id for n in self.node]
        runs: tuple[Pipe | Regulator, ...] = (*self.pipe, *self.regulator)
        links = [link.id for link in runs]
        for what, names in (("node", nodes), ("link", links)):
            twice = sorted({n for n in names if names.count(n) > 1})
            found += [f"{what} {name!r} is there twice" for name in twice]
        for link in runs:
            for end in (link.begin, link.end):
                if end not in nodes:
                    found.append(f"{link.id}: expected a node, was {end!r}")
        found += [
            f"{p.id}: expected length_m and diameter_mm above 0"
            for p in self.pipe
            if not (p.length_m > 0 and p.diameter_mm > 0)
        ]
        if all(n.source_kpa is None for n in self.node):
            found.append("node: expected one with source_kpa, where the gas comes from, found none")
        return found


@dataclass(slots=True, kw_only=True)
class _Hole:
    """An opening: at a node, or in the middle of a pipe; m³/h for each bar when it has grown."""

    node: str
    pipe: str
    begin: Instant
    grow_ms: float
    size: float = 0.0

    def share(self, at: Instant) -> float:
        return 1.0 if self.grow_ms <= 0 else min(1.0, max(0.0, (at - self.begin) / self.grow_ms))


class Gas:
    """The grid, balanced by `solve`; readings are those of the last balance."""

    def __init__(
        self,
        sheet: GasNetwork,
        *,
        network: str,
        customers: Sequence[str],
        ground_c: Callable[[Instant], float],
    ) -> None:
        """Take a grid without mistakes. Raises `ConfigError` when it does not solve."""
        self._network = network
        self.tanks: Mapping[str, Tank] = {}
        self._sheet = sheet
        self._ground_c = ground_c
        self._nodes = {n.id: k for k, n in enumerate(sheet.node)}
        self._links: dict[str, Pipe | Regulator] = {p.id: p for p in sheet.pipe}
        self._links |= {r.id: r for r in sheet.regulator}
        self.users, self._user_of = _users(sheet, customers)
        zones = dict.fromkeys(n.zone for n in sheet.node)
        zones |= dict.fromkeys(link.zone for link in self._links.values())
        self.names: Mapping[str, tuple[str, ...]] = {
            "pipe": tuple(p.id for p in sheet.pipe),
            "node": tuple(self._nodes),
            "link": (*self._links, *(link + AT_LINE for link in self._links)),
            "regulator": tuple(r.id for r in sheet.regulator),
            "pump": (),
            "tank": (),
            "zone": tuple(zone for zone in zones if zone),
        }
        self._open: dict[str, Event] = {}
        self._holes: dict[str, _Hole] = {}
        self._multipliers: Sequence[float] = [1.0] * len(self.users)
        self._at = Instant(0)
        self._balance: Balance | None = None
        self._flows: dict[str, float] = {}
        try:
            self._run()
        except Unavailable as e:
            raise ConfigError(f"sim.network: {network} does not solve: {e}") from None

    def close(self) -> None:
        """Nothing was taken."""

    def solve(
        self,
        at: Instant,
        multipliers: Sequence[float],
        *,
        levels: Mapping[str, float],
        pumping: Mapping[str, bool],
    ) -> None:
        """Balance the grid for these demands, in the order of `users`."""
        assert not levels
        assert not pumping
        self._at, self._multipliers = at, multipliers
        self._run()

    def pressure_kpa(self, node: str) -> float:
        """Return the pressure at a node, above that of the air."""
        return 100 * (self._bar(self._nodes[node]) - AIR_BAR)

    def consumption_m3h(self, node: str) -> float:
        """Return what the customers of a node take, at base conditions."""
        assert self._balance is not None
        return float(self._balance.taken[self._nodes[node]])

    def flow_m3h(self, link: str) -> float:
        """Return the flow through a link: at base conditions, or `@line` at those of the line."""
        name = link.removesuffix(AT_LINE)
        flow = self._flows[name]
        if name == link:
            return flow
        bar = self._bar(self._nodes[self._links[name].begin])
        return flow * AIR_BAR / bar * (self._ground_c(self._at) + 273.15) / _BASE_K

    def temperature_c(self, _node: str) -> float:
        """Return the temperature of the gas, which is that of the ground."""
        return self._ground_c(self._at)

    def tank_inflow_m3h(self, tank: str) -> float:
        """Return nothing: there are no tanks."""
        raise KeyError(tank)

    def zone_of(self, name: str) -> str:
        """Return the zone of a node or link, or an empty text."""
        if name in self._nodes:
            return self._sheet.node[self._nodes[name]].zone
        link = self._links.get(name.removesuffix(AT_LINE))
        return link.zone if link is not None else ""

    def place(self, *, node: str | None, link: str | None) -> tuple[float, float]:
        """Return the coordinates of a node, or of the middle of a link."""
        if node is not None:
            found = self._sheet.node[self._nodes[node]]
            return found.x_m, found.y_m
        run = self._links[(link or "").removesuffix(AT_LINE)]
        (ax, ay), (bx, by) = (self.place(node=n, link=None) for n in (run.begin, run.end))
        return (ax + bx) / 2, (ay + by) / 2

    def where(self, event: Event) -> Where:
        """Return the place of an event."""
        target = event.target
        if target in self._nodes:
            x, y = self.place(node=target, link=None)
            return Where(zone=self.zone_of(target), node=target, x=x, y=y)
        if target in self._links:
            x, y = self.place(node=None, link=target)
            if target in self.names["pipe"]:
                return Where(zone=self.zone_of(target), pipe=target, x=x, y=y)
            return Where(zone=self.zone_of(target), link=target, x=x, y=y)
        return Where(zone=target if target in self.names["zone"] else "")

    def check(self, event: Event) -> None:
        """Raise `RefusedCommand` when an event names nothing of this grid."""
        kinds = _TARGETS.get(event.kind)
        if kinds is None:
            raise RefusedCommand(f"{event.kind}: the gas grid of {self._network} has nothing such")
        if not event.target and event.kind is Kind.POWER_FAILURE:
            return
        names = [name for kind in kinds for name in self.names[kind]]
        try:
            known(event.target, names, what=f"a {' or '.join(kinds)} of {self._network}")
        except ValueError as e:
            raise RefusedCommand(str(e)) from None
        m3h = event.numbers.get("m3h", 1.0)
        if not 0 < m3h < float("inf"):
            raise RefusedCommand(f"m3h: expected more than 0, was {m3h}")

    def begin(self, event: Event) -> None:
        """Let an event begin; if it cannot, raise `RefusedCommand` and change nothing."""
        self.check(event)
        if event.id in self._open:
            raise RefusedCommand(f"{event.id} has begun already; finish it first")
        if event.kind in _HOLES:
            self._pierce(event)
        self._open[event.id] = event
        try:
            self._run()
        except Unavailable as e:
            self.finish(event)
            raise RefusedCommand(f"{event.kind} at {event.target}: {e}") from None

    def finish(self, event: Event) -> None:
        """Let an event end; harmless when it never began."""
        if self._open.pop(event.id, None) is not None:
            self._holes.pop(event.id, None)
            self._run()

    def leaks(self) -> list[tuple[str, float]]:
        """Return the open bursts and leaks by event id, each with what it lets out now, m³/h."""
        assert self._balance is not None
        found = []
        for name, hole in self._holes.items():
            if self._open[name].kind in {Kind.BURST, Kind.LEAK}:
                places = self._places()
                out = self._balance.let_out[places[hole.node]]
                shares = sum(
                    h.size * h.share(self._at) for h in self._holes.values() if h.node == hole.node
                )
                own = hole.size * hole.share(self._at)
                found.append((name, float(out * own / shares) if shares else 0.0))
        return found

    def _pierce(self, event: Event) -> None:
        """Open a hole that lets out as much as asked for when it has grown."""
        is_pipe = event.target in self._links
        if is_pipe and any(h.pipe == event.target for h in self._holes.values()):
            raise RefusedCommand(f"{event.target} is open already; stop that first")
        hole = _Hole(
            node=f"middle of {event.target}" if is_pipe else event.target,
            pipe=event.target if is_pipe else "",
            begin=event.begin,
            grow_ms=0.0,
        )
        m3h, out = event.numbers["m3h"], 0.0
        self._holes[event.id] = hole
        widest = self._bore(event.target)
        hole.size = min(widest, m3h / 4)
        try:
            for _ in range(12):
                self._run()
                assert self._balance is not None
                place = self._places()[hole.node]
                others = sum(h.size for h in self._holes.values() if h.node == hole.node)
                out = float(self._balance.let_out[place]) * hole.size / others
                if abs(out - m3h) < 0.001 * m3h:
                    break
                hole.size = min(widest, hole.size * min(2.0, m3h / max(out, 0.01)))
        except Unavailable:
            out = 0.0
        if out < 0.95 * m3h:
            del self._holes[event.id]
            self._run()
            raise RefusedCommand(
                f"{event.target} cannot let out {m3h:g} m3/h, at most about {out:.0f}"
            )
        hole.grow_ms = event.numbers.get("grow_h", 0.0) * HOUR_MS

    def _bore(self, target: str) -> float:
        """Return the size of the widest hole: a pipe torn open, let out at the speed of sound."""
        widths = [p.diameter_mm for p in self._sheet.pipe if target in {p.id, p.begin, p.end}]
        across = max(widths, default=50.0)
        return _SONIC * math.pi * (across / 1000) ** 2 / 4

    def _places(self) -> dict[str, int]:
        """Return the index of every node, those in the middle of open pipes last."""
        cut = [h.node for h in self._holes.values() if h.pipe]
        return self._nodes | {name: len(self._nodes) + k for k, name in enumerate(cut)}

    def _run(self) -> None:
        places = self._places()
        pipes = self._whole_pipes()
        balance = solved(self._grid(places, pipes), start=self._balance)
        if not balance.is_solved:
            raise Unavailable(f"the gas grid of {self._network} finds no balance")
        self._balance = balance
        self._flows = dict.fromkeys(self._links, 0.0)
        # Of a pipe with a hole the first half bears the name, and comes first.
        for pipe, flow in reversed(list(zip(pipes, balance.pipe_flow, strict=True))):
            self._flows[pipe.id] = float(flow)
        for regulator, flow in zip(self._sheet.regulator, balance.regulator_flow, strict=True):
            self._flows[regulator.id] = float(flow)

    def _whole_pipes(self) -> list[Pipe]:
        """Return the pipes that are not shut, those with a hole in two halves."""
        closed = [e.target for e in self._open.values() if e.kind is Kind.VALVE_CLOSED]
        middles = {h.pipe: h.node for h in self._holes.values() if h.pipe}
        found = []
        for pipe in self._sheet.pipe:
            if pipe.id in closed:
                continue
            if pipe.id not in middles:
                found.append(pipe)
                continue
            half, middle = pipe.length_m / 2, middles[pipe.id]
            found.append(replace(pipe, end=middle, length_m=half))
            found.append(replace(pipe, begin=middle, length_m=half))
        return found

    def _grid(self, places: Mapping[str, int], pipes: Sequence[Pipe]) -> Grid:
        demand = np.zeros(len(places))
        for node, k in self._user_of.items():
            place = self._nodes[node]
            demand[place] = self._sheet.node[place].m3h * self._multipliers[k]
        set_bar = {r.id: r.kpa / 100 + AIR_BAR for r in self._sheet.regulator}
        closed = []
        for event in self._open.values():
            match event.kind:
                case Kind.LARGE_DEMAND | Kind.CUSTOMER_LEAK:
                    demand[self._nodes[event.target]] += event.numbers["m3h"]
                case Kind.PRV_SETPOINT:
                    set_bar[event.target] = event.numbers["kpa"] / 100 + AIR_BAR
                case Kind.VALVE_CLOSED:
                    closed.append(event.target)
        holes = np.zeros(len(places))
        for hole in self._holes.values():
            holes[places[hole.node]] += hole.size * hole.share(self._at)
        return Grid(
            sources=tuple(
                (self._nodes[n.id], n.source_kpa / 100 + AIR_BAR)
                for n in self._sheet.node
                if n.source_kpa is not None
            ),
            pipes=tuple((places[p.begin], places[p.end]) for p in pipes),
            resistance=np.array([resistance(p.length_m, p.diameter_mm) for p in pipes]),
            regulators=tuple((places[r.begin], places[r.end]) for r in self._sheet.regulator),
            set_bar=tuple(set_bar.values()),
            barred=tuple(r.id in closed for r in self._sheet.regulator),
            demand=demand,
            holes=holes,
        )

    def _bar(self, place: int) -> float:
        assert self._balance is not None
        return float(self._balance.bar[place])


def _users(sheet: GasNetwork, customers: Sequence[str]) -> tuple[tuple[Users, ...], dict[str, int]]:
    """Return the groups of users, and to which of them each node belongs."""
    found: dict[Users, int] = {}
    user_of = {}
    for node in sheet.node:
        if node.m3h > 0:
            alone = node.id in customers
            name = node.id if alone else f"{node.zone} {node.habit}"
            users = Users(name=name, habit=node.habit, alone=alone)
            user_of[node.id] = found.setdefault(users, len(found))
    return tuple(found), user_of
