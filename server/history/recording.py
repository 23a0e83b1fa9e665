"""Reads a recording (docs/recordings.md): what it is, and its samples in the order of arrival.

Memory is bounded by a row group and by what is still on its way: rows that arrived late wait until
no later row can have arrived before them.
"""

import math
import tomllib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from server.engine.registry import Registry
from server.history import labels, recording_toml
from server.history.labels import Mark
from server.history.recording_toml import Description, told_instant
from server.history.sample_file import REQUIRED, Group, SampleFile, Vocabulary, open_file
from server.history.stretch import Stretch, joined
from telemetry.errors import ConfigError
from telemetry.instant import Instant
from telemetry.sample import Quality

Row = tuple[str, int, float | None, int]
"""Point, instant, value in the house unit or None, quality."""

WAITING_MAX = 50_000_000
"""So many samples may be on their way at once, 1.5 GB; a recording with more of them is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A recording whose head and files have been found in order; its rows are read on demand."""

    folder: Path
    description: Description
    files: tuple[SampleFile, ...]

    @property
    def name(self) -> str:
        """Return what it is called."""
        return self.description.recording.name

    @property
    def timezone(self) -> str:
        """Return its IANA time zone."""
        return self.description.recording.timezone

    @property
    def calendar(self) -> str:
        """Return its working calendar."""
        return self.description.recording.calendar

    @property
    def cadence_ms(self) -> int:
        """Return how often its points speak, unless they say otherwise."""
        return round(self.description.recording.cadence_s * 1000)

    @property
    def begin(self) -> Instant:
        """Return the instant that it says to begin at."""
        return Instant(self.description.recording.begin)

    @property
    def end(self) -> Instant:
        """Return the instant that it says to end at; there may be samples at this instant."""
        return Instant(self.description.recording.end)

    @property
    def points(self) -> tuple[str, ...]:
        """Return the ids that the point numbers of a stretch stand for."""
        return tuple(p.id for p in self.description.point)

    @property
    def network(self) -> Path | None:
        """Return its EPANET model."""
        name = self.description.recording.network
        return None if name is None else self.folder / name

    @property
    def rows(self) -> int:
        """Return how many samples it holds."""
        return sum(g.rows for f in self.files for g in f.groups)

    def registry(self) -> Registry:
        """Return its zones and points as the engine knows them."""
        return self.description.registry()

    def stretches(
        self,
        start: Instant | None = None,
        end: Instant | None = None,
        points: Collection[str] | None = None,
        *,
        with_marks: bool = True,
    ) -> Iterator[Stretch]:
        """Yield the samples read in [start, end) of some points, by arrival, then by file order.

        With marks, the quality is that of the last judgement on a sample. Raises `ConfigError`
        naming file and rows that are not as they should be.
        """
        words = vocabulary(self.description)
        marks = labels.marks(self.folder) if with_marks else ()
        wanted = None if points is None else np.array([p in points for p in words.points])
        groups = [
            (file, group)
            for file in self.files
            for group in file.groups
            if (start is None or group.latest >= start) and (end is None or group.earliest < end)
        ]
        frontier = _frontier([group for _, group in groups])
        waiting: list[Stretch] = []
        for (file, group), until in zip(groups, frontier, strict=True):
            found, wrong = file.read(group, words)
            if wrong:
                raise ConfigError("; ".join(wrong))
            found = _marked(_within(found, start, end, wanted), marks, words.points)
            ready, waiting = _sift([*waiting, found], until)
            if len(ready):
                yield ready
            if sum(map(len, waiting)) > WAITING_MAX:
                raise ConfigError(
                    f"{file.path}: expected at most {WAITING_MAX} samples to be on their way at"
                    f" once; split the recording"
                )


def open_recording(folder: Path) -> Recording:
    """Return a recording. Raises `ConfigError` with every mistake in its head and its files."""
    description, files, wrong = look_at(folder)
    if wrong or description is None:
        raise ConfigError("; ".join(wrong))
    return Recording(folder=folder, description=description, files=tuple(files))


def look_at(folder: Path) -> tuple[Description | None, list[SampleFile], list[str]]:
    """Return the head of a recording, those files that are right, and everything that is wrong."""
    wrong: list[str] = []
    files = []
    description = None
    try:
        description = recording_toml.read(folder)
    except ConfigError as e:
        wrong.append(str(e))
    for path in sample_paths(folder):
        try:
            files.append(open_file(path))
        except ConfigError as e:
            wrong.append(str(e))
    if not files and not wrong:
        wrong.append(f"{folder / 'samples'}: expected Parquet files of samples, found none")
    return description, files, [*wrong, *_overlaps(files)]


def vocabulary(found: Description) -> Vocabulary:
    """Return what the files of a recording may speak of."""
    factors = np.array([p.house_factor for p in found.point], dtype=np.float64)
    return Vocabulary(points=tuple(p.id for p in found.point), factors=factors)


