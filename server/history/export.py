"""Out of a recording, the historian or a journal into a recording of its own, or into CSV.

A source says what it holds and yields stretches in the order of arrival; what may be wanted of it
is a part in time, zones and points.
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from server.engine.registry import Registry
from server.history import labels
from server.history.csv_writer import CsvWriter
from server.history.labels import TruthFlow
from server.history.recording import Recording
from server.history.recording_toml import (
    Description,
    ZoneSection,
    instant_of,
    told_instant,
)
from server.history.recording_writer import RecordingWriter
from server.history.stretch import Stretch
from telemetry.errors import ConfigError
from telemetry.instant import SECOND_MS, Instant
from telemetry.mistakes import told

Told = Callable[[int], None]
"""Hears how many samples have been written so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which part: samples read in [begin, end) of some zones and points; None is everything."""

    begin: Instant | None = None
    end: Instant | None = None
    zones: Collection[str] | None = None
    points: Collection[str] | None = None


Read = Callable[[Instant | None, Instant | None, Collection[str]], Iterator[Stretch]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What is exported: `read` yields stretches of some points, numbered by the description.

    `rows` is how many there are in all, where that is known, for a progress bar; `marks` are rows
    of marks.jsonl, where there is no folder that has them.
    """

    description: Description
    read: Read
    folder: Path | None = None
    rows: int | None = None
    marks: Sequence[Mapping[str, Any]] = ()


def of_recording(found: Recording) -> Source:
    """Return a recording as a source: raw samples, and its labels beside them."""
    return Source(
        description=in_house_units(found.description),
        read=lambda begin, end, points: found.stretches(begin, end, points, with_marks=False),
        folder=found.folder,
        rows=found.rows,
    )


def described(registry: Registry, *, name: str, source: str, licence: str) -> Description:
    """Return the head of a recording of a registry's points. Raises `ConfigError`.

    Time zone, calendar and cadence are those that most have; the others keep their own.
    """
    if not registry.zones or not registry.points:
        raise ConfigError(f"{source}: expected a registry with zones and points, found none")
    zones, points = registry.zones.values(), registry.points.values()
    timezone = Counter(z.timezone for z in zones).most_common(1)[0][0]
    calendar = Counter(z.calendar for z in zones).most_common(1)[0][0]
    period_ms = Counter(p.period_ms for p in points).most_common(1)[0][0]
    epoch = told_instant(0)
    body: dict[str, Any] = {
        "recording": {
            "version": 1,
            "name": name,
            "source": source,
            "licence": licence,
            "timezone": timezone,
            "calendar": calendar,
            "from": epoch,
            "to": epoch,
            "cadence_s": period_ms / SECOND_MS,
        },
        "zone": [
            {
                "id": z.id,
                "name": z.name_en,
                "inflow": [{"point": i.point, "sign": i.sign} for i in z.inflow],
                "storage": [{"point": s.point, "area_m2": s.area_m2} for s in z.storage],
                "parent": z.parent,
                "timezone": None if z.timezone == timezone else z.timezone,
                "calendar": None if z.calendar == calendar else z.calendar,
            }
            for z in zones
        ],
        "point": [
            {
                "id": p.id,
                "zone": p.zone,
                "quantity": p.quantity,
                "unit": p.quantity.unit,
                "name": p.name_en,
                "x": p.x,
                "y": p.y,
                "elevation_m": p.elevation_m,
                "period_s": None if p.period_ms == period_ms else p.period_ms / SECOND_MS,
                "limits": {
                    "low": p.low,
                    "high": p.high,
                    "promise": p.promise_kpa,
                    "promise_by": p.promise_by or None,
                    "statute": p.statute_kpa,
                },
            }
            for p in points
        ],
    }
    try:
        return Description.model_validate(body)
    except ValidationError as e:
        raise ConfigError("; ".join(f"{source}: {line}" for line in told(e))) from None


def in_house_units(found: Description) -> Description:
    """Return a description of the same points in the units that stretches have."""
    points = []
    for p in found.point:
        factor, limits = p.house_factor, p.limits
        scaled = {
            "unit": p.quantity.unit,
            "resolution": None if p.resolution is None else p.resolution * factor,
            "limits": limits.model_copy(
                update={
                    key: value * factor
                    for key in ("low", "high", "promise", "statute")
                    if (value := getattr(limits, key)) is not None
                }
            ),
        }
        points.append(p if factor == 1.0 else p.model_copy(update=scaled))
    return found.model_copy(update={"point": tuple(points)})


def to_recording(
    source: Source, wanted: Wanted, folder: Path, *, software: str, progress: Told
) -> int:
    """Write the wanted part as a recording and return how many samples it has."""
    chosen = _chosen(source.description, wanted)
    span = _Span()
    with RecordingWriter(folder, software=software) as writer:
        for found in source.read(wanted.begin, wanted.end, chosen):
            span.add(found)
            writer.add(found)
            progress(writer.rows)
        if span.begin is None or span.end is None:
            raise ConfigError(_nothing(source, wanted))
        head = source.description.recording
        if source.folder is None or (wanted.begin, wanted.end) != (None, None):
            head = head.model_copy(update={"begin": span.begin, "end": span.end})
        described = narrowed(source.description, chosen, zones=wanted.zones)
        if source.folder is not None:
            _carry(source.folder, head.network, wanted, described, writer)
        if marks := [m for m in source.marks if _is_wanted(m, wanted, chosen, ())]:
            text = "".join(json.dumps(m, ensure_ascii=False) + "\n" for m in marks)
            writer.put("marks.jsonl", text.encode())
        writer.finish(
            described.model_copy(update={"recording": head}),
            numbering=[p.id for p in source.description.point],
        )
        return writer.rows


