"""One Parquet file of a recording's samples: its columns, its row groups, its rows as a stretch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from server.history.stretch import NO_GATEWAY, REASONS, TIME_QUALITIES, Float64s, Int32s, Stretch
from telemetry.errors import ConfigError
from telemetry.instant import Instant
from telemetry.sample import Quality, Reason

REQUIRED = ("at", "point", "value", "quality")
OPTIONAL = ("reason", "arrived_at", "time_quality", "gateway", "epoch", "offset")

TOLD_MAX = 10
"""So many wrong rows of a row group are told one by one; the others are counted."""

_INSTANTS = ("at", "arrived_at")
_TEXTS = ("point", "reason", "time_quality", "gateway")
_WHOLE = ("quality", "epoch", "offset")
_MS = pa.timestamp("ms", "UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A row group: its place in the file, and the instants between which it lies."""

    number: int
    first_row: int
    rows: int
    earliest: Instant
    latest: Instant
    earliest_arrival: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """What the texts in a file may be: the recording's points and what makes them house units."""

    points: tuple[str, ...]
    factors: Float64s


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFile:
    """A file with the columns of a recording; `groups` are those that hold rows, in order."""

    path: Path
    columns: tuple[str, ...]
    metadata: Any
    groups: tuple[Group, ...]

    def read(self, group: Group, words: Vocabulary) -> tuple[Stretch, list[str]]:
        """Return the rows of a group in house units, and every mistake in them.

        Where there are mistakes, the rows mean nothing. Raises `ConfigError` when the file cannot
        be read at all.
        """
        try:
            with pq.ParquetFile(self.path, metadata=self.metadata) as file:
                table = file.read_row_group(group.number, columns=list(self.columns))
            return _Rows(self.path, table, first_row=group.first_row).stretch(words)
        except (OSError, pa.ArrowException) as e:
            raise ConfigError(f"{self.path}: cannot be read as Parquet: {e}") from e


def open_file(path: Path) -> SampleFile:
    """Return a file of samples. Raises `ConfigError` with everything wrong with its columns."""
    try:
        with pq.ParquetFile(path) as file:
            schema, metadata = file.schema_arrow, file.metadata
            if wrong := _wrong_columns(schema):
                raise ConfigError("; ".join(f"{path}: {line}" for line in wrong))
            groups, first = [], 1
            for n in range(metadata.num_row_groups):
                rows = metadata.row_group(n).num_rows
                if rows:
                    groups.append(_group(file, n, first_row=first))
                first += rows
    except (OSError, pa.ArrowException) as e:
        raise ConfigError(f"{path}: cannot be read as Parquet: {e}") from e
    names = tuple(n for n in (*REQUIRED, *OPTIONAL) if n in schema.names)
    return SampleFile(path=path, columns=names, metadata=metadata, groups=tuple(groups))


def _wrong_columns(schema: Any) -> list[str]:
    known = (*REQUIRED, *OPTIONAL)
    names = list(schema.names)
    listed = ", ".join(known)
    wrong = [f"column {n}: required column is missing" for n in REQUIRED if n not in names]
    wrong += [f"column {n}: expected one of {listed}" for n in names if n not in known]
    wrong += [f"column {n}: is there twice" for n in sorted(set(names)) if names.count(n) > 1]
    for name, kind in zip(names, schema.types, strict=True):
        held = kind.value_type if pa.types.is_dictionary(kind) else kind
        if name in _INSTANTS and not pa.types.is_timestamp(kind):
            wrong.append(f"column {name}: expected timestamp[ms, UTC], was {kind}")
        elif name in _TEXTS and not (pa.types.is_string(held) or pa.types.is_large_string(held)):
            wrong.append(f"column {name}: expected dictionary<string>, was {kind}")
        elif name == "value" and not pa.types.is_floating(kind):
            wrong.append(f"column value: expected float64, was {kind}")
        elif name in _WHOLE and not pa.types.is_integer(kind):
            expected = "uint8" if name == "quality" else "int64"
            wrong.append(f"column {name}: expected {expected}, was {kind}")
    return wrong


def _group(file: Any, number: int, *, first_row: int) -> Group:
    """Return a row group with its range, from the file's own statistics or else from its rows."""
    held = file.metadata.row_group(number)
    names = list(file.schema_arrow.names)
    earliest, latest = _range(file, number, "at")
    arrival = earliest
    if "arrived_at" in names:
        arrival = min(earliest, _range(file, number, "arrived_at")[0])
    return Group(
        number=number,
        first_row=first_row,
        rows=held.num_rows,
        earliest=earliest,
        latest=latest,
        earliest_arrival=arrival,
    )


def _range(file: Any, number: int, name: str) -> tuple[Instant, Instant]:
    held = file.metadata.row_group(number)
    column = held.column(file.schema_arrow.names.index(name))
    stats = column.statistics
    if stats is not None and stats.has_min_max and stats.null_count == 0:
        bounds = pa.array([stats.min, stats.max]).cast(_MS, safe=False)
    else:
        column = file.read_row_group(number, columns=[name])[name].cast(_MS, safe=False)
        found = pc.min_max(column)
        bounds = pa.array([found["min"].as_py(), found["max"].as_py()], _MS)
    low, high = bounds.cast(pa.int64()).fill_null(0).to_pylist()
    return Instant(low), Instant(high)


