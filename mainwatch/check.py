"""`mainwatch check`: read configuration files and recordings, and say everything that is wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from mainwatch.load import (
    configs_folder,
    load,
    load_register_map,
    load_register_maps,
    read_toml,
    refuse,
    rule_book,
    seeded_registry,
)
from telemetry.errors import ConfigError
from telemetry.register_map import RegisterMap

if TYPE_CHECKING:
    from gateway.plan_report import LinePlan

NAMED_MAX = 10
"""How many zones and points a note names."""

_STAND_INS: dict[str, Callable[[int], object]] = {
    "name": lambda n: f"unnamed-{n}",
    "id": lambda n: f"unnamed-{n}",
    "group": lambda _: "unnamed",
    "zone": lambda _: "unnamed",
    "data": lambda _: "unnamed",
    "unit": lambda n: 255 - n % 256,
    "period_s": lambda _: 86_400.0,
    "point": lambda n: f"unnamed/{n}",
}
"""For what a section cannot be without: so that all else in it can be looked at."""


def findings(path: Path, devices: Path) -> list[str]:
    """Return what is wrong with a file, or with a recording's folder, one sentence each.

    Nothing but files is touched.
    """
    if path.is_dir():
        from server.history.recording_check import findings as findings_in

        return findings_in(path)
    try:
        _examine(path, devices)
    except ConfigError as e:
        return str(e).split("; ")
    return []


def plans(path: Path, devices: Path) -> "tuple[LinePlan, ...]":
    """Return how each line of a gateway's file would be read; none of any other file."""
    if path.is_dir() or "gateway" not in read_toml(path):
        return ()
    from gateway.config import GatewayConfig
    from gateway.plan_report import plans

    return plans(load(path, GatewayConfig), load_register_maps(devices))


def notes(path: Path) -> list[str]:
    """Return what is not wrong with a file and still worth a word, one sentence each.

    A server's file seeds the registry once; where pages have made another of it, that is said.
    """
    if path.is_dir() or "server" not in read_toml(path):
        return []
    from server.config import ServerConfig
    from server.servicecore.rules.registry_edits import differing
    from server.servicecore.store.kept_registry import read_registry

    config = load(path, ServerConfig)
    kept = read_registry(config.server.data / "servicecore.db")
    unlike = () if kept is None else differing(seeded_registry(config), kept)
    if not unlike:
        return []
    named = ", ".join(unlike[:NAMED_MAX]) + (", ..." if len(unlike) > NAMED_MAX else "")
    kept_in = config.server.data / "servicecore.db"
    told = f"{path}: the registry in {kept_in} is the master and says otherwise of {named}"
    return [f"{told}; the page of zones and points takes the file again"]


def _examine(path: Path, devices: Path) -> None:
    body = read_toml(path)
    if "gateway" in body:
        _examine_gateway(path, devices)
    elif "server" in body:
        from server import config as server

        control_room = load(path, server.ServerConfig)
        refuse(path, server.problems(control_room))
        rule_book(control_room)
    elif "sim" in body:
        from firmware_sim import config as sim

        maps = load_register_maps(devices)
        refuse(path, sim.problems(load(path, sim.SimConfig).located_in(path.parent), maps))
    elif "scenario" in body:
        _examine_scenario(path, devices)
    elif "registers" in body:
        load_register_map(path)
    elif "policy" in body:
        from server.servicecore.rulebook import load_policy

        shipped = configs_folder() / "policies"
        own = [] if path.parent.resolve() == shipped.resolve() else [path.parent]
        load_policy([shipped, *own], path.stem)
    elif "calendar" in body:
        from server.servicecore.rulebook import CalendarFile

        refuse(path, load(path, CalendarFile).problems())
    else:
        raise ConfigError(
            f"{path}: expected one of the tables gateway, server, sim, scenario, registers, policy"
            " or calendar, found none"
        )


def _examine_gateway(path: Path, devices: Path) -> None:
    """Say every mistake of a gateway's file and of the maps, of form and of sense together."""
    from gateway.config import GatewayConfig, problems

    found: list[str] = []
    maps: dict[str, RegisterMap] | None = None
    try:
        maps = load_register_maps(devices)
    except ConfigError as e:
        found.append(str(e))
    body, stood_in = read_toml(path), set[str]()
    try:
        load(path, GatewayConfig)
    except ConfigError as e:
        found.insert(0, str(e))
        stood_in = _stand_in(body, GatewayConfig)
    if maps is not None:  # nothing can be said of registers while their maps are wrong
        try:
            config = GatewayConfig.model_validate(body)
        except ValidationError:
            raise ConfigError("; ".join(found)) from None
        found += [
            f"{path}: {sentence}"
            for sentence in problems(config, maps)
            if not any(key in sentence for key in stood_in)
        ]
    if found:
        raise ConfigError("; ".join(found))


def _stand_in(body: dict[str, Any], model: type[BaseModel]) -> set[str]:
    """Put something that is right in the place of every mistake of form; return the keys."""
    keys = set()
    try:
        model.model_validate(body)
    except ValidationError as e:
        for n, mistake in enumerate(e.errors()):
            *way, last = mistake["loc"]
            at: Any = body
            try:
                for step in way:
                    at = at[step]
            except (KeyError, IndexError, TypeError):
                continue
            if not isinstance(at, dict):
                continue
            at.pop(last, None)  # an optional key has its default then
            if last in _STAND_INS:
                at[last] = _STAND_INS[str(last)](n)
            keys.add(
                "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in mistake["loc"])[1:]
            )
    return keys


def _examine_scenario(path: Path, devices: Path) -> None:
    """Read a story with the town that it is written for."""
    from firmware_sim.config import SimConfig
    from firmware_sim.scenario_config import ScenarioConfig
    from firmware_sim.world import mistakes_in
    from mainwatch.load import configs_folder

    story = load(path, ScenarioConfig)
    town = configs_folder() / story.scenario.town / "sim.toml"
    config = load(town, SimConfig).located_in(town.parent)
    refuse(path, mistakes_in(story, config, load_register_maps(devices)))
