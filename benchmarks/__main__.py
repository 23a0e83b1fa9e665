"""Run every benchmark, one after another: `python -m benchmarks`."""

import subprocess
import sys

NAMES = (
    "bus_faults",
    "dead_device",
    "detector_cost",
    "dispatch_once",
    "fast_burst",
    "gateway_cost",
    "historian",
    "ingest",
    "journal_crash",
    "line_rate",
    "plan",
    "quiet_town",
    "recordings",
    "scan",
    "sim_history",
    "sim_load",
    "sim_pacing",
    "straight_line",
    "tickets",
)

for name in NAMES:
    print(f"benchmarks.{name}", flush=True)
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)
