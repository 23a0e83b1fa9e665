"""Does one dead device cost its neighbours anything? `python -m benchmarks.dead_device --json`.

Five devices of ten registers on a paced 9600-baud line are polled by our poller as it is delivered:
first all of them, then with one dead, then with it alive again. `healthy_ratio` is the rate of the
four others while it is dead, from the first second on, against theirs before. `back_in_service_s`
is how long after it lives again its first good scan comes; the worst of several returns. Once with
time to spare (0.5 s), once on a line that is asked for more than it can (`saturated`).
"""

import argparse
import asyncio
import json
import logging
import os
from typing import Any

from benchmarks.bus import Bus, serving
from gateway.core.device import Device, Reading, Scan
from gateway.core.line_timing import LineTiming
from gateway.core.poll_plan import Costs
from gateway.line_config import RTU_TIMEOUT_S
from gateway.modbus import Line
from gateway.pace import Pace
from gateway.poller import Poller
from gateway.wire import Place
from mainwatch.wall_clock import WallClock
from telemetry.point import PointId
from telemetry.register_map import Form, Register
from telemetry.sample import Quality

SEED = 9
BAUD = 9600
UNITS = (1, 2, 3, 4, 5)
DEAD = 5
REGISTERS = 10
WARM_UP_S = 3.0
BEFORE_S = 15.0
DEAD_S = 60.0
RETURNS = 2
BACK_S = 15.0


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    options = parser.parse_args()
    logging.getLogger("mainwatch").setLevel(logging.ERROR)
    figures: dict[str, Any] = {
        "seed": SEED,
        **asyncio.run(_run(500)),
        "saturated": asyncio.run(_run(200)),
        "load_average": round(os.getloadavg()[0], 2),
    }
    if options.json:
        print(json.dumps(figures))
        return
    for key, value in figures.items():
        print(f"  {key}: {value}")


async def _run(period_ms: int) -> dict[str, Any]:
    with serving(baud=BAUD, units=UNITS, turnaround_ms=8.0, seed=SEED) as bus:
        good: list[str] = []
        poller = _poller(bus, period_ms, good)
        async with asyncio.TaskGroup() as group:
            polling = group.create_task(poller.run())
            try:
                return {"period_ms": period_ms} | await _watch(bus, good, poller)
            finally:
                while not polling.done():
                    polling.cancel()
                    await asyncio.wait([polling], timeout=0.5)


async def _watch(bus: Bus, good: list[str], poller: Poller) -> dict[str, Any]:
    await asyncio.sleep(WARM_UP_S)
    before = await _rate(good, BEFORE_S)
    bus.tell(dead=[DEAD])
    while_dead = await _rate(good, DEAD_S)
    back = []
    loop = asyncio.get_running_loop()
    for _ in range(RETURNS):
        good.clear()
        bus.tell(dead=[])
        began_s = loop.time()
        async with asyncio.timeout(BACK_S):
            while f"d{DEAD}" not in good:  # noqa: ASYNC110  a list sets no event
                await asyncio.sleep(0.01)
        back.append(loop.time() - began_s)
        bus.tell(dead=[DEAD])
        await asyncio.sleep(25.0)  # until the pauses have grown to their longest
    s = poller.statistics
    return {
        "healthy_ratio": round(while_dead / before, 4),
        "healthy_per_s": [round(before, 3), round(while_dead, 3)],
        "back_in_service_s": round(max(back), 2),
        "line_used": round(s.used, 3),
        "deaths": s.devices[f"d{DEAD}"].deaths,
        "skipped": s.skipped,
    }


async def _rate(good: list[str], seconds: float) -> float:
    """Return the good scans per second of the devices that stay healthy."""
    good.clear()
    await asyncio.sleep(seconds)
    return sum(name != f"d{DEAD}" for name in good) / seconds


def _poller(bus: Bus, period_ms: int, good: list[str]) -> Poller:
    timing = LineTiming(baud=BAUD, char_bits=11, has_gaps=True)
    line = Line(
        Place(kind="rtu", serial=bus.link, timing=timing),
        name="bench",
        timeout_s=RTU_TIMEOUT_S,
        quiet_s=RTU_TIMEOUT_S,
        connect_pause_s=0.0,
        clock=WallClock(),
    )
    costs = Costs(timing=timing, turnaround_s=0.008, pause_s=0.0, count_max=125, barred=frozenset())

    async def put(scan: Scan) -> None:
        if all(s.quality is Quality.GOOD for s in scan.samples):
            good.append(scan.device)

    devices = [
        Device(
            id=f"d{unit}",
            unit=unit,
            costs=costs,
            readings=[
                Reading(
                    register=Register(name=f"r{n}", address=n, form=Form.UINT16, unit=""),
                    point=PointId(f"d{unit}/r{n}"),
                    counter=None,
                    period_ms=period_ms,
                )
                for n in range(REGISTERS)
            ],
            states={},
        )
        for unit in UNITS
    ]
    return Poller(line, devices, clock=WallClock(), put=put, pace=Pace(WallClock()))


if __name__ == "__main__":
    main()
