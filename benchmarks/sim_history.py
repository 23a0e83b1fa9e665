"""How fast the past is written: `python -m benchmarks.sim_history --json`.

Writes days of the demo town at 5 minutes to a recording, with a growing leak and a drifting sensor
in it, and tells how long it took. The seed is that of configs/demo/sim.toml.
"""

import argparse
import json
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

from firmware_sim.config import SimConfig
from firmware_sim.scenario_config import ScenarioConfig
from firmware_sim.world import write_history
from mainwatch.load import configs_folder, load, load_register_maps

STORY: dict[str, Any] = {
    "scenario": {"name": "bench", "title": {"zh": "基准", "en": "Benchmark"}},
    "event": [
        {
            "id": "leak",
            "kind": "leak",
            "at": "day 20 02:00",
            "until": "day 60 09:00",
            "target": "P-NORTH-017",
            "m3h": 8,
            "grow_h": 240,
        },
        {
            "id": "drift",
            "kind": "drift",
            "at": "day 10 00:00",
            "target": "wenhua-road-12/pressure",
            "per_day": -0.1,
        },
    ],
}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    parser.add_argument("--days", type=int, default=400)
    options = parser.parse_args()
    path = configs_folder() / "demo" / "sim.toml"
    with tempfile.TemporaryDirectory(prefix="mainwatch-bench-") as folder:
        keys = [f"history.days={options.days}", f"history.out={json.dumps(folder)}"]
        config = load(path, SimConfig, keys).located_in(path.parent)
        maps = load_register_maps(configs_folder() / "devices")
        story = ScenarioConfig.model_validate(STORY)
        began = perf_counter()
        write_history(config, maps, scenario=story, ending=None, is_stopped=lambda: False)
        seconds = perf_counter() - began
        size = sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file())
    figures = {
        "seed": config.sim.seed,
        "days": options.days,
        "seconds": round(seconds, 2),
        "cadence_s": config.history.cadence_s,
        "points": sum(len(d.point) for _, line in config.lines for d in line.device),
        "megabytes": round(size / 1e6, 1),
    }
    if options.json:
        print(json.dumps(figures))
        return
    for key, value in figures.items():
        print(f"  {key}: {value}")


if __name__ == "__main__":
    main()
