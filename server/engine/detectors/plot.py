"""A zone on a grid: which columns are its pressures, its meters and its levels."""

from dataclasses import dataclass

from server.engine.registry import Point, Zone
from telemetry.units import Quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A zone and its columns of a grid: the points that detectors look at, pressures first.

    `meters` are the columns of its inflow with their signs; none where one of them is unknown.
    `stores` are the columns of its levels with their areas in m².
    """

    zone: Zone
    points: tuple[Point, ...]
    begin: int
    meters: tuple[tuple[int, int], ...]
    stores: tuple[tuple[int, float], ...]

    @property
    def columns(self) -> range:
        """Return its columns."""
        return range(self.begin, self.begin + len(self.points))

    @property
    def pressures(self) -> tuple[Point, ...]:
        """Return its pressure points; they come first."""
        return tuple(p for p in self.points if p.quantity is Quantity.PRESSURE)
