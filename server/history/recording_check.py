"""Everything that is wrong with a recording, or strange: what `mainwatch check FOLDER` says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from server.history import labels, manifest
from server.history.importing.inp import read_network
from server.history.labels import Mark, Truth
from server.history.recording import look_at, vocabulary
from server.history.recording_toml import NAME, Description, told_instant
from server.history.sample_file import SampleFile, Vocabulary
from telemetry.errors import ConfigError

TOLD_PER_FILE_MAX = 20
"""So many mistakes in the rows of one file are told; the others are counted."""


def findings(folder: Path) -> list[str]:
    """Return what is wrong, one sentence each, naming file and row or key."""
    if not (folder / NAME).exists():
        return [f"{folder}: expected a recording with a {NAME}, found none"]
    description, files, told = look_at(folder)
    wrong = [line for mistake in told for line in mistake.split("; ")]
    if description is not None:
        words = vocabulary(description)
        for file in files:
            found = [*_row_mistakes(file, words), *_beyond(file, description)]
            wrong += found[:TOLD_PER_FILE_MAX]
            if len(found) > TOLD_PER_FILE_MAX:
                wrong.append(f"{file.path}: {len(found) - TOLD_PER_FILE_MAX} more mistakes in rows")
        wrong += _places_unknown(folder, description)
    wrong += _label_mistakes(folder, description)
    return [*wrong, *manifest.mistakes(folder)]


def _row_mistakes(file: SampleFile, words: Vocabulary) -> Iterator[str]:
    try:
        for group in file.groups:
            yield from file.read(group, words)[1]
    except ConfigError as e:
        yield str(e)


def _beyond(file: SampleFile, description: Description) -> Iterator[str]:
    head = description.recording
    for group in file.groups:
        for at in (group.earliest, group.latest):
            if not head.begin <= at <= head.end:
                span = f"{told_instant(head.begin)} to {told_instant(head.end)}"
                yield (
                    f"{file.path}: rows {group.first_row} to {group.first_row + group.rows - 1}:"
                    f" at: expected an instant in {span}, as {NAME} says, was {told_instant(at)}"
                )


def _places_unknown(folder: Path, description: Description) -> list[str]:
    """Return which points are at a node or a link that the network does not have."""
    name = description.recording.network
    if name is None:
        return []
    try:
        network = read_network(folder / name)
    except ConfigError as e:
        return [str(e)]
    wrong = []
    for n, p in enumerate(description.point):
        for key, place, known in (("node", p.node, network.nodes), ("link", p.link, network.links)):
            if place is not None and place not in known:
                where = f"{folder / NAME}: point[{n}].{key}"
                wrong.append(f"{where}: expected a {key} of {name}, was {place!r}")
    return wrong


def _label_mistakes(folder: Path, description: Description | None) -> list[str]:
    wrong: list[str] = []
    ids: set[str] = set()
    for name, kind in labels.FILES.items():
        found: labels.Found[Any] = labels.read_rows(folder / name, kind)
        wrong += [*found.wrong, *found.strange]
        if kind is Truth:
            ids = {row.id for row in found.rows}
        for n, row in enumerate(found.rows, 1):
            begin, end = getattr(row, "begin", None), getattr(row, "end", None)
            if begin is not None and end is not None and end < begin:
                wrong.append(f"{folder / name}: {row.id}: to: expected no instant before from")
            if description is not None:
                wrong += [f"{folder / name}: row {n}: {m}" for m in _unrelated(row, description)]
    try:
        flow = labels.truth_flow(folder)
    except ConfigError as e:
        return [*wrong, str(e)]
    lost = sorted(set(flow.ids) - ids) if flow is not None else []
    path = folder / "truth_flow.parquet"
    return [*wrong, *(f"{path}: id: expected one of truth.jsonl, was {i!r}" for i in lost)]


def _unrelated(row: Any, description: Description) -> Iterator[str]:
    zones = {z.id for z in description.zone}
    points = {p.id for p in description.point}
    zone = getattr(row, "zone", "")
    if zone and zone not in zones:
        yield f"zone: expected one of {', '.join(sorted(zones))}, was {zone!r}"
    named = list(getattr(row, "points", ()))
    if isinstance(row, Truth | Mark) and row.point is not None:
        named.append(row.point)
    for point in named:
        if point not in points:
            yield f"point: expected a point of {NAME}, was {point!r}"
