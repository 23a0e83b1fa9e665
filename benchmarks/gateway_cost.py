"""What a point costs a gateway, from register to acknowledgement: `-m benchmarks.gateway_cost`.

The gateway is the real program in a process of its own, told by its own file. Beside it run a
Modbus TCP field (60 float registers a device, every answer its own number), an acknowledging host
and mosquitto. CPU is the gateway's user and system time over a stretch of steady running; delivered
is what the host counted by offset. Nothing is drawn by chance.

`cost` runs at 6,000 points/s, `rate` asks for 24,000. `capacity` is the most that was delivered
while more and more was asked, until less came than was asked; `overload` asks for twice of that,
and its ratio is what it delivered of the capacity. Field, broker and host share the machine's cores
with the gateway. ThingsBoard IoT Gateway runs on the same field and load in the same run, from an
environment of its own in the temporary folder; where it cannot be installed the JSON says so.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from benchmarks import gateway_cost_peer
from benchmarks.gateway_cost_world import HOST, Broker, Field, Host

POINTS = 60
PERIOD_S = 0.2
WARM_S = 8.0
STEP, DEVICES_MAX = 80, 480
KEPT_UP = 0.95


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    parser.add_argument("--for", dest="seconds", type=float, default=20.0, help="of each stage")
    parser.add_argument("--overload-for", type=float, default=120.0)
    parser.add_argument("--without-peer", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mainwatch-bench-") as folder:
        figures = _measure(Path(folder), options)
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))


def _measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    cost = _stage(folder / "cost", devices=20, seconds=options.seconds)
    rate = _stage(folder / "rate", devices=STEP, seconds=options.seconds)
    capacity = _capacity(folder, rate, seconds=options.seconds)
    devices = round(2 * capacity * PERIOD_S / POINTS)
    overload = _stage(folder / "overload", devices=devices, seconds=options.overload_for)
    figures: dict[str, Any] = {
        "seed": None,
        "cpu_us_per_point": cost["cpu_us_per_point"],
        "points_per_s": rate["points_per_s"],
        "rss_mb": rate["rss_mb"],
        "cost": cost,
        "rate": rate,
        "capacity_points_per_s": capacity,
        "overload": {
            **overload,
            "delivered_ratio": round(overload["points_per_s"] / capacity, 3),
        },
        "load_1min": round(psutil.getloadavg()[0], 2),
        "peers": {},
    }
    if options.without_peer:
        figures["peers"]["thingsboard"] = {"not_run": "--without-peer"}
    else:
        figures["peers"]["thingsboard"] = gateway_cost_peer.measure(
            folder / "thingsboard",
            points=POINTS,
            seconds=options.seconds,
            warm_s=3 * WARM_S,
            watch=watch,
        )
    return figures


def _capacity(folder: Path, rate: dict[str, Any], *, seconds: float) -> int:
    """Return the most points a second that came, asking for more until less came than asked."""
    reached, best = rate, int(rate["points_per_s"])
    for devices in range(2 * STEP, DEVICES_MAX + 1, STEP):
        if reached["points_per_s"] < KEPT_UP * reached["asked_points_per_s"]:
            break
        reached = _stage(folder / f"capacity-{devices}", devices=devices, seconds=seconds)
        best = max(best, int(reached["points_per_s"]))
    return best


def _stage(folder: Path, *, devices: int, seconds: float) -> dict[str, Any]:
    """Run the gateway on so many devices and return what it delivered and took for it."""
    folder.mkdir(parents=True)
    with Broker(folder) as broker, Field(devices, POINTS) as field, Host(broker.port) as host:
        path = write_files(folder, field, broker.port)
        command = [sys.executable, "-m", "mainwatch", "gateway", "--config", str(path)]
        with (folder / "gateway.log").open("wb") as log:
            process = subprocess.Popen(
                [*command, "--devices", str(folder / "maps")], stdout=log, stderr=log
            )
        try:
            while not host.counted():
                if process.poll() is not None:
                    raise SystemExit((folder / "gateway.log").read_text())
                threading.Event().wait(0.2)
            threading.Event().wait(WARM_S)
            figures = watch(process.pid, host.counted, seconds)
        finally:
            process.terminate()
            process.wait(30)
        asked = devices * POINTS / PERIOD_S
        return {"asked_points_per_s": round(asked), **figures, "doubled": host.doubled()}


def watch(pid: int, counted: Callable[[], int], seconds: float) -> dict[str, Any]:
    """Return rate, cost and memory of a process over a stretch of steady running."""
    process = psutil.Process(pid)
    before_cpu, before = process.cpu_times(), counted()
    began = time.perf_counter()
    rss = [process.memory_info().rss]
    while time.perf_counter() - began < seconds:
        threading.Event().wait(1.0)
        rss.append(process.memory_info().rss)
    took = time.perf_counter() - began
    cpu, n = process.cpu_times(), counted() - before
    spent_s = cpu.user + cpu.system - before_cpu.user - before_cpu.system
    third = max(1, len(rss) // 3)
    growth = sum(rss[-third:]) / third - sum(rss[:third]) / third
    return {
        "points_per_s": round(n / took),
        "cpu_share": round(spent_s / took, 3),
        "cpu_us_per_point": round(1e6 * spent_s / n, 2) if n else None,
        "rss_mb": round(max(rss) / 1e6, 1),
        "rss_growth_mb": round(growth / 1e6, 2),
    }


def write_files(folder: Path, field: Field, broker: int) -> Path:
    """Write the register map and the gateway's file; return the latter."""
    maps = folder / "maps"
    maps.mkdir()
    sheet = ['model = "bench"', 'description = "60 floats"']
    for n in range(POINTS):
        sheet += ["[[registers]]", f'name = "p{n:02}"', f"address = {2 * n}"]
        sheet += ['form = "float32"', 'unit = "kPa"']
    (maps / "bench.toml").write_text("\n".join(sheet))
    data = folder / "data"
    data.mkdir()
    lines = ["[gateway]", 'id = "gw-bench"', 'group = "bench"', f'data = "{data}"']
    lines += ["[clock]", 'trust = "always"', "[broker]", f'host = "{HOST}"', f"port = {broker}"]
    for n, port in enumerate(field.ports):
        lines += ["[[line]]", f'name = "line-{n}"', f'host = "{HOST}"', f"port = {port}"]
        for unit in field.units(n):
            lines += ["[[line.device]]", f'id = "d-{n}-{unit}"', f"unit = {unit}"]
            lines += ['map = "bench"', 'zone = "north"', f"period_s = {PERIOD_S}"]
            for k in range(POINTS):
                lines.append("[[line.device.point]]")
                lines.append(f'register = "p{k:02}"\npoint = "d-{n}-{unit}/p{k:02}"')
    path = folder / "gateway.toml"
    path.write_text("\n".join(lines))
    return path


if __name__ == "__main__":
    main()
