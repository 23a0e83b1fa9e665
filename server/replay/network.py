"""The mains of an EPANET file as a graph: how far it is from one place to another along the pipes.

Only places and lengths are read; what the water does in them is the simulator's business.
"""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import hypot, inf
from pathlib import Path

from telemetry.errors import ConfigError

_FEET_M = 0.3048
_US_UNITS = {"CFS", "GPM", "MGD", "IMGD", "AFD"}
"""Flow units that make an EPANET file's lengths feet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipe:
    """A link between two nodes; pumps and valves have no length."""

    start: str
    end: str
    length_m: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place in the mains: nodes that can be reached from it, and how far away they are."""

    reach_m: Mapping[str, float]
    pipe: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Nodes with their coordinates, which are those of the recording, and links in metres."""

    nodes: Mapping[str, tuple[float, float] | None]
    pipes: Mapping[str, Pipe]
    _neighbours: dict[str, list[tuple[str, float]]] = field(default_factory=dict, repr=False)
    _found: dict[str, dict[str, float]] = field(default_factory=dict, repr=False)

    def at_node(self, node: str) -> Place | None:
        """Return the place of a node."""
        return Place(reach_m={node: 0.0}) if node in self.nodes else None

    def at_pipe(self, pipe: str) -> Place | None:
        """Return the middle of a pipe."""
        found = self.pipes.get(pipe)
        if found is None:
            return None
        half = found.length_m / 2
        return Place(reach_m={found.start: half, found.end: half}, pipe=pipe)

    def at_point(self, x: float, y: float) -> Place | None:
        """Return the place in the mains that is nearest to a point, as far from it as it is."""
        away = {n: hypot(at[0] - x, at[1] - y) for n, at in self.nodes.items() if at is not None}
        if not away:
            return None
        nearest = min(away, key=lambda n: (away[n], n))
        return Place(reach_m={nearest: away[nearest]})

    def distance_m(self, a: Place, b: Place) -> float:
        """Return how far two places are apart along the mains; infinite where no way leads."""
        if a.pipe is not None and a.pipe == b.pipe:
            return 0.0
        return min(
            (
                out + self._from(start).get(end, inf) + back
                for start, out in a.reach_m.items()
                for end, back in b.reach_m.items()
            ),
            default=inf,
        )

    def _from(self, start: str) -> dict[str, float]:
        if not self._neighbours:
            for pipe in self.pipes.values():
                self._neighbours.setdefault(pipe.start, []).append((pipe.end, pipe.length_m))
                self._neighbours.setdefault(pipe.end, []).append((pipe.start, pipe.length_m))
        if start not in self._found:
            self._found[start] = self._shortest(start)
        return self._found[start]

    def _shortest(self, start: str) -> dict[str, float]:
        """Return the shortest way from a node to every other (Dijkstra)."""
        found: dict[str, float] = {}
        waiting = [(0.0, start)]
        while waiting:
            length, node = heapq.heappop(waiting)
            if node in found:
                continue
            found[node] = length
            for other, more in self._neighbours.get(node, ()):
                if other not in found:
                    heapq.heappush(waiting, (length + more, other))
        return found


def read_network(path: Path) -> Network:
    """Return the graph of an EPANET file. Raises `ConfigError` naming file and line."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as e:
        raise ConfigError(f"{path}: cannot be read: {e.strerror}") from e
    try:
        return network_of(text)
    except ValueError as e:
        raise ConfigError(f"{path}: {e}") from None


def network_of(text: str) -> Network:
    r"""Return the graph that the text of an EPANET file tells. Raises `ValueError`.

    >>> mains = network_of("[JUNCTIONS]\n a 1\n b 1\n[PIPES]\n p a b 120 100 0.1")
    >>> mains.distance_m(mains.at_node("a"), mains.at_pipe("p"))
    60.0
    """
    nodes: dict[str, tuple[float, float] | None] = {}
    pipes: dict[str, Pipe] = {}
    places: dict[str, tuple[float, float]] = {}
    factor = 1.0
    for n, section, words in _rows(text):
        try:
            match section:
                case "JUNCTIONS" | "RESERVOIRS" | "TANKS":
                    nodes[words[0]] = None
                case "PIPES":
                    pipes[words[0]] = Pipe(start=words[1], end=words[2], length_m=float(words[3]))
                case "PUMPS" | "VALVES":
                    pipes[words[0]] = Pipe(start=words[1], end=words[2], length_m=0.0)
                case "COORDINATES":
                    places[words[0]] = (float(words[1]), float(words[2]))
                case "OPTIONS":
                    if words[0].upper() == "UNITS" and words[1].upper() in _US_UNITS:
                        factor = _FEET_M
        except (IndexError, ValueError):
            told = " ".join(words)
            raise ValueError(f"line {n}: expected a row of [{section}], was {told!r}") from None
    return Network(
        nodes={name: places.get(name) for name in nodes},
        pipes={
            name: Pipe(start=p.start, end=p.end, length_m=p.length_m * factor)
            for name, p in pipes.items()
        },
    )


def _rows(text: str) -> Iterator[tuple[int, str, list[str]]]:
    section = ""
    for n, line in enumerate(text.splitlines(), 1):
        bare = line.partition(";")[0].strip()
        if bare.startswith("["):
            section = bare.strip("[]").upper()
        elif bare:
            yield n, section, bare.split()
