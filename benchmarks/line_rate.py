"""How much of a serial line do we use? `python -m benchmarks.line_rate --json`.

Our line asks a paced one without a pause, at three speeds and with short and long replies. The
limit is what the speed allows: request, reply and two silences of 3.5 characters; the device
answers without turnaround, as that would only dilute what we lose. `ratio` is exchanges per second
against that limit.
"""

import argparse
import asyncio
import json
import os
from typing import Any

from benchmarks.bus import serving
from gateway.core.device import Words
from gateway.core.line_timing import LineTiming
from gateway.core.poll_plan import Block
from gateway.modbus import Line
from gateway.wire import Place
from mainwatch.wall_clock import WallClock
from telemetry.register_map import Table

SEED = 5
SPEEDS = (9600, 19200, 115200)
COUNTS = (2, 10, 60, 125)
SECONDS = 3.0
"""How long each row asks."""


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    options = parser.parse_args()
    rows = [row for baud in SPEEDS for row in _rows(baud)]
    figures: dict[str, Any] = {
        "seed": SEED,
        "worst_ratio": min(row["ratio"] for row in rows),
        "load_average": round(os.getloadavg()[0], 2),
        "rows": rows,
    }
    if options.json:
        print(json.dumps(figures))
        return
    for row in rows:
        print(f"  {row}")
    for key in ("seed", "worst_ratio", "load_average"):
        print(f"  {key}: {figures[key]}")


def _rows(baud: int) -> list[dict[str, Any]]:
    with serving(baud=baud, units=(1,), turnaround_ms=0.0, seed=SEED) as bus:
        return asyncio.run(_ask_without_pause(bus.link, baud))


async def _ask_without_pause(link: str, baud: int) -> list[dict[str, Any]]:
    timing = LineTiming(baud=baud, char_bits=11, has_gaps=True)
    line = Line(
        Place(kind="rtu", serial=link, timing=timing),
        name="bench",
        timeout_s=0.5,
        quiet_s=0.5,
        connect_pause_s=0.0,
        clock=WallClock(),
    )
    loop = asyncio.get_running_loop()
    found = []
    for count in COUNTS:
        block = Block(table=Table.HOLDING, address=0, count=count, registers=())
        limit = 1 / (timing.wire_s(block.table, count) + 2 * timing.gap_s)
        times = max(20, round(SECONDS * limit))
        await line.read(1, block)
        failed = 0
        began_s = loop.time()
        for _ in range(times):
            failed += not isinstance(await line.read(1, block), Words)
        rate = (times - failed) / (loop.time() - began_s)
        found.append(
            {
                "baud": baud,
                "registers": count,
                "exchanges": times,
                "failed": failed,
                "limit_per_s": round(limit, 2),
                "per_s": round(rate, 2),
                "ratio": round(rate / limit, 4),
            }
        )
    line.close()
    return found


if __name__ == "__main__":
    main()
