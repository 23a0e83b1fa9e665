"""How fast is a recording read, written and checked? `python -m benchmarks.recordings [RECORDING]`.

Without a recording, a year of 40 points at 5 minutes is made up from the seed: 4.2 M samples of a
12-bit converter, as a month a file. Reading is every column of every sample in house units and in
the order of arrival, the best of three; writing is sorting, compressing, hashing and all of the
manifest; checking is every row, label and hash again.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from server.history.recording import Recording, open_recording
from server.history.recording_check import findings
from server.history.recording_toml import Description
from server.history.recording_writer import RecordingWriter
from server.history.stretch import Stretch
from telemetry.instant import DAY_MS, MINUTE_MS

SEED = 4
POINTS = 40
DAYS = 365
BEGIN = 20_500 * DAY_MS


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", nargs="?", type=Path, metavar="RECORDING")
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mainwatch-bench-") as name:
        figures = measure(options.recording, Path(name))
    if options.json:
        print(json.dumps(figures))
        return
    for key, value in figures.items():
        print(f"  {key}: {value}")


def measure(given: Path | None, folder: Path) -> dict[str, Any]:
    if given is None:
        given = folder / "made-up"
        write(given, made_up(), town())
    found = open_recording(given)
    write_s = timed(lambda: write(folder / "copy", parts_of(found), found.description))
    read_s = min(timed(lambda: sum(map(len, parts_of(open_recording(given))))) for _ in range(3))
    check_s = timed(lambda: findings(folder / "copy"))
    size = sum(f.stat().st_size for f in (folder / "copy" / "samples").iterdir())
    return {
        "seed": SEED,
        "rows": found.rows,
        "read_s": round(read_s, 3),
        "read_per_s": round(found.rows / read_s),
        "write_per_s": round(found.rows / write_s),
        "check_s": round(check_s, 3),
        "bytes_per_sample": round(size / found.rows, 2),
    }


def timed(work: Callable[[], object]) -> float:
    began = perf_counter()
    work()
    return perf_counter() - began


def parts_of(found: Recording) -> Iterator[Stretch]:
    return found.stretches(with_marks=False)


def write(folder: Path, parts: Iterator[Stretch], description: Description) -> None:
    with RecordingWriter(folder, software="benchmark") as writer:
        for part in parts:
            writer.add(part)
        head = description.recording.model_copy(update={"network": None})
        writer.finish(description.model_copy(update={"recording": head}))


def town() -> Description:
    point = {"zone": "town", "quantity": "pressure", "unit": "kPa"}
    head = {"version": 1, "name": "made up", "timezone": "Asia/Shanghai", "cadence_s": 300}
    span = {"from": "2026-02-16T00:00:00Z", "to": "2027-02-16T00:00:00Z"}
    points = [{"id": f"road-{n:02d}/pressure"} | point for n in range(POINTS)]
    return Description.model_validate(
        {"recording": head | span, "zone": [{"id": "town"}], "point": points}
    )


def made_up() -> Iterator[Stretch]:
    chance = np.random.default_rng(SEED)
    for day in range(DAYS):
        instants = np.arange(BEGIN + day * DAY_MS, BEGIN + (day + 1) * DAY_MS, 5 * MINUTE_MS)
        at = np.repeat(instants.astype(np.int64), POINTS)
        wave = 280 + 20 * np.sin(2 * np.pi * (at % DAY_MS) / DAY_MS)
        value = np.rint((wave + chance.normal(0, 0.4, len(at))) * 4095 / 1600) * 1600 / 4095
        yield Stretch(
            at=at,
            point=np.tile(np.arange(POINTS, dtype=np.int32), len(instants)),
            value=value,
            quality=np.full(len(at), 192, dtype=np.uint8),
            arrived_at=at,
        )


if __name__ == "__main__":
    main()