def sample_paths(folder: Path) -> list[Path]:
    """Return a recording's files of samples, in the order of their names."""
    return sorted((folder / "samples").glob("*.parquet"))


def name_of(folder: Path) -> str:
    """Return the name of a recording. Raises `ConfigError` when the folder is none."""
    path = folder / recording_toml.NAME
    try:
        return str(tomllib.loads(path.read_text(encoding="utf-8"))["recording"]["name"])
    except FileNotFoundError:
        raise ConfigError(f"{path}: expected the head of a recording, found none") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise ConfigError(f"{path}: cannot be read: {e}") from e
    except (KeyError, TypeError):
        raise ConfigError(f"{path}: expected the key recording.name, found none") from None


def days(folder: Path) -> Iterator[tuple[Row, ...]]:
    """Yield the samples of each file of a recording as rows, in the order of their names.

    What is no usable number has no value here: baselines pass over it. Raises `ConfigError` naming
    the file that is not as it should be.
    """
    factors = {}
    if (folder / recording_toml.NAME).exists():
        factors = {p.id: p.house_factor for p in recording_toml.read(folder).point}
    for path in sample_paths(folder):
        try:
            table = pq.read_table(path, columns=list(REQUIRED))
            instants = table["at"].cast(pa.timestamp("ms", "UTC"), safe=False)
            at: list[Any] = instants.cast(pa.int64()).to_pylist()
            points: list[Any] = table["point"].cast(pa.string()).to_pylist()
            values: list[Any] = table["value"].cast(pa.float64()).to_pylist()
            quality: list[Any] = table["quality"].cast(pa.uint8()).to_pylist()
        except (OSError, KeyError, pa.ArrowException) as e:
            raise ConfigError(f"{path}: expected Parquet with {', '.join(REQUIRED)}: {e}") from e
        if None in at or None in points or None in quality:
            raise ConfigError(f"{path}: expected an instant, a point and a quality in every row")
        usable = [
            None
            if q == Quality.BAD or v is None or not math.isfinite(v)
            else v * factors.get(p, 1.0)
            for p, v, q in zip(points, values, quality, strict=True)
        ]
        yield tuple(zip(points, at, usable, quality, strict=True))


def _overlaps(files: Sequence[SampleFile]) -> list[str]:
    """Return which files hold instants that lie before the end of an earlier one."""
    wrong = []
    before: tuple[SampleFile, Instant] | None = None
    for file in files:
        if not file.groups:
            continue
        first = min(g.earliest for g in file.groups)
        last = max(g.latest for g in file.groups)
        if before is not None and first < before[1]:
            wrong.append(
                f"{file.path}: overlaps {before[0].path.name}: expected no sample before"
                f" {told_instant(before[1])}, was {told_instant(first)}"
            )
        if before is None or last > before[1]:
            before = (file, last)
    return wrong


def _frontier(groups: Sequence[Group]) -> list[int]:
    """Return, for each group, the earliest arrival in those behind it."""
    found: list[int] = []
    earliest = np.iinfo(np.int64).max
    for group in reversed(groups):
        found.append(int(earliest))
        earliest = min(earliest, group.earliest_arrival)
    return found[::-1]


def _within(
    found: Stretch, start: Instant | None, end: Instant | None, wanted: Any | None
) -> Stretch:
    keep = np.ones(len(found), dtype=np.bool_)
    if start is not None:
        keep &= found.at >= start
    if end is not None:
        keep &= found.at < end
    if wanted is not None:
        keep &= wanted[found.point]
    return found if keep.all() else found.take(keep)


def _marked(found: Stretch, marks: Sequence[Mark], points: Sequence[str]) -> Stretch:
    """Return samples with the quality that later judgements give them; none makes a value."""
    if not marks or not len(found):
        return found
    quality = found.quality.copy()
    for mark in marks:
        if mark.point not in points:
            continue
        rows = (found.point == points.index(mark.point)) & (found.at >= mark.begin)
        if mark.end is not None:
            rows &= found.at < mark.end
        quality[rows] = found.quality[rows] if mark.quality is None else mark.quality
    quality[np.isnan(found.value)] = Quality.BAD
    value = np.where(quality == Quality.BAD, np.nan, found.value)
    return replace(found, quality=quality, value=value)


def _sift(parts: list[Stretch], until: int) -> tuple[Stretch, list[Stretch]]:
    """Return what had arrived by an instant in the order of arrival, and what has not yet."""
    late = [p.take(p.arrived_at > until) for p in parts]
    if any(map(len, late)):
        parts = [p.take(p.arrived_at <= until) for p in parts]
    ready = joined(parts)
    if (np.diff(ready.arrived_at) < 0).any():
        ready = ready.take(np.argsort(ready.arrived_at, kind="stable"))
    return ready, [p for p in late if len(p)]
