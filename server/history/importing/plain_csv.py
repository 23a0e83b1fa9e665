"""CSV of any tool: wide with a column a point, long with a row a sample, and our own export."""

from collections.abc import Mapping as Map
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from server.history import csv_writer
from server.history.csv_writer import original
from server.history.importing.csv_text import (
    Batch,
    Form,
    Mistakes,
    batches,
    header,
    numbers,
    stamps,
    unknown,
)
from server.history.importing.gathering import FileGathering, Gathering
from server.history.importing.local_time import Sequence
from server.history.importing.mapping import FormSection, Mapping
from server.history.recording_toml import PointSection
from server.history.stretch import (
    NO_GATEWAY,
    REASONS,
    TIME_QUALITIES,
    Float64s,
    Int32s,
    Int64s,
    Stretch,
)
from telemetry.errors import ConfigError
from telemetry.mistakes import told
from telemetry.sample import Quality
from telemetry.units import quantity_of

OWN_FORM = Form(separator=",", decimal=".", encoding="utf-8", time_format="iso", missing=("",))
"""How our own export is written."""

_BETWEEN = "\x1f"
_NOTHING = pa.array([""])
_QUALITIES = tuple(int(q) for q in Quality)


def read(path: Path, mapping: Mapping, gathering: Gathering) -> None:
    """Take in one CSV file. Raises `ConfigError` with everything wrong in it."""
    form = mapping.input.form()
    if is_own(path):
        read_own(path, gathering)
    elif mapping.input.layout == "long":
        read_long(path, mapping.input, mapping.columns(), gathering)
    else:
        time_column = mapping.input.time_column
        ignored = mapping.input.ignore
        read_wide(path, form, time_column, mapping.columns(), gathering, ignored=ignored)


def is_own(path: Path) -> bool:
    """Say whether a file is our own export, which says itself what its points are."""
    try:
        return header(path, OWN_FORM) == list(csv_writer.COLUMNS)
    except ConfigError:
        return False


def read_wide(
    path: Path,
    form: Form,
    time_column: str | None,
    columns: Map[str, PointSection],
    gathering: Gathering,
    *,
    ignored: tuple[str, ...] = (),
) -> None:
    """Take in a file with a column for each point; the time is in the first unless told."""
    names = header(path, form)
    time = names[0] if time_column is None else time_column
    file = gathering.file(path)
    unknown(names, {time, *columns, *ignored}, file.wrong)
    if time not in names:
        file.wrong.tell(f"row 1: expected the time column {time!r}, found none")
    file.wrong.refuse()
    points = {n: gathering.point(columns[n]) for n in names if n in columns}
    series = Sequence()
    with gathering.step(f"read {path.name}", None) as progress:
        before = gathering.rows
        for batch in batches(path, form, names, file.wrong):
            found = stamps(batch, time, form, file.wrong)
            at = file.instants(found, batch.rows, series)
            for name, point in points.items():
                file.add(point, batch.rows, at, numbers(batch, name, form, file.wrong))
            progress(gathering.rows - before)
        file.close()


def read_long(
    path: Path, section: FormSection, columns: Map[str, PointSection], gathering: Gathering
) -> None:
    """Take in a file with a row for each sample."""
    form = section.form()
    names = header(path, form)
    time = section.time_column or names[0]
    needed = [time, section.point_column, section.value_column]
    if section.quality_column is not None:
        needed.append(section.quality_column)
    file = gathering.file(path)
    unknown(names, {*needed, *section.ignore}, file.wrong)
    for name in needed:
        if name not in names:
            file.wrong.tell(f"row 1: expected the column {name!r}, found none")
    file.wrong.refuse()
    points = {text: gathering.point(section) for text, section in columns.items()}
    with gathering.step(f"read {path.name}", None) as progress:
        before = gathering.rows
        for batch in batches(path, form, names, file.wrong):
            point = _points(batch, section.point_column, points, set(section.ignore), file)
            found = stamps(batch, time, form, file.wrong)
            value = numbers(batch, section.value_column, form, file.wrong)
            quality = _qualities(batch, section.quality_column, form, file.wrong)
            for n in np.unique(point[point >= 0]).tolist():
                here = np.flatnonzero(point == n)
                part = type(found)(ms=found.ms[here], is_utc=found.is_utc)
                at = file.instants(part, batch.rows[here], file.series(n))
                _add(file, n, batch.rows[here], at, value[here], quality[here])
            progress(gathering.rows - before)
        file.close()


