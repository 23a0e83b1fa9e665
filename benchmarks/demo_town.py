"""Histories of the demo town for benchmarks: `configs/demo/sim.toml`, other days and stories."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from firmware_sim.config import SimConfig
from firmware_sim.scenario_config import ScenarioConfig
from firmware_sim.world import write_history
from mainwatch.load import configs_folder, load, load_register_maps
from server.history.recording import Recording, open_recording

ZONES = ("north", "east", "south")


def write(
    folder: Path,
    *,
    days: float,
    cadence_s: int,
    seed: int | None = None,
    events: Sequence[Mapping[str, Any]] = (),
) -> Recording:
    """Write a history of the town, with some events in it, and open it.

    Events are those of a story (docs/simulator.md), times counted from its beginning. Without any,
    `days` is a whole number.
    """
    path = configs_folder() / "demo" / "sim.toml"
    keys = [f"history.cadence_s={cadence_s}", f"history.out={json.dumps(str(folder))}"]
    keys += [f"history.days={0 if events else round(days)}"]
    keys += [] if seed is None else [f"sim.seed={seed}"]
    story = None
    if events:
        title = {"zh": "基准", "en": "Benchmark"}
        head = {"name": "bench", "title": title, "lasts": f"{round(days * 86_400)}s"}
        story = ScenarioConfig.model_validate({"scenario": head, "event": list(events)})
    write_history(
        load(path, SimConfig, keys).located_in(path.parent),
        load_register_maps(configs_folder() / "devices"),
        scenario=story,
        ending=None,
        is_stopped=lambda: False,
    )
    return open_recording(folder)


def pipes() -> dict[str, list[str]]:
    """Return the pipes of each zone, in the order of the network's file."""
    text = (configs_folder() / "demo" / "network.inp").read_text(encoding="utf-8")
    section = text[text.index("[PIPES]") : text.index("[PUMPS]")]
    return {
        zone: re.findall(rf"^\s*(P-{zone.upper()}-\d+)\s", section, re.MULTILINE) for zone in ZONES
    }
