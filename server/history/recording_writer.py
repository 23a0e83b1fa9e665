"""Writes a recording: all of it appears under its name at once, or nothing does.

Samples may come in any order and are put into that of time, a day at a time, through files of
raw rows beside the recording in the making. Memory is bounded by a month of a small town or a day
of a large one.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from server.history import manifest, recording_toml
from server.history.manifest import Presence
from server.history.recording_toml import Description
from server.history.stretch import (
    COLUMNS,
    NO_GATEWAY,
    REASONS,
    TIME_QUALITIES,
    Int32s,
    Stretch,
    filled,
    joined,
)
from telemetry.errors import ConfigError, StorageError
from telemetry.instant import DAY_MS
from telemetry.sample import Quality

WAITING_MAX = 1_000_000
"""So many samples wait in memory, 50 MB, before they are sorted by day on the disk."""

MONTHLY_BELOW = 50_000
"""Fewer samples a day than this and a file holds a month; else a day."""

_KINDS = {
    "at": np.int64,
    "point": np.int32,
    "value": np.float64,
    "quality": np.uint8,
    "arrived_at": np.int64,
    "reason": np.uint8,
    "time_quality": np.uint8,
    "gateway": np.int32,
    "epoch": np.int64,
    "offset": np.int64,
}
_ROW = np.dtype([(name, _KINDS[name]) for name in COLUMNS])


class RecordingWriter:
    """One recording in the making; as a context, what was not finished is taken away."""

    def __init__(self, folder: Path, *, software: str) -> None:
        """Begin beside `folder`. Raises `ConfigError` when it is there or cannot be made."""
        self._folder = folder
        self._software = software
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"{folder}: expected a folder that does not exist yet, found one")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            self._work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
            (self._work / "whole" / "samples").mkdir(parents=True)
            (self._work / "days").mkdir()
        except OSError as e:
            raise ConfigError(f"{folder}: cannot be written: {e.strerror}") from e
        self._parts: list[Stretch] = []
        self._waiting = 0
        self._gateways: dict[str, int] = {}
        self._days: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self._work, ignore_errors=True)

    @property
    def rows(self) -> int:
        """Return how many samples have been taken in."""
        return sum(self._days.values()) + self._waiting

    def add(self, found: Stretch) -> None:
        """Take in samples, numbered by the points of the description that will be finished with.

        Raises `StorageError` when the disk refuses.
        """
        if not len(found):
            return
        self._parts.append(found)
        self._waiting += len(found)
        if self._waiting >= WAITING_MAX:
            self._spill()

    def has(self, name: str) -> bool:
        """Say whether a file has been added beside the samples."""
        return (self._work / "whole" / name).exists()

    def put(self, name: str, content: bytes) -> None:
        """Add a file beside the samples."""
        path = self._work / "whole" / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as e:
            raise StorageError(f"{self._folder / name}: cannot be written: {e.strerror}") from e

    def finish(self, description: Description, *, numbering: Sequence[str] | None = None) -> None:
        """Write everything and give the folder its name.

        `numbering` are the ids that the samples' point numbers stand for, where they are not those
        of the description. Raises `StorageError` or `ConfigError`.
        """
        if wrong := recording_toml.problems(description):
            where = self._folder / recording_toml.NAME
            raise ConfigError("; ".join(f"{where}: {line}" for line in wrong))
        whole = self._work / "whole"
        cadence_s = description.recording.cadence_s
        points = sorted(description.point, key=lambda p: p.id)
        ids = [p.id for p in points]
        presence = Presence(ids, [round((p.period_s or cadence_s) * 1000) for p in points])
        places = {name: n for n, name in enumerate(ids)}
        numbering = numbering or [p.id for p in description.point]
        numbers = np.array([places.get(name, -1) for name in numbering], dtype=np.int32)
        try:
            self._spill()
            rows = {}
            for name, found in self._sorted(numbers):
                presence.add(found)
                path = whole / "samples" / f"{name}.parquet"
                pq.write_table(_table(found, ids, self._gateways), path, compression="zstd")
                rows[f"samples/{name}.parquet"] = len(found)
            text = recording_toml.text_of(description)
            (whole / recording_toml.NAME).write_text(text, encoding="utf-8")
            manifest.write(whole, presence, rows=rows, software=self._software)
            _to_disk(whole)
            whole.rename(self._folder)
            _sync(self._folder.parent)
        except (OSError, pa.ArrowException) as e:
            raise StorageError(f"{self._folder}: cannot be written: {e}") from e

    def _spill(self) -> None:
        """Append what waits to the raw rows of its days."""
        if not self._parts:
            return
        found = joined(self._parts)
        self._parts, self._waiting = [], 0
        raw = np.empty(len(found), dtype=_ROW)
        for name in COLUMNS:
            raw[name] = filled(found, name)
        if found.gateways:
            places = [self._gateways.setdefault(g, len(self._gateways)) for g in found.gateways]
            raw["gateway"] = np.array([*places, NO_GATEWAY], dtype=np.int32)[raw["gateway"]]
        day = found.at // DAY_MS
        raw = raw[np.argsort(day, kind="stable")]
        numbers, firsts = np.unique(np.sort(day), return_index=True)
        try:
            for n, rows in zip(numbers.tolist(), np.split(raw, firsts[1:]), strict=True):
                with self._raw(n).open("ab") as file:
                    file.write(rows.tobytes())
                self._days[n] = self._days.get(n, 0) + len(rows)
        except OSError as e:
            raise StorageError(f"{self._folder}: cannot be written: {e.strerror}") from e

    def _raw(self, day: int) -> Path:
        return self._work / "days" / str(day)

    def _sorted(self, numbers: Int32s) -> Iterator[tuple[str, Stretch]]:
        """Yield each file's name and samples, by instant, then by point id, then as they came."""
        days = sorted(self._days)
        is_monthly = sum(self._days.values()) < MONTHLY_BELOW * len(days)
        form = "%Y-%m" if is_monthly else "%Y-%m-%d"
        for name, members in groupby(days, key=lambda d: _date(d).strftime(form)):
            raw = np.concatenate([np.fromfile(self._raw(d), dtype=_ROW) for d in members])
            raw["point"] = numbers[raw["point"]]
            raw = raw[np.lexsort((raw["point"], raw["at"]))]
            columns: dict[str, Any] = {n: np.ascontiguousarray(raw[n]) for n in COLUMNS}
            yield name, Stretch(**columns, gateways=tuple(self._gateways))


