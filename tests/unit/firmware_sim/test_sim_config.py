"""The simulator's configuration: the demo's files are right, and every mistake has one sentence."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from firmware_sim.config import SimConfig, problems
from telemetry.register_map import RegisterMap

DEMO = Path(__file__).parents[3] / "configs" / "demo"
Body = dict[str, Any]
Maps = dict[str, RegisterMap]


def _first_point(body: Body) -> Body:
    point: Body = body["converter"][0]["device"][1]["point"][0]
    return point


def test_the_demo_has_no_problem(body: Body, maps: Maps) -> None:
    assert problems(SimConfig.model_validate(body), maps) == []


def test_every_register_map_of_the_demo_is_sound(maps: Maps) -> None:
    assert [sheet.problems() for sheet in maps.values()] == [[]] * len(maps)


def test_a_map_is_called_as_its_file(maps: Maps) -> None:
    assert [sheet.model for sheet in maps.values()] == list(maps)


def test_the_demo_has_what_it_promises(body: Body) -> None:
    names = [p["point"] for c in body["converter"] for d in c["device"] for p in d["point"]]

    assert sum(name.endswith("/pressure") for name in names) >= 12
    assert sum(name.endswith("-inlet/flow") for name in names) == 3
    assert sum(name.startswith("customer-") for name in names) == 10
    assert "hill-tank/level" in names
    assert len(body["converter"]) >= 2


def test_gateway_server_and_simulator_agree(body: Body) -> None:
    gateway = tomllib.loads((DEMO / "gateway.toml").read_text(encoding="utf-8"))
    server = tomllib.loads((DEMO / "server.toml").read_text(encoding="utf-8"))

    def wired(lines: list[Body]) -> list[tuple[object, ...]]:
        return [
            (line["port"], d["id"], d["unit"], d["map"], d["zone"], p["register"], p["point"])
            for line in lines
            for d in line["device"]
            for p in d["point"]
        ]

    points = [p for c in body["converter"] for d in c["device"] for p in d["point"]]
    shown = {p["point"] for p in points} | {p["flow_point"] for p in points if "flow_point" in p}
    assert wired(gateway["line"]) == wired(body["converter"])
    assert {p["id"] for p in server["point"]} == shown


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            lambda b: b["converter"][0]["device"][2].update(unit=1),
            "converter[0].device[2].unit: 1 is used already by converter[0].device[0].unit",
        ),
        (
            lambda b: b["converter"][1]["device"][0].update(map="manometer"),
            (
                "converter[1].device[0].map: expected one of cabinet-io, electromagnetic-meter,"
                " electromagnetic-meter-net, heat-meter, io-module, level-transmitter,"
                " pressure-logger, pressure-transmitter, pressure-transmitter-ma, pulse-counter,"
                " pulse-counter-two, ultrasonic-meter, volume-corrector, was 'manometer'"
            ),
        ),
        (
            lambda b: _first_point(b).update(register="force"),
            (
                "converter[0].device[1].point[0].register: expected one of pressure, status of map"
                " 'pressure-transmitter', was 'force'"
            ),
        ),
        (
            lambda b: _first_point(b).update(link="P-NORTH-001"),
            "converter[0].device[1].point[0]: expected node or link, found both",
        ),
        (
            lambda b: _first_point(b).pop("node"),
            "converter[0].device[1].point[0]: expected node or link, found none",
        ),
        (
            lambda b: _first_point(b).update(flow_point="a/flow"),
            "converter[0].device[1].point[0].flow_point: only for a volume, was set for a pressure",
        ),
        (
            lambda b: _first_point(b).update(point="north-inlet/flow"),
            (
                "converter[0].device[1].point[0].point: 'north-inlet/flow' is used already by"
                " converter[0].device[0].point[0].point"
            ),
        ),
        (
            lambda b: b["converter"][2].update(port=15020),
            "converter[2].port: 15020 is used already by converter[0].port",
        ),
        (
            lambda b: b["converter"][0]["device"][0].update(zone="west"),
            "converter[0].device[0].zone: expected one of north, east, south, was 'west'",
        ),
        (
            lambda b: b["zone"][0]["inflow"][0].update(point="a/flow"),
            "zone[0].inflow[0].point: expected a point of a device, was 'a/flow'",
        ),
        (
            lambda b: b["sim"].update(timezone="Mars/Base"),
            "sim.timezone: expected an IANA time zone, was 'Mars/Base'",
        ),
        (
            lambda b: b["control"].update(host="0.0.0.0"),
            "control.host: expected 127.0.0.1, as commands have no sign-in, was '0.0.0.0'",
        ),
        (
            lambda b: b["plant"].update(pump_on_below_m=5.0),
            "plant.pump_on_below_m: expected less than pump_off_above_m 4.6, was 5.0",
        ),
    ],
)
def test_a_mistake_of_sense_is_one_sentence_with_its_key(
    body: Body, maps: Maps, spoil: Callable[[Body], object], sentence: str
) -> None:
    spoil(body)

    assert problems(SimConfig.model_validate(body), maps) == [sentence]


def test_an_unknown_key_is_refused(body: Body) -> None:
    body["sim"]["speed"] = 2

    with pytest.raises(ValidationError, match=r"sim\.speed"):
        SimConfig.model_validate(body)
