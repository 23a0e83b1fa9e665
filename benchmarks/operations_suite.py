"""Does a crew look for leaks that people made? `python -m benchmarks.operations_suite --json`.

Writes stories of the demo town (a valve, a pressure regulator, a pump, an emptied tank, flushing, a
hydrant, a holiday; several seeds) and replays each through the whole engine twice: with its
operations told, and as if nobody had said a word. Two more sets are played: bursts that break out
during an operation, and operations that last longer than was told.

`leak_dispatches` are proposals of a burst or a leak, `pipe_dispatches` those of a single fall
too; `hidden_bursts` were proposed unannounced and not announced. The seed is printed.
"""

import argparse
import json
import random
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from firmware_sim.config import SimConfig
from firmware_sim.scenario_config import ScenarioConfig
from firmware_sim.world import write_history
from mainwatch.load import configs_folder, load, load_register_maps
from server.history import labels
from server.history.recording import open_recording
from server.replay.runner import run_recording, told_of
from server.replay.said import Said, tell
from telemetry.errors import ConfigError
from telemetry.instant import MINUTE_MS

SEED = 11
SEEDS = 4
CADENCE_S = 10
KINDS = ("valve", "prv", "pump", "tank", "flushing", "hydrant", "holiday")
BEGINS_MIN, TOLD_MIN, OVERRUN_MIN, LASTS_MIN = 90, 45, 150, 300
INLETS = {"north": "PRV-NORTH", "east": "TCV-EAST", "south": "PRV-SOUTH"}
LEAKS = ("burst", "leak")
PIPES = (*LEAKS, "pressure_drop")


@dataclass(frozen=True, kw_only=True)
class Story:
    """One recording to be: what is done, how long, and the burst that breaks out meanwhile."""

    kind: str
    zone: str
    operation: dict[str, Any]
    starts: str
    lasts_min: int
    burst: dict[str, Any] | None = None

    @property
    def events(self) -> list[dict[str, Any]]:
        """Return its events as a scenario has them."""
        done = {"id": "op", "at": f"+{BEGINS_MIN}m", "for": f"{self.lasts_min}m", "planned": True}
        more = [] if self.burst is None else [{"id": "burst", "kind": "burst", **self.burst}]
        return [{**self.operation, **done}, *more]


def stories(seeds: int, chance: random.Random) -> Iterator[Story]:
    """Yield operations as told, then with bursts, then longer than told."""
    names = names_in((configs_folder() / "demo" / "network.inp").read_text(encoding="utf-8"))
    for n in range(seeds):
        for kind in KINDS:
            zone = chance.choice(("north", "south") if kind == "prv" else tuple(INLETS))
            yield Story(
                kind=kind,
                zone=zone,
                operation=operation_of(kind, zone, names, chance, is_inlet=n % 2 == 0),
                starts=f"{chance.randrange(24):02}:{chance.randrange(60):02}",
                lasts_min=TOLD_MIN,
            )


def with_burst(story: Story, chance: random.Random) -> Story:
    """Return a story in whose zone a main breaks while the operation goes on."""
    names = names_in((configs_folder() / "demo" / "network.inp").read_text(encoding="utf-8"))
    burst = {
        "at": f"+{BEGINS_MIN + chance.randrange(8, 25)}m",
        "until": f"+{LASTS_MIN - 10}m",
        "target": chance.choice(names[f"P-{story.zone.upper()}"]),
        "m3h": chance.randrange(30, 70, 5),
    }
    return replace(story, burst=burst)


def names_in(network: str) -> dict[str, list[str]]:
    """Return the nodes and pipes of a network by their kind and zone, such as `J-EAST`."""
    found: dict[str, list[str]] = {}
    for name in dict.fromkeys(re.findall(r"^ ([JP]-[A-Z]+-\d+) ", network, re.MULTILINE)):
        found.setdefault(name.rsplit("-", 1)[0], []).append(name)
    return found


def operation_of(
    kind: str, zone: str, names: dict[str, list[str]], chance: random.Random, *, is_inlet: bool
) -> dict[str, Any]:
    """Return what is done, without its time."""
    node = chance.choice(names[f"J-{zone.upper()}"])
    pipe = INLETS[zone] if is_inlet else chance.choice(names[f"P-{zone.upper()}"])
    every: dict[str, dict[str, Any]] = {
        "valve": {"kind": "valve_closed", "target": pipe},
        "prv": {
            "kind": "prv_setpoint",
            "target": INLETS[zone],
            "kpa": chance.choice((230, 270, 360)),
        },
        "pump": {"kind": "pump_trip", "target": "PU-1"},
        "tank": {"kind": "tank_emptied", "target": "T-HILL", "m": 0.4},
        "flushing": {"kind": "large_demand", "target": node, "m3h": chance.randrange(15, 60, 5)},
        "hydrant": {"kind": "hydrant", "target": node, "m3h": chance.randrange(15, 60, 5)},
        "holiday": {"kind": "holiday", "target": "", "factor": chance.choice((1.05, 1.2))},
    }
    return every[kind]


