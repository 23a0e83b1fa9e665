"""What importers find, gathered into one recording: points, zones, samples, and what was told.

Each point says a thing once: a file that speaks of a point in a time that another file has spoken
of overlaps it, and an instant that comes twice in one file is a mistake of that row.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from pydantic import ValidationError

from server.history.importing.csv_text import Mistakes, Stamps
from server.history.importing.local_time import Sequence as Series
from server.history.importing.local_time import WallTime
from server.history.recording_toml import (
    Description,
    PointSection,
    is_timezone,
    told_instant,
)
from server.history.recording_writer import RecordingWriter
from server.history.stretch import Float64s, Int32s, Int64s, Stretch
from telemetry.errors import ConfigError
from telemetry.instant import SECOND_MS
from telemetry.mistakes import told
from telemetry.sample import Quality

Step = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]
"""Shows one step of the work: what it is, of how much. What it yields is told how far it is."""

Say = Callable[[str], None]
"""Says one line to the person who imports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What the recording will say of itself; a cadence of None is found in the samples."""

    name: str
    source: str
    licence: str
    timezone: str
    calendar: str
    cadence_s: float | None


@dataclass(slots=True, kw_only=True)
class _Told:
    """What one file says of one point: between which instants, and how it goes on."""

    first: int
    last: int
    series: Series = field(default_factory=Series)
    at: list[Int64s] = field(default_factory=list)
    rows: list[Int64s] = field(default_factory=list)
    is_sorted: bool = True


class Gathering:
    """One recording in the making out of files of others; a context, as its writer is."""

    def __init__(self, folder: Path, head: Head, *, software: str, step: Step, say: Say) -> None:
        """Begin. Raises `ConfigError` when the folder is there, or the time zone is not."""
        if not is_timezone(head.timezone):
            expected = "expected an IANA time zone such as Asia/Shanghai"
            raise ConfigError(f"timezone: {expected}, was {head.timezone!r}")
        self.head = head
        self.step = step
        self.say = say
        self.wall = WallTime(head.timezone)
        self._writer = RecordingWriter(folder, software=software)
        self._points: dict[str, PointSection] = {}
        self._factors: list[float] = []
        self._spans: dict[int, list[tuple[Path, int, int]]] = {}
        self._steps: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.__exit__(kind, error, trace)

    @property
    def rows(self) -> int:
        """Return how many samples have been taken in."""
        return self._writer.rows

    def point(self, section: PointSection) -> int:
        """Return the number of a point, in the unit of its source. Raises `ConfigError`."""
        known = self._points.setdefault(section.id, section)
        if known != section:
            raise ConfigError(f"point {section.id}: is described twice, and not alike")
        if len(self._factors) < len(self._points):
            self._factors.append(section.house_factor)
        return list(self._points).index(section.id)

    def has_point(self, name: str) -> bool:
        """Say whether a point has been spoken of."""
        return name in self._points

    def name_of(self, point: int) -> str:
        """Return the id of a point by its number."""
        return list(self._points)[point]

    def put(self, name: str, content: bytes) -> None:
        """Add a file beside the samples."""
        self._writer.put(name, content)

    def file(self, path: Path) -> "FileGathering":
        """Begin a file."""
        return FileGathering(self, path)

    def add(self, found: Stretch) -> None:
        """Take samples in, in the units of their source."""
        factors = np.array(self._factors, dtype=np.float64)[found.point]
        found.value[:] *= factors
        self._writer.add(found)

    def note_step(self, point: int, at: Int64s) -> None:
        """Remember how far apart the samples of a point mostly are."""
        steps = np.diff(at)
        steps = steps[steps > 0]
        if point not in self._steps and len(steps):
            values, counts = np.unique(steps, return_counts=True)
            self._steps[point] = int(values[np.argmax(counts)])

    def note_span(self, path: Path, point: int, first: int, last: int, wrong: Mistakes) -> None:
        """Remember what a file has spoken of, and note what another one had spoken of already."""
        spans = self._spans.setdefault(point, [])
        for other, begin, end in spans:
            if first <= end and last >= begin:
                span = f"{told_instant(begin)} to {told_instant(end)}"
                wrong.tell(f"overlaps {other}: both speak of {self.name_of(point)} in {span}")
        spans.append((path, first, last))

    def finish(self, zones: Sequence[Mapping[str, Any]]) -> int:
        """Write the recording and return how many samples it has. Raises `ConfigError`."""
        spans = [s for found in self._spans.values() for s in found]
        if not spans:
            raise ConfigError(f"{self.head.source}: expected samples, found none")
        usual_ms = Counter(self._steps.values()).most_common(1)
        cadence_s = self.head.cadence_s or (usual_ms[0][0] / SECOND_MS if usual_ms else 300.0)
        points = []
        for n, p in enumerate(self._points.values()):
            own = self._steps.get(n, 0) / SECOND_MS
            period = own if own and own != cadence_s and self.head.cadence_s is None else None
            house = {"unit": p.quantity.unit, "period_s": p.period_s or period}
            if p.house_factor != 1.0 and p.resolution is not None:
                house["resolution"] = p.resolution * p.house_factor
            points.append(p.model_dump(exclude_none=True) | house)
        head = {
            "version": 1,
            "name": self.head.name,
            "source": self.head.source,
            "licence": self.head.licence,
            "timezone": self.head.timezone,
            "calendar": self.head.calendar,
            "cadence_s": cadence_s,
            "from": told_instant(min(s[1] for s in spans)),
            "to": told_instant(max(s[2] for s in spans)),
        }
        if self._writer.has("network.inp"):
            head["network"] = "network.inp"
        body = {"recording": head, "zone": self._zones(zones), "point": points}
        try:
            description = Description.model_validate(body)
        except ValidationError as e:
            raise ConfigError("; ".join(told(e))) from None
        with self.step("write", self.rows) as progress:
            self._writer.finish(description)
            progress(self.rows)
        return self._writer.rows

    def _zones(self, told_zones: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the zones: those told, those points are in, with inlets as their inflow."""
        zones = {z["id"]: dict(z) for z in told_zones}
        for p in self._points.values():
            zones.setdefault(p.zone, {"id": p.zone})
        for zone in zones.values():
            inlets = [
                p.id for p in self._points.values() if p.zone == zone["id"] and p.role == "inlet"
            ]
            if "inflow" not in zone and inlets:
                zone["inflow"] = [{"point": i, "sign": 1} for i in inlets]
        return list(zones.values())


