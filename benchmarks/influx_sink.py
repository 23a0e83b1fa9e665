"""The InfluxDB sink while its server is away, and after: `python -m benchmarks.influx_sink`.

This process writes a historian with its queue; the sink is the process that it is in service. First
nobody listens: how much memory does it take? Then VictoriaMetrics (Debian's package) starts: how
many lines a second reach it, from the queue and, with a queue far too small, from the historian?
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from benchmarks.intake_process import free_port, wait_for_port
from server.engine.effects import Accepted
from server.engine.samples import Samples
from server.history.historian import Historian
from server.history.sink_ledger import done_in, told_in
from server.history.sink_queue import SinkQueue
from server.history.sink_source import Source
from telemetry.instant import Instant
from telemetry.point import PointId
from telemetry.sample import Quality, Reason, TimeQuality

BEGIN = 1_790_000_000_000
BATCH = 5_000
AWAY_S = 20.0
"""How long nobody listens."""


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--points", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="where the files are kept")
    options = parser.parse_args()
    if shutil.which("victoria-metrics") is None:
        raise SystemExit("benchmarks.influx_sink: needs victoria-metrics, as Debian has it")
    figures: dict[str, Any] = {"samples": options.samples, "seed": options.seed}
    for name, queue_mb in (("queued", 1_000.0), ("owed", 0.1)):
        with tempfile.TemporaryDirectory(prefix="mainwatch-sink-", dir=options.folder) as folder:
            figures |= _round(options, Path(folder), name, queue_mb)
    if options.json:
        print(json.dumps(figures))
        return
    for key, value in figures.items():
        print(f"  {key}: {value}")


def _round(
    options: argparse.Namespace, folder: Path, name: str, queue_mb: float
) -> dict[str, float]:
    port = free_port()
    config = folder / "server.toml"
    config.write_text(
        f'[server]\ndata = "{folder}"\ngroups = ["demo"]\n[influx]\n'
        f'url = "http://127.0.0.1:{port}"\nbucket = "water"\n',
        encoding="utf-8",
    )
    historian = Historian(folder / "historian.db")
    queue = SinkQueue(target="bench", bytes_max=round(queue_mb * 1e6), ledger=folder / "influx.db")
    historian.write([], through=0, also=partial(queue.open, now=Instant(0)))
    beside, pacing = 0.0, threading.Event()

    def timed(*arguments: Any) -> None:
        nonlocal beside
        began = time.perf_counter()
        queue.enqueue(*arguments)
        beside += time.perf_counter() - began

    historian.accompany(timed)
    with _sink(config) as sink:
        for through, part in enumerate(_parts(options), 1):
            historian.write([part], through=through)
        size, n = historian._db.execute(  # noqa: SLF001  what is measured
            "SELECT COALESCE(SUM(bytes), 0), COALESCE(SUM(n), 0) FROM sink_queue"
        ).fetchone()
        pacing.wait(AWAY_S)
        away_mb = sink.memory_info().rss / 1e6
        with _victoria(folder / "vm", port, folder / "vm.log"):
            cpu = sum(sink.cpu_times()[:2])
            took, peak_mb = _watch(folder, sink, options.samples)
            cpu = sum(sink.cpu_times()[:2]) - cpu
            stored = _inserted(port)
    historian.close()
    return {
        f"{name}_lines_per_s": round(options.samples / took),
        f"{name}_sink_cpu_us_per_line": round(cpu / options.samples * 1e6, 2),
        f"{name}_beside_us_per_sample": round(beside / options.samples * 1e6, 2),
        f"{name}_bytes_per_sample": round(size / n, 1) if n else 0.0,
        f"{name}_rss_away_mb": round(away_mb, 1),
        f"{name}_rss_peak_mb": round(peak_mb, 1),
        f"{name}_fields_stored": stored,
    }


def _parts(options: argparse.Namespace) -> Iterator[Accepted]:
    """Yield scans of all points, five seconds apart, of a noisy 12-bit transmitter."""
    chance = random.Random(options.seed)
    points = [PointId(f"place-{n}/pressure") for n in range(options.points)]
    for first in range(0, options.samples, BATCH):
        numbers = range(first, min(first + BATCH, options.samples))
        at = [Instant(BEGIN + k // options.points * 5_000) for k in numbers]
        n = len(at)
        yield Accepted(
            at=at[-1],
            gateway="gw-01",
            epoch=1,
            first_offset=first,
            samples=Samples(
                points=tuple(points[k % options.points] for k in numbers),
                at=tuple(at),
                values=tuple(round(chance.gauss(1_100, 8)) * 0.390625 for _ in range(n)),
                qualities=(Quality.GOOD,) * n,
                reasons=(Reason.NONE,) * n,
                time_qualities=(TimeQuality.SYNCHRONISED,) * n,
            ),
            is_historical=False,
        )


def _watch(folder: Path, sink: psutil.Process, samples: int) -> tuple[float, float]:
    """Wait until everything is delivered: how long from the first batch on, and the most memory.

    Before the first batch the sink may rest for a minute, as it does after each failure.
    """
    source, peak, pacing = Source(folder / "historian.db"), 0.0, threading.Event()
    began: float | None = None
    try:
        while True:
            peak = max(peak, sink.memory_info().rss / 1e6)
            lag = source.lag(done_in(folder / "influx.db"))
            told = told_in(folder / "influx.db")
            if began is None and told and told.state == "delivering":
                began = time.perf_counter()
            if not lag.rows and not lag.is_reading_back and told and told.delivered >= samples:
                return time.perf_counter() - (began or 0.0), peak
            pacing.wait(0.02)
    finally:
        source.close()


def _inserted(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith('vm_rows_inserted_total{type="influx"}'):
                return int(float(line.split()[-1]))
    return 0


@contextmanager
def _sink(config: Path) -> Iterator[psutil.Process]:
    process = subprocess.Popen(
        [sys.executable, "-m", "mainwatch", "server", "--config", str(config), "--part", "influx"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def _victoria(folder: Path, port: int, log: Path) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                "victoria-metrics",
                f"-storageDataPath={folder}",
                f"-httpListenAddr=127.0.0.1:{port}",
                "-retentionPeriod=100y",
            ],
            stdout=out,
            stderr=out,
        )
    try:
        wait_for_port(port)
        yield
    finally:
        process.terminate()
        process.wait(30)


if __name__ == "__main__":
    main()
