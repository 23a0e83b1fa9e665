"""The intake as a process of its own, and what it needs: a configuration, a port, a broker."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from benchmarks.mqtt_fleet import GROUP, Fleet, point_of
from server.history.historian import Reader


def held(folder: Path, fleet: Fleet) -> tuple[int, int]:
    """Return how many acknowledged samples the historian lacks, and how many it has twice."""
    lost = doubled = 0
    with closing(Reader(folder / "historian.db")) as reader:
        for gateway in fleet.gateways:
            rows, offsets = reader.held(gateway.edge, gateway.epoch, below=gateway.acked)
            lost += gateway.acked - offsets
            doubled += rows - offsets
    return lost, doubled


def write_config(
    folder: Path,
    port: int,
    *,
    gateways: int,
    points: int,
    low: float | None = None,
    journal: dict[str, float] | None = None,
) -> None:
    """Write the server's configuration: one zone, and every point in the registry."""
    lines = [
        "[server]",
        f"data = {json.dumps(str(folder))}",
        f'groups = ["{GROUP}"]',
        "[broker]",
        f"port = {port}",
        "[journal]",
        *(f"{key} = {value}" for key, value in (journal or {}).items()),
        "[[zone]]",
        'id = "north"',
        'name = { zh = "北区", en = "North" }',
        'timezone = "Asia/Shanghai"',
    ]
    for g in range(gateways):
        for n in range(points):
            lines += [
                "[[point]]",
                f'id = "{point_of(f"gw-{g:03}", n)}"',
                'zone = "north"',
                'quantity = "pressure"',
                'name = { zh = "压力", en = "pressure" }',
                "period_s = 1",
                *([] if low is None else [f"low = {low}"]),
            ]
    (folder / "server.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def intake_command(folder: Path) -> list[str]:
    """Return the command of the intake process."""
    config = str(folder / "server.toml")
    return [sys.executable, "-m", "mainwatch", "server", "--config", config, "--part", "intake"]


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int) -> None:
    """Return once somebody listens on a port."""
    pacing = threading.Event()
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        pacing.wait(0.05)
    raise TimeoutError(f"nobody listens on port {port}")


@contextmanager
def started(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the body is done."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
