"""A CSV file as batches of text columns, and its texts as instants and numbers, or what is wrong.

Every mistake is told by the row of the file, the header being row 1.
"""

import csv
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from server.history.stretch import Float64s, Int64s
from telemetry.errors import ConfigError

TOLD_MAX = 10
"""So many wrong rows of a column and a batch are told one by one; the others are counted."""

_BLOCK_BYTES = 8 << 20
_NOTHING = pa.array([""])
_EPOCHS = {"epoch_s": 1000, "epoch_ms": 1}
_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
_ZONED = r"(Z|[+-]\d\d:?\d\d)$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How a CSV file is written. `time_format` is `iso`, `epoch_s`, `epoch_ms` or as strptime's."""

    separator: str
    decimal: Literal[".", ","]
    encoding: str
    time_format: str
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Some rows of a file; `rows` are their numbers in it."""

    rows: Int64s
    table: Any

    def text(self, name: str) -> Any:
        """Return a column without blanks around its texts."""
        return pc.utf8_trim_whitespace(self.table[name])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stamps:
    """Milliseconds, of UTC or of a clock on a wall."""

    ms: Int64s
    is_utc: bool


class Mistakes:
    """What is wrong with one file: raised together at its end, or when there is too much of it."""

    MAX = 50

    def __init__(self, path: Path) -> None:
        self.path = path
        self._told: list[str] = []

    def tell(self, mistake: str) -> None:
        """Note a mistake. Raises `ConfigError` with all of them when there are too many."""
        self._told.append(f"{self.path}: {mistake}")
        if len(self._told) >= self.MAX:
            self.refuse()

    def rows(self, rows: Int64s, column: str, expected: str, found: Sequence[object]) -> None:
        """Note that some rows of a column are not as expected."""
        for row, was in list(zip(rows.tolist(), found, strict=True))[:TOLD_MAX]:
            self.tell(f"row {row}: {column}: expected {expected}, was {was!r}")
        if len(rows) > TOLD_MAX:
            self.tell(f"{column}: {len(rows) - TOLD_MAX} more rows are wrong in this way")

    def refuse(self) -> None:
        """Raise `ConfigError` with what has been noted, if anything has."""
        if self._told:
            raise ConfigError("; ".join(self._told))


def header(path: Path, form: Form) -> list[str]:
    """Return the names of the columns. Raises `ConfigError`."""
    try:
        with path.open(encoding=_encoding(form), newline="") as file:
            names = [n.strip() for n in next(csv.reader(file, delimiter=form.separator), [])]
    except FileNotFoundError:
        raise ConfigError(f"{path}: expected a file, found none") from None
    except (OSError, UnicodeDecodeError, LookupError, csv.Error) as e:
        raise ConfigError(f"{path}: cannot be read: {e}") from e
    if len(names) < 2:
        raise ConfigError(
            f"{path}: row 1: expected names of columns with {form.separator!r} between them,"
            f" was {(names or [''])[0][:60]!r}"
        )
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise ConfigError(f"{path}: row 1: column {twice[0]!r} is there twice")
    return names


def batches(path: Path, form: Form, names: Sequence[str], wrong: Mistakes) -> Iterator[Batch]:
    """Yield the rows of a file as texts. Raises `ConfigError` when it cannot be read."""
    blank: list[int] = []

    def spoilt(row: Any) -> Literal["skip"]:
        if not row.text.strip():
            blank.append(row.number)
        else:
            wrong.tell(
                f"row {row.number}: expected {row.expected_columns} cells,"
                f" was {row.actual_columns}: {row.text[:60]!r}"
            )
        return "skip"

    first = 2
    try:
        reader = arrow_csv.open_csv(
            path,
            read_options=arrow_csv.ReadOptions(
                use_threads=False,
                block_size=_BLOCK_BYTES,
                encoding=form.encoding,
                column_names=list(names),
                skip_rows=1,
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=form.separator,
                ignore_empty_lines=False,
                invalid_row_handler=spoilt,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
        for found in reader:
            rows = np.arange(first, first + len(found), dtype=np.int64)
            first += len(found)
            for line in blank:
                rows[rows >= line] += 1
            yield _without_blank_lines(Batch(rows=rows, table=found))
    except (OSError, pa.ArrowException, LookupError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: cannot be read as CSV: {e}") from e


def _without_blank_lines(batch: Batch) -> Batch:
    names: list[str] = batch.table.schema.names
    is_blank = _mask(pc.is_in(batch.text(names[0]), _NOTHING))
    for name in names[1:]:
        if not is_blank.any():
            return batch
        is_blank &= _mask(pc.is_in(batch.text(name), _NOTHING))
    keep = ~is_blank
    return Batch(rows=batch.rows[keep], table=batch.table.filter(pa.array(keep)))


def numbers(batch: Batch, name: str, form: Form, wrong: Mistakes) -> Float64s:
    """Return a column of numbers, NaN where it is missing."""
    texts = batch.text(name)
    absent = pc.is_in(texts, pa.array(form.missing, pa.string()))
    plain = texts
    if form.decimal == ",":
        plain = pc.replace_substring(pc.replace_substring(texts, ".", "?"), ",", ".")
    try:
        values = pc.if_else(absent, None, plain).cast(pa.float64())
    except pa.ArrowInvalid:
        values = None
    if values is not None:
        found: Float64s = values.fill_null(np.nan).to_numpy(zero_copy_only=False)
        if np.array_equal(np.isfinite(found), ~_mask(absent)):
            return found
    is_number = pc.match_substring_regex(plain, _NUMBER)
    bad = ~_mask(pc.or_(is_number, absent))
    expected = f"a number with {form.decimal!r} as its decimal sign"
    wrong.rows(batch.rows[bad], name, expected, _texts(texts, bad))
    return np.full(len(batch.rows), np.nan)


def stamps(batch: Batch, name: str, form: Form, wrong: Mistakes) -> Stamps:
    """Return a column of instants; what has no zone of its own is of the clock on the wall."""
    texts = batch.text(name)
    if form.time_format in _EPOCHS:
        return _epochs(batch, name, form, wrong)
    if form.time_format != "iso":
        return _formatted(batch, name, form.time_format, wrong)
    zoned = _mask(pc.match_substring_regex(texts, _ZONED))
    is_utc = bool(zoned.all()) and len(zoned) > 0
    kind = pa.timestamp("ms", "UTC") if is_utc else pa.timestamp("ms")
    try:
        return Stamps(ms=_whole(texts.cast(kind)), is_utc=is_utc)
    except pa.ArrowInvalid:
        pass
    bad = np.array([not _is_iso(str(t), zoned=is_utc) for t in texts.to_pylist()], dtype=np.bool_)
    if not bad.any():
        bad[:1] = True
    wrong.rows(batch.rows[bad], name, "an ISO 8601 instant", _texts(texts, bad))
    return _nowhere(batch)


def _epochs(batch: Batch, name: str, form: Form, wrong: Mistakes) -> Stamps:
    exact = Form(
        separator=form.separator,
        decimal=".",
        encoding=form.encoding,
        time_format=form.time_format,
        missing=(),
    )
    found = numbers(batch, name, exact, wrong) * _EPOCHS[form.time_format]
    return Stamps(ms=np.rint(np.nan_to_num(found)).astype(np.int64), is_utc=True)


def _formatted(batch: Batch, name: str, time_format: str, wrong: Mistakes) -> Stamps:
    texts = batch.text(name)
    try:
        found = pc.strptime(texts, format=time_format, unit="ms", error_is_null=True)
    except pa.ArrowInvalid as e:
        wrong.tell(f"time format {time_format!r}: {e}")
        wrong.refuse()
        return _nowhere(batch)
    bad = _mask(found.is_null())
    # Arrow takes the 30th of February for a day in March: days that may have come so are asked
    # again, more slowly.
    days: Any = pc.day(found.fill_null(0))
    doubtful = np.flatnonzero(~bad & (np.asarray(days) <= 3))
    for n in doubtful.tolist():
        bad[n] = not _is_in(str(texts[n].as_py()), time_format)
    if bad.any():
        wrong.rows(batch.rows[bad], name, f"a time such as {time_format!r}", _texts(texts, bad))
        return _nowhere(batch)
    return Stamps(ms=_whole(found), is_utc=False)


def _nowhere(batch: Batch) -> Stamps:
    return Stamps(ms=np.zeros(len(batch.rows), dtype=np.int64), is_utc=True)


def _is_in(text: str, time_format: str) -> bool:
    try:
        datetime.strptime(text, time_format)  # noqa: DTZ007  only whether it is one is asked
    except ValueError:
        return False
    return True


def _is_iso(text: str, *, zoned: bool) -> bool:
    try:
        return (datetime.fromisoformat(text).tzinfo is not None) is zoned
    except ValueError:
        return False


def _whole(found: Any) -> Int64s:
    whole: Int64s = found.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return whole


def _mask(found: Any) -> npt.NDArray[np.bool_]:
    mask: npt.NDArray[np.bool_] = np.asarray(found.fill_null(fill_value=False))
    return mask


def _texts(texts: Any, rows: npt.NDArray[np.bool_]) -> Sequence[str]:
    found: list[str] = texts.filter(pa.array(rows)).to_pylist()
    return found


def unknown(names: Sequence[str], known: Collection[str], wrong: Mistakes) -> None:
    """Note each column that is not among the known ones."""
    for name in names:
        if name not in known:
            wrong.tell(f"row 1: column {name!r}: expected one of {', '.join(sorted(known))}")


def _encoding(form: Form) -> str:
    return "utf-8-sig" if form.encoding.lower() in {"utf8", "utf-8"} else form.encoding
