"""What an import needs of an EPANET network file: its units, its ids, its places, its shape."""

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from telemetry.errors import ConfigError
from telemetry.units import KPA_PER_METRE_OF_WATER, to_house

FEET = 0.3048

_FLOWS = {
    "CFS": 0.028316846592 * 3600,
    "GPM": 0.003785411784 * 60,
    "MGD": 3785.411784 / 24,
    "IMGD": 4546.09 / 24,
    "AFD": 1233.48183754752 / 24,
    "LPS": 3.6,
    "LPM": 0.06,
    "MLD": 1000.0 / 24.0,
    "CMH": 1.0,
    "CMD": 1.0 / 24.0,
    "CMS": 3600.0,
}
"""What one unit of [OPTIONS] UNITS is in m³/h (EPANET 2.2 user manual, appendix A)."""

_US = {"CFS", "GPM", "MGD", "IMGD", "AFD"}
_PRESSURES = {
    "PSI": to_house(1.0, "psi"),
    "KPA": 1.0,
    "METERS": KPA_PER_METRE_OF_WATER,
    "M": KPA_PER_METRE_OF_WATER,
    "BAR": 100.0,
    "FEET": KPA_PER_METRE_OF_WATER * FEET,
}


@dataclass(slots=True, kw_only=True)
class Network:
    """A network as its file tells it; elevations in metres."""

    flow_m3h: float
    pressure_kpa: float
    length_m: float
    nodes: dict[str, float] = field(default_factory=dict)
    tanks: dict[str, float] = field(default_factory=dict)
    links: dict[str, tuple[str, str]] = field(default_factory=dict)
    places: dict[str, tuple[float, float]] = field(default_factory=dict)

    def place_of(self, name: str) -> tuple[float, float] | None:
        """Return where a node is, or the middle of a link."""
        if name in self.places:
            return self.places[name]
        ends = [self.places[n] for n in self.links.get(name, ()) if n in self.places]
        if len(ends) < 2:
            return None
        (x1, y1), (x2, y2) = ends
        return (x1 + x2) / 2, (y1 + y2) / 2

    def reached(self, start: str, *, without: Collection[str]) -> set[str]:
        """Return the nodes that water reaches from one without passing some links."""
        near: dict[str, list[str]] = {}
        for name, (a, b) in self.links.items():
            if name not in without:
                near.setdefault(a, []).append(b)
                near.setdefault(b, []).append(a)
        found, waiting = {start}, deque([start])
        while waiting:
            for node in near.get(waiting.popleft(), ()):
                if node not in found:
                    found.add(node)
                    waiting.append(node)
        return found


def read_network(path: Path) -> Network:
    """Return what an .inp says. Raises `ConfigError` naming file and row."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as e:
        raise ConfigError(f"{path}: cannot be read: {e.strerror}") from e
    sections: dict[str, list[tuple[int, list[str]]]] = {}
    name = ""
    for row, line in enumerate(text.split("\n"), 1):
        words = line.split(";", 1)[0].split()
        if words and words[0].startswith("["):
            name = words[0].upper().strip("[]")
        elif words:
            sections.setdefault(name, []).append((row, words))
    options = {w[0].upper(): w[-1].upper() for _, w in sections.get("OPTIONS", ()) if len(w) == 2}
    units = options.get("UNITS", "GPM")
    if units not in _FLOWS:
        raise ConfigError(f"{path}: UNITS: expected one of {', '.join(_FLOWS)}, was {units}")
    pressure = options.get("PRESSURE", "PSI" if units in _US else "METERS")
    if pressure not in _PRESSURES:
        expected = ", ".join(_PRESSURES)
        raise ConfigError(f"{path}: PRESSURE: expected one of {expected}, was {pressure}")
    length = FEET if units in _US else 1.0
    found = Network(flow_m3h=_FLOWS[units], pressure_kpa=_PRESSURES[pressure], length_m=length)
    try:
        _fill(found, sections)
    except _WrongRow as e:
        raise ConfigError(f"{path}: row {e.row}: expected {e.expected}") from e
    if not found.nodes:
        raise ConfigError(f"{path}: expected a network with [JUNCTIONS], found none")
    return found


class _WrongRow(Exception):
    def __init__(self, row: int, expected: str) -> None:
        self.row = row
        self.expected = expected
        super().__init__(row)


def _fill(found: Network, sections: dict[str, list[tuple[int, list[str]]]]) -> None:
    for row, words in sections.get("JUNCTIONS", ()):
        found.nodes[words[0]] = _number(words, 1, row) * found.length_m
    for row, words in sections.get("RESERVOIRS", ()):
        found.nodes[words[0]] = _number(words, 1, row) * found.length_m
    for row, words in sections.get("TANKS", ()):
        found.nodes[words[0]] = _number(words, 1, row) * found.length_m
        found.tanks[words[0]] = _number(words, 5, row) * found.length_m
    for section in ("PIPES", "PUMPS", "VALVES"):
        for row, words in sections.get(section, ()):
            if len(words) < 3:
                raise _WrongRow(row, "the id of a link and its two nodes")
            found.links[words[0]] = (words[1], words[2])
    for row, words in sections.get("COORDINATES", ()):
        found.places[words[0]] = (_number(words, 1, row), _number(words, 2, row))


def _number(words: list[str], place: int, row: int) -> float:
    try:
        return float(words[place])
    except (IndexError, ValueError):
        raise _WrongRow(row, f"a number in its column {place + 1}") from None


def known(names: Iterable[str]) -> str:
    """Return some names for a message: all of a few, the first of many."""
    found = list(names)
    return ", ".join(found[:8]) + (f" and {len(found) - 8} more" if len(found) > 8 else "")
