"""The hydraulic engine: EPANET balances the mains, with whatever goes wrong in them.

Every step is a snapshot of its own, warm from the one before: levels, pumps and demands are told,
pressures and flows are read. Rule: nobody else makes EPANET reckon.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from epanet import toolkit as en

from firmware_sim.core.automation import Automation, Order, Sight
from firmware_sim.core.events import Event, Kind
from firmware_sim.core.names import known
from firmware_sim.core.plant import Where
from firmware_sim.holes import Hole, Holes
from firmware_sim.inp import Inp
from telemetry.errors import ConfigError, RefusedCommand, Unavailable
from telemetry.instant import DAY_MS, SECOND_MS, Instant
from telemetry.units import KPA_PER_METRE_OF_WATER

_REINIT = 10
"""EPANET's flag to begin from fresh flows; 0 begins from the last ones, a third faster."""

_KEEP = 0

_COOL_C = 15.0

_UNBALANCED = 0.05
"""A relative error of the flows beyond which a network does not solve."""

_PIPES = (en.PIPE, en.CVPIPE)
_VALVES = (en.PRV, en.PSV, en.PBV, en.FCV, en.TCV, en.GPV, en.PCV)
_REGULATING = (en.PRV, en.PSV)

_HOLES = (Kind.BURST, Kind.LEAK, Kind.HYDRANT)
_TAPS = (*_HOLES, Kind.LARGE_DEMAND, Kind.CUSTOMER_LEAK)

_TARGETS: dict[Kind, tuple[str, ...]] = {
    Kind.BURST: ("pipe", "junction"),
    Kind.LEAK: ("pipe", "junction"),
    Kind.HYDRANT: ("junction",),
    Kind.LARGE_DEMAND: ("junction",),
    Kind.CUSTOMER_LEAK: ("junction",),
    Kind.VALVE_CLOSED: ("link",),
    Kind.PUMP_TRIP: ("pump",),
    Kind.POWER_FAILURE: ("zone",),
    Kind.PRV_SETPOINT: ("pressure valve",),
}

_NODE_SIGHTS = {Sight.PRESSURE: en.PRESSURE, Sight.HEAD: en.HEAD, Sight.DEMAND: en.DEMAND}
_LINK_SIGHTS = {Sight.FLOW: en.FLOW, Sight.IS_OPEN: en.STATUS, Sight.SETTING: en.SETTING}

_OF_THE_TOWN = (Kind.PUMP_TRIP, Kind.POWER_FAILURE)
"""These may be told without a target: they mean all pumps then."""


