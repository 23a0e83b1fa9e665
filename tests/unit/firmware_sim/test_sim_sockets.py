"""The simulator over real sockets: registers, commands and refusals."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from pymodbus.client import AsyncModbusTcpClient

from firmware_sim.app import run
from firmware_sim.config import SimConfig
from firmware_sim.control import LINE_MAX, ask
from mainwatch.wall_clock import WallClock
from telemetry.errors import ConfigError, RefusedCommand, Unavailable
from telemetry.register_map import Register, RegisterMap, Table, WordOrder

Maps = dict[str, RegisterMap]
MakeConfig = Callable[..., SimConfig]
SPELLINGS = {"uint16": ">H", "int16": ">h", "uint32": ">I", "float32": ">f"}


@asynccontextmanager
async def running(config: SimConfig, maps: Maps) -> AsyncIterator[dict[str, Any]]:
    stop, served = asyncio.Event(), asyncio.get_running_loop().create_future()
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        tasks.create_task(run(config, maps, clock=WallClock(), ready=served.set_result, stop=stop))
        try:
            yield await served
        finally:
            stop.set()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[AsyncModbusTcpClient]:
    async with AsyncModbusTcpClient("127.0.0.1", port=port, retries=0, timeout=2) as client:
        yield client


async def read(client: AsyncModbusTcpClient, unit: int, register: Register) -> float:
    """Read one register and spell it out, independently of the simulator's encoding."""
    asked = (
        client.read_holding_registers
        if register.table is Table.HOLDING
        else client.read_input_registers
    )
    reply = await asked(register.address, count=register.form.words, device_id=unit)
    assert not reply.isError(), reply
    found = list(reply.registers)
    if register.word_order is WordOrder.LITTLE:
        found.reverse()
    octets = b"".join(struct.pack(">H", word) for word in found)
    raw: float = struct.unpack(SPELLINGS[register.form.value], octets)[0]
    return raw * register.scale + register.offset


def test_every_device_answers_with_plausible_water(make_config: MakeConfig, maps: Maps) -> None:
    plausible = {"bar": (2.0, 4.6), "kPa": (200, 460), "m3/h": (20, 350), "mm": (2400, 4700)}

    async def scenario() -> None:
        config = make_config()
        async with running(config, maps) as served:
            assert served["points"] == 31
            for converter in config.converter:
                async with connected(served["converters"][converter.name]) as client:
                    for device in converter.device:
                        for p in device.point:
                            register = maps[device.map].register(p.register_name)
                            assert register is not None
                            value = await read(client, device.unit, register)
                            low, high = plausible.get(register.unit, (10_000, 1e8))
                            assert low < value < high, (p.point, value)

    asyncio.run(scenario())


def test_a_burst_on_the_wire_moves_its_zone_and_goes_away_again(
    make_config: MakeConfig, maps: Maps
) -> None:
    async def scenario() -> None:
        config = make_config(sim={"step_s": 0.1})
        async with running(config, maps) as served:

            async def inflows() -> list[float]:
                found = []
                for port in served["converters"].values():
                    async with connected(port) as client:
                        flow = maps["electromagnetic-meter"].register("flow")
                        assert flow is not None
                        found.append(await read(client, 1, flow))
                return found

            before = await inflows()
            message = {"burst": {"pipe": "P-EAST-030", "m3h": 40}}
            reply = await ask("127.0.0.1", served["control"], message)
            assert (reply["pipe"], reply["zone"]) == ("P-EAST-030", "east")
            assert 3000 < reply["x"] < 4800
            assert 900 < reply["y"] < 2800
            after = await _until(inflows, lambda f: f[1] - before[1] > 30)
            assert after[1] - before[1] == pytest.approx(40, abs=8)
            assert abs(after[0] - before[0]) < 8
            assert abs(after[2] - before[2]) < 8
            status = await ask("127.0.0.1", served["control"], {"status": {}})
            assert [b["pipe"] for b in status["bursts"]] == ["P-EAST-030"]
            assert status["bursts"][0]["now_m3h"] == pytest.approx(40, abs=1)
            await ask("127.0.0.1", served["control"], {"stop_burst": "P-EAST-030"})
            again = await _until(inflows, lambda f: f[1] - before[1] < 10)
            assert again[1] == pytest.approx(before[1], abs=8)

    asyncio.run(scenario())


async def _until(
    look: Callable[[], Awaitable[list[float]]], found: Callable[[list[float]], bool]
) -> list[float]:
    async with asyncio.timeout(5):
        while not found(seen := await look()):
            pass
    return seen


