"""InfluxDB's query results: annotated CSV of Flux, and JSON or CSV of InfluxQL.

A series is known by the tag that names its point; without that tag by `measurement,tag=value`, or
by its measurement alone. One field holds the value, another may hold the quality.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from server.history.importing.csv_text import Mistakes
from server.history.importing.gathering import Gathering
from server.history.importing.inp import known
from server.history.importing.mapping import InfluxSection, Mapping
from server.history.stretch import Stretch
from telemetry.errors import ConfigError
from telemetry.sample import Quality

_PER_MS = {"ns": 1_000_000, "us": 1000, "ms": 1}
_FLUX_OWN = {"result", "table", "_start", "_stop", "_time", "_value", "_field", "_measurement"}
_QUALITIES = tuple(int(q) for q in Quality)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One field of one series at one instant, and where in the file it stands."""

    row: int
    series: str
    field: str
    at: str | float
    value: Any


@dataclass(slots=True, kw_only=True)
class _Series:
    rows: dict[int, int] = field(default_factory=dict)
    values: dict[int, float] = field(default_factory=dict)
    qualities: dict[int, int] = field(default_factory=dict)


def read(path: Path, mapping: Mapping, gathering: Gathering) -> None:
    """Take in one query result, whole in memory. Raises `ConfigError` with all its mistakes."""
    section, columns = mapping.influx, mapping.columns()
    file = gathering.file(path)
    found: dict[str, _Series] = {}
    for cell in _cells(path, section, file.wrong):
        if cell.series not in columns:
            if cell.series in mapping.input.ignore or cell.series in found:
                continue
            found[cell.series] = _Series()
            expected = f"a series of the mapping, one of {known(sorted(columns)) or 'none'}"
            file.wrong.tell(f"row {cell.row}: expected {expected}, was {cell.series!r}")
        else:
            _take(found.setdefault(cell.series, _Series()), cell, section, file.wrong)
    file.wrong.refuse()
    with gathering.step(f"read {path.name}", None) as progress:
        before = gathering.rows
        for name, series in found.items():
            if name in columns and series.rows:
                stretch, rows = _stretch(series, gathering.point(columns[name]), file.wrong)
                file.wrong.refuse()
                file.add_whole(stretch, rows)
                progress(gathering.rows - before)
        file.close()


def _take(series: _Series, cell: Cell, section: InfluxSection, wrong: Mistakes) -> None:
    if cell.field not in {section.value_field, section.quality_field} or cell.value in ("", None):
        return
    at = _instant(cell.at, section.epoch)
    if at is None:
        wrong.tell(f"row {cell.row}: time: expected an instant, was {cell.at!r}")
        return
    try:
        number = float(cell.value)
    except (TypeError, ValueError):
        number = np.nan
    if not np.isfinite(number) or isinstance(cell.value, bool):
        wrong.tell(f"row {cell.row}: {cell.field}: expected a number, was {cell.value!r}")
    elif cell.field == section.quality_field:
        if number not in _QUALITIES:
            wrong.tell(f"row {cell.row}: {cell.field}: expected 192, 64 or 0, was {cell.value!r}")
        series.qualities[at] = int(number)
        series.rows.setdefault(at, cell.row)
    elif at in series.values:
        wrong.tell(f"row {cell.row}: time: expected each instant once, was {cell.at!r} again")
    else:
        series.values[at] = number
        series.rows.setdefault(at, cell.row)


def _stretch(series: _Series, point: int, wrong: Mistakes) -> tuple[Stretch, Any]:
    instants = sorted(series.rows)
    at = np.array(instants, dtype=np.int64)
    good, bad = int(Quality.GOOD), int(Quality.BAD)
    quality = [series.qualities.get(t, good) for t in instants]
    for t, q in zip(instants, quality, strict=True):
        if q != bad and t not in series.values:
            wrong.tell(f"row {series.rows[t]}: expected a value, as its quality is {q}, found none")
    values = [series.values.get(t, np.nan) for t in instants]
    codes = np.array(quality, dtype=np.uint8)
    stretch = Stretch(
        at=at,
        point=np.full(len(at), point, dtype=np.int32),
        value=np.where(codes == bad, np.nan, np.array(values, dtype=np.float64)),
        quality=codes,
        arrived_at=at,
    )
    return stretch, np.array([series.rows[t] for t in instants], dtype=np.int64)


def _instant(text: str | float, epoch: str) -> int | None:
    """Return milliseconds of RFC 3339, or of a number in the epoch's unit."""
    if isinstance(text, str) and not text.lstrip("-").isdigit():
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            return None
        return None if found.tzinfo is None else round(found.timestamp() * 1000)
    number = int(text)
    return number * 1000 if epoch == "s" else number // _PER_MS[epoch]


