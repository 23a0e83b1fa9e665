"""What a recording tells beside its samples: truth, operations, contacts and quality marks.

Each is a file of one JSON object a line; keys that are not known are passed over here and told by
`mainwatch check`. Truth is for scoring alone: no detector may read it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, TypeAdapter, ValidationError

from server.engine.operations import OperationKind
from server.history.recording_toml import Stamp
from server.history.stretch import Float64s, Int32s, Int64s
from telemetry.errors import ConfigError
from telemetry.mistakes import told

Label = TypeVar("Label")
Begin = Annotated[Stamp, Field(alias="from")]
End = Annotated[Stamp | None, Field(alias="to")]
Number = Annotated[float, Field(allow_inf_nan=False)]


class TruthKind(StrEnum):
    """What really happened."""

    LEAK = "leak"
    BURST = "burst"
    FAULT = "fault"
    SUPPLY = "supply"
    WORKS = "works"
    CUSTOMER_LEAK = "customer_leak"


class ContactKind(StrEnum):
    """Why a customer called."""

    LEAK = "leak"
    NO_WATER = "no_water"
    LOW_PRESSURE = "low_pressure"
    QUALITY = "quality"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """A labelled happening; without `end` it lasts to the end of the recording."""

    id: str
    kind: TruthKind
    begin: Begin
    end: End = None
    zone: str = ""
    type: Literal["abrupt", "incipient"] | None = None
    cause: str | None = None
    point: str | None = None
    device: str | None = None
    line: str | None = None
    pipe: str | None = None
    link: str | None = None
    nodes: tuple[str, ...] = ()
    x: Number | None = None
    y: Number | None = None
    peak_at: Stamp | None = None
    peak_m3h: Number | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Works and switching; without `end` it lasts to the end of the recording.

    It was known from its begin on, or from `told_at` if that is earlier. `m3h` is what a hydrant
    or a washout was to let out.
    """

    id: str
    kind: OperationKind
    begin: Begin
    end: End = None
    told_at: Stamp | None = None
    zone: str = ""
    points: tuple[str, ...] = ()
    m3h: Annotated[Number | None, Field(ge=0)] = None
    ordered_by: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """A customer's call."""

    id: str
    at: Stamp
    kind: ContactKind
    zone: str = ""
    x: Number | None = None
    y: Number | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """From `begin` up to `end` a point's samples have this quality; None: as they were measured.

    Where marks overlap, the one of the highest revision holds: a later one revises, or with None
    takes back, what an earlier one said of that time.
    """

    revision: Annotated[int, Field(ge=1)]
    point: str
    begin: Begin
    end: End = None
    quality: Literal[0, 64, 192] | None = None
    reason: str = ""
    author: str = ""
    at: Stamp | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TruthFlow:
    """What each labelled leak really let out: `label` numbers `ids`."""

    ids: tuple[str, ...]
    at: Int64s
    label: Int32s
    m3h: Float64s


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Generic[Label]):
    """The rows of a file, with what is wrong in them and what is only strange."""

    rows: tuple[Label, ...]
    wrong: tuple[str, ...]
    strange: tuple[str, ...]


FILES: dict[str, type[Any]] = {
    "truth.jsonl": Truth,
    "operations.jsonl": Operation,
    "contacts.jsonl": Contact,
    "marks.jsonl": Mark,
}


def truth(folder: Path) -> tuple[Truth, ...]:
    """Return the labels. Raises `ConfigError` with every mistake."""
    return _whole(read_rows(folder / "truth.jsonl", Truth))


def operations(folder: Path) -> tuple[Operation, ...]:
    """Return works and switching. Raises `ConfigError` with every mistake."""
    return _whole(read_rows(folder / "operations.jsonl", Operation))


def contacts(folder: Path) -> tuple[Contact, ...]:
    """Return customers' calls. Raises `ConfigError` with every mistake."""
    return _whole(read_rows(folder / "contacts.jsonl", Contact))


def marks(folder: Path) -> tuple[Mark, ...]:
    """Return quality marks in the order of revision. Raises `ConfigError` with every mistake."""
    found = _whole(read_rows(folder / "marks.jsonl", Mark))
    return tuple(sorted(found, key=lambda m: m.revision))


def truth_flow(folder: Path) -> TruthFlow | None:
    """Return the flows of the labelled leaks, if told. Raises `ConfigError` naming the file."""
    path = folder / "truth_flow.parquet"
    if not path.exists():
        return None
    try:
        table = pq.read_table(path, columns=["at", "id", "m3h"]).combine_chunks()
        at = table["at"].cast(pa.timestamp("ms", "UTC"), safe=False).cast(pa.int64())
        ids = table["id"].cast(pa.string()).combine_chunks().dictionary_encode()
        m3h = table["m3h"].cast(pa.float64())
        holes = at.null_count + ids.null_count + m3h.null_count
    except (OSError, KeyError, pa.ArrowException) as e:
        raise ConfigError(f"{path}: expected Parquet with at, id, m3h: {e}") from e
    flows: Float64s = m3h.to_numpy()
    if holes or not np.isfinite(flows).all():
        raise ConfigError(f"{path}: expected an instant, an id and a number in every row")
    return TruthFlow(
        ids=tuple(str(name) for name in ids.dictionary.to_pylist()),
        at=at.to_numpy(),
        label=ids.indices.to_numpy(zero_copy_only=False).astype(np.int32),
        m3h=flows,
    )


def flow_file(flow: TruthFlow) -> bytes:
    """Return a truth_flow.parquet."""
    label: Any = pa.array(flow.label)
    columns = {
        "at": pa.array(flow.at).cast(pa.timestamp("ms", "UTC")),
        "id": pa.DictionaryArray.from_arrays(label, pa.array(flow.ids, pa.string())),
        "m3h": pa.array(flow.m3h),
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def read_rows(path: Path, kind: type[Label]) -> Found[Label]:
    """Return the rows of a file, none where there is no file."""
    rows: list[Label] = []
    wrong: list[str] = []
    strange: list[str] = []
    known = _keys(kind)
    read = TypeAdapter(kind).validate_python
    for where, line in _lines(path, wrong):
        try:
            body = json.loads(line)
        except ValueError as e:
            wrong.append(f"{where}: not JSON: {e}")
            continue
        if not isinstance(body, dict):
            wrong.append(f"{where}: expected an object, was {line[:40]}")
            continue
        strange += [f"{where}: {key}: unknown key" for key in body if key not in known]
        try:
            rows.append(read({k: v for k, v in body.items() if v is not None}))
        except ValidationError as e:
            wrong += [f"{where}: {mistake}" for mistake in told(e)]
    return Found(rows=tuple(rows), wrong=tuple(wrong), strange=tuple(strange))


def _lines(path: Path, wrong: list[str]) -> Iterator[tuple[str, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as e:
        wrong.append(f"{path}: cannot be read: {e}")
        return
    for n, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"{path}: row {n}", line


def _keys(kind: type[Any]) -> set[str]:
    renamed = {"begin": "from", "end": "to"}
    return {renamed.get(f.name, f.name) for f in fields(kind)}


def _whole(found: Found[Label]) -> tuple[Label, ...]:
    if found.wrong:
        raise ConfigError("; ".join(found.wrong))
    return found.rows
