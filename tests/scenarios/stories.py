"""The scenario library, and stories written down as recordings for the tests."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from firmware_sim.config import SimConfig
from firmware_sim.scenario_config import ScenarioConfig
from firmware_sim.world import write_history
from mainwatch.load import load, load_register_maps

CONFIGS = Path(__file__).parents[2] / "configs"
STORIES = sorted((CONFIGS / "scenarios").glob("*.toml"))


def story(name: str) -> ScenarioConfig:
    return load(CONFIGS / "scenarios" / f"{name}.toml", ScenarioConfig)


def town(name: str, **history) -> SimConfig:
    keys = [f"history.{k}={json.dumps(v)}" for k, v in history.items()]
    path = CONFIGS / name / "sim.toml"
    return load(path, SimConfig, keys).located_in(path.parent)


def maps():
    return load_register_maps(CONFIGS / "devices")


def write(folder: Path, scenario: ScenarioConfig | None, *, town_name="demo", **more) -> Path:
    """Write a story down, or with `days` that many days of peace, and return the folder."""
    ending = more.pop("ending", None)
    if scenario is not None:
        more.setdefault("cadence_s", scenario.scenario.cadence_s)
        town_name = scenario.scenario.town
    config = town(town_name, **{"days": 0, **more, "out": str(folder)})
    write_history(config, maps(), scenario=scenario, ending=ending, is_stopped=lambda: False)
    return folder


def head(folder: Path):
    return tomllib.loads((folder / "recording.toml").read_text(encoding="utf-8"))


def lines(folder: Path, name: str = "truth.jsonl"):
    path = folder / name
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


class Series:
    """A recording as arrays: `values[point]` over `at` in ms; NaN where there is no value.

    Of a longer one only the first `rows` instants.
    """

    def __init__(self, folder: Path, *, rows: int | None = None) -> None:
        tables = [pq.read_table(p) for p in sorted((folder / "samples").glob("*.parquet"))]
        at = np.concatenate([t["at"].to_numpy().astype("datetime64[ms]") for t in tables])
        values = np.concatenate([t["value"].to_numpy(zero_copy_only=False) for t in tables])
        points = [point for t in tables for point in t["point"].to_pylist()]
        names = list(dict.fromkeys(points))
        self.at = at.astype(np.int64)[:: len(names)][:rows]
        shape = (len(self.at), len(names))
        grid = values[: len(self.at) * len(names)].reshape(shape).astype(float)
        self.values = {name: grid[:, n] for n, name in enumerate(names)}

    def during(self, point: str, begin: int, end: int):
        """Return the values of a point from one instant to another."""
        return self.values[point][(self.at > begin) & (self.at <= end)]
