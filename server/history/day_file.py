"""A sealed day: one Parquet file that anybody can read, and where each point lies in it.

Samples lie point by point in stripes of at most `STRIPE_ROWS`, so that a day of any size is written
and read with bounded memory. A file never changes: a later one takes its place.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from server.history.columns import STRIPE_ROWS, Columns, among
from server.history.packing import Array, expand, squeeze
from server.history.words import Words
from telemetry.errors import StorageError

GROUP_ROWS = 32_768
GROUPS_MAX = 512
"""Row groups of one day at most, about: each is described at the start of every reading."""

_INSTANT = pa.timestamp("ms", "UTC")
_WORD = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        pa.field("at", _INSTANT, nullable=False),
        pa.field("point", _WORD, nullable=False),
        pa.field("value", pa.float64()),
        pa.field("quality", pa.uint8(), nullable=False),
        pa.field("reason", _WORD, nullable=False),
        pa.field("time_quality", _WORD, nullable=False),
        pa.field("arrived_at", _INSTANT, nullable=False),
        pa.field("gateway", _WORD, nullable=False),
        pa.field("epoch", _WORD, nullable=False),
        pa.field("offset", pa.uint64(), nullable=False),
    ]
)
_JUDGED = ["at", "value", "quality"]
_SOURCE = ["gateway", "epoch"]
_HEAD = struct.Struct("<II")
_GROUP = ("<i8", "<i8", "<i8")
_RUN = ("<i4", "<i8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where things lie: rows and first and last instant of each row group; where each run begins.

    A run is the stretch of rows of one point within one stripe.
    """

    group_rows: Array
    group_lo: Array
    group_hi: Array
    run_point: Array
    run_first: Array

    def to_bytes(self) -> bytes:
        """Return the form in which the historian's file keeps it."""
        groups = squeeze([self.group_rows, self.group_lo, self.group_hi])
        runs = squeeze([self.run_point, self.run_first])
        return _HEAD.pack(len(self.group_rows), len(self.run_point)) + struct.pack(
            f"<I{len(groups)}s{len(runs)}s", len(groups), groups, runs
        )

    @classmethod
    def from_bytes(cls, body: bytes) -> "Layout":
        """Return what `to_bytes` wrote. Raises `ValueError` when it is damaged."""
        groups, runs = _HEAD.unpack_from(body)
        (size,) = struct.unpack_from("<I", body, _HEAD.size)
        begin = _HEAD.size + 4
        rows, lo, hi = expand(body[begin : begin + size], _GROUP, groups)
        point, first = expand(body[begin + size :], _RUN, runs)
        return cls(group_rows=rows, group_lo=lo, group_hi=hi, run_point=point, run_first=first)

    def groups(self, points: Array | None, start: int, end: int) -> list[int]:
        """Return the row groups that may hold a sample of these points in [start, end)."""
        wanted = (self.group_hi >= start) & (self.group_lo < end)
        if points is not None:
            edges = np.append(0, np.cumsum(self.group_rows))
            ends = np.append(self.run_first[1:], edges[-1])
            mine = among(self.run_point, points)
            held = np.zeros(len(self.group_rows) + 1, "<i4")
            np.add.at(held, np.searchsorted(edges, self.run_first[mine], side="right") - 1, 1)
            np.add.at(held, np.searchsorted(edges, ends[mine], side="left"), -1)
            wanted &= np.cumsum(held)[:-1] > 0
        found: list[int] = np.flatnonzero(wanted).tolist()
        return found

    def points(self, groups: Sequence[int]) -> Array:
        """Return the point of every row of these groups."""
        edges = np.append(0, np.cumsum(self.group_rows))
        ends = np.append(self.run_first[1:], edges[-1])
        found = []
        for lo, hi in ((edges[g], edges[g + 1]) for g in groups):
            first = int(np.searchsorted(self.run_first, lo, side="right")) - 1
            last = int(np.searchsorted(self.run_first, hi, side="left"))
            begins = np.maximum(self.run_first[first:last], lo)
            lengths = np.minimum(ends[first:last], hi) - begins
            found.append(np.repeat(self.run_point[first:last], lengths))
        return np.concatenate(found)