class Hydraulics:
    """The mains, balanced by `solve`; readings are those of the last balance."""

    def __init__(
        self,
        network: Path,
        *,
        pumps: Sequence[str] = (),
        customers: Sequence[str] = (),
        offset_ms: Callable[[Instant], int] = lambda _: 0,
        ground_c: Callable[[Instant], float] = lambda _: _COOL_C,
    ) -> None:
        """Open a network file.

        `pumps` are switched by the plant, all others by the controls and rules of the file.
        Raises `ConfigError`, with EPANET's words, when the file is wrong or does not solve.
        """
        self.network = network
        self.inp = Inp(network)
        self._project = self.inp.project
        self._offset_ms, self._ground_c = offset_ms, ground_c
        for pump in pumps:
            try:
                known(pump, self.inp.links_of(en.PUMP), what=f"a pump of {network}")
            except ValueError as e:
                raise ConfigError(f"plant.pump: {e}") from None
        self.users, self._patterns = self.inp.users(customers)
        self.tanks = self.inp.tanks()
        self._automation = Automation(self.inp.taken_rules(but=pumps))
        self.names = self._names()
        self._kinds = {n: en.getlinktype(self._project, k) for n, k in self.inp.links.items()}
        self._usual = {n: self._state(n) for n in self.inp.links}
        self._settings = {n: o.setting for n, o in self._usual.items() if o.setting is not None}
        self._pumping: dict[str, bool] = {}
        self._open: dict[str, Event] = {}
        self._at: Instant | None = None
        self._last_at: Instant | None = None
        self.holes = Holes(self.inp)
        self._fresh = True
        self._prove()

    def close(self) -> None:
        """Give the engine's memory back; nothing may be asked afterwards."""
        en.closeH(self._project)
        self.inp.close()

    def place(self, *, node: str | None, link: str | None) -> tuple[float, float]:
        """Return the coordinates of a node, or of the middle of a link."""
        return self.inp.place(node=node, link=link)

    def zone_of(self, name: str) -> str:
        """Return the zone that the network file tags a node or link with, or an empty text."""
        return self.inp.zone_of(name)

    def solve(
        self,
        at: Instant,
        multipliers: Sequence[float],
        *,
        levels: Mapping[str, float],
        pumping: Mapping[str, bool],
    ) -> None:
        """Balance the mains for these demands, in the order of `users`, and these levels."""
        for pattern, multiplier in zip(self._patterns, multipliers, strict=True):
            en.setpatternvalue(self._project, pattern, 1, multiplier)
        for tank, level in levels.items():
            en.setnodevalue(self._project, self.inp.nodes[tank], en.TANKLEVEL, level)
        for pump, works in pumping.items():
            if self._pumping.get(pump) is not works:
                self._pumping[pump] = works
                self._tell(pump)
        local = at + self._offset_ms(at)
        since_monday = (local - 4 * DAY_MS) % (7 * DAY_MS)  # 1970-01-05 was one
        en.settimeparam(self._project, en.PATTERNSTART, since_monday // SECOND_MS)
        self._at = at
        self.holes.grow(at)
        self._decide(at, local)
        self._run()

    def pressure_kpa(self, node: str) -> float:
        """Return the pressure at a node; a main that has run empty shows none, not less."""
        return max(0.0, self._of_node(node, en.PRESSURE)) * KPA_PER_METRE_OF_WATER

    def head_m(self, node: str) -> float:
        """Return the head at a node."""
        return self._of_node(node, en.HEAD)

    def consumption_m3h(self, node: str) -> float:
        """Return what the customers of a node take; a burst there is not theirs."""
        return self._of_node(node, en.DEMANDFLOW)

    def flow_m3h(self, link: str) -> float:
        """Return the flow through a link."""
        flow: float = en.getlinkvalue(self._project, self.inp.links[link], en.FLOW)
        return flow

    def temperature_c(self, _node: str) -> float:
        """Return the temperature of water that nobody heats: that of the ground."""
        return _COOL_C if self._at is None else self._ground_c(self._at)

    def tank_inflow_m3h(self, tank: str) -> float:
        """Return what flows into a tank, less what flows out."""
        return self._of_node(tank, en.DEMAND)

    def set_valve(self, link: str, setting: float) -> None:
        """Give a valve another usual setting, in its own unit: m, m³/h or a loss coefficient."""
        self._settings[link] = setting
        self._tell(link)

    def leaks(self) -> list[tuple[str, float]]:
        """Return the open bursts and leaks by event id, each with what it lets out now, m³/h."""
        leaking = {n for n, e in self._open.items() if e.kind in {Kind.BURST, Kind.LEAK}}
        return [(name, m3h) for name, m3h in self.holes.let_out() if name in leaking]

    def where(self, event: Event) -> Where:
        """Return the place of an event."""
        target = event.target
        if target in self.names["zone"]:
            return Where(zone=target)
        if target in self.inp.nodes:
            x, y = self.place(node=target, link=None)
            return Where(zone=self.zone_of(target), node=target, x=round(x, 1), y=round(y, 1))
        if target in self.inp.links:
            x, y = self.holes.middles.get(target) or self.place(node=None, link=target)
            key = "pipe" if self._kinds[target] in _PIPES else "link"
            place = Where(zone=self.zone_of(target), x=round(x, 1), y=round(y, 1), link=target)
            return (
                place
                if key == "link"
                else Where(zone=place.zone, x=place.x, y=place.y, pipe=target)
            )
        return Where()

    def check(self, event: Event) -> None:
        """Raise `RefusedCommand` when an event names nothing of this network, or no amount."""
        kinds = _TARGETS.get(event.kind)
        if kinds is None:
            raise RefusedCommand(
                f"{event.kind}: the mains of {self.network.name} know no such thing"
            )
        if not event.target and event.kind in _OF_THE_TOWN:
            return
        names = [name for kind in kinds for name in self._targets(kind)]
        try:
            known(event.target, names, what=f"a {' or '.join(kinds)} of {self.network.name}")
        except ValueError as e:
            raise RefusedCommand(str(e)) from None
        m3h = event.numbers.get("m3h", 1.0)
        if not 0 < m3h < float("inf"):
            raise RefusedCommand(f"m3h: expected more than 0, was {m3h}")

    def begin(self, event: Event) -> None:
        """Let an event begin, and balance; if it cannot, raise `RefusedCommand`."""
        self.check(event)
        if event.id in self._open:
            raise RefusedCommand(f"{event.id} has begun already; finish it first")
        if event.kind in _TAPS:
            if self.holes.is_cut(event.target):
                raise RefusedCommand(f"{event.target} has burst already; stop that burst first")
            self._change(lambda: self.holes.open(event))
            if event.kind in _HOLES:
                self._size(self.holes.holes[event.id], event)
        self._open[event.id] = event
        try:
            self._retell(event)
        except Unavailable as e:
            self.finish(event)
            raise RefusedCommand(f"{event.kind} at {event.target}: {e}") from None

    def finish(self, event: Event) -> None:
        """Let an event end, and balance; harmless when it never began."""
        if self._open.pop(event.id, None) is None:
            return
        if event.kind in _TAPS:
            self._change(lambda: self.holes.shut(event.id))
        self._retell(event)

    def _size(self, hole: Hole, event: Event) -> None:
        """Widen a hole until it lets out what was asked for; leave none when it cannot."""
        m3h, out = event.numbers["m3h"], 0.0
        at = event.begin if self._at is None else self._at
        metres = self.pressure_kpa(hole.node) / KPA_PER_METRE_OF_WATER
        hole.coefficient = m3h / max(1.0, metres) ** 0.5
        for _ in range(8):
            self.holes.grow(at, full=event.id)
            try:
                self._run(fresh=True)
            except Unavailable:  # so large a hole that EPANET finds no balance
                out = 0.0
                break
            out = self.holes.lets_out(event.id)
            if abs(out - m3h) < 0.001 * m3h:
                break
            hole.coefficient *= min(2.0, m3h / max(out, 0.01))
        if out < 0.95 * m3h:
            self._change(lambda: self.holes.shut(event.id))
            raise RefusedCommand(
                f"{event.target} cannot let out {m3h:g} m3/h, at most about {out:.0f}"
            )
        self.holes.grow(at)
        self._run(fresh=True)

    def _change(self, change: Callable[[], None]) -> None:
        """Change what the network is made of, which EPANET allows only in between."""
        en.closeH(self._project)
        try:
            change()
        finally:
            en.openH(self._project)
            self._run(fresh=True)

    def _retell(self, event: Event) -> None:
        """Tell the links that an event concerns how they stand now, and balance."""
        if event.kind in {Kind.PUMP_TRIP, Kind.POWER_FAILURE}:
            concerned: Sequence[str] = self.names["pump"]
        elif event.kind in {Kind.VALVE_CLOSED, Kind.PRV_SETPOINT}:
            concerned = (event.target,)
        else:
            return
        for link in concerned:
            self._tell(link)
        self._run(fresh=True)

    def _tell(self, link: str) -> None:
        """Tell EPANET how a link stands: as events, the plant, the automation or the file say."""
        index, kind = self.inp.links[link], self._kinds[link]
        order = self._automation.orders.get(link)
        usual = self._usual[link]
        is_open, setting = usual.is_open, self._settings.get(link)
        if order is not None:
            is_open = usual.is_open if order.is_open is None else order.is_open
            setting = setting if order.setting is None else order.setting
        is_open = self._pumping.get(link, is_open)
        for event in self._open.values():
            if event.kind is Kind.PRV_SETPOINT and event.target == link:
                setting = event.numbers["kpa"] / KPA_PER_METRE_OF_WATER
        if self._is_stopped(link):
            en.setlinkvalue(self._project, index, en.INITSTATUS, 0)
        elif kind in _VALVES and setting is not None and is_open is None:
            en.setlinkvalue(self._project, index, en.INITSETTING, setting)  # regulating again
        elif is_open is not None:
            en.setlinkvalue(self._project, index, en.INITSTATUS, int(is_open))
            if kind == en.PUMP and is_open and setting is not None:
                en.setlinkvalue(self._project, index, en.INITSETTING, setting)

    def _is_stopped(self, link: str) -> bool:
        for event in self._open.values():
            match event.kind:
                case Kind.VALVE_CLOSED if event.target == link:
                    return True
                case Kind.PUMP_TRIP if event.target in {"", link}:
                    if link in self.names["pump"]:
                        return True
                case Kind.POWER_FAILURE if self._kinds[link] == en.PUMP:
                    places = (link, *self.inp.ends(link))
                    if event.target in {"", *(self.zone_of(p) for p in places)}:
                        return True
        return False

    def _decide(self, at: Instant, local_ms: int) -> None:
        """Let the controls and rules of the file look at the last balance."""
        elapsed = 0 if self._last_at is None else at - self._last_at
        self._last_at = at
        before = dict(self._automation.orders)
        if self._automation.decide(self._look, local_ms=local_ms, elapsed_ms=elapsed):
            for link, order in self._automation.orders.items():
                if before.get(link) != order:
                    self._tell(link)

    def _look(self, sight: Sight, name: str) -> float:
        match sight:
            case Sight.LEVEL:
                return self._of_node(name, en.TANKLEVEL)
            case Sight.PRESSURE | Sight.HEAD | Sight.DEMAND:
                return self._of_node(name, _NODE_SIGHTS[sight])
            case _:
                index = self.inp.links[name]
                found: float = en.getlinkvalue(self._project, index, _LINK_SIGHTS[sight])
                return found

    def _of_node(self, node: str, key: int) -> float:
        found: float = en.getnodevalue(self._project, self.inp.nodes[node], key)
        return found

    def _state(self, link: str) -> Order:
        """Return how the file leaves a link."""
        index = self.inp.links[link]
        is_open = bool(en.getlinkvalue(self._project, index, en.INITSTATUS))
        kind = en.getlinktype(self._project, index)
        if kind in _VALVES:
            setting: float = en.getlinkvalue(self._project, index, en.INITSETTING)
            return Order(link=link, is_open=None if is_open else False, setting=setting)
        speed = en.getlinkvalue(self._project, index, en.INITSETTING) if kind == en.PUMP else None
        return Order(link=link, is_open=is_open, setting=speed)

    def _names(self) -> dict[str, tuple[str, ...]]:
        inp = self.inp
        zones = dict.fromkeys(inp.zone_of(n) for n in (*inp.nodes, *inp.links))
        return {
            "pipe": inp.links_of(*_PIPES),
            "node": tuple(inp.nodes),
            "link": tuple(inp.links),
            "pump": inp.links_of(en.PUMP),
            "tank": tuple(self.tanks),
            "zone": tuple(zone for zone in zones if zone),
        }

    def _targets(self, kind: str) -> Sequence[str]:
        if kind == "junction":
            return [n for n in self.inp.nodes_of(en.JUNCTION) if not self.holes.is_own(n)]
        if kind == "pressure valve":
            return self.inp.links_of(*_REGULATING)
        return self.names[kind]

    def _prove(self) -> None:
        """Balance once as the file stands. Raises `ConfigError` when that cannot be done."""
        words = ""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                en.openH(self._project)
                en.initH(self._project, _REINIT)
                en.runH(self._project)
                error = en.getstatistic(self._project, en.RELATIVEERROR)
                if error > _UNBALANCED:  # EPANET's own warning arrives without its words
                    trials = en.getstatistic(self._project, en.ITERATIONS)
                    words = f"unbalanced by {error:.0%} after {trials:.0f} trials"
            except Exception as e:  # noqa: BLE001  the binding raises nothing narrower
                words = str(e)
        if words:
            self.inp.close()
            raise ConfigError(f"sim.network: {self.network} does not solve: {words}")

    def _run(self, *, fresh: bool = False) -> None:
        en.initH(self._project, _REINIT if self._fresh or fresh else _KEEP)
        self._fresh = False
        with warnings.catch_warnings():
            # Too little pressure somewhere is a state of the town, not a mistake of ours.
            warnings.simplefilter("ignore")
            try:
                en.runH(self._project)
            except Exception as e:  # the binding raises nothing narrower
                self._fresh = True
                raise Unavailable(f"EPANET cannot balance {self.network}: {e}") from e
