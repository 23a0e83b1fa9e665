"""manifest.json: the hash of every file of a recording, and what each point has and lacks."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from server.history.recording_toml import told_instant
from server.history.stretch import Int64s, Stretch
from telemetry.errors import ConfigError
from telemetry.mistakes import told
from telemetry.sample import Quality

NAME = "manifest.json"

GAP_PERIODS = 1.5
"""A point that gives no value for longer than so many of its periods has a gap."""

GAPS_MAX = 1000
"""So many gaps of a point are listed; the others are counted."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileSection(_Section):
    """A file of the folder; `rows` where it holds samples."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: int
    rows: int | None = None


class PointSection(_Section):
    """What a point has: samples, its first and last, and where values are missing between them."""

    rows: int
    first: str | None = None
    last: str | None = None
    gaps: tuple[tuple[str, str], ...]
    gaps_not_listed: int = 0


class Manifest(_Section):
    """The whole file."""

    version: int
    software: str
    rows: int
    files: dict[str, FileSection]
    points: dict[str, PointSection]


class Presence:
    """What each point has, gathered from stretches that follow each other in time."""

    def __init__(self, points: Sequence[str], periods_ms: Sequence[int]) -> None:
        self._points = tuple(points)
        self._widest = GAP_PERIODS * np.array(periods_ms, dtype=np.float64)
        none = np.iinfo(np.int64).min
        self._rows: Int64s = np.zeros(len(points), dtype=np.int64)
        self._first: Int64s = np.full(len(points), none, dtype=np.int64)
        self._last: Int64s = np.full(len(points), none, dtype=np.int64)
        self._valued: Int64s = np.full(len(points), none, dtype=np.int64)
        self._gaps: list[list[tuple[str, str]]] = [[] for _ in points]
        self._unlisted = [0 for _ in points]

    def add(self, found: Stretch) -> None:
        """Take in samples in the order in which they were read."""
        order = np.argsort(found.point, kind="stable")
        point, at = found.point[order], found.at[order]
        has_value = found.quality[order] != Quality.BAD
        edges = np.searchsorted(point, np.arange(len(self._points) + 1))
        for n in np.unique(point).tolist():
            here = slice(edges[n], edges[n + 1])
            if not self._rows[n]:
                self._first[n] = at[here][0]
            self._rows[n] += here.stop - here.start
            self._last[n] = at[here][-1]
            self._note_gaps(n, at[here][has_value[here]])

    def _note_gaps(self, n: int, at: Int64s) -> None:
        if not len(at):
            return
        known = self._valued[n] != np.iinfo(np.int64).min
        since = np.concatenate([self._valued[n : n + 1], at]) if known else at
        for k in np.flatnonzero(np.diff(since) > self._widest[n]).tolist():
            if len(self._gaps[n]) < GAPS_MAX:
                self._gaps[n].append((told_instant(since[k]), told_instant(since[k + 1])))
            else:
                self._unlisted[n] += 1
        self._valued[n] = at[-1]

    def points(self) -> dict[str, PointSection]:
        """Return what has been found of each point."""
        return {
            name: PointSection(
                rows=int(self._rows[n]),
                first=told_instant(self._first[n]) if self._rows[n] else None,
                last=told_instant(self._last[n]) if self._rows[n] else None,
                gaps=tuple(self._gaps[n]),
                gaps_not_listed=self._unlisted[n],
            )
            for n, name in enumerate(self._points)
        }


def write(folder: Path, presence: Presence, *, rows: dict[str, int], software: str) -> None:
    """Write the manifest of every other file in the folder; `rows` are those of sample files."""
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    body = Manifest(
        version=1,
        software=software,
        rows=sum(rows.values()),
        files={
            name: FileSection(
                sha256=digest(folder / name),
                bytes=(folder / name).stat().st_size,
                rows=rows.get(name),
            )
            for name in names
            if name != NAME
        },
        points=presence.points(),
    ).model_dump(exclude_none=True, exclude_defaults=True)
    text = json.dumps(body, ensure_ascii=False, indent=1)
    (folder / NAME).write_text(text + "\n", encoding="utf-8")


def read(folder: Path) -> Manifest | None:
    """Return the manifest of a recording, if it has one. Raises `ConfigError`."""
    path = folder / NAME
    try:
        return Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: cannot be read: {e}") from e
    except ValidationError as e:
        raise ConfigError("; ".join(f"{path}: {line}" for line in told(e))) from None


def mistakes(folder: Path) -> list[str]:
    """Return where a recording is not what its manifest says; nothing where it has none."""
    try:
        found = read(folder)
    except ConfigError as e:
        return str(e).split("; ")
    if found is None:
        return []
    wrong = []
    for name, entry in found.files.items():
        path = folder / name
        if not path.is_file():
            wrong.append(f"{path}: expected a file, as {NAME} lists it, found none")
        elif (was := digest(path)) != entry.sha256:
            wrong.append(f"{path}: expected sha256 {entry.sha256}, as {NAME} says, was {was}")
    wrong += [
        f"{path}: expected no file of samples that {NAME} does not list"
        for path in sorted((folder / "samples").glob("*.parquet"))
        if path.relative_to(folder).as_posix() not in found.files
    ]
    return wrong


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
