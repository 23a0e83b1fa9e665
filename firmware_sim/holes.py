"""Where water leaves the mains against the plan: holes, hydrants and sudden customers.

A hole gets a node of its own, in the middle of its pipe or beside its junction, and goes with it:
EPANET keeps reporting the flow of an emitter that was merely set to nothing.
"""

from dataclasses import dataclass

from epanet import toolkit as en

from firmware_sim.core.events import Event, Kind
from firmware_sim.inp import Inp
from telemetry.instant import HOUR_MS, Instant

_PREFIX = "SIM-"
_SHORT_M = 1.0
_WIDE_MM = 400.0
"""The stub from a junction to its hole resists hardly at all."""

_CONSTANT = "SIM-ALWAYS"


@dataclass(slots=True, kw_only=True)
class Hole:
    """An opening: its node, and how wide it is when it has grown."""

    node: str
    begin: Instant
    grow_ms: float
    coefficient: float = 0.0
    pipe: str = ""
    far_end: str = ""
    length_m: float = 0.0

    def share(self, at: Instant) -> float:
        """Return how much of it is open at an instant."""
        if self.grow_ms <= 0:
            return 1.0
        return min(1.0, max(0.0, (at - self.begin) / self.grow_ms))


class Holes:
    """The openings of a network; `open` and `shut` only while EPANET's engine is closed."""

    def __init__(self, inp: Inp) -> None:
        self.holes: dict[str, Hole] = {}
        self.middles: dict[str, tuple[float, float]] = {}
        """Of pipes that have been cut in two, as they were."""
        self._inp = inp
        self._taps: dict[str, tuple[str, str]] = {}
        self._count = 0
        self._told: dict[str, float] = {}
        en.addpattern(inp.project, _CONSTANT)

    def is_own(self, node: str) -> bool:
        """Say whether a node is one of ours rather than the town's."""
        return any(hole.node == node for hole in self.holes.values())

    def is_cut(self, pipe: str) -> bool:
        """Say whether a pipe is open already; it is cut only once."""
        return pipe in self.middles

    def open(self, event: Event) -> None:
        """Make the place where an event lets water out; a hole is still shut."""
        self._count += 1
        if event.kind in {Kind.LARGE_DEMAND, Kind.CUSTOMER_LEAK}:
            index, name = self._inp.nodes[event.target], f"{_PREFIX}{self._count}"
            en.adddemand(self._inp.project, index, event.numbers["m3h"], _CONSTANT, name)
            self._taps[event.id] = (event.target, name)
            return
        hole = Hole(
            node=f"{_PREFIX}{self._count}",
            begin=event.begin,
            grow_ms=event.numbers.get("grow_h", 0.0) * HOUR_MS,
        )
        if event.target in self._inp.links:
            self._cut(event.target, hole)
        else:
            self._stub(event.target, hole)
        self.holes[event.id] = hole
        self._inp.index()

    def shut(self, name: str) -> None:
        """Mend what an event opened, and leave the network as it was."""
        p = self._inp.project
        if (tap := self._taps.pop(name, None)) is not None:
            index = self._inp.nodes[tap[0]]
            en.deletedemand(p, index, en.getdemandindex(p, index, tap[1]))
            return
        hole = self.holes.pop(name)
        self._told.pop(name, None)
        if hole.pipe:
            index = self._inp.links[hole.pipe]
            begin = self._inp.nodes[self._inp.ends(hole.pipe)[0]]
            en.setlinknodes(p, index, begin, self._inp.nodes[hole.far_end])
            length = en.getlinkvalue(p, index, en.LENGTH) + hole.length_m
            en.setlinkvalue(p, index, en.LENGTH, length)
            del self.middles[hole.pipe]
        en.deletelink(p, self._inp.links[hole.node], en.UNCONDITIONAL)
        self._inp.index()
        en.deletenode(p, self._inp.nodes[hole.node], en.UNCONDITIONAL)
        self._inp.index()

    def grow(self, at: Instant, *, full: str = "") -> None:
        """Open every hole as far as it has grown; the one of `full` wholly."""
        for name, hole in self.holes.items():
            width = hole.coefficient * (1.0 if name == full else hole.share(at))
            if self._told.get(name) != width:
                self._told[name] = width
                en.setnodevalue(self._inp.project, self._inp.nodes[hole.node], en.EMITTER, width)

    def lets_out(self, name: str) -> float:
        """Return what a hole lets out, in m³/h."""
        if not self._told.get(name):
            return 0.0
        index = self._inp.nodes[self.holes[name].node]
        out: float = en.getnodevalue(self._inp.project, index, en.EMITTERFLOW)
        return max(0.0, out)

    def let_out(self) -> list[tuple[str, float]]:
        """Return every hole by its event, with what it lets out, in m³/h."""
        return [(name, self.lets_out(name)) for name in self.holes]

    def _cut(self, pipe: str, hole: Hole) -> None:
        """Cut a pipe in two in the middle: its first half keeps its name."""
        p, inp = self._inp.project, self._inp
        x, y = inp.place(node=None, link=pipe)
        self.middles[pipe] = (x, y)
        begin, end = inp.ends(pipe)
        heights = [en.getnodevalue(p, inp.nodes[n], en.ELEVATION) for n in (begin, end)]
        length = en.getlinkvalue(p, inp.links[pipe], en.LENGTH) / 2
        self._add_node(hole.node, sum(heights) / 2, (x, y))
        en.addlink(p, hole.node, en.PIPE, hole.node, end)
        inp.index()
        for key in (en.DIAMETER, en.ROUGHNESS):
            value = en.getlinkvalue(p, inp.links[pipe], key)
            en.setlinkvalue(p, inp.links[hole.node], key, value)
        en.setlinkvalue(p, inp.links[hole.node], en.LENGTH, length)
        en.setlinkvalue(p, inp.links[pipe], en.LENGTH, length)
        en.setlinknodes(p, inp.links[pipe], inp.nodes[begin], inp.nodes[hole.node])
        hole.pipe, hole.far_end, hole.length_m = pipe, end, length

    def _stub(self, node: str, hole: Hole) -> None:
        """Lead a short stub from a junction to the hole."""
        p, inp = self._inp.project, self._inp
        height = en.getnodevalue(p, inp.nodes[node], en.ELEVATION)
        self._add_node(hole.node, height, inp.place(node=node, link=None))
        en.addlink(p, hole.node, en.PIPE, node, hole.node)
        inp.index()
        for key, value in ((en.LENGTH, _SHORT_M), (en.DIAMETER, _WIDE_MM)):
            en.setlinkvalue(p, inp.links[hole.node], key, value)

    def _add_node(self, name: str, height: float, place: tuple[float, float]) -> None:
        p = self._inp.project
        en.addnode(p, name, en.JUNCTION)
        index = en.getnodeindex(p, name)
        en.setnodevalue(p, index, en.ELEVATION, height)
        en.setcoord(p, index, *place)
        self._inp.index()
