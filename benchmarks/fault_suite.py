"""The fault suite: are faults of instruments named, and is the pipe crew left alone.

`python -m benchmarks.fault_suite [--seeds N] [--cadence S ...] [--quiet DAYS] [--json]`. For each
seed and cadence the simulator writes recordings of the demo town, each with one fault in each of
its zones, of a kind, a size, a sign and a point drawn from the seed. They are replayed through the
engine under the demo's own registry, limits included, from the first sample on, without any past.

`named_ratio` is the part of the faults whose point is in an alarm `sensor_fault`, `meter_fault` or
`silent` raised after it began. `pipe_dispatches` counts proposals of every other kind but `limit`,
in the whole of those recordings. `by_kind` tells [faults, named, median seconds].

For each of them another recording has a burst or a leak in each zone and no fault:
`leaks_called_faults` counts those after whose begin an instrument of their zone was blamed.
`quiet_faults` counts what is said against instruments in days without anything.
"""

import argparse
import json
import random
import statistics
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firmware_sim.config import SimConfig
from firmware_sim.scenario_config import ScenarioConfig
from firmware_sim.world import write_history
from mainwatch.load import load, load_register_maps
from server.config import ServerConfig
from server.engine.effects import AlarmKind, AlarmRaised, DispatchRequested
from server.engine.registry import Registry
from server.history import labels
from server.history.recording import open_recording
from server.replay.runner import at_cadence, run_recording
from telemetry.instant import Instant

CONFIGS = Path(__file__).parents[1] / "configs"
SEEDS = 3
CADENCES = (1, 10, 60, 300)

NAMES = (AlarmKind.SENSOR_FAULT, AlarmKind.METER_FAULT, AlarmKind.SILENT)
NO_PIPE = (*NAMES, AlarmKind.LIMIT)

SPANS = {1: ("14m", 34), 10: ("60m", 240), 60: ("6h", 1_080), 300: ("3d", 8_640)}
"""For each cadence: after how long the faults begin, and how many minutes the recording lasts."""

