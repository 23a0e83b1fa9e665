"""Lines out of the configuration, and what is wrong with it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from firmware_sim.config import SimConfig, problems
from firmware_sim.lines import line_of
from firmware_sim.modbus_server import TcpLine
from firmware_sim.serial_bus import SerialLine
from telemetry.register_map import RegisterMap

MakeConfig = Callable[..., SimConfig]
CABINET = {"id": "cabinet-1", "unit": 30, "map": "cabinet-io", "zone": "north"}


def serial(body: dict[str, Any], link: Path, **more: object) -> None:
    """Move the first converter's devices to a serial line."""
    devices = body["converter"].pop(0)["device"]
    body.setdefault("line", []).append(
        {"kind": "rtu", "name": "rs485-1", "link": str(link), "device": devices} | more
    )


def test_lines_are_built_as_the_file_says(
    make_config: MakeConfig, body: dict[str, Any], maps: dict[str, RegisterMap], tmp_path: Path
) -> None:
    serial(body, tmp_path / "line-1", baud=19200)
    config = make_config()
    assert problems(config, maps) == []

    async def play() -> list[tuple[str, str]]:
        lines = [(key, line_of(line, maps, seed=1)) for key, line in config.lines]
        return [(key, type(line).__name__, line.name) for key, line in lines]

    assert asyncio.run(play()) == [
        ("converter[0]", TcpLine.__name__, "converter-2"),
        ("converter[1]", TcpLine.__name__, "converter-3"),
        ("line[0]", SerialLine.__name__, "rs485-1"),
    ]


def test_two_lines_cannot_share_a_link_or_a_name(
    make_config: MakeConfig, body: dict[str, Any], maps: dict[str, RegisterMap], tmp_path: Path
) -> None:
    serial(body, tmp_path / "line-1")
    serial(body, tmp_path / "line-1")

    found = problems(make_config(), maps)
    assert "line[1].name: 'rs485-1' is used already by line[0].name" in found
    assert any(f.startswith("line[1].link: ") and "already by line[0].link" in f for f in found)


def test_a_cabinet_needs_no_points_and_an_instrument_does(
    make_config: MakeConfig, body: dict[str, Any], maps: dict[str, RegisterMap]
) -> None:
    body["converter"][0]["device"].append(CABINET)
    assert problems(make_config(), maps) == []

    body["converter"][0]["device"][-1] = CABINET | {"map": "level-transmitter"}
    last = len(body["converter"][0]["device"]) - 1
    assert problems(make_config(), maps) == [
        (
            f"converter[0].device[{last}].point: expected at least one,"
            " as map 'level-transmitter' measures"
        )
    ]


def test_a_town_without_lines_is_one_sentence(
    make_config: MakeConfig, body: dict[str, Any], maps: dict[str, RegisterMap]
) -> None:
    body["converter"] = []
    assert problems(make_config(), maps)[0] == (
        "converter: expected at least one [[converter]] or [[line]], found none"
    )


@pytest.mark.parametrize("wrong", [{"kind": "ascii"}, {"baud": 9601}, {"port": 502}])
def test_a_line_that_cannot_be_is_refused(
    make_config: MakeConfig, body: dict[str, Any], tmp_path: Path, wrong: dict[str, Any]
) -> None:
    serial(body, tmp_path / "line-1", **wrong)
    with pytest.raises(ValidationError):
        make_config()
