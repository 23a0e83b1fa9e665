"""Is a serial line of the simulator as slow as a real one? `python -m benchmarks.sim_pacing`.

A master in a process of its own asks a paced line without a pause, at every speed and with short
and long replies, and compares what an exchange takes with what the line's speed allows. The device
answers without turnaround, as that would only dilute the error. `worst_error` is the
largest deviation of a row's mean or median exchange from the computed line time, whichever is
worse; `worst_mean_error` and `worst_median_error` tell them apart, as a busy machine spoils the
mean. `worst_jitter` is what one exchange in twenty exceeds.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from firmware_sim.core.line import Device
from firmware_sim.core.noise import key_of
from firmware_sim.core.rtu import Timing, framed
from firmware_sim.serial_bus import SerialLine
from telemetry.device_sheet import Behaviour
from telemetry.register_map import Form, Register, RegisterMap

SEED = 3
SPEEDS = (9600, 19200, 38400, 57600, 115200)
COUNTS = (2, 10, 60, 125)
TURNAROUND_MS = 0.0
SECONDS = 1.5
"""How long each row asks."""


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    parser.add_argument("--master", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.master:
        _master(*options.master)
        return
    rows = asyncio.run(_rows())
    figures: dict[str, Any] = {
        "seed": SEED,
        "worst_error": max(max(row["error"], row["mean_error"]) for row in rows),
        "worst_median_error": max(row["error"] for row in rows),
        "worst_mean_error": max(row["mean_error"] for row in rows),
        "worst_jitter": max(row["jitter"] for row in rows),
        "rows": rows,
    }
    if options.json:
        print(json.dumps(figures))
        return
    for row in rows:
        print(f"  {row}")
    for key in ("seed", "worst_error", "worst_median_error", "worst_mean_error", "worst_jitter"):
        print(f"  {key}: {figures[key]}")


async def _rows() -> list[dict[str, Any]]:
    found = []
    with tempfile.TemporaryDirectory(prefix="mainwatch-bench-") as folder:
        for baud in SPEEDS:
            line = SerialLine(
                name="bench",
                link=Path(folder) / f"line-{baud}",
                baud=baud,
                bits_per_char=11,
                devices=[Device(id="d", unit=1, sheet=_sheet())],
                key=key_of(SEED, "bench"),
            )
            await line.start(key="line[0]")
            try:
                found += [await _row(line, baud, count) for count in COUNTS]
            finally:
                await line.stop()
    return found


async def _row(line: SerialLine, baud: int, count: int) -> dict[str, Any]:
    expected_s = Timing(baud=baud).exchange_s(8, 5 + 2 * count, turnaround_s=TURNAROUND_MS / 1000)
    times = max(20, round(SECONDS / expected_s))
    command = [sys.executable, "-m", "benchmarks.sim_pacing", "--master"]
    command += [line.where, str(count), str(times)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    said, _ = await process.communicate()
    took_s: list[float] = json.loads(said)
    took_s.sort()
    middle_s, mean_s = statistics.median(took_s), statistics.fmean(took_s)
    late_s = took_s[int(0.95 * len(took_s))]
    return {
        "baud": baud,
        "registers": count,
        "exchanges": len(took_s),
        "expected_ms": round(1000 * expected_s, 3),
        "median_ms": round(1000 * middle_s, 3),
        "mean_ms": round(1000 * mean_s, 3),
        "error": round(abs(middle_s / expected_s - 1), 5),
        "mean_error": round(abs(mean_s / expected_s - 1), 5),
        "jitter": round(late_s / expected_s - 1, 5),
    }


def _sheet() -> RegisterMap:
    registers = tuple(
        Register(name=f"r{n}", address=n, form=Form.UINT16, unit="kPa") for n in range(125)
    )
    behaviour = Behaviour(turnaround_ms=TURNAROUND_MS)
    return RegisterMap(model="bench", description="", registers=registers, behaviour=behaviour)


def _master(path: str, count: str, times: str) -> None:
    """Ask without a pause; print how long each exchange took, from reply to reply."""
    request = framed(1, bytes((3, 0, 0, 0, int(count))))
    length = 5 + 2 * int(count)
    port = os.open(path, os.O_RDWR | os.O_NOCTTY)
    ends = []
    for _ in range(int(times) + 1):
        os.write(port, request)
        got = 0
        while got < length:
            got += len(os.read(port, 512))
        ends.append(time.perf_counter())
    os.close(port)
    print(json.dumps([b - a for a, b in pairwise(ends)]))


if __name__ == "__main__":
    main()