PRESSURE = ("offset", "scale", "noise", "spikes", "flat", "swapped_words", "low_battery", "dead")
SLOW = ("drift",)
FLOW = ("flat", "spikes", "noise", "low_battery", "dead")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One fault: its kind, its point, and after how many seconds it was named, if it was."""

    kind: str
    what: str
    point: str
    cadence_s: int
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a suite has shown."""

    outcomes: tuple[Outcome, ...]
    pipe: tuple[tuple[str, str], ...]
    leaks: int
    blamed: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the figures."""
        named = [o for o in self.outcomes if o.seconds is not None]
        kinds = sorted({o.kind for o in self.outcomes})
        return {
            "faults": len(self.outcomes),
            "named": len(named),
            "named_ratio": round(len(named) / max(1, len(self.outcomes)), 4),
            "pipe_dispatches": len(self.pipe),
            "leaks": self.leaks,
            "leaks_called_faults": len(self.blamed),
            "by_kind": {k: _figures([o for o in self.outcomes if o.kind == k]) for k in kinds},
            "by_cadence": {
                str(c): _figures([o for o in self.outcomes if o.cadence_s == c]) for c in CADENCES
            },
            "missed": [
                f"{o.what} {o.point} {o.cadence_s} s" for o in self.outcomes if o.seconds is None
            ],
            "pipe": [" ".join(p) for p in self.pipe],
            "blamed": list(self.blamed),
        }


def _figures(outcomes: list[Outcome]) -> list[float | None]:
    named = [o.seconds for o in outcomes if o.seconds is not None]
    return [len(outcomes), len(named), round(statistics.median(named), 1) if named else None]


def run(
    *, seeds: int = SEEDS, cadences: tuple[int, ...] = CADENCES, folder: Path, first: int = 1
) -> Found:
    """Write and replay the recordings of some seeds; `folder` is used for them."""
    outcomes: list[Outcome] = []
    pipe: list[tuple[str, str]] = []
    leaks, blamed = 0, list[str]()
    for seed in range(first, first + seeds):
        for cadence in cadences:
            place = folder / f"{seed}-{cadence}"
            events = faults_of(seed, cadence)
            write(place, events, seed=seed, cadence_s=cadence)
            said, crews = _replay(place)
            pipe += crews
            outcomes += list(_judged(place, events, said, cadence))
            place = folder / f"{seed}-{cadence}-leaks"
            events = leaks_of(seed, cadence)
            write(place, events, seed=seed, cadence_s=cadence)
            leaks += len(events)
            blamed += _blamed(place, events, cadence)
    return Found(outcomes=tuple(outcomes), pipe=tuple(pipe), leaks=leaks, blamed=tuple(blamed))


def quiet_faults(folder: Path, *, days: int, cadence_s: int, seed: int) -> int:
    """Return how many faults of instruments are told in so many days in which there is none."""
    path = CONFIGS / "demo" / "sim.toml"
    keys = [
        f"history.days={days}",
        f"history.cadence_s={cadence_s}",
        f"history.out={json.dumps(str(folder))}",
        f"sim.seed={seed}",
    ]
    config = load(path, SimConfig, keys).located_in(path.parent)
    maps = load_register_maps(CONFIGS / "devices")
    write_history(config, maps, scenario=None, ending=None, is_stopped=lambda: False)
    said, _ = _replay(folder)
    return sum(s.kind in NAMES for s in said)


def leaks_of(seed: int, cadence_s: int) -> list[dict[str, Any]]:
    """Return one burst or leak of each zone, at any pipe of it, as events of a story."""
    chance = random.Random(f"leak {seed} {cadence_s}")
    lines = (CONFIGS / "demo" / "network.inp").read_text(encoding="utf-8").splitlines()
    names = [line.split()[0] for line in lines if line.strip().startswith("P-")]
    events = []
    for zone in sorted(registry().zones):
        pipes = sorted({n for n in names if n.startswith(f"P-{zone.upper()}-")})
        events.append(
            {
                "id": f"leak-{zone}",
                "kind": chance.choice(("burst", "leak")),
                "at": "+" + SPANS[cadence_s][0],
                "target": chance.choice(pipes),
                "m3h": chance.choice((8.0, 15.0, 25.0, 40.0, 60.0)),
            }
        )
    return events


def _blamed(folder: Path, events: list[dict[str, Any]], cadence_s: int) -> list[str]:
    """Return the leaks after whose begin an instrument of their zone was called faulty."""
    said, _ = _replay(folder)
    truths = {t.id: t for t in labels.truth(folder)}
    found = []
    for event in events:
        truth = truths[event["id"]]
        if any(s.kind in NAMES and s.zone == truth.zone and s.at >= truth.begin for s in said):
            found.append(f"{event['kind']} {event['m3h']:g} {event['target']} {cadence_s} s")
    return found


def registry() -> Registry:
    """Return the registry of the demo's control room."""
    text = (CONFIGS / "demo" / "server.toml").read_text(encoding="utf-8")
    return ServerConfig.model_validate(tomllib.loads(text)).registry()


def faults_of(seed: int, cadence_s: int) -> list[dict[str, Any]]:
    """Return one fault of each zone, as events of a story."""
    chance = random.Random(f"{seed} {cadence_s}")
    known = registry()
    events = []
    for zone in sorted(known.zones):
        mine = [p for p in sorted(known.points) if known.points[p].zone == zone]
        pressures = [p for p in mine if p.endswith("/pressure")]
        inlet = [p for p in mine if p.endswith("-inlet/flow")]
        is_flow = chance.random() < 0.2
        target = str(chance.choice(inlet if is_flow else pressures))
        kinds = FLOW if is_flow else (*PRESSURE, *(SLOW if cadence_s == 300 else ()))
        kind = chance.choice(kinds)
        if kind == "swapped_words" and "words" not in _FORMS[target]:
            kind = "offset"
        events.append(
            {
                "id": f"fault-{zone}",
                "kind": kind,
                "at": "+" + SPANS[cadence_s][0],
                "target": _DEVICES[target] if kind == "dead" else target,
                "point": target,
                **numbers(kind, chance, is_flow=is_flow),
            }
        )
    return events


