"""`mainwatch sim`: play the pretend field, write its history, and let things happen in it."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from firmware_sim.core.events import SHEETS
from firmware_sim.core.moments import duration_ms
from mainwatch.load import load, load_register_maps, refuse
from telemetry.errors import ConfigError
from telemetry.instant import SECOND_MS, Instant

NUMBERS = sorted({name for sheet in SHEETS.values() for name in (*sheet.needs, *sheet.may)})
"""Every number that something that happens may be told."""

CONTROL = "127.0.0.1:15019"
"""Where the demo's simulator takes commands."""


def add_acts(sim: argparse.ArgumentParser) -> None:
    """Give `mainwatch sim` its acts."""
    sim.add_argument("--scenario", type=Path, metavar="FILE", help="a story to play from now on")
    acts = sim.add_subparsers(title="acts", metavar="ACT")
    _add_history(acts)
    _add_do(acts)
    undo = _act(acts, "undo", "put right what goes wrong", "leak-1")
    undo.add_argument("id", metavar="ID", help="as `do` or `status` said it")
    burst = _act(acts, "burst", "open a burst at a pipe", "P-NORTH-017 --m3h 40")
    burst.add_argument("pipe", metavar="PIPE")
    burst.add_argument("--m3h", type=float, default=40.0, help="at today's pressure")
    stop = _act(acts, "stop-burst", "close it again", "P-NORTH-017")
    stop.add_argument("pipe", metavar="PIPE")
    _act(acts, "status", "say what goes wrong now", "")


def _act(acts: Any, name: str, what: str, example: str) -> argparse.ArgumentParser:
    act: argparse.ArgumentParser = acts.add_parser(
        name, help=what, epilog=f"example: mainwatch sim {name} {example}".rstrip()
    )
    act.add_argument("--control", default=CONTROL, metavar="HOST:PORT")
    act.set_defaults(run=_ask, act=name)
    return act


def _add_do(acts: Any) -> None:
    do = _act(acts, "do", "let something happen", "leak P-NORTH-017 --m3h 8 --grow-h 48")
    do.add_argument("kind", metavar="KIND", help=", ".join(k.replace("_", "-") for k in SHEETS))
    do.add_argument("target", metavar="TARGET", nargs="?", default="", help="what it happens to")
    do.add_argument("--for", dest="for_", metavar="TIME", help="such as 10m; else until undone")
    for name in NUMBERS:
        option = f"--{name.replace('_', '-')}"
        do.add_argument(option, type=float, dest=name, metavar="N", help=_who_takes(name))


def _who_takes(name: str) -> str:
    return "of " + ", ".join(k for k, s in SHEETS.items() if name in (*s.needs, *s.may))


def _add_history(acts: Any) -> None:
    history = acts.add_parser(
        "history",
        help="write weeks or years straight to a recording",
        epilog="example: mainwatch sim history --config configs/demo/sim.toml --days 400"
        " --scenario configs/scenarios/growing-leak.toml --out recording",
    )
    history.add_argument("--config", type=Path, metavar="FILE", default=argparse.SUPPRESS)
    history.add_argument("--set", action="append", default=argparse.SUPPRESS, metavar="KEY=VALUE")
    history.add_argument("--devices", type=Path, default=argparse.SUPPRESS)
    history.add_argument("--scenario", type=Path, metavar="FILE", default=argparse.SUPPRESS)
    history.add_argument("--days", type=int, help="without it, as long as the scenario")
    history.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    history.add_argument("--seed", type=int, help="instead of the file's")
    history.add_argument("--cadence", type=int, metavar="S", help="seconds from row to row")
    history.add_argument("--ending", metavar="INSTANT", help="such as 2026-01-01T00:00:00Z")
    history.set_defaults(run=write_history)


def serve(
    options: argparse.Namespace,
    path: Path,
    devices: Path,
    start: Callable[[Any], int],
) -> int:
    """Play the field; `start` runs a program until a signal."""
    from firmware_sim.app import run
    from firmware_sim.config import SimConfig, problems
    from firmware_sim.scenario_config import ScenarioConfig
    from mainwatch.wall_clock import WallClock

    config = load(path, SimConfig, options.set).located_in(path.parent)
    maps = load_register_maps(devices)
    refuse(path, problems(config, maps))
    story = load(options.scenario, ScenarioConfig) if options.scenario else None
    return start(
        lambda ready, stop: run(
            config, maps, clock=WallClock(), ready=ready, stop=stop, scenario=story
        )
    )


def write_history(options: argparse.Namespace) -> int:
    """Write a recording, as fast as the machine can."""
    from firmware_sim.config import SimConfig, problems
    from firmware_sim.scenario_config import ScenarioConfig
    from firmware_sim.world import write_history as write
    from mainwatch.load import configs_folder

    story = load(options.scenario, ScenarioConfig) if options.scenario else None
    town = story.scenario.town if story is not None else "demo"
    path = options.config or configs_folder() / town / "sim.toml"
    cadence_s = options.cadence
    if cadence_s is None and story is not None and options.days is None:
        cadence_s = story.scenario.cadence_s
    wishes = {
        "sim.seed": options.seed,
        "history.days": options.days or 0,
        "history.cadence_s": cadence_s,
        "history.out": json.dumps(str(options.out)),
    }
    keys = [f"{key}={value}" for key, value in wishes.items() if value is not None]
    config = load(path, SimConfig, [*options.set, *keys]).located_in(path.parent)
    maps = load_register_maps(options.devices or configs_folder() / "devices")
    refuse(path, problems(config, maps))
    write(
        config,
        maps,
        scenario=story,
        ending=_instant(options.ending),
        is_stopped=lambda: False,
        progress=lambda done: print(f"{done:4.0%}", file=sys.stderr, flush=True),
    )
    print(options.out)
    return 0


def _instant(text: str | None) -> Instant | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ConfigError(f"--ending: expected an instant such as 2026-01-01T00:00:00Z, was {text}")
    return Instant(round(found.timestamp() * 1000))


def _ask(options: argparse.Namespace) -> int:
    from firmware_sim.control import ask

    host, _, port = options.control.rpartition(":")
    if not port.isdigit():
        raise ConfigError(f"--control: expected HOST:PORT, was {options.control!r}")
    reply = asyncio.run(ask(host, int(port), _message(options)))
    print(json.dumps(reply, ensure_ascii=False))
    return 0


def _message(options: argparse.Namespace) -> Mapping[str, Any]:
    match options.act:
        case "burst":
            return {"burst": {"pipe": options.pipe, "m3h": options.m3h}}
        case "stop-burst":
            return {"stop_burst": options.pipe}
        case "undo":
            return {"undo": options.id}
        case "do":
            told = {n: v for n in NUMBERS if (v := getattr(options, n)) is not None}
            if options.for_ is not None:
                told["for_s"] = _seconds(options.for_)
            return {"do": {"kind": options.kind.replace("-", "_"), "target": options.target} | told}
        case _:
            return {"status": {}}


def _seconds(text: str) -> float:
    try:
        return duration_ms(text) / SECOND_MS
    except ValueError as e:
        raise ConfigError(f"--for: {e}") from None