def _cells(path: Path, section: InfluxSection, wrong: Mistakes) -> Iterator[Cell]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: cannot be read: {e}") from e
    begin = text.lstrip()[:200]
    if begin.startswith("{"):
        yield from _json(path, text, section)
    elif begin.startswith("name,tags,"):
        yield from _influxql(csv.reader(text.split("\n")), section, wrong)
    else:
        yield from _flux(csv.reader(text.split("\n")), section, wrong)


def _series(measurement: str, tags: dict[str, str], section: InfluxSection) -> str:
    if section.point_tag in tags:
        return tags[section.point_tag]
    return ",".join([measurement, *(f"{k}={tags[k]}" for k in sorted(tags))])


def _flux(lines: Any, section: InfluxSection, wrong: Mistakes) -> Iterator[Cell]:
    """Yield the cells of annotated CSV: tables, each behind its annotations and its header."""
    names: list[str] = []
    defaults: list[str] = []
    is_header_due = True
    for row, words in enumerate(lines, 1):
        if not any(w.strip() for w in words):
            is_header_due = True
        elif words[0].startswith("#"):
            if words[0] == "#default":
                defaults = words
            is_header_due = True
        elif is_header_due:
            names, is_header_due = words, False
            if lost := [n for n in ("_time", "_value") if n not in names]:
                expected = "a table of Flux with _time and _value"
                wrong.tell(f"row {row}: expected {expected}, was without {lost[0]}")
                wrong.refuse()
            if "error" in names:
                wrong.tell(f"row {row}: holds an error of InfluxDB instead of a result")
        elif len(words) != len(names):
            wrong.tell(f"row {row}: expected {len(names)} cells, was {len(words)}")
        else:
            filled = [w or (defaults[n] if n < len(defaults) else "") for n, w in enumerate(words)]
            cells = dict(zip(names, filled, strict=True))
            tags = {k: v for k, v in cells.items() if k and k not in _FLUX_OWN and v}
            yield Cell(
                row=row,
                series=_series(cells.get("_measurement", ""), tags, section),
                field=cells.get("_field") or section.value_field,
                at=cells["_time"],
                value=cells["_value"],
            )


def _influxql(lines: Any, section: InfluxSection, wrong: Mistakes) -> Iterator[Cell]:
    """Yield the cells of InfluxQL's CSV: name, tags, time and a column for each field."""
    names: list[str] = []
    for row, words in enumerate(lines, 1):
        if words[:2] == ["name", "tags"]:
            names = words
        elif not any(words):
            continue
        elif len(words) != len(names):
            wrong.tell(f"row {row}: expected {len(names)} cells, was {len(words)}")
        else:
            tags = dict(part.split("=", 1) for part in words[1].split(",") if "=" in part)
            yield from _fields(row, words[0], tags, names[2:], words[2:], section)


def _json(path: Path, text: str, section: InfluxSection) -> Iterator[Cell]:
    """Yield the cells of InfluxQL's JSON, whole or in chunks a line; rows count through it."""
    row = 0
    for body in _bodies(path, text):
        for result in body.get("results", [body] if "error" in body else []):
            if "error" in result:
                raise ConfigError(f"{path}: holds an error of InfluxDB: {result['error']}")
            for series in result.get("series", ()):
                names, tags = series.get("columns", []), series.get("tags") or {}
                for values in series.get("values", ()):
                    row += 1
                    if len(values) != len(names):
                        expected = f"expected {len(names)} values, was {len(values)}"
                        raise ConfigError(f"{path}: row {row}: {expected}")
                    yield from _fields(row, series.get("name", ""), tags, names, values, section)
    if row == 0:
        raise ConfigError(f"{path}: expected results with series, found none")


def _bodies(path: Path, text: str) -> Iterator[dict[str, Any]]:
    read = json.JSONDecoder().raw_decode
    place = 0
    while place < len(text):
        try:
            body, place = read(text, place)
        except ValueError as e:
            raise ConfigError(f"{path}: not JSON: {e}") from e
        if not isinstance(body, dict):
            raise ConfigError(f"{path}: expected an object with results, was {str(body)[:40]!r}")
        yield body
        while place < len(text) and text[place].isspace():
            place += 1


def _fields(
    row: int,
    measurement: str,
    tags: dict[str, str],
    names: Sequence[str],
    values: Sequence[Any],
    section: InfluxSection,
) -> Iterator[Cell]:
    """Yield one cell for each field of a row; a tag that was selected as a column stays a tag."""
    cells = dict(zip(names, values, strict=True))
    at = cells.pop("time", "")
    if section.point_tag in cells:
        tags = tags | {section.point_tag: str(cells.pop(section.point_tag))}
    if len(cells) == 1:  # `SELECT mean("v")` names its column after the function
        cells = {section.value_field: next(iter(cells.values()))}
    series = _series(measurement, tags, section)
    for name, value in cells.items():
        yield Cell(row=row, series=series, field=name, at=at, value=value)