class _Rows:
    """The rows of one group on their way to a stretch, with what is wrong with them."""

    def __init__(self, path: Path, table: Any, *, first_row: int) -> None:
        self._path = path
        self._table = table
        self._first_row = first_row
        self._wrong: list[str] = []

    def stretch(self, words: Vocabulary) -> tuple[Stretch, list[str]]:
        at = self._instants("at")
        arrived = at
        if "arrived_at" in self._names:
            told = self._array("arrived_at").is_valid().to_numpy(zero_copy_only=False)
            arrived = np.where(told, self._instants("arrived_at", is_needed=False), at)
        known = {name: n for n, name in enumerate(words.points)}
        point, _ = self._texts("point", known, "a point of recording.toml")
        quality = self._whole("quality", absent=0, what="192, 64 or 0")
        is_level = np.isin(quality, [int(q) for q in Quality])
        self._tell(~is_level, "quality", "192, 64 or 0", quality)
        value = self._values(quality)
        value *= words.factors[point] if (words.factors != 1.0).any() else 1.0
        reasons = {r.value: n for n, r in enumerate(REASONS)}
        reason = self._optional_texts("reason", reasons, absent=REASONS.index(Reason.NONE))
        times = {t.value: n for n, t in enumerate(TIME_QUALITIES)}
        time_quality = self._optional_texts("time_quality", times, absent=0)
        gateway: Int32s | None = None
        gateways: tuple[str, ...] = ()
        if "gateway" in self._names:
            gateway, gateways = self._texts("gateway", None, "", absent=NO_GATEWAY)
        found = Stretch(
            at=at,
            point=point,
            value=value,
            quality=quality.astype(np.uint8),
            arrived_at=arrived,
            reason=reason,
            time_quality=time_quality,
            gateway=gateway,
            epoch=self._optional_whole("epoch"),
            offset=self._optional_whole("offset"),
            gateways=gateways,
        )
        return found, self._wrong

    @property
    def _names(self) -> Sequence[str]:
        names: list[str] = self._table.column_names
        return names

    def _array(self, name: str) -> Any:
        return self._table[name].combine_chunks()

    def _instants(self, name: str, *, is_needed: bool = True) -> npt.NDArray[np.int64]:
        column = self._array(name)
        if is_needed:
            self._tell_nulls(column, name, "an instant")
        whole = column.cast(_MS, safe=False).cast(pa.int64()).fill_null(0)
        found: npt.NDArray[np.int64] = whole.to_numpy(zero_copy_only=False)
        return found

    def _values(self, quality: npt.NDArray[np.int64]) -> Float64s:
        column = self._array("value").cast(pa.float64())
        value: Float64s = column.fill_null(np.nan).to_numpy(zero_copy_only=False).copy()
        is_bad = quality == int(Quality.BAD)
        self._tell(~is_bad & ~np.isfinite(value), "value", "a number, as its quality is not 0")
        value[is_bad] = np.nan
        return value

    def _whole(self, name: str, *, absent: int, what: str = "") -> npt.NDArray[np.int64]:
        column = self._array(name)
        if what:
            self._tell_nulls(column, name, what)
        filled = column.cast(pa.int64()).fill_null(absent)
        found: npt.NDArray[np.int64] = filled.to_numpy(zero_copy_only=False)
        return found

    def _optional_whole(self, name: str) -> npt.NDArray[np.int64] | None:
        return self._whole(name, absent=NO_GATEWAY) if name in self._names else None

    def _texts(
        self, name: str, known: Mapping[str, int] | None, what: str, *, absent: int | None = None
    ) -> tuple[Int32s, tuple[str, ...]]:
        """Return a column of texts as numbers; without `known`, numbers of the texts returned."""
        column = self._array(name)
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        if absent is None:
            self._tell_nulls(column, name, what)
        texts: list[str] = column.dictionary.to_pylist()
        lost = -2
        places = [n if known is None else known.get(t, lost) for n, t in enumerate(texts)]
        codes = column.indices.cast(pa.int32()).fill_null(len(texts))
        numbers = np.array([*places, 0 if absent is None else absent], dtype=np.int32)
        found: Int32s = numbers[codes.to_numpy(zero_copy_only=False)]
        if lost in places:
            is_lost = found == lost
            self._tell(is_lost, name, what, np.array([*texts, ""])[codes])
            found[is_lost] = 0
        return found, tuple(texts)

    def _optional_texts(
        self, name: str, known: Mapping[str, int], *, absent: int
    ) -> npt.NDArray[np.uint8] | None:
        if name not in self._names:
            return None
        what = f"one of {', '.join(k for k in known if k)}"
        found, _ = self._texts(name, known, what, absent=absent)
        return found.astype(np.uint8)

    def _tell_nulls(self, column: Any, name: str, what: str) -> None:
        if column.null_count:
            self._tell(column.is_null().to_numpy(zero_copy_only=False), name, what)

    def _tell(
        self, wrong: npt.NDArray[np.bool_], name: str, what: str, found: Any | None = None
    ) -> None:
        if not wrong.any():
            return
        rows = np.flatnonzero(wrong)
        for row in rows[:TOLD_MAX].tolist():
            was = "nothing" if found is None else repr(found[row].item())
            if found is None and name == "value":
                was = str(self._table[name][row].as_py())
            self._wrong.append(
                f"{self._path}: row {self._first_row + row}: {name}: expected {what}, was {was}"
            )
        if len(rows) > TOLD_MAX:
            more = len(rows) - TOLD_MAX
            self._wrong.append(f"{self._path}: {name}: {more} more rows are wrong in this way")
