"""The gateway over real sockets: Modbus devices on one side, mosquitto and a host on the other."""

import asyncio
import contextlib
import json
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.app import run
from gateway.config import GatewayConfig
from mainwatch.wall_clock import WallClock
from telemetry import extension
from telemetry.errors import ConfigError
from telemetry.sparkplug import MessageKind
from tests.support.ports import free_port
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


@contextlib.asynccontextmanager
async def gateway(config: GatewayConfig) -> AsyncIterator[None]:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(run(config, MAPS, clock=WallClock(), ready=lambda _: None, stop=stop))
        try:
            yield
        finally:
            stop.set()


def offsets(host: Host) -> list[int]:
    return sorted(offset for _, offset in host.samples)


def outbox_state(folder: Path) -> dict[str, int]:
    with contextlib.closing(sqlite3.connect(folder / "outbox.db")) as db:
        return dict(db.execute("SELECT key, value FROM state"))


def test_registers_become_acknowledged_samples(tmp_path):
    async def scenario() -> None:
        host = Host()
        async with (
            modbus_devices() as (modbus, _),
            mosquitto(tmp_path) as broker,
            running(host.run(broker)),
        ):
            async with gateway(config_of(tmp_path, modbus=modbus, broker=broker)):
                await until(lambda: len(host.samples) > 30)
            await until(lambda: host.kinds()[-1] is MessageKind.NDEATH)

        born = host.kinds()[:3]
        assert born == [MessageKind.NBIRTH, MessageKind.DBIRTH, MessageKind.DBIRTH]
        pressure = next(m for m in host.samples.values() if m.name == "pressure")
        assert pressure.value == 350.0
        volume = next(m for m in host.samples.values() if m.name == "pulses")
        assert volume.value == 10.0
        assert offsets(host) == list(range(len(host.samples)))
        assert (host.twice, host.conflicts) == (0, [])
        seqs = [p.seq for t, p in host.log if t.kind is not MessageKind.NDEATH]
        assert seqs == [n % 256 for n in range(len(seqs))]
        state = outbox_state(tmp_path)
        assert 0 < state["acked"] <= state["head"] == len(host.samples)

    asyncio.run(scenario())


def test_nothing_is_lost_when_the_host_goes_away_and_returns(tmp_path):
    async def scenario() -> None:
        host = Host()
        async with (
            modbus_devices() as (modbus, _),
            mosquitto(tmp_path) as broker,
            gateway(config_of(tmp_path, modbus=modbus, broker=broker)),
        ):
            async with running(host.run(broker)):
                await until(lambda: len(host.samples) > 10)
            was = len(host.log)
            seen = len(host.samples)
            await asyncio.sleep(2)  # the world goes on without a host
            assert len(host.log) == was
            async with running(host.run(broker)):
                await until(lambda: len(host.samples) > seen + 30)

        assert offsets(host) == list(range(len(host.samples)))
        assert host.conflicts == []
        late = [m for t, p in host.log[was:] if t.kind is MessageKind.DDATA for m in p.metrics]
        assert MessageKind.NBIRTH in host.kinds()[was : was + 2]
        assert late

    asyncio.run(scenario())


def test_only_what_was_acknowledged_counts_as_done(tmp_path):
    async def scenario() -> None:
        host = Host(acknowledges=False)
        async with (
            modbus_devices() as (modbus, _),
            mosquitto(tmp_path) as broker,
            running(host.run(broker)),
        ):
            config = config_of(tmp_path, modbus=modbus, broker=broker)
            async with gateway(config):
                await until(lambda: len(host.samples) > 20)
            first = dict(host.samples)
            state = outbox_state(tmp_path)
            assert (state["acked"], state["was_acknowledged"]) == (0, 0)
            host.samples.clear()
            host.committed.clear()
            host.acknowledges = True
            async with gateway(config):
                await until(lambda: len(host.samples) > len(first) + 60)

        assert first.items() <= {k: host.samples[k] for k in first}.items()
        assert offsets(host) == list(range(len(host.samples)))
        assert outbox_state(tmp_path)["acked"] > len(first)

    asyncio.run(scenario())


def test_a_device_that_falls_silent_dies_and_returns_without_stalling_the_other(tmp_path):
    async def scenario() -> None:
        host = Host()
        silent: set[int] = set()

        def values(name: str) -> list[float | None]:
            return [
                host.samples[k].value for k in sorted(host.samples) if host.samples[k].name == name
            ]

        async with (
            modbus_devices(silent=silent) as (modbus, _),
            mosquitto(tmp_path) as broker,
            running(host.run(broker)),
            gateway(config_of(tmp_path, modbus=modbus, broker=broker)),
        ):
            await until(lambda: values("pressure"))
            counted = len(values("pulses"))
            silent.add(1)
            await until(lambda: MessageKind.DDEATH in host.kinds())
            assert values("pressure")[-1] is None
            assert len(values("pulses")) - counted > 8  # one time-out at a time, ever more rarely
            silent.clear()
            await until(lambda: values("pressure")[-1] == 350.0)
            death = host.kinds().index(MessageKind.DDEATH)

        after = [t.kind for t, _ in host.log[death + 1 :] if t.device == "pt-1"]
        assert after[:2] == [MessageKind.DBIRTH, MessageKind.DDATA]
        assert host.log[death][0].device == "pt-1"

    asyncio.run(scenario())


