"""Does every file under configs/ load, and do the checks find nothing wrong with it?"""

from pathlib import Path

import pytest

from mainwatch.load import load, load_register_map, load_register_maps
from telemetry.errors import ConfigError
from tests.house.tree import ROOT, files

CONFIGS = [f for f in files() if f.startswith("configs/")]


def problems_of(path: Path) -> list[str]:
    """Load a file as the program it is for would, and return what is wrong in it."""
    match path.parent.name, path.stem:
        case "devices", _:
            return load_register_map(path).problems()
        case "demo" | "demo-heating" | "demo-gas", "gateway":
            import gateway.config as gateway

            return gateway.problems(load(path, gateway.GatewayConfig), maps())
        case "demo" | "demo-heating" | "demo-gas", "sim":
            import firmware_sim.config as sim

            return sim.problems(load(path, sim.SimConfig), maps())
        case "demo" | "demo-heating" | "demo-gas", "server":
            import server.config as server

            return server.problems(load(path, server.ServerConfig))
        case "demo-gas", "network":
            from firmware_sim.gas_file import gas_of

            gas_of(path, customers=(), ground_c=lambda _: 12.0)  # raises what is wrong
            return []
        case "scenarios" | "policies" | "calendars", _:
            from mainwatch.check import findings

            return findings(path, ROOT / "configs/devices")
    raise AssertionError(f"{path}: no program reads this file; say in problems_of who does")


def maps():
    return load_register_maps(ROOT / "configs/devices")


@pytest.mark.parametrize("path", [f for f in CONFIGS if f.endswith(".toml")])
def test_every_configuration_that_ships_is_right(path):
    assert problems_of(ROOT / path) == []


def test_a_wrong_register_map_is_noticed(tmp_path):
    wrong = tmp_path / "devices" / "wrong.toml"
    wrong.parent.mkdir()
    wrong.write_text(
        'model = "X"\ndescription = "x"\n'
        '[[registers]]\nname = "p"\naddress = 70000\nform = "uint16"\nunit = "furlong"\n',
        encoding="utf-8",
    )

    with pytest.raises(ConfigError, match=r"wrong.toml.*70000.*furlong"):
        problems_of(wrong)


def test_a_file_that_no_program_reads_is_noticed(tmp_path):
    with pytest.raises(AssertionError, match="no program reads this file"):
        problems_of(tmp_path / "stray.toml")