def _add(
    file: FileGathering,
    point: int,
    rows: Int64s,
    at: Int64s,
    value: Float64s,
    quality: npt.NDArray[np.uint8],
) -> None:
    if (quality == Quality.GOOD).all():
        file.add(point, rows, at, value)
        return
    lost = np.isnan(value)
    numbers = np.full(len(at), point, dtype=np.int32)
    found = Stretch(
        at=at,
        point=numbers,
        value=np.where(quality == Quality.BAD, np.nan, value),
        quality=np.where(lost, int(Quality.BAD), quality).astype(np.uint8),
        arrived_at=at,
    )
    file.add_whole(found, rows)


def read_own(path: Path, gathering: Gathering) -> None:
    """Take in what `mainwatch export --format csv` wrote: it says itself what its points are."""
    names = header(path, OWN_FORM)
    file = gathering.file(path)
    unknown(names, csv_writer.COLUMNS, file.wrong)
    file.wrong.refuse()
    with gathering.step(f"read {path.name}", None) as progress:
        before = gathering.rows
        for batch in batches(path, OWN_FORM, names, file.wrong):
            found = _own(batch, gathering, file)
            file.wrong.refuse()
            file.add_whole(found, batch.rows)
            progress(gathering.rows - before)
        file.close()


def _own(batch: Batch, gathering: Gathering, file: FileGathering) -> Stretch:
    wrong = file.wrong
    at = stamps(batch, "at", OWN_FORM, wrong).ms
    arrived = at
    has_arrival = ~np.asarray(pc.is_in(batch.text("arrived_at"), _NOTHING))
    if has_arrival.any():
        arrived = at.copy()
        late = Batch(rows=batch.rows[has_arrival], table=batch.table.filter(pa.array(has_arrival)))
        arrived[has_arrival] = stamps(late, "arrived_at", OWN_FORM, wrong).ms
    quality = _qualities(batch, "quality", OWN_FORM, wrong)
    value = numbers(batch, "value", OWN_FORM, wrong)
    is_bad = quality == Quality.BAD
    lost = np.isnan(value) & ~is_bad
    nothing = [""] * int(lost.sum())
    wrong.rows(batch.rows[lost], "value", "a number, as its quality is not 0", nothing)
    gateway, gateways = _gateways(batch)
    times = ["", *(t.value for t in TIME_QUALITIES[1:])]
    return Stretch(
        at=at,
        point=_own_points(batch, gathering, wrong),
        value=np.where(is_bad, np.nan, value),
        quality=quality,
        arrived_at=arrived,
        reason=_words(batch, "reason", [r.value for r in REASONS], wrong),
        time_quality=_words(batch, "time_quality", times, wrong),
        gateway=gateway,
        epoch=_whole(batch, "epoch", wrong),
        offset=_whole(batch, "offset", wrong),
        gateways=gateways,
    )