def numbers(kind: str, chance: random.Random, *, is_flow: bool) -> dict[str, float]:
    """Return how bad a fault is: from what a fitter's hand does to what nobody overlooks."""
    sign = chance.choice((-1, 1))
    match kind:
        case "offset":
            return {"by": sign * chance.choice((10.0, 30.0, 100.0))}
        case "drift":
            return {"per_day": sign * chance.choice((6.0, 12.0))}
        case "noise":
            return {"sd": chance.choice((20.0, 40.0) if is_flow else (6.0, 12.0))}
        case "spikes":
            return {"per_hour": 180.0, "size": chance.choice((100.0, 200.0))}
        case "scale":
            return {"factor": chance.choice((0.8, 0.9, 1.1, 1.2))}
        case _:
            return {}


def write(folder: Path, events: list[dict[str, Any]], *, seed: int, cadence_s: int) -> None:
    """Write a recording of the demo town with these events in it."""
    path = CONFIGS / "demo" / "sim.toml"
    keys = [
        "history.days=0",
        f"history.cadence_s={cadence_s}",
        f"history.out={json.dumps(str(folder))}",
        f"sim.seed={seed}",
    ]
    config = load(path, SimConfig, keys).located_in(path.parent)
    told = [{k: v for k, v in e.items() if k != "point"} for e in events]
    story = ScenarioConfig.model_validate(
        {
            "scenario": {
                "name": "faults",
                "title": {"zh": "故障", "en": "Faults"},
                "starts": f"{(7 * seed) % 24:02}:00",
                "lasts": f"{SPANS[cadence_s][1]}m",
                "cadence_s": cadence_s,
            },
            "event": told,
            "expect": {"must_not_say": ["burst"]},
        }
    )
    maps = load_register_maps(CONFIGS / "devices")
    write_history(config, maps, scenario=story, ending=None, is_stopped=lambda: False)


def _replay(folder: Path) -> tuple[list[AlarmRaised], list[tuple[str, str]]]:
    recording = open_recording(folder)
    known = at_cadence(registry(), recording.registry())
    said: list[AlarmRaised] = []
    pipe: list[tuple[str, str]] = []
    for _, effect in run_recording(recording, known):
        if isinstance(effect, AlarmRaised):
            said.append(effect)
        elif isinstance(effect, DispatchRequested) and effect.kind not in NO_PIPE:
            pipe.append((folder.name, f"{effect.kind} {','.join(effect.points)}"))
    return said, pipe


def _judged(
    folder: Path, events: list[dict[str, Any]], said: list[AlarmRaised], cadence_s: int
) -> Iterator[Outcome]:
    truths = {t.id: t for t in labels.truth(folder)}
    for event in events:
        begin = Instant(int(truths[event["id"]].begin))
        heard = [
            s for s in said if s.kind in NAMES and event["point"] in s.points and s.at >= begin
        ]
        size = [f"{v:g}" for v in event.values() if isinstance(v, float)]
        yield Outcome(
            kind=event["kind"],
            what=" ".join([event["kind"], *size]),
            point=event["point"],
            cadence_s=cadence_s,
            seconds=(heard[0].at - begin) / 1000 if heard else None,
        )


def _instruments() -> tuple[dict[str, str], dict[str, str]]:
    """Return the device and the map of each point of the demo town."""
    tree = tomllib.loads((CONFIGS / "demo" / "sim.toml").read_text(encoding="utf-8"))
    devices, forms = {}, {}
    for line in (*tree.get("converter", ()), *tree.get("line", ())):
        for device in line["device"]:
            for point in device["point"]:
                devices[point["point"]] = device["id"]
                forms[point["point"]] = "words" if device["map"] == "pressure-transmitter" else ""
    return devices, forms


_DEVICES, _FORMS = _instruments()


def main() -> None:
    """Run the suite and print what it shows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--cadence", type=int, nargs="+", default=list(CADENCES))
    parser.add_argument("--quiet", type=int, default=0, help="so many days without anything")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(
            seeds=asked.seeds,
            cadences=tuple(asked.cadence),
            folder=Path(folder),
            first=asked.first,
        ).to_json()
        if asked.quiet:
            found["quiet_faults"] = quiet_faults(
                Path(folder) / "quiet",
                days=asked.quiet,
                cadence_s=max(asked.cadence),
                seed=asked.first,
            )
    print(json.dumps(found, ensure_ascii=False) if asked.json else json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
