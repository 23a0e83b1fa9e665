"""From a burst in the water to a ticket on the desk: `python -m benchmarks.straight_line --json`.

Runs `mainwatch demo --headless` several times and measures it from outside: seconds from the burst
to the alarm and to the ticket, samples lost and doubled, and the resident memory of every process.
Real processes, a real broker, real sockets; the seed is that of configs/demo/sim.toml.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import psutil

from mainwatch.load import configs_folder, read_toml


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--for", dest="seconds", type=float, default=120)
    parser.add_argument("--burst-after", type=float, default=40)
    parser.add_argument("--broker", choices=("mosquitto", "amqtt"))
    options = parser.parse_args()
    runs = [_run(options) for _ in range(options.runs)]
    seed = read_toml(configs_folder() / "demo" / "sim.toml")["sim"]["seed"]
    figures: dict[str, Any] = {
        "seed": seed,
        "broker": runs[0]["broker"],
        "alarm_s": [run["alarm_s"] for run in runs],
        "ticket_s": [run["ticket_s"] for run in runs],
        "worst_ticket_s": max(run["ticket_s"] or float("inf") for run in runs),
        "lost": sum(run["lost"] for run in runs),
        "duplicates": sum(run["duplicates"] for run in runs),
        "samples": sum(run["samples_sent"] for run in runs),
        "located_m": [run["located_m"] for run in runs],
        "memory_mb": max(run["memory_mb"] for run in runs),
        "gateway_mb": max(run["gateway_mb"] for run in runs),
        "parts_mb": runs[-1]["parts_mb"],
    }
    if options.json:
        print(json.dumps(figures))
        return
    for key, value in figures.items():
        print(f"  {key}: {value}")


def _run(options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="mainwatch-bench-") as folder:
        report = Path(folder) / "demo.json"
        command = [sys.executable, "-m", "mainwatch", "demo", "--headless", "--port", "0"]
        command += ["--folder", f"{folder}/plant", "--report", str(report)]
        command += ["--for", str(options.seconds), "--burst-after", str(options.burst_after)]
        if options.broker:
            command += ["--broker", options.broker]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        ended = threading.Event()
        peaks: dict[str, float] = {}
        together = [0.0]
        watcher = threading.Thread(target=_watch, args=(process.pid, ended, peaks, together))
        watcher.start()
        process.wait(options.seconds + 300)
        ended.set()
        watcher.join()
        body: dict[str, Any] = json.loads(report.read_text())
    burst_at = body["burst_at"]
    for key in ("alarm", "ticket"):
        at = body[f"{key}_at"]
        body[f"{key}_s"] = None if at is None or burst_at is None else (at - burst_at) / 1000
    body["memory_mb"] = round(together[0], 1)
    body["parts_mb"] = {name: round(mb, 1) for name, mb in sorted(peaks.items())}
    body["gateway_mb"] = body["parts_mb"].get("gateway", 0.0)
    return body


def _watch(
    pid: int, ended: threading.Event, peaks: dict[str, float], together: list[float]
) -> None:
    """Keep the highest resident memory of each part, and of all at one moment."""
    demo = psutil.Process(pid)
    while not ended.wait(1.0):
        total = 0.0
        try:
            family = [demo, *demo.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for process in family:
            try:
                name, mb = _name(process.cmdline()), process.memory_info().rss / 1e6
            except psutil.Error:
                continue
            peaks[name] = max(peaks.get(name, 0.0), mb)
            total += mb
        together[0] = max(together[0], total)


def _name(command: list[str]) -> str:
    if "--part" in command:
        return command[command.index("--part") + 1]
    if "mainwatch" in command:
        return command[command.index("mainwatch") + 1]
    return Path(command[0]).name if command else "?"


if __name__ == "__main__":
    main()