def written(story: Story, folder: Path) -> Path:
    """Write a story down as a recording."""
    path = configs_folder() / "demo" / "sim.toml"
    keys = [
        "history.days=0",
        f"history.cadence_s={CADENCE_S}",
        f"history.out={json.dumps(str(folder))}",
    ]
    config = load(path, SimConfig, keys).located_in(path.parent)
    head = {"name": story.kind, "title": {"zh": story.kind, "en": story.kind}}
    scenario = ScenarioConfig.model_validate(
        {
            "scenario": {**head, "starts": story.starts, "lasts": f"{LASTS_MIN}m"},
            "event": story.events,
        }
    )
    maps = load_register_maps(configs_folder() / "devices")
    write_history(config, maps, scenario=scenario, ending=None, is_stopped=lambda: False)
    return folder


def heard(folder: Path, operations: Sequence[labels.Operation]) -> list[Said]:
    """Return what the engine says of a recording that was told of these operations."""
    recording = open_recording(folder)
    stream = run_recording(recording, recording.registry(), operations=told_of(operations))
    return list(tell(effect for _, effect in stream))


def dispatches(said: Sequence[Said], kinds: Sequence[str] | None = None) -> list[Said]:
    """Return the proposals of some kinds."""
    return [s for s in said if s.event == "dispatch" and (kinds is None or s.kind in kinds)]


def play(seeds: int, base: Path) -> dict[str, Any]:
    """Return the figures of all stories."""
    chance = random.Random(SEED)
    told_leaks: Counter[str] = Counter()
    untold_leaks: Counter[str] = Counter()
    told, untold, sums = Counter[str](), Counter[str](), Counter[str]()
    for n, story in enumerate(stories(seeds, chance)):
        sums["operations"] += 1
        folder = written(story, base / f"plain-{n}")
        known = labels.operations(folder)
        announced, silent = heard(folder, known), heard(folder, ())
        for said, leaks, other in ((announced, told_leaks, told), (silent, untold_leaks, untold)):
            leaks[story.kind] += len(dispatches(said, LEAKS))
            other["pipe"] += len(dispatches(said, PIPES))
            other["any"] += len(dispatches(said))
        sums["explained_alarms"] += sum(
            s.event == "alarm" and bool(s.explained_by) for s in announced
        )
        sums["recoveries_false"] += len(dispatches(announced, ("recovery",)))
        sums += bursts_in(with_burst(story, chance), base / f"burst-{n}")
        sums += overrun(replace(story, lasts_min=OVERRUN_MIN), base / f"late-{n}")
    return {
        "seed": SEED,
        "operations": sums["operations"],
        "leak_dispatches": sum(told_leaks.values()),
        "pipe_dispatches": told["pipe"],
        "any_dispatches": told["any"],
        "explained_alarms": sums["explained_alarms"],
        "per_kind": {kind: told_leaks[kind] for kind in KINDS},
        "unannounced_leak_dispatches": sum(untold_leaks.values()),
        "unannounced_pipe_dispatches": untold["pipe"],
        "unannounced_any_dispatches": untold["any"],
        "unannounced_per_kind": {kind: untold_leaks[kind] for kind in KINDS},
        "bursts": sums["bursts"],
        "bursts_without_water": sums["bursts_without_water"],
        "bursts_told": sums["bursts_told"],
        "bursts_told_unannounced": sums["bursts_told_unannounced"],
        "hidden_bursts": sums["hidden"],
        "overruns": sums["overruns"],
        "overruns_explained": sums["overruns_explained"],
        "overruns_told": sums["overruns_told"],
        "recoveries_told": sums["recoveries_told"],
        "recoveries_false": sums["recoveries_false"],
    }


def bursts_in(story: Story, folder: Path) -> Counter[str]:
    """Return whether the burst of a story is told with and without its operation."""
    try:
        known = labels.operations(written(story, folder))
    except ConfigError:
        return Counter(bursts_without_water=1)  # its zone is shut: nothing can burst there
    burst = next(t for t in labels.truth(folder) if t.id == "burst")

    def is_told(said: Sequence[Said]) -> bool:
        return any(s.at >= burst.begin and s.zone == burst.zone for s in dispatches(said, LEAKS))

    announced, silent = is_told(heard(folder, known)), is_told(heard(folder, ()))
    return Counter(
        bursts=1,
        bursts_told=int(announced),
        bursts_told_unannounced=int(silent),
        hidden=int(silent and not announced),
    )


def overrun(story: Story, folder: Path) -> Counter[str]:
    """Return whether an operation is told that lasts much longer than was said."""
    known = labels.operations(written(story, folder))
    ends = [o.begin + TOLD_MIN * MINUTE_MS for o in known]
    said = heard(folder, [replace(o, end=e) for o, e in zip(known, ends, strict=True)])
    standing = {s.id for s in said if s.event == "alarm" and s.explained_by}
    standing -= {s.id for s in said if s.event == "closed" and s.at < ends[0]}
    after = [s for s in dispatches(said) if s.at >= ends[0]]
    return Counter(
        overruns=1,
        overruns_explained=int(bool(standing)),
        overruns_told=int(bool(standing) and any(s.kind != "recovery" for s in after)),
        recoveries_told=int(any(s.kind == "recovery" for s in after)),
    )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="stories of each kind")
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mainwatch-bench-") as name:
        figures = play(options.seeds, Path(name))
    if options.json:
        print(json.dumps(figures))
        return
    for key, value in figures.items():
        print(f"  {key}: {value}")


if __name__ == "__main__":
    main()