def _own_points(batch: Batch, gathering: Gathering, wrong: Mistakes) -> Int32s:
    """Return the numbers of points that say zone, quantity and unit themselves in every row."""
    names = ("point", "zone", "quantity", "unit")
    keys = pc.binary_join_element_wise(*(batch.text(n) for n in names), _BETWEEN)
    codes, words = _coded(keys)
    places = []
    for n, key in enumerate(words):
        point, zone, quantity, unit = (original(part) for part in key.split(_BETWEEN))
        body = {"id": point, "zone": zone, "quantity": quantity, "unit": unit}
        try:
            section = PointSection.model_validate(body)
            if quantity_of(unit) is not section.quantity:
                wrong.rows(_first(batch, codes, n), "unit", f"a unit of {quantity}", [unit])
            places.append(gathering.point(section))
        except ValidationError as e:
            for line in told(e):
                wrong.tell(f"row {_first(batch, codes, n)[0]}: {line}")
            places.append(0)
        except ConfigError as e:
            wrong.tell(f"row {_first(batch, codes, n)[0]}: {e}")
            places.append(0)
    return np.array(places, dtype=np.int32)[codes]


def _points(
    batch: Batch, column: str, points: Map[str, int], ignored: set[str], file: FileGathering
) -> Int32s:
    """Return the number of each row's point, -1 for one that is to be ignored."""
    codes, words = _coded(batch.text(column))
    places = []
    for n, word in enumerate(words):
        text = original(word)
        if text not in points and text not in ignored:
            known = ", ".join(sorted(points)) or "none"
            file.wrong.rows(_first(batch, codes, n), column, f"one of {known}", [text])
        places.append(points.get(text, -1))
    return np.array(places, dtype=np.int32)[codes]


def _qualities(
    batch: Batch, column: str | None, form: Form, wrong: Mistakes
) -> npt.NDArray[np.uint8]:
    if column is None:
        return np.full(len(batch.rows), int(Quality.GOOD), dtype=np.uint8)
    found = numbers(batch, column, form, wrong)
    bad = ~np.isin(found, _QUALITIES)
    wrong.rows(batch.rows[bad], column, "192, 64 or 0", found[bad].tolist())
    return np.nan_to_num(found).clip(0, 255).astype(np.uint8)


def _whole(batch: Batch, column: str, wrong: Mistakes) -> Int64s:
    texts = batch.text(column)
    filled = pc.if_else(pc.is_in(texts, _NOTHING), str(NO_GATEWAY), texts)
    is_whole = np.asarray(pc.match_substring_regex(filled, r"^-?\d{1,18}$"))
    if not is_whole.all():
        lost = texts.filter(pa.array(~is_whole)).to_pylist()
        wrong.rows(batch.rows[~is_whole], column, "a whole number", lost)
        return np.full(len(batch.rows), NO_GATEWAY, dtype=np.int64)
    found: Int64s = filled.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return found


def _words(batch: Batch, column: str, known: list[str], wrong: Mistakes) -> npt.NDArray[np.uint8]:
    """Return the places of texts among the known ones."""
    codes, words = _coded(batch.text(column))
    for n, word in enumerate(words):
        if word not in known:
            expected = f"one of {', '.join(k for k in known if k)}"
            wrong.rows(_first(batch, codes, n), column, expected, [word])
    places = [known.index(w) if w in known else 0 for w in words]
    return np.array(places, dtype=np.uint8)[codes]


def _gateways(batch: Batch) -> tuple[Int32s, tuple[str, ...]]:
    codes, words = _coded(batch.text("gateway"))
    names = [original(w) for w in words if w]
    places = [names.index(original(w)) if w else NO_GATEWAY for w in words]
    return np.array(places, dtype=np.int32)[codes], tuple(names)


def _coded(texts: Any) -> tuple[Int32s, list[str]]:
    """Return texts as numbers of the different ones, in the order in which they first come."""
    whole = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    found = whole.dictionary_encode()
    codes: Int32s = found.indices.to_numpy(zero_copy_only=False).astype(np.int32)
    return codes, [str(word) for word in found.dictionary.to_pylist()]


def _first(batch: Batch, codes: Int32s, code: int) -> Int64s:
    """Return the first row that holds a text, as an array of one."""
    return batch.rows[np.flatnonzero(codes == code)[:1]]
