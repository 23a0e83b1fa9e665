"""What is said when nothing happens: `python -m benchmarks.quiet_town --json`.

Writes days of the demo town without any event, and plays them through the whole engine, which
begins knowing nothing. `pipe_dispatches` are proposals to send a crew to look for escaping water;
every one of them is false. The default cadence is the gateways' own, a sample each second, written
and played in stretches of five days, each with a seed of its own: the engine of every stretch
begins anew. The seeds are printed.
"""

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks import demo_town
from server.replay.poisson import rate
from server.replay.score import LOSS_CLAIMS
from server.replay.session import Asked, play_recording
from telemetry.instant import DAY_MS

SEED = 31
STRETCH_DAYS = 5
YEAR_DAYS = 365.25


def figures_of(days: int, cadence_s: int) -> dict[str, Any]:
    """Return the figures of some days."""
    dispatches: Counter[str] = Counter()
    alarms: Counter[str] = Counter()
    samples, simulated_s, replayed_s, played_days, zones = 0, 0.0, 0.0, 0.0, 0
    seeds = [SEED + n for n in range(-(-days // STRETCH_DAYS))]
    for n, seed in enumerate(seeds):
        with tempfile.TemporaryDirectory(prefix="mainwatch-bench-") as name:
            begin = perf_counter()
            length = min(STRETCH_DAYS, days - n * STRETCH_DAYS)
            recording = demo_town.write(Path(name), days=length, cadence_s=cadence_s, seed=seed)
            simulated_s += perf_counter() - begin
            begin = perf_counter()
            played = play_recording(
                recording, Asked(), other=None, progress=lambda _at, _samples: None
            )
            replayed_s += perf_counter() - begin
        samples += played.samples
        played_days += (played.end - played.begin) / DAY_MS
        zones = len(played.registry.zones)
        dispatches.update(s.kind for s in played.said if s.event == "dispatch")
        alarms.update(s.kind for s in played.said if s.event == "alarm")
    pipe = sum(n for kind, n in dispatches.items() if kind in LOSS_CLAIMS)
    yearly = rate(pipe, years=zones * played_days / YEAR_DAYS)
    return {
        "seeds": seeds,
        "days": round(played_days, 2),
        "cadence_s": cadence_s,
        "samples": samples,
        "pipe_dispatches": pipe,
        "pipe_dispatches_per_zone_year_95": [
            None if bound is None else round(bound, 2) for bound in (yearly.low, yearly.high)
        ],
        "dispatches": dict(sorted(dispatches.items())),
        "alarms": sum(alarms.values()),
        "alarms_by_kind": dict(sorted(alarms.items())),
        "simulated_s": round(simulated_s, 1),
        "replayed_s": round(replayed_s, 1),
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--cadence", type=int, default=1, help="seconds between samples")
    options = parser.parse_args()
    figures = figures_of(options.days, options.cadence)
    if options.json:
        print(json.dumps(figures))
        return
    for key, value in figures.items():
        print(f"  {key}: {value}")


if __name__ == "__main__":
    main()
