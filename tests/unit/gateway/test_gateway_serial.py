"""The gateway on a paced serial line: from words on the wire to births, deaths and health."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from firmware_sim.core.line import Device
from firmware_sim.core.noise import key_of
from firmware_sim.serial_bus import SerialLine
from gateway.app import run
from gateway.config import GatewayConfig, problems
from mainwatch.load import configs_folder, load_register_maps
from mainwatch.wall_clock import WallClock
from telemetry.sparkplug import MessageKind
from tests.unit.gateway.field import HOST, Host, mosquitto, running, until

MAPS = load_register_maps(configs_folder() / "devices")


def config_of(data: Path, *, serial: Path, broker: int, identity: str) -> GatewayConfig:
    return GatewayConfig.model_validate(
        {
            "gateway": {"id": "gw-01", "group": "demo", "data": str(data)},
            "broker": {"host": HOST, "port": broker},
            "line": [
                {
                    "name": "rs485-1",
                    "kind": "rtu",
                    "serial": str(serial),
                    "baud": 9600,
                    "stop_bits": 2,
                    "device": [
                        {
                            "id": "pt-1",
                            "unit": 1,
                            "map": "pressure-transmitter",
                            "zone": "north",
                            "period_s": 0.5,
                            "point": [{"register": "pressure", "point": "pt-1/pressure"}],
                        },
                        {
                            "id": "um-1",
                            "unit": 2,
                            "map": "ultrasonic-meter",
                            "zone": "north",
                            "period_s": 0.5,
                            "identity": identity,
                            "point": [
                                {"register": "flow", "point": "um-1/flow"},
                                {
                                    "register": "signal",
                                    "point": "um-1/signal",
                                    "period_s": 5,
                                    "priority": "low",
                                },
                            ],
                        },
                    ],
                }
            ],
        }
    )


@contextlib.asynccontextmanager
async def serial_line(link: Path) -> AsyncIterator[SerialLine]:
    line = SerialLine(
        name="rs485-1",
        link=link,
        baud=9600,
        bits_per_char=11,
        devices=[
            Device(id="pt-1", unit=1, sheet=MAPS["pressure-transmitter"]),
            Device(id="um-1", unit=2, sheet=MAPS["ultrasonic-meter"]),
        ],
        key=key_of(1, "rs485-1"),
    )
    await line.start(key="line[0]")
    line.show_values(1, {"pressure": 312.5})
    line.show_values(2, {"flow": 12.5, "signal": 87.0})
    line._stations[2].firmware.show_text("serial-number", "UM12345678")
    try:
        yield line
    finally:
        await line.stop()


@contextlib.asynccontextmanager
async def plant(tmp_path: Path, *, identity: str) -> AsyncIterator[tuple[Host, SerialLine]]:
    host, link = Host(), tmp_path / "line"
    async with (
        serial_line(link) as line,
        mosquitto(tmp_path) as broker,
        running(host.run(broker)),
    ):
        config = config_of(tmp_path, serial=link, broker=broker, identity=identity)
        assert problems(config, MAPS) == []
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            clock = WallClock()
            group.create_task(run(config, MAPS, clock=clock, ready=lambda _: None, stop=stop))
            try:
                yield host, line
            finally:
                stop.set()


def values(host: Host, name: str) -> list[object]:
    return [m.value for m in host.samples.values() if m.name == name]


def births(host: Host, device: str) -> list[dict[str, object]]:
    return [
        {m.name: m.value for m in payload.metrics}
        for topic, payload in host.log
        if topic.kind is MessageKind.DBIRTH and topic.device == device
    ]


def kinds(host: Host, device: str) -> list[MessageKind]:
    return [t.kind for t, _ in host.log if t.device == device and t.kind is not MessageKind.DDATA]


def test_serial_devices_are_read_die_and_come_back(tmp_path):
    async def scenario() -> None:
        async with plant(tmp_path, identity="UM12345678") as (host, line):
            await until(lambda: len(values(host, "pressure")) > 3 and values(host, "signal"))
            line.power_off(1)
            await until(lambda: MessageKind.DDEATH in kinds(host, "pt-1"))
            line.power_on(1)
            await until(lambda: kinds(host, "pt-1")[-1] is MessageKind.DBIRTH)

        assert 312.5 in values(host, "pressure")
        assert None in values(host, "pressure")
        assert set(values(host, "flow")) == {12.5}
        assert set(values(host, "signal")) == {87.0}
        assert len(values(host, "signal")) < len(values(host, "flow")) / 3
        assert kinds(host, "pt-1") == [MessageKind.DBIRTH, MessageKind.DDEATH, MessageKind.DBIRTH]
        assert kinds(host, "um-1") == [MessageKind.DBIRTH]
        first, again = births(host, "pt-1")
        assert first["mw/health/deaths_total"] == 0.0
        assert again["mw/health/deaths_total"] == 1.0
        assert again["mw/health/timeouts_total"] >= 2.0
        assert 8.0 < again["mw/health/turnaround_ms"] < 100.0

    asyncio.run(scenario())


def test_a_meter_that_is_not_the_one_of_the_file_is_not_believed(tmp_path, caplog):
    async def scenario() -> None:
        async with plant(tmp_path, identity="UM00000001") as (host, _line):
            await until(lambda: len(values(host, "flow")) > 3 and len(values(host, "pressure")) > 3)

        assert set(values(host, "flow")) == {None}
        assert set(values(host, "pressure")) == {312.5}

    asyncio.run(scenario())

    assert (
        "device um-1 on line rs485-1: another device answers:"
        " expected 'UM00000001', was 'UM12345678'"
    ) in caplog.messages