class DayFile:
    """A sealed day's file, opened for reading. Errors name it."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self._path = path
        self._layout = layout
        try:
            self._file = pq.ParquetFile(path)
            rows = self._file.metadata.num_rows
        except FileNotFoundError as e:
            raise FileNotFoundError(e.errno, "replaced or lost", str(path)) from e
        except (OSError, pa.ArrowException) as e:
            raise StorageError(f"{path}: cannot be read as a sealed day: {e}") from e
        if rows != int(layout.group_rows.sum()):
            self._file.close()
            raise StorageError(
                f"{path}: expected {int(layout.group_rows.sum())} samples, found {rows}"
            )

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(
        self, words: Words, *, points: Array | None, start: int, end: int, whole: bool
    ) -> Columns:
        """Return the samples of these points in [start, end).

        Unless `whole`, only instant, point, value and quality are filled in.
        """
        groups = self._layout.groups(points, start, end)
        if not groups:
            return Columns.none()
        found = self._columns(words, groups, whole=whole)
        which = (found.at >= start) & (found.at < end)
        if points is not None:
            which &= among(found.point, points)
        if len(words.void):
            which &= ~among(found.source, words.void)
        return found if which.all() else found.take(which)

    def stripes(self, words: Words) -> Iterator[Columns]:
        """Yield the whole file, some row groups at a time, each point by point."""
        groups = len(self._layout.group_rows)
        step = max(1, STRIPE_ROWS // max(1, int(self._layout.group_rows.max(initial=1))))
        for first in range(0, groups, step):
            found = self._columns(words, list(range(first, min(groups, first + step))), whole=True)
            if len(words.void):
                found = found.take(~among(found.source, words.void))
            if len(found):
                yield found.by_point()

    def _columns(self, words: Words, groups: Sequence[int], *, whole: bool) -> Columns:
        wanted = [f.name for f in SCHEMA if f.name != "point"] if whole else list(_JUDGED)
        if len(words.void) and not whole:
            wanted += _SOURCE
        try:
            table = self._file.read_row_groups(
                list(groups), columns=wanted, use_threads=len(groups) > 4
            )
            found = {name: _numbers(table[name]) for name in (*_JUDGED,)}
            if whole:
                found |= {name: _numbers(table[name]) for name in ("arrived_at", "offset")}
                found["label"] = _pairs(table, ("reason", "time_quality"), words.labels, "<i2")
            if whole or len(words.void):
                found["source"] = _pairs(table, ("gateway", "epoch"), words.sources, "<i4")
        except (OSError, KeyError, pa.ArrowException) as e:
            raise StorageError(f"{self._path}: is damaged: {e}") from e
        rows = len(found["at"])
        for name, kind in (("arrived_at", "<i8"), ("offset", "<u8"), ("label", "<i2")):
            found.setdefault(name, np.zeros(rows, kind))
        found.setdefault("source", np.zeros(rows, "<i4"))
        return Columns(point=self._layout.points(groups), **found)


class DayWriter:
    """Writes a day's file beside its place; `finish` puts it there, durably and at once."""

    def __init__(self, path: Path, words: Words, *, rows: int) -> None:
        """Make a file for about so many rows."""
        self._path = path
        self._fresh = path.with_suffix(".new")
        self._words = words
        self._group_rows = max(GROUP_ROWS, rows // GROUPS_MAX)
        self._writer: pq.ParquetWriter | None = None
        self._groups: list[tuple[int, int, int]] = []
        self._runs: list[tuple[Array, Array]] = []
        self._rows = 0

    def add(self, stripe: Columns) -> None:
        """Write samples that lie point by point."""
        if not len(stripe):
            return
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._fresh, SCHEMA, **_encodings(stripe.value))
        first = np.flatnonzero(np.diff(stripe.point, prepend=-1))
        self._runs.append((stripe.point[first], first + self._rows))
        self._rows += len(stripe)
        for begin in range(0, len(stripe), self._group_rows):
            group = stripe.take(slice(begin, begin + self._group_rows))
            self._writer.write_table(_table(group, self._words), row_group_size=len(group))
            self._groups.append((len(group), int(group.at.min()), int(group.at.max())))

    def finish(self) -> Layout | None:
        """Close the file and put it in its place, durably; None, and no file, without a sample."""
        if self._writer is None:
            return None
        self._writer.close()
        with self._fresh.open("rb") as file:
            os.fsync(file.fileno())
        self._fresh.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        rows, lo, hi = (np.array(c, "<i8") for c in zip(*self._groups, strict=True))
        return Layout(
            group_rows=rows,
            group_lo=lo,
            group_hi=hi,
            run_point=np.concatenate([p for p, _ in self._runs]).astype("<i4"),
            run_first=np.concatenate([f for _, f in self._runs]).astype("<i8"),
        )

    def abandon(self) -> None:
        """Leave nothing behind."""
        if self._writer is not None and self._writer.is_open:
            self._writer.close()
        self._fresh.unlink(missing_ok=True)