def _date(day: int) -> datetime:
    return datetime.fromtimestamp(day * DAY_MS / 1000, UTC)


def _table(found: Stretch, points: list[str], gateways: dict[str, int]) -> Any:
    """Return samples as a table; a column that says nothing is left out."""
    stamp = pa.timestamp("ms", "UTC")
    is_bad = found.quality == Quality.BAD
    columns: dict[str, Any] = {
        "at": pa.array(found.at).cast(stamp),
        "point": _named(found.point, points),
        "value": pa.array(found.value, mask=is_bad),
        "quality": pa.array(found.quality),
    }
    for name, words in (("reason", REASONS), ("time_quality", TIME_QUALITIES)):
        codes = getattr(found, name)
        if codes is not None and codes.any():
            texts = pa.array([w.value for w in words])
            codes = pa.array(codes.astype(np.int32))
            columns[name] = pa.DictionaryArray.from_arrays(codes, texts)
    if (found.arrived_at != found.at).any():
        columns["arrived_at"] = pa.array(found.arrived_at).cast(stamp)
    if found.gateway is not None and (found.gateway != NO_GATEWAY).any():
        columns["gateway"] = _named(found.gateway, list(gateways))
    for name in ("epoch", "offset"):
        numbers = getattr(found, name)
        if numbers is not None and (numbers != NO_GATEWAY).any():
            columns[name] = pa.array(numbers, mask=numbers == NO_GATEWAY)
    return pa.table(columns)


def _named(numbers: Int32s, words: list[str]) -> Any:
    """Return a dictionary column of the words that are in it, in their own order; -1 is null."""
    used = sorted({words[n] for n in np.unique(numbers).tolist() if n >= 0})
    places = {word: n for n, word in enumerate(used)}
    codes = np.array([*(places.get(w, -1) for w in words), -1], dtype=np.int32)[numbers]
    found: Any = pa.array(codes, mask=codes < 0)
    return pa.DictionaryArray.from_arrays(found, pa.array(used))


def _to_disk(folder: Path) -> None:
    for path in folder.rglob("*"):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
