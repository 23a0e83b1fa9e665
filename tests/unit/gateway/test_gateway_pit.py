"""The whole gateway where the clock is wrong at first, and where points report by exception."""

import asyncio
import itertools
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.app import run
from gateway.config import GatewayConfig
from gateway.promises import births_of
from mainwatch.wall_clock import WallClock
from telemetry.instant import HOUR_MS, Instant
from telemetry.sparkplug import MessageKind
from tests.unit.gateway.field import (
    MAPS,
    Host,
    config_of,
    float_words,
    modbus_devices,
    mosquitto,
    running,
    until,
)


@dataclass
class Slow:
    """The machine's clock, hours behind until it is synchronised."""

    real: WallClock = field(default_factory=WallClock)
    behind_ms: int = 5 * HOUR_MS

    def now(self) -> Instant:
        return Instant(self.real.now() - self.behind_ms)

    def monotonic_ms(self) -> int:
        return self.real.monotonic_ms()

    async def sleep_until(self, at: Instant) -> None:
        await self.real.sleep_until(Instant(at + self.behind_ms))

    def boot_id(self) -> str:
        return "boot-1"

    def is_synchronised(self) -> bool:
        return self.behind_ms == 0


def test_what_was_read_before_the_synchronisation_arrives_with_its_true_instant(tmp_path):
    async def scenario() -> None:
        clock, host, stop = Slow(), Host(), asyncio.Event()
        began = clock.real.now()
        async with modbus_devices() as (modbus, _), mosquitto(tmp_path) as broker:
            config = config_of(tmp_path, modbus=modbus, broker=broker)
            ready = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(
                    run(
                        config, MAPS, clock=clock, stop=stop, ready=lambda _: ready.set(),
                    )
                )  # fmt: skip
                await ready.wait()
                await asyncio.sleep(2.5)  # no host: everything is stored
                clock.behind_ms = 0
                await asyncio.sleep(1.5)
                async with running(host.run(broker)):
                    await until(lambda: len(host.samples) > 60)
                    stop.set()
        by_offset = [m for _, m in sorted(host.samples.items())]
        said = [
            m.properties["mw/time"].value if "mw/time" in m.properties else "" for m in by_offset
        ]
        at = [m.timestamp for m in by_offset if m.name == "pressure"]
        assert said[0] == "corrected"
        assert said[-1] in ("", "corrected")
        assert "doubtful" not in said
        assert at == sorted(at)
        assert abs(at[0] - began) < 3_000
        gaps = [b - a for a, b in itertools.pairwise(at)]
        assert max(gaps) < 1_500

    asyncio.run(scenario())


def reporting(config: GatewayConfig, **point: Any) -> GatewayConfig:
    body = config.model_dump(mode="json", by_alias=True)
    body["line"][0]["device"][0]["point"][0] |= point
    return GatewayConfig.model_validate(body)


def test_a_point_that_reports_by_exception_sends_news_only_and_its_birth_says_so(tmp_path):
    async def scenario() -> None:
        host, stop = Host(), asyncio.Event()
        async with (
            modbus_devices() as (modbus, server),
            mosquitto(tmp_path) as broker,
            running(host.run(broker)),
        ):
            config = reporting(
                config_of(tmp_path, modbus=modbus, broker=broker),
                report={"deadband": 5.0, "silence_max_s": 300},
                sanity={"maximum": 700.0},
            )
            assert births_of(config, MAPS)["pt-1"][0].period_ms == 300_000
            async with asyncio.TaskGroup() as group:
                group.create_task(
                    run(config, MAPS, clock=WallClock(), stop=stop, ready=lambda _: None)
                )
                await until(lambda: len(host.samples) > 20)
                await server.async_setValues(1, 16, 0, float_words(8.0))
                seen = len(host.samples)
                await until(lambda: len(host.samples) > seen + 20)
                stop.set()
        pressures = [m for _, m in sorted(host.samples.items()) if m.name == "pressure"]
        assert [m.value for m in pressures] == [350.0, 800.0]
        assert pressures[1].properties["mw/reason"].value == "out_of_range"
        assert sorted(offset for _, offset in host.samples) == list(range(len(host.samples)))

    asyncio.run(scenario())


def test_the_service_manager_hears_of_the_start_the_progress_and_the_end(tmp_path):
    async def scenario() -> None:
        address = str(tmp_path / "notify")
        stop, host = asyncio.Event(), Host()
        said: list[str] = []
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(address)
            manager.settimeout(0)

            async def listen() -> None:
                while "STOPPING=1" not in said:
                    data = await asyncio.get_running_loop().sock_recv(manager, 4_096)
                    said.extend(data.decode().splitlines())

            async with (
                modbus_devices() as (modbus, _),
                mosquitto(tmp_path) as broker,
                running(host.run(broker)),
                asyncio.TaskGroup() as group,
            ):
                config = config_of(tmp_path, modbus=modbus, broker=broker)
                group.create_task(listen())
                group.create_task(
                    run(
                        config, MAPS, clock=WallClock(), stop=stop, ready=lambda _: None,
                        notify=address,
                    )
                )  # fmt: skip
                await until(lambda: "WATCHDOG=1" in said)
                await until(lambda: MessageKind.NBIRTH in host.kinds())
                stop.set()
        assert said[0] == "READY=1"
        assert said[-1] == "STOPPING=1"
        born = next(p for t, p in host.log if t.kind is MessageKind.NBIRTH)
        names = {m.name for m in born.metrics}
        assert {
            "mw/health/backlog_samples",
            "mw/health/oldest_unsent_seconds",
            "mw/health/disk_free_bytes",
            "mw/health/temperature_celsius",
            "mw/health/clock_synchronised",
            "mw/health/converter-1/line_utilisation_ratio",
        } <= names

    asyncio.run(scenario())


def test_a_pin_or_point_that_is_used_twice_is_refused_by_its_key(tmp_path: Path):
    config = config_of(tmp_path, modbus=1, broker=2)
    body = config.model_dump(mode="json", by_alias=True)
    body["gpio"] = [
        {
            "id": "pit-io",
            "zone": "north",
            "pulse": [{"pin": 17, "point": "pit/volume", "pulse_m3": 0.01}],
            "contact": [{"pin": 17, "point": "pit/volume"}],
        }
    ]
    from gateway.config import problems

    assert problems(GatewayConfig.model_validate(body), MAPS) == [
        "gpio[0].contact[0].pin: pin 17 is already used by gpio[0].pulse[0].pin",
        "gpio[0].contact[0].point: point pit/volume is already used by gpio[0].pulse[0].point",
    ]