def test_history_comes_first_and_is_named(make_config: MakeConfig, maps: Maps) -> None:
    async def scenario() -> None:
        config = make_config(history={"days": 1})
        async with running(config, maps) as served:
            assert served["history"] == str(config.history.out)
            assert (config.history.out / "recording.toml").is_file()

    asyncio.run(scenario())


@pytest.mark.parametrize("key", ["control.port", "converter[1].port"])
def test_a_port_in_use_is_one_sentence(make_config: MakeConfig, maps: Maps, key: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = make_config()
        if key == "control.port":
            section = config.control.model_copy(update={"port": port})
            config = config.model_copy(update={"control": section})
        else:
            second = config.converter[1].model_copy(update={"port": port})
            converters = (config.converter[0], second, config.converter[2])
            config = config.model_copy(update={"converter": converters})

        with pytest.raises(ConfigError) as refused:
            asyncio.run(_runs_until_refused(config, maps))

    assert str(refused.value).startswith(f"{key}: expected a free port, was {port} which is in use")


@pytest.mark.parametrize("field", ["node", "link"])
def test_a_site_outside_the_network_is_one_sentence(
    make_config: MakeConfig, maps: Maps, body: dict[str, Any], field: str
) -> None:
    device = body["converter"][0]["device"][0 if field == "link" else 1]
    device["point"][0][field] = "J-NORTH-024X"

    with pytest.raises(ConfigError, match=rf"point\[0\]\.{field}: expected a {field} of .*NORTH"):
        asyncio.run(_runs_until_refused(make_config(), maps))


def test_mistakes_of_sense_stop_it_before_anything_is_served(
    make_config: MakeConfig, maps: Maps
) -> None:
    with pytest.raises(ConfigError, match=r"converter\[0\]\.device\[0\]\.map: expected one of"):
        asyncio.run(_runs_until_refused(make_config(), {"other": maps["pulse-counter"]}))


async def _runs_until_refused(config: SimConfig, maps: Maps) -> None:
    def never(_: dict[str, object]) -> None:
        pytest.fail("it serves what it should refuse")

    async with asyncio.timeout(10):
        await run(config, maps, clock=WallClock(), ready=never, stop=asyncio.Event())


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ({"burst": {"pipe": "P-NORTH-17", "m3h": 40}}, "near names: P-NORTH-017"),
        ({"burst": {"pipe": "P-NORTH-017"}}, "expected .*burst.*, was"),
        ({"burst": {"pipe": "P-NORTH-017", "m3h": 1, "for": 2}}, "expected .*burst.*, was"),
        ({"stop_burst": "P-NORTH-017"}, "expected a pipe with an open burst"),
        ({"flood": {}}, "expected .*burst.*, was .*flood"),
        ({}, "expected an object with one key"),
        ({"status": {}, "burst": {}}, "expected an object with one key"),
    ],
)
def test_a_command_that_cannot_be_is_refused_in_words(
    make_config: MakeConfig, maps: Maps, message: dict[str, Any], sentence: str
) -> None:
    async def scenario() -> None:
        async with running(make_config(), maps) as served:
            with pytest.raises(RefusedCommand, match=sentence):
                await ask("127.0.0.1", served["control"], message)

    asyncio.run(scenario())


def test_the_control_socket_survives_nonsense(make_config: MakeConfig, maps: Maps) -> None:
    async def scenario() -> None:
        async with running(make_config(), maps) as served:
            reader, writer = await asyncio.open_connection("127.0.0.1", served["control"])
            writer.write(b"\xff\xfe not json\n[1]\n")
            assert b"expected one JSON object a line" in await reader.readline()
            assert b"expected an object with one key" in await reader.readline()
            writer.write(b"x" * (2 * LINE_MAX))
            await writer.drain()
            with suppress(ConnectionError):  # closed or reset: either way nothing more is said
                assert await reader.read() == b""
            writer.close()
            assert "at" in await ask("127.0.0.1", served["control"], {"status": {}})

    asyncio.run(scenario())


def test_asking_where_nobody_answers_is_said(make_config: MakeConfig) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    with pytest.raises(Unavailable, match=f"no simulator answers on 127.0.0.1:{port}"):
        asyncio.run(ask("127.0.0.1", port, {"status": {}}))


def test_stopping_while_history_is_written_ends_at_once(
    make_config: MakeConfig, maps: Maps
) -> None:
    async def scenario() -> None:
        stop = asyncio.Event()
        stop.set()
        async with asyncio.timeout(10):
            await run(
                make_config(history={"days": 400}),
                maps,
                clock=WallClock(),
                ready=lambda _: pytest.fail("it serves after it was stopped"),
                stop=stop,
            )

    asyncio.run(scenario())