def _encodings(values: Array) -> dict[str, Any]:
    """Return how each column is stored: values of few levels, as instruments give, by level."""
    words = ["point", "quality", "reason", "time_quality", "arrived_at", "gateway", "epoch"]
    steps = {"at": "DELTA_BINARY_PACKED", "offset": "DELTA_BINARY_PACKED"}
    some = values[:GROUP_ROWS]
    if len(np.unique(some)) * 8 <= max(64, len(some)):
        words.append("value")
    else:
        steps["value"] = "BYTE_STREAM_SPLIT"
    return {
        "compression": "zstd",
        "compression_level": 9,
        "use_dictionary": words,
        "column_encoding": steps,
    }


def _table(rows: Columns, words: Words) -> pa.Table:
    def worded(numbers: Array, names: dict[int, str]) -> "pa.DictionaryArray[Any, Any]":
        used, index = np.unique(numbers, return_inverse=True)
        texts, again = np.unique([names[n] for n in used.tolist()], return_inverse=True)
        return pa.DictionaryArray.from_arrays(
            pa.array(again[index].astype("<i4")), pa.array(texts.tolist(), pa.string())
        )

    sources = {n: pair for pair, n in words.sources.items()}
    labels = {n: pair for pair, n in words.labels.items()}
    return pa.Table.from_arrays(
        [
            pa.array(rows.at).cast(_INSTANT),
            worded(rows.point, words.points),
            pa.array(rows.value, from_pandas=True),
            pa.array(rows.quality),
            worded(rows.label, {n: reason for n, (reason, _) in labels.items()}),
            worded(rows.label, {n: quality for n, (_, quality) in labels.items()}),
            pa.array(rows.arrived_at).cast(_INSTANT),
            worded(rows.source, {n: gateway for n, (gateway, _) in sources.items()}),
            worded(rows.source, {n: epoch for n, (_, epoch) in sources.items()}),
            pa.array(rows.offset),
        ],
        schema=SCHEMA,
    )


def _numbers(column: "pa.ChunkedArray[Any]") -> Array:
    found: Array = column.to_numpy()
    return found.view("<i8") if found.dtype.kind == "M" else found


def _pairs(
    table: pa.Table, names: tuple[str, str], numbers: dict[tuple[str, str], int], kind: str
) -> Array:
    """Return the historian's number for each row's pair of words."""
    left, right = (_worded(table[name]) for name in names)
    width = len(right.dictionary)
    key = left.indices.to_numpy().astype("<i8") * width + right.indices.to_numpy()
    used, back = np.unique(key, return_inverse=True)
    lefts, rights = left.dictionary.to_pylist(), right.dictionary.to_pylist()
    return np.array([numbers[lefts[k // width], rights[k % width]] for k in used.tolist()], kind)[
        back
    ]


def _worded(column: "pa.ChunkedArray[Any]") -> Any:
    """Return one array of numbers and the words that they stand for."""
    return column.unify_dictionaries().combine_chunks()