def test_the_series_of_a_counter_goes_on_after_a_restart(tmp_path):
    async def scenario() -> None:
        host = Host()
        async with (
            modbus_devices() as (modbus, server),
            mosquitto(tmp_path) as broker,
            running(host.run(broker)),
        ):
            config = config_of(tmp_path, modbus=modbus, broker=broker)
            await server.async_setValues(2, 16, 0, [0xFFFF, 0xFFFE])
            async with gateway(config):
                await until(lambda: any(m.name == "pulses" for m in host.samples.values()))
            await server.async_setValues(2, 16, 0, [0, 3])
            seen = len(host.samples)
            async with gateway(config):
                await until(lambda: len(host.samples) > seen + 8)

        volumes = [
            m.value for key in sorted(host.samples) if (m := host.samples[key]).name == "pulses"
        ]
        assert volumes[0] == pytest.approx((2**32 - 2) * 0.01)
        assert volumes[-1] == pytest.approx((2**32 + 3) * 0.01)
        assert volumes == sorted(volumes)

    asyncio.run(scenario())


def test_a_broker_that_comes_later_gets_everything(tmp_path):
    async def scenario() -> None:
        host = Host()
        port = free_port()
        async with (
            modbus_devices() as (modbus, _),
            gateway(config_of(tmp_path, modbus=modbus, broker=port)),
        ):
            await until((tmp_path / "outbox.db").exists)
            await asyncio.sleep(1.5)  # polls go on without a broker
            async with mosquitto(tmp_path, port), running(host.run(port)):
                await until(lambda: len(host.samples) > 20)

        assert offsets(host) == list(range(len(host.samples)))
        bdseqs = [
            m.value
            for t, p in host.log
            if t.kind is MessageKind.NBIRTH
            for m in p.metrics
            if m.name == extension.BDSEQ
        ]
        assert bdseqs == [0]  # attempts that reached nobody do not count

    asyncio.run(scenario())


@pytest.mark.parametrize("has_been_acknowledged", [False, True])
def test_a_broker_that_refuses_ends_only_the_first_installation(tmp_path, has_been_acknowledged):
    async def scenario() -> None:
        async with modbus_devices() as (modbus, _):
            if has_been_acknowledged:
                host = Host()
                async with (
                    mosquitto(tmp_path) as broker,
                    running(host.run(broker)),
                    gateway(config_of(tmp_path, modbus=modbus, broker=broker)),
                ):
                    await until(lambda: len(host.samples) > 5)
                    await until(lambda: outbox_state(tmp_path)["was_acknowledged"])
            async with (
                mosquitto(tmp_path, more="allow_anonymous false") as broker,
                asyncio.timeout(10),
                gateway(config_of(tmp_path, modbus=modbus, broker=broker)),
            ):
                await asyncio.sleep(1.5)

    if has_been_acknowledged:
        asyncio.run(scenario())
    else:
        with pytest.raises(ExceptionGroup) as caught:
            asyncio.run(scenario())
        (error,) = caught.value.exceptions
        assert isinstance(error, ConfigError)
        assert "[broker] host, port" in str(error)
        assert "Not authorized" in str(error)


_SUBPROCESS = """
import asyncio, json, sys
from pathlib import Path
from gateway.app import run
from mainwatch.wall_clock import WallClock
from tests.unit.gateway.field import MAPS, config_of

data, modbus, broker = sys.argv[1:]
config = config_of(Path(data), modbus=int(modbus), broker=int(broker))
ready = lambda told: print(json.dumps(told), flush=True)
asyncio.run(run(config, MAPS, clock=WallClock(), ready=ready, stop=asyncio.Event()))
"""


def test_a_killed_gateway_loses_nothing_committed_and_doubles_no_offset(tmp_path):
    async def scenario() -> None:
        host = Host()
        async with (
            modbus_devices() as (modbus, server),
            mosquitto(tmp_path) as broker,
            running(host.run(broker)),
        ):
            for life in range(3):
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-c", _SUBPROCESS, str(tmp_path), str(modbus), str(broker),
                    stdout=asyncio.subprocess.PIPE,
                )  # fmt: skip
                assert json.loads(await process.stdout.readline()) == {
                    "gateway": "gw-01",
                    "points": 3,
                }
                seen = len(host.samples)
                await until(lambda seen=seen: len(host.samples) > seen + 15)
                process.send_signal(signal.SIGKILL)
                await process.wait()
                with contextlib.closing(sqlite3.connect(tmp_path / "outbox.db")) as db:
                    (committed,) = db.execute("SELECT max(first + n) FROM row").fetchone()
                await server.async_setValues(1, 16, 0, float_words(3.5 + life))
            async with gateway(config_of(tmp_path, modbus=modbus, broker=broker)):
                await until(lambda: len(host.samples) > committed)

        assert len({epoch for epoch, _ in host.samples}) == 1
        assert offsets(host) == list(range(len(host.samples)))
        assert host.conflicts == []

    asyncio.run(scenario())


def test_a_port_that_nobody_serves_is_a_bad_reading_not_an_end(tmp_path):
    async def scenario() -> None:
        host = Host()
        async with (
            mosquitto(tmp_path) as broker,
            running(host.run(broker)),
            gateway(config_of(tmp_path, modbus=free_port(), broker=broker)),
        ):
            await until(lambda: host.kinds().count(MessageKind.DDEATH) == 2)
            await until(lambda: len(host.samples) >= 3)

        first = host.samples[min(host.samples)]
        assert (first.value, first.properties["mw/reason"].value) == (None, "line_down")

    asyncio.run(scenario())
