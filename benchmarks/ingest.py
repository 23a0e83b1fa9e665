"""How much the server takes in, from MQTT to acknowledgement: `python -m benchmarks.ingest --json`.

A private mosquitto, the intake as the process it is in service (journal, engine and historian on
the disk of --folder), and this process as many gateways, each with a connection of its own. Every
message is one scan of one device; its points are in the registry, so the detectors see them. The
messages are offered on a fixed schedule, whatever the server does; the delay is from the
publication of a message to the receipt of the acknowledgement that covers it.
"""

import argparse
import json
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil

from benchmarks.intake_process import (
    free_port,
    held,
    intake_command,
    started,
    wait_for_port,
    write_config,
)
from benchmarks.mqtt_fleet import Fleet
from mainwatch import broker
from mainwatch.wall_clock import WallClock
from server.history.historian import Reader
from telemetry.instant import Instant

WARM_S = 3.0
"""Offered before the figures begin: births, and the looks of the scans, are learnt then."""

DRAIN_S = 120


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    parser.add_argument("--gateways", type=int, default=50)
    parser.add_argument("--points", type=int, default=100, help="of each gateway's device")
    parser.add_argument("--rate", type=float, default=110_000, help="samples offered a second")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--folder", type=Path, help="where the server keeps its files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mainwatch-ingest-", dir=options.folder) as folder:
        figures = _run(options, Path(folder))
    if options.json:
        print(json.dumps(figures))
        return
    for key, value in figures.items():
        print(f"  {key}: {value}")


def _run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    port = free_port()
    with started(broker.command(broker.MOSQUITTO, port=port, folder=folder)[1]) as mosquitto:
        wait_for_port(port)
        write_config(folder, port, gateways=options.gateways, points=options.points)
        with started(intake_command(folder)) as intake:
            assert intake.stdout is not None
            intake.stdout.readline()
            fleet = Fleet(
                port, gateways=options.gateways, points=options.points, seconds=time.perf_counter
            )
            fleet.online.wait(30)
            with closing(fleet):
                figures = _offer(options, fleet, [intake.pid, mosquitto.pid])
            figures |= _history(folder, fleet)
            intake.terminate()
            intake.wait(60)
    return figures


def _offer(options: argparse.Namespace, fleet: Fleet, pids: list[int]) -> dict[str, Any]:
    clock = WallClock()
    for gateway in fleet.gateways:
        gateway.link.socket.sendall(gateway.births(clock.now()))
    pause = options.gateways * options.points / options.rate
    rounds = round((WARM_S + options.seconds) / pause)
    warm = round(WARM_S / pause)
    begin_at, packets = _encoded(fleet, rounds, pause, clock)
    processes = [psutil.Process(pid) for pid in [*pids, psutil.Process().pid]]
    pacing = threading.Event()
    pacing.wait(max(0, begin_at - clock.now()) / 1000)
    begun = time.perf_counter()
    measured_from, busy = begun, [0.0] * len(processes)
    for n in range(rounds):
        if n == warm:
            measured_from = time.perf_counter()
            busy = [_cpu(p) for p in processes]
            with fleet.progress:
                fleet.delays.clear()
        for k, gateway in enumerate(fleet.gateways):
            due = begun + (n + k / len(fleet.gateways)) * pause
            if (wait := due - time.perf_counter()) > 0.001:
                pacing.wait(wait)
            gateway.sent = (n + 1) * gateway.points
            gateway.under_way.append((gateway.sent, time.perf_counter()))
            gateway.link.socket.sendall(packets[k][n])
    offered_s = time.perf_counter() - measured_from
    with fleet.progress:
        done = fleet.progress.wait_for(
            lambda: all(g.acked == g.sent for g in fleet.gateways), DRAIN_S
        )
    took_s = time.perf_counter() - measured_from
    used = [_cpu(p) - b for p, b in zip(processes, busy, strict=True)]
    delays = sorted(fleet.delays)
    samples = sum(g.acked for g in fleet.gateways) - warm * options.gateways * options.points
    return {
        "samples_per_s": round(samples / took_s),
        "ack_p95_s": _part(delays, 0.95),
        "ack_p50_s": _part(delays, 0.5),
        "ack_worst_s": _part(delays, 1.0),
        "offered_per_s": round((rounds - warm) * options.gateways * options.points / offered_s),
        "samples": samples,
        "all_acknowledged": done,
        "rebirths": fleet.rebirths,
        "shape": f"{options.gateways} gateways, one device each, scans of {options.points} samples",
        "message_bytes": len(packets[0][-1]),
        "cores": {
            name: round(seconds / took_s, 2)
            for name, seconds in zip(("intake", "broker", "load"), used, strict=True)
        },
        "load_before": round(psutil.getloadavg()[1], 1),
    }


def _encoded(
    fleet: Fleet, rounds: int, pause_s: float, clock: WallClock
) -> tuple[Instant, list[list[bytes]]]:
    """Return every packet of each gateway, dated as it will be sent, and when that begins."""
    begun = time.perf_counter()
    for gateway in fleet.gateways:
        gateway.scan(0, clock.now())
        gateway.seq -= 1
    takes_ms = (time.perf_counter() - begun) * rounds * 1500
    begin_at = Instant(clock.now() + round(takes_ms) + 1000)
    packets = [
        [g.scan(n * g.points, Instant(begin_at + round(n * pause_s * 1000))) for n in range(rounds)]
        for g in fleet.gateways
    ]
    return begin_at, packets


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _part(delays: list[float], part: float) -> float | None:
    if not delays:
        return None
    return round(delays[min(len(delays) - 1, int(part * len(delays)))], 3)


def _history(folder: Path, fleet: Fleet) -> dict[str, Any]:
    """Wait until the historian has followed to the last sample sent, and count in all of it."""
    begun = time.perf_counter()
    pacing = threading.Event()
    last = fleet.gateways[-1]
    with closing(Reader(folder / "historian.db")) as reader:
        while time.perf_counter() - begun < DRAIN_S:
            if reader.held(last.edge, last.epoch, below=last.acked)[1] == last.acked:
                break
            pacing.wait(0.1)
    behind_s = round(time.perf_counter() - begun, 1)
    lost, doubled = held(folder, fleet)
    return {"lost": lost, "doubled": doubled, "history_behind_s": behind_s}


if __name__ == "__main__":
    main()
