"""Samples as CSV, one a row, for spreadsheets and scripts; it appears whole or not at all.

Instants are ISO 8601 in UTC, values are in house units. A text that a spreadsheet would take for a
formula gets an apostrophe before it; `mainwatch import` takes it away again.
"""

import os
import re
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from server.history.recording_toml import Description
from server.history.stretch import NO_GATEWAY, REASONS, TIME_QUALITIES, Stretch, filled
from telemetry.errors import ConfigError, StorageError

COLUMNS = (
    *("at", "point", "zone", "quantity", "unit", "value", "quality"),
    *("reason", "arrived_at", "time_quality", "gateway", "epoch", "offset"),
)

_FORMULA = re.compile(r"^'*[=+\-@\t\r]")
_NUMBERS: dict[str, Any] = {
    "value": pa.float64(),
    "quality": pa.uint8(),
    "epoch": pa.int64(),
    "offset": pa.int64(),
}
_SCHEMA = pa.schema([(name, _NUMBERS.get(name, pa.string())) for name in COLUMNS])


def neutral(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula.

    >>> neutral("=1+1"), neutral("street/pressure")
    ("'=1+1", 'street/pressure')
    """
    return f"'{text}" if _FORMULA.match(text) else text


def original(text: str) -> str:
    """Return the text that `neutral` was given.

    >>> original("'=1+1")
    '=1+1'
    """
    return text[1:] if text.startswith("'") and _FORMULA.match(text[1:]) else text


class CsvWriter:
    """One CSV file in the making; as a context, what was not finished is taken away."""

    def __init__(self, path: Path, description: Description) -> None:
        """Begin beside `path`. Raises `ConfigError` when it is there or cannot be made."""
        self._path = path
        self.rows = 0
        if path.exists():
            raise ConfigError(f"{path}: expected a file that does not exist yet, found one")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            number, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        except OSError as e:
            raise ConfigError(f"{path}: cannot be written: {e.strerror}") from e
        self._work = Path(name)
        self._work.chmod(0o644)
        self._file = os.fdopen(number, "wb")
        header = ",".join(COLUMNS) + "\n"
        self._file.write(header.encode())
        options = csv.WriteOptions(include_header=False, quoting_style="needed")
        self._writer = csv.CSVWriter(self._file, _SCHEMA, write_options=options)
        self._points = {
            "point": _texts([p.id for p in description.point]),
            "zone": _texts([p.zone for p in description.point]),
            "quantity": _texts([p.quantity.value for p in description.point]),
            "unit": _texts([p.quantity.unit for p in description.point]),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._work.unlink(missing_ok=True)

    def add(self, found: Stretch) -> None:
        """Append samples. Raises `StorageError` when the disk refuses."""
        columns = {n: pa.array(words[found.point]) for n, words in self._points.items()}
        columns["at"] = pa.array(_stamps(found.at))
        columns["value"] = pa.array(found.value, mask=np.isnan(found.value))
        columns["quality"] = pa.array(found.quality)
        columns["reason"] = _coded(filled(found, "reason"), [r.value for r in REASONS])
        is_late = found.arrived_at != found.at
        columns["arrived_at"] = pa.array(_stamps(found.arrived_at), mask=~is_late)
        times = [t.value for t in TIME_QUALITIES]
        columns["time_quality"] = _coded(filled(found, "time_quality"), ["", *times[1:]])
        columns["gateway"] = _coded(filled(found, "gateway"), [*found.gateways, ""])
        for name in ("epoch", "offset"):
            numbers = filled(found, name)
            columns[name] = pa.array(numbers, mask=numbers == NO_GATEWAY)
        batch = pa.table([columns[n] for n in COLUMNS], schema=_SCHEMA)
        try:
            self._writer.write_table(batch)
        except OSError as e:
            raise StorageError(f"{self._path}: cannot be written: {e}") from e
        self.rows += len(found)

    def finish(self) -> None:
        """Give the file its name. Raises `StorageError` when the disk refuses."""
        try:
            self._writer.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._work.rename(self._path)
        except OSError as e:
            raise StorageError(f"{self._path}: cannot be written: {e.strerror}") from e


def _texts(texts: list[str]) -> npt.NDArray[Any]:
    return np.array([neutral(t) for t in texts], dtype=object)


def _stamps(instants: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Return instants as texts: whole seconds where all of them are."""
    moments: npt.NDArray[np.datetime64] = instants.astype("datetime64[ms]")
    is_whole = not (instants % 1000).any()
    told = np.datetime_as_string(moments, unit="s" if is_whole else "ms", timezone="UTC")
    found: npt.NDArray[Any] = told.astype(object)
    return found


def _coded(codes: npt.NDArray[Any], words: list[str]) -> Any:
    """Return texts by their numbers; the empty one is an empty cell."""
    texts = np.array([neutral(w) for w in words], dtype=object)[codes]
    return pa.array(texts, mask=texts == "")