class FileGathering:
    """What one file says, with what is wrong in it; `close` refuses it or takes it as it is."""

    def __init__(self, gathering: Gathering, path: Path) -> None:
        self._all = gathering
        self._path = path
        self._told: dict[int, _Told] = {}
        self._skipped: list[tuple[int, str]] = []
        self._repeated: list[tuple[int, str]] = []
        self.absent = 0
        self.wrong = Mistakes(path)

    def instants(self, found: Stamps, rows: Int64s, series: Series) -> Int64s:
        """Return stamps as UTC, and note what the clock on the wall left open."""
        if found.is_utc:
            return found.ms
        resolved = self._all.wall.to_utc(found.ms, series)
        for noted, mask in (
            (self._skipped, resolved.skipped),
            (self._repeated, resolved.repeated),
        ):
            noted += [
                (int(rows[n]), told_instant(found.ms[n]).removesuffix("Z"))
                for n in np.flatnonzero(mask).tolist()
            ]
        return resolved.at

    def series(self, point: int) -> Series:
        """Return where the series of a point has got to."""
        return self._of(point).series

    def add(self, point: int, rows: Int64s, at: Int64s, value: Float64s) -> None:
        """Take in good values of one point; what is NaN is a gap and counted."""
        keep = ~np.isnan(value)
        self.absent += len(keep) - int(keep.sum())
        if not keep.any():
            return
        rows, at, value = rows[keep], at[keep], value[keep]
        numbers: Int32s = np.full(len(at), point, dtype=np.int32)
        quality = np.full(len(at), int(Quality.GOOD), dtype=np.uint8)
        self.note(point, rows, at)
        self._all.add(
            Stretch(at=at, point=numbers, value=value.copy(), quality=quality, arrived_at=at)
        )

    def add_whole(self, found: Stretch, rows: Int64s) -> None:
        """Take in samples that bring their quality and all else with them."""
        for n in np.unique(found.point).tolist():
            here = found.point == n
            is_unlogged = np.ones(int(here.sum()), dtype=np.bool_)
            if found.gateway is not None:  # two true samples of a log may share an instant
                is_unlogged = found.gateway[here] < 0
            self.note(n, rows[here][is_unlogged], found.at[here][is_unlogged])
            if not is_unlogged.all():
                self._stretch_to(n, found.at[here])
        self._all.add(found)

    def note(self, point: int, rows: Int64s, at: Int64s) -> None:
        """Remember which instants a point has spoken at."""
        if not len(at):
            return
        known = self._of(point)
        is_new = known.first > known.last
        follows = is_new or at[0] > known.last
        known.is_sorted = known.is_sorted and bool(follows) and bool((np.diff(at) > 0).all())
        self._stretch_to(point, at)
        known.at.append(at)
        known.rows.append(rows)
        self._all.note_step(point, at)

    def close(self) -> None:
        """Tell what was resolved. Raises `ConfigError` with everything wrong in the file."""
        for point, known in self._told.items():
            if known.first > known.last:
                continue
            if not known.is_sorted:
                self._tell_repetitions(point, known)
            self._all.note_span(self._path, point, known.first, known.last, self.wrong)
        self.wrong.refuse()
        zone = self._all.head.timezone
        for noted, what in (
            (self._skipped, f"do not exist in {zone}, as its clock went forward: taken as before"),
            (self._repeated, f"come twice in {zone}, as its clock went back: taken in their order"),
        ):
            if noted:
                row, stamp = noted[0]
                count = f"{len(noted)} stamps {what}"
                self._all.say(f"{self._path}: {count} (first row {row}, {stamp})")
        if self.absent:
            self._all.say(f"{self._path}: {self.absent} empty cells are gaps")

    def _of(self, point: int) -> _Told:
        return self._told.setdefault(point, _Told(first=1, last=0))

    def _stretch_to(self, point: int, at: Int64s) -> None:
        known = self._of(point)
        first, last = int(at.min()), int(at.max())
        is_new = known.first > known.last
        known.first = first if is_new else min(known.first, first)
        known.last = last if is_new else max(known.last, last)

    def _tell_repetitions(self, point: int, known: _Told) -> None:
        at, rows = np.concatenate(known.at), np.concatenate(known.rows)
        order = np.argsort(at, kind="stable")
        again = np.flatnonzero(np.diff(at[order]) == 0) + 1
        if len(again):
            stamps = [told_instant(t) for t in at[order][again].tolist()]
            expected = f"{self._all.name_of(point)} to speak once at an instant"
            self.wrong.rows(rows[order][again], "time", expected, stamps)
