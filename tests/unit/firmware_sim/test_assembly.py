"""From the configuration to a plant: all three utilities, and one sentence on what is wrong."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from firmware_sim import assembly
from firmware_sim.config import SimConfig, problems
from telemetry.errors import ConfigError
from telemetry.instant import HOUR_MS, MINUTE_MS, Instant
from telemetry.register_map import RegisterMap
from telemetry.units import Quantity

CONFIGS = Path(__file__).parents[3] / "configs"
BEGIN = Instant(1_768_953_600_000)  # 2026-01-21

RANGES = {
    Quantity.PRESSURE: (50.0, 1700.0),
    Quantity.FLOW: (0.1, 3000.0),
    Quantity.VOLUME: (1000.0, 1e9),
    Quantity.LEVEL: (0.3, 5.5),
    Quantity.TEMPERATURE: (2.0, 97.0),
}

Maps = dict[str, RegisterMap]


def _body(demo: str) -> dict[str, Any]:
    return tomllib.loads((CONFIGS / demo / "sim.toml").read_text(encoding="utf-8"))


def _config(body: dict[str, Any], demo: str = "demo") -> SimConfig:
    return SimConfig.model_validate(body).located_in(CONFIGS / demo)


@pytest.mark.parametrize("demo", ["demo", "demo-heating", "demo-gas"])
def test_every_utility_plays_an_hour_with_plausible_instruments(demo: str, maps: Maps) -> None:
    config = _config(_body(demo), demo)
    water = assembly.water_of(config)
    try:
        instruments = assembly.instruments_of(config, maps, water)
        plant = assembly.plant_of(config, water, instruments, at=BEGIN)
        before = plant.truths()
        plant.advance(Instant(BEGIN + HOUR_MS), step_ms=5 * MINUTE_MS)
        truths = plant.truths()
    finally:
        water.close()

    assert len({i.device for i in instruments}) >= 8
    for i, was, truth in zip(instruments, before, truths, strict=True):
        low, high = RANGES[i.register.quantity]
        assert low <= truth <= high, i.point
        if i.counts:
            assert truth > was, i.point
        assert i.reading(truth, plant.at) == pytest.approx(truth, rel=0.05, abs=1.5)


@pytest.mark.parametrize("demo", ["demo", "demo-heating", "demo-gas"])
def test_the_same_seed_is_the_same_plant(demo: str, maps: Maps) -> None:
    found = []
    for _ in range(2):
        config = _config(_body(demo), demo)
        water = assembly.water_of(config)
        instruments = assembly.instruments_of(config, maps, water)
        plant = assembly.plant_of(config, water, instruments, at=BEGIN)
        plant.advance(Instant(BEGIN + HOUR_MS), step_ms=MINUTE_MS)
        found.append(plant.truths())
        water.close()

    assert found[0] == found[1]


def test_without_a_plant_the_files_own_controls_fill_the_tank(maps: Maps) -> None:
    body = _body("demo")
    del body["plant"]
    config = _config(body)
    water = assembly.water_of(config)
    plant = assembly.plant_of(config, water, (), at=BEGIN)
    works = []
    for n in range(200):
        plant.advance(Instant(BEGIN + n * 15 * MINUTE_MS), step_ms=15 * MINUTE_MS)
        works.append(water.flow_m3h("PU-1") > 1)
    water.close()

    assert problems(config, maps) == []
    assert {*works} == {True, False}
    assert 2.0 < plant.level_m < 5.0


def test_one_plant_may_be_written_as_a_list_with_several_pumps(maps: Maps) -> None:
    body = _body("demo")
    body["plant"] = [body["plant"] | {"pump": ["PU-1"]}]
    config = _config(body)

    assert config.plant == _config(_body("demo")).plant
    body["plant"] *= 2
    body["plant"][1] = body["plant"][1] | {"pump_on_below_m": 9.0}
    assert problems(_config(body), maps) == [
        "plant[1].pump_on_below_m: expected less than pump_off_above_m 4.6, was 9.0"
    ]


@pytest.mark.parametrize(
    ("keys", "value", "sentence"),
    [
        (("plant", "tank"), "T-HIL", r"^plant\.tank: expected a tank .*\(near names: T-HILL\)"),
        (("plant", "tank"), "J-NORTH-001", r"^plant\.tank: expected a tank of .*network\.inp"),
        (("plant", "pump"), "PU-9", r"^plant\.pump: expected a pump .*\(near names: PU-1\)"),
        (
            ("converter", 0, "device", 0, "point", 0, "link"),
            "PRV-NORD",
            r"^converter\[0\]\.device\[0\]\.point\[0\]\.link: expected a link .*PRV-NORTH",
        ),
        (
            ("converter", 0, "device", 1, "point", 0, "node"),
            "J-NORTH-24",
            r"^converter\[0\]\.device\[1\]\.point\[0\]\.node: expected a node .*J-NORTH-024",
        ),
    ],
)
def test_a_name_that_the_network_does_not_know_is_one_sentence(
    keys: tuple[str | int, ...], value: str, sentence: str, maps: Maps
) -> None:
    body = _body("demo")
    inner: Any = body
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    config = _config(body)
    with pytest.raises(ConfigError, match=sentence):
        _built(config, maps)


def test_a_level_needs_a_tank(maps: Maps) -> None:
    body = _body("demo")
    for converter in body["converter"]:
        for device in converter["device"]:
            if device["map"] == "level-transmitter":
                device["point"][0]["node"] = "J-NORTH-001"
    with pytest.raises(ConfigError, match=r"expected a tank of .*, was 'J-NORTH-001'"):
        _built(_config(body), maps)


def test_heating_is_told_of_its_plant_and_nothing_else_is(maps: Maps) -> None:
    heating, water = _body("demo-heating"), _body("demo")
    water["heating"] = heating.pop("heating")

    assert problems(_config(heating, "demo-heating"), maps) == [
        'heating: required, as sim.utility is "heating"'
    ]
    assert problems(_config(water), maps) == [
        'heating: only for sim.utility = "heating", was "water"'
    ]


def test_an_unknown_calendar_is_refused() -> None:
    body = _body("demo")
    body["sim"]["calendar"] = "mars"
    with pytest.raises(ValidationError, match="'none' or 'cn'"):
        _config(body)


def _built(config: SimConfig, maps: Maps) -> None:
    water = assembly.water_of(config)
    try:
        instruments = assembly.instruments_of(config, maps, water)
        assembly.plant_of(config, water, instruments, at=BEGIN)
    finally:
        water.close()
