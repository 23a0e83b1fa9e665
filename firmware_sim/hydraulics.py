"""The hydraulic engine: EPANET balances the town's network, with any bursts that are open.

Every step is a snapshot of its own, warm from the one before: the level of the tank, the pump and
the demands are told, pressures and flows are read. Rule: nobody else touches EPANET.
"""

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from epanet import toolkit as en

from firmware_sim.core.town import Habit, Users
from telemetry.errors import ConfigError, RefusedCommand, Unavailable
from telemetry.units import KPA_PER_METRE_OF_WATER

_NEIGHBOURHOOD = 12
"""So many neighbouring nodes share their chances, so that zones do not breathe as one."""

_REINIT = 10
"""EPANET's flag to begin from fresh flows; 0 begins from the last ones, a third faster."""

_KEEP = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """An open hole in a pipe, let out at one of its ends; x, y is the middle of the pipe."""

    pipe: str
    zone: str
    node: str
    m3h: float
    x: float
    y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tank:
    """The shape of the tank, from the network file."""

    area_m2: float
    minimum_m: float
    maximum_m: float
    start_m: float


class Hydraulics:
    """The network, balanced by `solve`; readings are those of the last balance."""

    def __init__(self, network: Path, *, tank: str, pump: str, customers: Sequence[str]) -> None:
        self._path = network
        self._project = _opened(network)
        self._nodes = self._index(en.NODECOUNT, en.getnodeid)
        self._links = self._index(en.LINKCOUNT, en.getlinkid)
        self._zones = _zones(network)
        self._bursts: dict[str, Burst] = {}
        self._tank = self.node(tank, key="plant.tank")
        self._pump = self.link(pump, key="plant.pump")
        if en.getnodetype(self._project, self._tank) != en.TANK:
            raise ConfigError(f"plant.tank: expected a tank of {network}, was {tank!r}")
        if en.getlinktype(self._project, self._pump) != en.PUMP:
            raise ConfigError(f"plant.pump: expected a pump of {network}, was {pump!r}")
        self.users, self._patterns = self._group(customers)
        self._multiplier = en.doubleArray(1)
        while en.getcount(self._project, en.CONTROLCOUNT):
            en.deletecontrol(self._project, 1)  # the plant switches the pump itself
        en.openH(self._project)
        self._fresh = True

    def close(self) -> None:
        """Give the engine's memory back; nothing may be asked afterwards."""
        en.closeH(self._project)
        en.close(self._project)
        en.deleteproject(self._project)

    @property
    def tank(self) -> Tank:
        """Return the tank's shape."""
        keys = (en.TANKDIAM, en.MINLEVEL, en.MAXLEVEL, en.TANKLEVEL)
        across, minimum, maximum, start = (
            en.getnodevalue(self._project, self._tank, key) for key in keys
        )
        return Tank(
            area_m2=math.pi * across**2 / 4, minimum_m=minimum, maximum_m=maximum, start_m=start
        )

    def node(self, name: str, *, key: str) -> int:
        """Return the index of a node. Raises `ConfigError` with `key` and near names."""
        return _looked_up(name, self._nodes, what=f"{key}: expected a node of {self._path}")

    def link(self, name: str, *, key: str) -> int:
        """Return the index of a link. Raises `ConfigError` with `key` and near names."""
        return _looked_up(name, self._links, what=f"{key}: expected a link of {self._path}")

    def place(self, *, node: str | None, link: str | None) -> tuple[float, float]:
        """Return the coordinates of a node, or of the middle of a link."""
        if node is not None:
            x, y = en.getcoord(self._project, self._nodes[node])
            return x, y
        ends = en.getlinknodes(self._project, self._links[link or ""])
        (ax, ay), (bx, by) = (en.getcoord(self._project, end) for end in ends)
        return (ax + bx) / 2, (ay + by) / 2

    def solve(self, multipliers: Sequence[float], *, level_m: float, is_pumping: bool) -> None:
        """Balance the network for these demands, in the order of `users`, and this level."""
        for pattern, multiplier in zip(self._patterns, multipliers, strict=True):
            en.setpatternvalue(self._project, pattern, 1, multiplier)
        en.setnodevalue(self._project, self._tank, en.TANKLEVEL, level_m)
        en.setlinkvalue(self._project, self._pump, en.INITSTATUS, int(is_pumping))
        self._run()

    def pressure_kpa(self, node: str) -> float:
        """Return the pressure at a node."""
        metres: float = en.getnodevalue(self._project, self._nodes[node], en.PRESSURE)
        return metres * KPA_PER_METRE_OF_WATER

    def consumption_m3h(self, node: str) -> float:
        """Return what the customers of a node take; a burst there is not theirs."""
        taken: float = en.getnodevalue(self._project, self._nodes[node], en.DEMANDFLOW)
        return taken

    def flow_m3h(self, link: str) -> float:
        """Return the flow through a link."""
        flow: float = en.getlinkvalue(self._project, self._links[link], en.FLOW)
        return flow

    def tank_inflow_m3h(self) -> float:
        """Return what flows into the tank, less what flows out."""
        inflow: float = en.getnodevalue(self._project, self._tank, en.DEMAND)
        return inflow

    def zone_of(self, name: str) -> str:
        """Return the zone that the network file tags a node or link with, or an empty text."""
        return self._zones.get(name, "")

    def bursts(self) -> list[tuple[Burst, float]]:
        """Return the open bursts, each with what it lets out now, in m³/h."""
        # EPANET may keep reporting an emitter that was closed, so only open ones are asked.
        return [(b, self._let_out(b.node)) for b in self._bursts.values()]

    def open_burst(self, pipe: str, m3h: float) -> Burst:
        """Open a hole that lets out `m3h` at present, and balance. Raises `RefusedCommand`."""
        try:
            index = _looked_up(pipe, self._pipes(), what=f"expected a pipe of {self._path.name}")
        except ConfigError as e:
            raise RefusedCommand(str(e)) from None
        if pipe in self._bursts:
            raise RefusedCommand(f"{pipe} has burst already; stop that burst first")
        if not (math.isfinite(m3h) and m3h > 0):
            raise RefusedCommand(f"m3h: expected more than 0, was {m3h}")
        node = self._junction_of(pipe, index)
        if any(b.node == node for b in self._bursts.values()):
            raise RefusedCommand(f"another pipe has burst at the same junction {node} as {pipe}")
        out = self._size_hole(node, m3h)
        if out < 0.95 * m3h:
            self._close_hole(node)
            raise RefusedCommand(f"{pipe} cannot let out {m3h:g} m3/h, at most about {out:.0f}")
        x, y = self.place(node=None, link=pipe)
        zone = self.zone_of(pipe)
        burst = Burst(pipe=pipe, zone=zone, node=node, m3h=m3h, x=round(x, 1), y=round(y, 1))
        self._bursts[pipe] = burst
        return burst

    def close_burst(self, pipe: str) -> Burst:
        """Close the hole in a pipe, and balance. Raises `RefusedCommand` when there is none."""
        burst = self._bursts.pop(pipe, None)
        if burst is None:
            found = ", ".join(self._bursts) or "none"
            raise RefusedCommand(f"expected a pipe with an open burst ({found}), was {pipe!r}")
        self._close_hole(burst.node)
        return burst

    def _size_hole(self, node: str, m3h: float) -> float:
        """Open a hole at a node, widen it until it lets out `m3h`, and return what it does."""
        out = 0.0
        coefficient = m3h / math.sqrt(max(1.0, self.pressure_kpa(node) / KPA_PER_METRE_OF_WATER))
        for _ in range(8):
            en.setnodevalue(self._project, self._nodes[node], en.EMITTER, coefficient)
            self._fresh = True
            self._run()
            out = self._let_out(node)
            if abs(out - m3h) < 0.001 * m3h:
                break
            coefficient *= min(2.0, m3h / max(out, 0.01))
        return out

    def _close_hole(self, node: str) -> None:
        en.setnodevalue(self._project, self._nodes[node], en.EMITTER, 0.0)
        self._fresh = True
        self._run()

    def _let_out(self, node: str) -> float:
        out: float = en.getnodevalue(self._project, self._nodes[node], en.EMITTERFLOW)
        return out

    def _run(self) -> None:
        en.initH(self._project, _REINIT if self._fresh else _KEEP)
        self._fresh = False
        with warnings.catch_warnings():
            # Too little pressure somewhere is a state of the town, not a mistake of ours.
            warnings.simplefilter("ignore")
            try:
                en.runH(self._project)
            except Exception as e:  # the binding raises nothing narrower
                raise Unavailable(f"EPANET cannot balance {self._path}: {e}") from e

    def _index(self, count: int, name_of: Any) -> dict[str, int]:
        n = en.getcount(self._project, count)
        return {name_of(self._project, k): k for k in range(1, n + 1)}

    def _pipes(self) -> dict[str, int]:
        return {
            name: k
            for name, k in self._links.items()
            if en.getlinktype(self._project, k) in {en.PIPE, en.CVPIPE}
        }

    def _junction_of(self, pipe: str, index: int) -> str:
        names = {k: name for name, k in self._nodes.items()}
        for end in reversed(en.getlinknodes(self._project, index)):
            if en.getnodetype(self._project, end) == en.JUNCTION:
                return names[end]
        raise RefusedCommand(f"{pipe} has no junction at either end")

    def _group(self, customers: Sequence[str]) -> tuple[tuple[Users, ...], list[int]]:
        """Give every group of users a demand pattern of its own, of one value."""
        patterns: dict[Users, int] = {}
        seen: dict[str, int] = {}
        for name, k in self._nodes.items():
            is_junction = en.getnodetype(self._project, k) == en.JUNCTION
            if not is_junction or not en.getbasedemand(self._project, k, 1):
                continue
            pattern = en.getdemandpattern(self._project, k, 1)
            habit = self._habit(pattern, node=name)
            zone = self.zone_of(name)
            nth = seen[zone] = seen.get(zone, -1) + 1
            group = name if name in customers else f"{zone} {nth // _NEIGHBOURHOOD} {habit}"
            users = Users(name=group, habit=habit, alone=name in customers)
            if users not in patterns:
                patterns[users] = self._new_pattern(f"SIM-{len(patterns)}")
            en.setdemandpattern(self._project, k, 1, patterns[users])
        return tuple(patterns), list(patterns.values())

    def _habit(self, pattern: int, *, node: str) -> Habit:
        name = en.getpatternid(self._project, pattern) if pattern else ""
        if name not in {h.value for h in Habit}:
            known = ", ".join(Habit)
            raise ConfigError(f"{self._path}: {node}: expected a pattern of {known}, was {name!r}")
        return Habit(name)

    def _new_pattern(self, name: str) -> int:
        en.addpattern(self._project, name)
        index: int = en.getpatternindex(self._project, name)
        return index


def _opened(network: Path) -> Any:
    if not network.is_file():
        raise ConfigError(f"sim.network: expected an EPANET file, found none at {network}")
    project = en.createproject()
    try:
        en.open(project, str(network), os.devnull, "")
        en.settimeparam(project, en.DURATION, 0)
    except Exception as e:  # the binding raises nothing narrower
        raise ConfigError(f"sim.network: EPANET refuses {network}: {e}") from e
    return project


def _zones(network: Path) -> dict[str, str]:
    """Read the [TAGS] of the network file, which the binding cannot hand out."""
    zones = {}
    section = ""
    for line in network.read_text(encoding="utf-8").splitlines():
        fields = line.partition(";")[0].split()
        if fields and fields[0].startswith("["):
            section = fields[0].upper()
        elif section == "[TAGS]" and len(fields) == 3:
            zones[fields[1]] = fields[2]
    return zones


def _looked_up(name: str, known: dict[str, int], *, what: str) -> int:
    if name in known:
        return known[name]
    near = ", ".join(get_close_matches(name.upper(), known, n=3)) or "none"
    raise ConfigError(f"{what}, was {name!r} (near names: {near})")
