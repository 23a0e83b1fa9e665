"""The gateway's wiring: what a device is born with, and what stops the gateway before it starts."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.app import run
from gateway.config import BrokerSection, GatewayConfig
from gateway.core.messages import dbirth
from gateway.core.statistics import DeviceStatistics
from gateway.devices import births_of
from gateway.line_config import DEVICE_POINTS_MAX, DeviceSection
from gateway.uplink import read_broker
from mainwatch.load import configs_folder, load, load_register_maps
from mainwatch.wall_clock import WallClock
from telemetry.errors import ConfigError
from telemetry.extension import PAYLOAD_TARGET
from telemetry.instant import Instant
from telemetry.register_map import Form, Register, RegisterMap
from tests.support.ports import free_port
from tests.unit.gateway.field import MAPS, config_of


def start(config: GatewayConfig) -> None:
    async def scenario() -> None:
        ready: list[Any] = []
        await run(config, MAPS, clock=WallClock(), ready=ready.append, stop=asyncio.Event())

    asyncio.run(scenario())


def test_the_demo_is_born_with_house_units():
    folder = configs_folder()
    config = load(folder / "demo" / "gateway.toml", GatewayConfig)
    maps = load_register_maps(folder / "devices")

    born = {
        m.point: m for line in config.line for d in line.device for m in births_of(d, maps[d.map])
    }

    pressure = born["wenhua-road-12/pressure"]
    assert (pressure.quantity.unit, pressure.maximum) == ("kPa", 1600.0)
    assert pressure.resolution == pytest.approx(0.1)
    assert born["hill-tank/level"].maximum == pytest.approx(10.0)
    flow = born["customer-01/flow"]
    assert (flow.name, flow.maximum) == ("pulses_flow", 50.0)
    assert flow.resolution == pytest.approx(0.6)


def test_the_largest_device_is_born_in_one_message():
    registers = tuple(
        Register(
            name=f"{n:03}-{'r' * 60}", address=4 * n, form=Form.UINT32, unit="m3", rolls_over_at=9
        )
        for n in range(DEVICE_POINTS_MAX)
    )
    points = [
        {
            "register": r.name,
            "point": f"{n:03}{'p' * 61}/{'q' * 64}",
            "flow_point": f"{n:03}{'f' * 61}/{'q' * 64}",
            "flow_max_m3h": 10,
        }
        for n, r in enumerate(registers)
    ]
    section = DeviceSection.model_validate(
        {
            "id": "d" * 32,
            "unit": 1,
            "map": "m",
            "zone": "z" * 32,
            "place": "路" * 64,
            "period_s": 1,
            "point": points,
        }
    )
    sheet = RegisterMap(model="m", description="", registers=registers)

    born = dbirth(
        births_of(section, sheet),
        seq=255,
        epoch=2**63,
        last={},
        vitals=DeviceStatistics().vitals(),
        at=Instant(2**40),
    )

    assert len(born) <= 2 * PAYLOAD_TARGET


def test_a_missing_folder_stops_the_gateway_before_it_starts(tmp_path):
    config = config_of(tmp_path / "none", modbus=free_port(), broker=free_port())

    with pytest.raises(ConfigError, match=r"^gateway\.data: expected a folder, found none at "):
        start(config)


def test_every_mistake_is_told_at_once(tmp_path):
    config = config_of(tmp_path, modbus=1502, broker=1883)
    first = config.line[0].device[0]
    twice = config.line[0].model_copy(update={"device": (first, first)})

    with pytest.raises(ConfigError) as caught:
        start(config.model_copy(update={"line": (twice,)}))

    assert "line[0].device[1].unit" in str(caught.value)
    assert "line[0].device[1].id" in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"username": "gw", "password_file": "none.txt"}, "broker.password_file: "),
        ({"ca_file": "none.pem"}, "broker.ca_file: "),
        ({"ca_file": "broken.pem"}, "broker.ca_file: "),
    ],
)
def test_a_secret_that_cannot_be_read_is_named(tmp_path, keys, named):
    (tmp_path / "broken.pem").write_text("no certificate")
    keys = {k: str(tmp_path / v) if k.endswith("file") else v for k, v in keys.items()}

    with pytest.raises(ConfigError) as caught:
        read_broker(BrokerSection.model_validate(keys))

    assert str(caught.value).startswith(named)


def test_a_password_comes_out_of_its_file(tmp_path: Path):
    path = tmp_path / "password"
    path.write_text("open sesame\n")

    broker = read_broker(BrokerSection(username="gw-01", password_file=path))

    assert (broker.username, broker.password, broker.tls) == ("gw-01", "open sesame", None)
    assert "sesame" not in broker.where
