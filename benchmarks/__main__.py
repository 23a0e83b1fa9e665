"""Run every benchmark, one after another: `python -m benchmarks`."""

import subprocess
import sys

NAMES = (
    "historian",
    "ingest",
    "journal_crash",
    "recordings",
    "bus_faults",
    "dead_device",
    "gateway_cost",
    "line_rate",
    "plan",
    "scan",
    "sim_history",
    "sim_load",
    "sim_pacing",
    "straight_line",
)

for name in NAMES:
    print(f"benchmarks.{name}", flush=True)
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)
