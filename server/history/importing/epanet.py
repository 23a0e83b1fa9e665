"""EPANET's time series: calibration files, one quantity each, of a network whose units they keep.

A row is `LocationID Time Value`, the time in hours since the start, decimal or h:mm; a row without
a location is of the one before, and what follows a semicolon is a comment.
"""

from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from server.history.importing import local_time
from server.history.importing.csv_text import Stamps
from server.history.importing.gathering import Gathering
from server.history.importing.inp import Network, known, read_network
from server.history.importing.mapping import EpanetFile, EpanetSection
from server.history.importing.slug import slug
from server.history.recording_toml import PointSection
from telemetry.errors import ConfigError
from telemetry.instant import HOUR_MS, MINUTE_MS, SECOND_MS, Instant
from telemetry.units import Quantity, from_house

_SUFFIXES = {"pressure": "pressure", "flow": "flow", "demand": "demand", "level": "level"}


def read(section: EpanetSection, zone: str, gathering: Gathering) -> None:
    """Take in every file of a network. Raises `ConfigError` with every mistake of a file."""
    network = read_network(section.network)
    start = _start(section.start, gathering)
    for entry in section.files:
        _File(entry, network, zone, gathering).read(start)
    gathering.put("network.inp", section.network.read_bytes())


def _start(text: str, gathering: Gathering) -> Instant:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"epanet.start: expected an instant such as 2026-01-01T00:00:00, was {text!r}"
        ) from None
    if found.tzinfo is not None:
        return Instant(round(found.timestamp() * 1000))
    epoch = datetime(1970, 1, 1)  # noqa: DTZ001  of the clock on the wall, as the text is
    local = np.array([round((found - epoch).total_seconds() * 1000)], dtype=np.int64)
    return Instant(int(gathering.wall.to_utc(local, local_time.Sequence()).at[0]))


class _File:
    """One calibration file on its way into a recording."""

    def __init__(
        self, entry: EpanetFile, network: Network, zone: str, gathering: Gathering
    ) -> None:
        self._entry = entry
        self._network = network
        self._zone = zone
        self._gathering = gathering
        self._is_of_links = entry.quantity == "flow"
        self._places = network.links if self._is_of_links else network.nodes

    def read(self, start: Instant) -> None:
        path, gathering = self._entry.file, self._gathering
        file = gathering.file(path)
        series: dict[str, tuple[list[int], list[int], list[float]]] = {}
        where = ""
        for row, words in _lines(path):
            if len(words) == 3:
                where = words[0]
                if where not in self._places:
                    what = "link" if self._is_of_links else "node"
                    expected = f"a {what} of the network, one of {known(self._places)}"
                    file.wrong.tell(f"row {row}: expected {expected}, was {where!r}")
            elif not where or len(words) != 2:
                file.wrong.tell(f"row {row}: expected LocationID Time Value, was {words}")
                continue
            at, value = _time(words[-2]), _value(words[-1])
            if at is None:
                file.wrong.tell(f"row {row}: expected hours or h:mm, was {words[-2]!r}")
            elif value is None:
                file.wrong.tell(f"row {row}: expected a number, was {words[-1]!r}")
            else:
                rows, ats, values = series.setdefault(where, ([], [], []))
                rows.append(row)
                ats.append(start + at)
                values.append(value)
        file.wrong.refuse()
        with gathering.step(f"read {path.name}", None) as progress:
            before = gathering.rows
            for name, (rows, ats, values) in series.items():
                point = gathering.point(self._point(name))
                house = self._to_point_unit(name, np.array(values))
                instants = Stamps(ms=np.array(ats, dtype=np.int64), is_utc=True)
                file.add(point, np.array(rows, dtype=np.int64), instants.ms, house)
                progress(gathering.rows - before)
            file.close()

    def _point(self, name: str) -> PointSection:
        quantity = self._entry.quantity
        is_pressure = quantity in {"pressure", "head"}
        kind = Quantity.PRESSURE if is_pressure else Quantity.FLOW
        if quantity == "level" or (quantity == "head" and name in self._network.tanks):
            kind = Quantity.LEVEL
        place = self._network.place_of(name)
        body: dict[str, Any] = {
            "id": f"{slug(name)}/{_SUFFIXES.get(quantity, kind.value)}",
            "zone": self._zone,
            "quantity": kind,
            "unit": kind.unit,
            "role": {"demand": "customer", "level": "tank"}.get(quantity),
            "link" if self._is_of_links else "node": name,
            "x": None if place is None else place[0],
            "y": None if place is None else place[1],
            "elevation_m": None if self._is_of_links else self._network.nodes[name],
        }
        return PointSection.model_validate(body)

    def _to_point_unit(self, name: str, values: Any) -> Any:
        """Return values in house units; a head is a pressure above its node, or a tank's level."""
        network = self._network
        match self._entry.quantity:
            case "pressure":
                return values * network.pressure_kpa
            case "flow" | "demand":
                return values * network.flow_m3h
            case "level":
                return values * network.length_m
            case "head":
                above = values * network.length_m - network.nodes[name]
                is_tank = name in network.tanks
                return above if is_tank else above / from_house(1.0, "mH2O")


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        _refuse(path, e)
    found = []
    for row, line in enumerate(text.split("\n"), 1):
        if words := line.split(";", 1)[0].split():
            found.append((row, words))
    if not found:
        raise ConfigError(f"{path}: expected rows of LocationID Time Value, found none")
    return found


def _refuse(path: Path, error: Exception) -> NoReturn:
    raise ConfigError(f"{path}: cannot be read: {error}") from error


def _time(text: str) -> int | None:
    """Return milliseconds since the start.

    >>> _time("1.5"), _time("1:30"), _time("0:00:30"), _time("noon")
    (5400000, 5400000, 30000, None)
    """
    parts = text.split(":")
    try:
        if len(parts) == 1:
            hours = float(text)
            return round(hours * HOUR_MS) if 0 <= hours < 1e7 else None
        numbers = [int(p) for p in parts]
    except ValueError:
        return None
    if len(numbers) > 3 or min(numbers) < 0 or max(numbers[1:]) > 59:
        return None
    sizes = (HOUR_MS, MINUTE_MS, SECOND_MS)
    return sum(n * size for n, size in zip(numbers, sizes, strict=False))


def _value(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if np.isfinite(found) else None
