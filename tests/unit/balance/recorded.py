"""The town's hours as quarter-hourly samples: in a recording's folder, and in a historian."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from server.balance.hours import Hours
from server.engine.events import Imported, RegistryChanged
from server.engine.registry import Registry
from server.history.historian import Historian
from telemetry.instant import HOUR_MS, MINUTE_MS, Instant
from tests.unit.balance.town import AREA_M2, TIMEZONE, registry

POINT_OF_LEVEL = "tower/level"
STEPS = 4
STEP_MS = HOUR_MS // STEPS

UNITS = {"flow": "m3/h", "volume": "m3", "level": "m", "pressure": "kPa"}

Row = tuple[str, int, float, int]


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Where the same samples lie, and from when to when."""

    recording: Path
    historian: Path
    begin: Instant
    end: Instant


def record(folder: Path, hours: Hours, *, known: Registry | None = None) -> Recorded:
    """Write the samples of some hours down both ways."""
    rows, known = samples(hours), known or registry()
    recording, historian = folder / "recording", folder / "historian.db"
    write_recording(recording, hours, rows)
    write_historian(historian, hours, rows, known)
    return Recorded(recording=recording, historian=historian, begin=hours.begin, end=hours.end)


def samples(hours: Hours) -> list[Row]:
    """Return four samples an hour of each point, in the order of time."""
    rows: list[Row] = []
    for name, found in hours.points.items():
        part = np.arange(STEPS) / STEPS
        if found.edge is not None:
            value = found.edge[:-1, None] + np.diff(found.edge)[:, None] * part
        elif name.endswith("/volume"):
            value = found.low[:, None] + (found.high - found.low)[:, None] * part / part[-1]
        else:
            value = np.repeat(found.mean[:, None], STEPS, axis=1)
        at = (hours.at[:, None] + np.arange(STEPS) * STEP_MS).ravel().tolist()
        told = zip(at, value.ravel().tolist(), strict=True)
        rows += [(name, a, v, 192) for a, v in told if np.isfinite(v)]
    return sorted(rows, key=lambda row: (row[1], row[0]))


def write_historian(path: Path, hours: Hours, rows: list[Row], known: Registry) -> None:
    historian = Historian(path)
    historian.write(
        [
            RegistryChanged(at=hours.begin, registry=known),
            Imported(at=hours.end, source="town", rows=tuple(rows)),
        ],
        through=2,
    )
    historian.close()


def write_recording(folder: Path, hours: Hours, rows: list[Row]) -> None:
    (folder / "samples").mkdir(parents=True)
    last = np.datetime64(hours.end - 15 * MINUTE_MS, "ms")
    points = "".join(
        f'[[point]]\nid = "{name}"\nzone = "north"\nquantity = "{name.split("/")[1]}"\n'
        f'unit = "{UNITS[name.split("/")[1]]}"\n{_place(name)}\n'
        for name in hours.points
    )
    (folder / "recording.toml").write_text(
        f'[recording]\nversion = 1\nname = "town"\ntimezone = "{TIMEZONE}"\ncalendar = "none"\n'
        f"from = {np.datetime64(hours.begin, 'ms')}Z\nto = {last}Z\ncadence_s = 900\n\n"
        '[[zone]]\nid = "north"\ninflow = [{ point = "inlet/flow", sign = 1 }]\n'
        f'storage = [{{ point = "{POINT_OF_LEVEL}", area_m2 = {AREA_M2} }}]\n\n{points}',
        encoding="utf-8",
    )
    stamp = pa.timestamp("ms", "UTC")
    table = pa.table(
        {
            "at": pa.array([r[1] for r in rows], stamp),
            "point": pa.array([r[0] for r in rows]).dictionary_encode(),
            "value": pa.array([r[2] for r in rows], pa.float64()),
            "quality": pa.array([r[3] for r in rows], pa.uint8()),
        }
    )
    pq.write_table(table, folder / "samples" / "all.parquet")


def _place(name: str) -> str:
    """Return where a point of the town lies, as its registry has it."""
    known = next(p for p in registry().points.values() if p.id == name)
    return "" if known.x is None else f"x = {known.x}\ny = {known.y}"
