"""How fast is history written, read, and how small does it lie? `python -m benchmarks.historian`.

A thousand points of 25 gateways, 30 days at 5 minutes; values of a 12-bit converter over 1,600 kPa,
jitter of 0 to 49 ms, one scan of a hundred held back for up to 6 hours. Each commit is 5 scans. The
clock runs while `Historian.write` works and until what each day has left to seal is sealed; making
the samples is not counted. `bytes_per_sample` is everything on disk at the end, roll-ups and the
days that are still hot included. A plain SQLite table takes in the same rows beside it. `--hertz`
plays an hour and a half of the thousand points each second instead; the seed is printed.
"""

import argparse
import json
import sqlite3
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from server.engine.effects import Accepted
from server.engine.events import RegistryChanged
from server.engine.registry import Point, Registry, Zone
from server.engine.samples import Samples
from server.history.historian import Historian, Reader
from telemetry.instant import DAY_MS, HOUR_MS, Instant
from telemetry.point import PointId, ZoneId
from telemetry.sample import Quality, Reason, TimeQuality
from telemetry.units import Quantity

SEED = 4
START = 20_500 * DAY_MS
GATEWAYS = 25
POINTS_EACH = 40
STEP_KPA = 1_600 / 4_095
NAMES = [PointId(f"road-{n:04d}/pressure") for n in range(GATEWAYS * POINTS_EACH)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How much is played, and how often each point speaks."""

    steps: int
    every_ms: int
    scans_per_write: int = 5


def registry() -> Registry:
    zone = Zone(
        id=ZoneId("z"),
        name_zh="区",
        name_en="Zone",
        timezone="Asia/Shanghai",
        calendar="cn",
        inflow=(),
    )
    points = [
        Point(
            id=name,
            zone=zone.id,
            quantity=Quantity.PRESSURE,
            name_zh=name,
            name_en=name,
            period_ms=300_000,
            low=280.0,
        )
        for name in NAMES
    ]
    return Registry(zones={zone.id: zone}, points={p.id: p for p in points})


def writes(shape: Shape) -> Iterator[list[Accepted]]:
    """Yield what each commit takes in: every gateway's scans, and those that come late."""
    chance = np.random.default_rng(SEED)
    level = chance.uniform(220, 480, len(NAMES))
    late: list[tuple[int, Accepted]] = []
    parts: list[Accepted] = []
    for step in range(shape.steps):
        at = START + step * shape.every_ms
        wave = 15 * np.sin(2 * np.pi * (at % DAY_MS) / DAY_MS)
        values = np.round((level + wave + chance.normal(0, 1.0, len(NAMES))) / STEP_KPA) * STEP_KPA
        instants = at + chance.integers(0, 50, len(NAMES))
        held = chance.random(GATEWAYS) < 0.01
        for n in range(GATEWAYS):
            mine = slice(n * POINTS_EACH, (n + 1) * POINTS_EACH)
            delay = int(chance.integers(HOUR_MS // 2, 6 * HOUR_MS)) if held[n] else 0
            part = Accepted(
                at=Instant(at + delay + int(chance.integers(200, 900))),
                gateway=f"gw-{n:02d}",
                epoch=7_000_000 + n,
                first_offset=step * POINTS_EACH,
                samples=Samples(
                    points=tuple(NAMES[mine]),
                    at=tuple(instants[mine].tolist()),
                    values=tuple(values[mine].tolist()),
                    qualities=(Quality.GOOD,) * POINTS_EACH,
                    reasons=(Reason.NONE,) * POINTS_EACH,
                    time_qualities=(TimeQuality.SYNCHRONISED,) * POINTS_EACH,
                ),
                is_historical=held[n],
            )
            if held[n]:
                late.append((part.at, part))
            else:
                parts.append(part)
        if (step + 1) % shape.scans_per_write == 0 or step + 1 == shape.steps:
            is_last = step + 1 == shape.steps
            parts += [p for due, p in late if due <= at or is_last]
            late = [(due, p) for due, p in late if due > at and not is_last]
            yield parts
            parts = []


def fill(path: Path, shape: Shape) -> tuple[int, float]:
    """Write everything; return how many samples, and the seconds that it took."""
    historian = Historian(path)
    historian.write([RegistryChanged(at=Instant(START), registry=registry())], through=0)
    rows, seconds, day = 0, 0.0, START // DAY_MS
    for through, parts in enumerate(writes(shape), 1):
        began = perf_counter()
        historian.write(parts, through=through)
        if parts and parts[-1].at // DAY_MS != day:
            day = parts[-1].at // DAY_MS
            historian.settle()
        seconds += perf_counter() - began
        rows += sum(len(p.samples) for p in parts)
    began = perf_counter()
    historian.settle()
    historian.close()
    return rows, seconds + perf_counter() - began


def median_ms(calls: Sequence[Callable[[], Any]]) -> float:
    """Return the median of what some calls take; the first of them is not counted."""
    taken = []
    for call in calls:
        began = perf_counter()
        call()
        taken.append((perf_counter() - began) * 1_000)
    return round(statistics.median(taken[1:]), 2)


def queries(path: Path, shape: Shape) -> dict[str, Any]:
    """Return what the readers take, each query with a reader that is already open."""
    chance = np.random.default_rng(SEED + 1)
    end = START + shape.steps * shape.every_ms
    some = [NAMES[n] for n in chance.choice(len(NAMES), 50, replace=False)]
    with closing(Reader(path)) as reader:
        until = date(1970, 1, 1) + timedelta(days=end // DAY_MS)
        week = max(START, end - 7 * DAY_MS)
        found = {
            "last_all_ms": median_ms([reader.last_all] * 21),
            "range_7d_ms": median_ms(
                [partial(reader.series, p, Instant(week), Instant(end), 1_000) for p in some]
            ),
            "night_min_ms": median_ms(
                [lambda: reader.night_minimum(some, until, 30) for _ in range(6)]
            ),
        }
        began = perf_counter()
        scanned = sum(len(columns) for columns in reader.scan(marked=True))
        found["scan_per_s"] = round(scanned / (perf_counter() - began))
        found["scanned"] = scanned
    return found


def plain_sqlite(path: Path, shape: Shape) -> dict[str, Any]:
    """Do the same with one table, a row for each sample."""
    rows, seconds = 0, 0.0
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute(
            "CREATE TABLE sample (at, point, source, offset, value, quality, arrived_at,"
            " PRIMARY KEY (at, point, source, offset)) WITHOUT ROWID"
        )
        number = {name: n for n, name in enumerate(NAMES)}
        for parts in writes(shape):
            began = perf_counter()
            db.execute("BEGIN IMMEDIATE")
            for p in parts:
                db.executemany(
                    "INSERT OR IGNORE INTO sample VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [
                        (at, number[point], p.epoch, p.first_offset + k, value, int(quality), p.at)
                        for k, (at, point, value, quality) in enumerate(
                            zip(
                                p.samples.at,
                                p.samples.points,
                                p.samples.values,
                                p.samples.qualities,
                                strict=True,
                            )
                        )
                    ],
                )
            db.execute("COMMIT")
            seconds += perf_counter() - began
            rows += sum(len(p.samples) for p in parts)
        end = START + shape.steps * shape.every_ms
        query = "SELECT at, value FROM sample WHERE at >= ? AND at < ? AND point = ?"
        week = [partial(_rows, db, query, (end - 7 * DAY_MS, end, n)) for n in range(6)]
        range_ms = median_ms(week)
    return {
        "sqlite_insert_per_s": round(rows / seconds),
        "sqlite_range_7d_ms": range_ms,
        "sqlite_bytes_per_sample": round(path.stat().st_size / rows, 2),
    }


def _rows(db: sqlite3.Connection, query: str, given: tuple[int, ...]) -> list[Any]:
    return db.execute(query, given).fetchall()


def size_of(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--hertz", action="store_true", help="1 Hz for an hour and a half")
    parser.add_argument("--no-peer", action="store_true", help="without the plain SQLite table")
    options = parser.parse_args()
    shape = Shape(steps=options.days * 288, every_ms=300_000)
    if options.hertz:
        shape = Shape(steps=5_400, every_ms=1_000)
    with tempfile.TemporaryDirectory(prefix="mainwatch-bench-") as name:
        folder = Path(name) / "ours"
        folder.mkdir()
        rows, seconds = fill(folder / "historian.db", shape)
        figures: dict[str, Any] = {
            "seed": SEED,
            "rows": rows,
            "insert_per_s": round(rows / seconds),
            **queries(folder / "historian.db", shape),
            "bytes_per_sample": round(size_of(folder) / rows, 2),
            "sealed_bytes_per_sample": round(size_of(folder / "historian") / rows, 2)
            if (folder / "historian").exists()
            else None,
        }
        if not options.no_peer:
            figures |= plain_sqlite(Path(name) / "plain.db", shape)
    if options.json:
        print(json.dumps(figures))
        return
    for key, value in figures.items():
        print(f"  {key}: {value}")


if __name__ == "__main__":
    main()
