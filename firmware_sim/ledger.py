"""The ledger: what every register said when, and what really happened, as a recording's files.

Memory is bounded: rows go to disk when a UTC day ends, or when there are enough of them.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from firmware_sim.core.events import Event
from firmware_sim.core.truths import Label, operation_row, truth_row
from telemetry.errors import ConfigError
from telemetry.instant import DAY_MS, Instant
from telemetry.register_map import Form, Register
from telemetry.sample import Quality, Reason
from telemetry.units import to_house

ROWS_MAX = 100_000
"""So many samples wait in memory at most, a few MB; writing them holds live wires up for 0.05 s."""

_NO_MARKS: Mapping[int, Reason] = {}
_NO_DELAYS: Mapping[int, Instant] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A point of the ledger; `register` is None for what is derived from another register."""

    point: str
    register: Register | None


class Ledger:
    """One recording in the making. A witness of the field."""

    def __init__(
        self,
        folder: Path,
        columns: Sequence[Column],
        *,
        label_of: Callable[[Event], Label],
        with_reasons: bool,
        with_arrivals: bool,
        instant_of: Callable[[Instant], Instant] = lambda at: at,
    ) -> None:
        """Make the folder anew. Raises `ConfigError` when it cannot be written."""
        self._folder = folder
        self._columns = tuple(columns)
        self._label_of = label_of
        self._with_reasons = with_reasons
        self._with_arrivals = with_arrivals
        self._instant_of = instant_of
        self._at: list[Instant] = []
        self._values: list[Sequence[float]] = []
        self._marks: list[tuple[int, int, Reason]] = []
        self._delays: list[tuple[int, int, Instant]] = []
        self._flows: list[tuple[Instant, str, float]] = []
        self._flow_writer: Any = None
        self._last: Instant | None = None
        self._labels: dict[str, tuple[Label, Instant | None]] = {}
        self._rows_max = max(1, ROWS_MAX // max(1, len(self._columns)))
        self._days: set[str] = set()
        try:
            shutil.rmtree(folder / "samples", ignore_errors=True)
            (folder / "samples").mkdir(parents=True)
            for name in ("recording.toml", "truth_flow.parquet", "operations.jsonl"):
                (folder / name).unlink(missing_ok=True)
            self._write_labels()
        except OSError as e:
            raise ConfigError(f"{folder}: cannot be written into: {e.strerror}") from e

    def add(
        self,
        at: Instant,
        values: Sequence[float],
        *,
        marks: Mapping[int, Reason] = _NO_MARKS,
        delays: Mapping[int, Instant] = _NO_DELAYS,
    ) -> None:
        """Take in what every column says at `at`.

        `marks` tells of columns that gave no value, `delays` of those that arrive later.
        """
        if self._at and (len(self._at) >= self._rows_max or at // DAY_MS != self._at[-1] // DAY_MS):
            self.flush()
        row = len(self._at)
        self._last = at
        self._at.append(at)
        self._values.append(values)
        for n, reason in marks.items():
            self._marks.append((row, n, reason))
        for n, arrived in delays.items():
            self._delays.append((row, n, arrived))

    def flow(self, at: Instant, leaks: Sequence[tuple[str, float]]) -> None:
        """Take in what each leak lets out at `at`."""
        self._flows += [(at, name, m3h) for name, m3h in leaks]

    def began(self, event: Event, at: Instant) -> None:
        """Write down that an event has begun."""
        end = at if event.kind.sheet.at_once else None
        self._labels[event.id] = (self._label_of(event), end)
        self._write_labels()

    def ended(self, event: Event, at: Instant) -> None:
        """Write down that an event has ended."""
        self._labels[event.id] = (self._labels[event.id][0], at)
        self._write_labels()

    def flush(self) -> None:
        """Write what waits in memory to a file of its own."""
        if self._flows:
            self._write_flows()
        if not self._at:
            return
        # Here and not above: pyarrow takes tens of megabytes that others save.
        import pyarrow as pa  # noqa: PLC0415  see above
        import pyarrow.parquet as pq  # noqa: PLC0415  see above

        pq.write_table(
            self._table(), self._folder / "samples" / self._file_name(), compression="zstd"
        )
        self._at, self._values, self._marks, self._delays = [], [], [], []
        pa.default_memory_pool().release_unused()

    def close(self, description: str | None) -> None:
        """Write the rest. With a description the folder becomes a whole recording.

        What has not ended is said to have lasted to the last row.
        """
        last = self._last
        self.flush()
        if last is not None:
            self._write_labels(until=_text(last))
        if self._flow_writer is not None:
            self._flow_writer.close()
        if description is not None:
            # Last, so that a folder with a recording.toml is a whole recording.
            (self._folder / "recording.toml").write_text(description, encoding="utf-8")

    def _file_name(self) -> str:
        began = datetime.fromtimestamp(self._at[0] / 1000, UTC)
        day = began.strftime("%Y-%m-%d")
        if day not in self._days:
            self._days.add(day)
            return f"{day}.parquet"
        return f"{began:%Y-%m-%dT%H%M%S}.parquet"

    def _table(self) -> Any:
        import numpy as np  # noqa: PLC0415  as large as pyarrow
        import pyarrow as pa  # noqa: PLC0415  the same

        instants, columns = len(self._at), len(self._columns)
        values = np.array(self._values, dtype=np.float64)
        for n, column in enumerate(self._columns):
            if column.register is not None and column.register.form is Form.FLOAT32:
                values[:, n] = _as_float32(values[:, n], column.register)
        is_bad = np.zeros(values.shape, dtype=bool)
        for row, n, _ in self._marks:
            is_bad[row, n] = True
        at = np.repeat(np.array(self._at, dtype=np.int64), columns)
        names = pa.array([c.point for c in self._columns], type=pa.string())
        places = pa.array(np.tile(np.arange(columns, dtype=np.int32), instants), type=pa.int32())
        quality = np.where(is_bad, int(Quality.BAD), int(Quality.GOOD)).astype(np.uint8)
        stamp = pa.timestamp("ms", tz="UTC")
        found = {
            "at": pa.array(at, type=pa.int64()).cast(stamp),
            "point": pa.DictionaryArray.from_arrays(places, names),
            "value": pa.array(values.ravel(), mask=is_bad.ravel()),
            "quality": pa.array(quality.ravel()),
        }
        if self._with_reasons:
            reasons = np.full(values.shape, "", dtype=object)
            for row, n, reason in self._marks:
                reasons[row, n] = reason.value
            texts = pa.array(reasons.ravel().tolist(), type=pa.string())
            found["reason"] = texts.dictionary_encode()
        if self._with_arrivals:
            arrived = at.reshape(values.shape).copy()
            for row, n, later in self._delays:
                arrived[row, n] = later
            found["arrived_at"] = pa.array(arrived.ravel(), type=pa.int64()).cast(stamp)
        return pa.table(found)

    def _write_flows(self) -> None:
        import pyarrow as pa  # noqa: PLC0415  tens of megabytes that others save
        import pyarrow.parquet as pq  # noqa: PLC0415  the same

        name = pa.dictionary(pa.int32(), pa.string())
        schema = pa.schema({"at": pa.timestamp("ms", tz="UTC"), "id": name, "m3h": pa.float64()})
        if self._flow_writer is None:
            path = self._folder / "truth_flow.parquet"
            self._flow_writer = pq.ParquetWriter(path, schema, compression="zstd")
        at, ids, m3h = zip(*self._flows, strict=True)
        columns = [
            pa.array(at, type=pa.int64()).cast(pa.timestamp("ms", tz="UTC")),
            pa.array(ids, type=pa.string()).dictionary_encode(),
            pa.array(m3h, type=pa.float64()),
        ]
        self._flow_writer.write_table(pa.table(columns, schema=schema))
        self._flows = []

    def _told(self, at: Instant) -> str:
        """Write an instant of the town as one of the ledger's clock."""
        return _text(self._instant_of(at))

    def _write_labels(self, until: str | None = None) -> None:
        labels = self._labels.values()
        for name, row_of in (("truth.jsonl", truth_row), ("operations.jsonl", operation_row)):
            rows = [row_of(label, end=end, told=self._told) for label, end in labels]
            told = [row | {"to": row["to"] or until} for row in rows if row]
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in told]
            if lines or name == "truth.jsonl":
                (self._folder / name).write_text("".join(lines), encoding="utf-8")


def _text(at: Instant) -> str:
    return datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _as_float32(values: Any, register: Register) -> Any:
    """Return a column as its register's 32 bits spell it, as `encode.words` would, all at once."""
    import numpy as np  # noqa: PLC0415  tens of megabytes that others save

    unit = to_house(1.0, register.unit)
    shown = values / unit
    if register.resolution:
        shown = np.rint(shown / register.resolution) * register.resolution
    raw = ((shown - register.offset) / register.scale).astype(np.float32).astype(np.float64)
    return (raw * register.scale + register.offset) * unit
