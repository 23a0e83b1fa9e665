"""How long does a scan of units 1 to 247 take at 9600 baud? `python -m benchmarks.scan --json`.

A paced pseudo-terminal plays four devices in a process of its own; `mainwatch scan` runs as a
fitter runs it. `seconds` is the whole command, its start included, the worst of devices that need 8
and 20 ms for an answer. `patient` is the scan that finds devices that need 120 ms, too. The bus
keeps the time that characters take, its seed is 1.
"""

import argparse
import json
import subprocess
import sys
import time

from benchmarks.bus import serving

UNITS = (1, 17, 200, 247)
TURNAROUNDS_MS = (8.0, 20.0)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    parser.add_argument("--baud", type=int, default=9600)
    options = parser.parse_args()
    runs = [_run(options.baud, turnaround_ms) for turnaround_ms in TURNAROUNDS_MS]
    figures = {
        "seed": 1,
        "baud": options.baud,
        "units": list(UNITS),
        "seconds": max(run["seconds"] for run in runs),
        "missed": sum(run["missed"] for run in runs),
        "invented": sum(run["invented"] for run in runs),
        "runs": runs,
        "patient": _run(options.baud, 120.0, "--patience", "0.2"),
    }
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))


def _run(baud: int, turnaround_ms: float, *more: str) -> dict[str, float]:
    with serving(baud=baud, units=UNITS, turnaround_ms=turnaround_ms) as bus:
        began = time.perf_counter()
        command = [sys.executable, "-m", "mainwatch", "scan", "--serial", bus.link, "--json"]
        ended = subprocess.run(
            [*command, "--baud", str(baud), *more], capture_output=True, text=True, check=False
        )
        took = time.perf_counter() - began
    if not ended.stdout:
        raise SystemExit(ended.stderr)
    found = {one["unit"] for one in json.loads(ended.stdout)["found"]}
    return {
        "turnaround_ms": turnaround_ms,
        "seconds": round(took, 2),
        "missed": len(set(UNITS) - found),
        "invented": len(found - set(UNITS)),
    }


if __name__ == "__main__":
    main()