def to_csv(source: Source, wanted: Wanted, path: Path, *, progress: Told) -> int:
    """Write the wanted part as CSV, one sample a row, and return how many there are."""
    chosen = _chosen(source.description, wanted)
    with CsvWriter(path, source.description) as writer:
        for found in source.read(wanted.begin, wanted.end, chosen):
            writer.add(found)
            progress(writer.rows)
        if not writer.rows:
            raise ConfigError(_nothing(source, wanted))
        writer.finish()
        return writer.rows


def narrowed(
    found: Description, points: Collection[str], *, zones: Collection[str] | None = None
) -> Description:
    """Return the description of some points, with the zones that they are in.

    A zone of which not every meter is there has no inflow: a part of it would be a wrong one.
    """
    kept = [p for p in found.point if p.id in points]
    needed = {p.zone for p in kept} | set(zones or ())
    sections: list[ZoneSection] = []
    for z in found.zone:
        if z.id in needed:
            is_whole = all(name in points for name in _parts_of(z))
            parent = z.parent if z.parent in needed else None
            update = {"parent": parent} | ({} if is_whole else {"inflow": (), "storage": ()})
            sections.append(z.model_copy(update=update))
    return found.model_copy(update={"point": tuple(kept), "zone": tuple(sections)})


def _chosen(found: Description, wanted: Wanted) -> frozenset[str]:
    """Return the ids of the wanted points. Raises `ConfigError` naming what is not there."""
    points, zones = [p.id for p in found.point], [z.id for z in found.zone]
    for option, names, known in (
        ("--zone", wanted.zones, zones),
        ("--point", wanted.points, points),
    ):
        if lost := sorted(set(names or ()) - set(known)):
            raise ConfigError(f"{option}: expected one of {', '.join(known)}, was {lost[0]!r}")
    if wanted.zones is None and wanted.points is None:
        return frozenset(points)
    inside = {p.id for p in found.point if p.zone in (wanted.zones or ())}
    for z in found.zone:
        if z.id in (wanted.zones or ()):
            inside |= set(_parts_of(z))
    if wanted.points is None:
        return frozenset(inside)
    chosen = frozenset(wanted.points)
    return chosen if wanted.zones is None else chosen | inside


def _parts_of(zone: ZoneSection) -> list[str]:
    """Return the ids of the meters at the edge of a zone, and of the levels in it."""
    return [*(i.point for i in zone.inflow), *(s.point for s in zone.storage)]


def _nothing(source: Source, wanted: Wanted) -> str:
    span = [
        f" {word} {told_instant(at)}"
        for word, at in (("from", wanted.begin), ("to", wanted.end))
        if at is not None
    ]
    where = source.description.recording.source or source.description.recording.name
    return f"{where}: expected samples{''.join(span)} of these points, found none"


class _Span:
    """Between which instants samples lie."""

    def __init__(self) -> None:
        self.begin: int | None = None
        self.end: int | None = None

    def add(self, found: Stretch) -> None:
        """Take in a stretch."""
        if not len(found):
            return
        first, last = int(found.at.min()), int(found.at.max())
        self.begin = first if self.begin is None else min(self.begin, first)
        self.end = last if self.end is None else max(self.end, last)


def _carry(
    folder: Path, network: str | None, wanted: Wanted, kept: Description, writer: RecordingWriter
) -> None:
    """Take network, labels, operations, contacts and marks along, as far as they are wanted."""
    if network is not None:
        writer.put(network, (folder / network).read_bytes())
    points = {p.id for p in kept.point}
    zones = set(wanted.zones or (z.id for z in kept.zone))
    ids: set[str] = set()
    for name, kind in labels.FILES.items():
        path = folder / name
        if not path.exists():
            continue
        if wrong := labels.read_rows(path, kind).wrong:
            raise ConfigError("; ".join(wrong))
        lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
        rows = [line for line in lines if _is_wanted(json.loads(line), wanted, points, zones)]
        if name == "truth.jsonl":
            ids = {json.loads(line)["id"] for line in rows}
        writer.put(name, "".join(f"{line}\n" for line in rows).encode())
    flow = labels.truth_flow(folder)
    if flow is not None:
        writer.put("truth_flow.parquet", labels.flow_file(_part(flow, wanted, ids)))


def _part(flow: TruthFlow, wanted: Wanted, ids: Collection[str]) -> TruthFlow:
    """Return the flows of some leaks in the wanted time."""
    keep = np.array([name in ids for name in flow.ids], dtype=np.bool_)[flow.label]
    if wanted.begin is not None:
        keep &= flow.at >= wanted.begin
    if wanted.end is not None:
        keep &= flow.at < wanted.end
    return replace(flow, at=flow.at[keep], label=flow.label[keep], m3h=flow.m3h[keep])


def _is_wanted(
    row: Mapping[str, Any], wanted: Wanted, points: Collection[str], zones: Collection[str]
) -> bool:
    first, last = row.get("from", row.get("at")), row.get("to", row.get("at"))
    if wanted.end is not None and first is not None and instant_of(first) >= wanted.end:
        return False
    if wanted.begin is not None and last is not None and instant_of(last) < wanted.begin:
        return False
    if row.get("point") and row["point"] not in points:
        return False
    return not row.get("zone") or row["zone"] in zones
