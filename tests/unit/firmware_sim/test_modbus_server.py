"""Modbus TCP over real sockets: many units, many clients, and everything that goes wrong."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from firmware_sim.core.events import Event, Kind, full_numbers
from firmware_sim.core.line import Device
from firmware_sim.core.noise import Key
from firmware_sim.core.rtu import Timing
from firmware_sim.modbus_server import TcpLine
from telemetry.device_sheet import Condition
from telemetry.errors import ConfigError, RefusedCommand
from telemetry.instant import Instant
from telemetry.register_map import RegisterMap, Table

Maps = dict[str, RegisterMap]
READ_TWO = bytes.fromhex("0000 0006 01 03 0000 0002")
BUSY, NOBODY_BEHIND = 6, 11


def fault(kind: Kind, target: str = "pt-1", **numbers: float) -> Event:
    told = full_numbers(kind, numbers)
    return Event(id=f"{kind}", kind=kind, begin=Instant(0), target=target, numbers=told)


@asynccontextmanager
async def line_of(maps: Maps) -> AsyncIterator[TcpLine]:
    """Play a meter at unit 1, two transmitters at 2 and 3 and a counter at 7."""
    devices = [
        Device(id="pt-1", unit=1, sheet=maps["pressure-transmitter"]),
        Device(id="pt-2", unit=2, sheet=maps["pressure-transmitter"]),
        Device(id="em-3", unit=3, sheet=maps["electromagnetic-meter"]),
        Device(id="pc-7", unit=7, sheet=maps["pulse-counter"]),
    ]
    line = TcpLine(name="converter-1", host="127.0.0.1", port=0, devices=devices, key=Key(5))
    await line.start(key="converter[0]")
    try:
        line.show(1, table=Table.HOLDING, address=0, words=(0x4048, 0))
        line.show(2, table=Table.HOLDING, address=0, words=(0x4049, 0))
        line.show(3, table=Table.HOLDING, address=10, words=(0x8000, 0x4300))
        line.show(7, table=Table.INPUT, address=0, words=(0x4B, 0x89))
        yield line
    finally:
        await line.stop()


@asynccontextmanager
async def client_of(line: TcpLine, patience_s: float = 2.0) -> AsyncIterator[AsyncModbusTcpClient]:
    async with AsyncModbusTcpClient(
        "127.0.0.1", port=line.port, retries=0, timeout=patience_s, reconnect_delay=0
    ) as client:
        yield client


async def last_words(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the other side hangs up, be it rudely."""
    try:
        return await reader.read()
    except ConnectionError:
        return b""


def played(maps: Maps, scenario: Callable[[TcpLine], Awaitable[None]]) -> None:
    async def play() -> None:
        async with asyncio.timeout(20), line_of(maps) as line:
            await scenario(line)

    asyncio.run(play())


def test_words_arrive_as_they_were_put(maps: Maps) -> None:
    async def scenario(line: TcpLine) -> None:
        async with client_of(line) as client:
            flow = await client.read_holding_registers(10, count=4, device_id=3)
            pulses = await client.read_input_registers(0, count=2, device_id=7)
            assert flow.registers == [0x8000, 0x4300, 0, 0]
            assert pulses.registers == [0x4B, 0x89]

    played(maps, scenario)


def test_what_is_not_there_is_answered_with_an_exception(maps: Maps) -> None:
    async def scenario(line: TcpLine) -> None:
        async with client_of(line) as client:
            for address, count in ((3, 1), (0, 4), (2, 2), (500, 1), (65535, 1)):
                reply = await client.read_holding_registers(address, count=count, device_id=1)
                assert reply.exception_code == 2, (address, count)
            reply = await client.read_input_registers(0, count=2, device_id=1)
            assert reply.exception_code == 2
            reply = await client.read_holding_registers(0, count=2, device_id=9)
            assert reply.exception_code == NOBODY_BEHIND
            reply = await client.write_register(0, 7, device_id=1)
            assert reply.exception_code == 2
            reply = await client.read_coils(0, count=1, device_id=1)
            assert reply.exception_code == 1

    played(maps, scenario)


def test_a_device_tells_who_made_it(maps: Maps) -> None:
    async def scenario(line: TcpLine) -> None:
        async with client_of(line) as client:
            basic = await client.read_device_information(read_code=1, device_id=1)
            assert basic.information == {0: b"Demo Instruments", 1: b"PT-16-RS485", 2: b"2.4"}
            regular = await client.read_device_information(read_code=2, device_id=3)
            assert regular.information[4] == b"Electromagnetic flow meter"

    played(maps, scenario)


def test_a_device_that_is_given_another_unit_id_moves_there(maps: Maps) -> None:
    async def scenario(line: TcpLine) -> None:
        async with client_of(line) as client:
            reply = await client.write_register(256, 40, device_id=1)
            assert not reply.isError()
            busy = await client.read_holding_registers(0, count=2, device_id=40)
            assert busy.exception_code == BUSY
            moved = busy
            while moved.isError():
                await asyncio.sleep(0.02)
                moved = await client.read_holding_registers(0, count=2, device_id=40)
            assert moved.registers == [0x4048, 0]
            gone = await client.read_holding_registers(0, count=2, device_id=1)
            assert gone.exception_code == NOBODY_BEHIND
            # Those who play it still know it by the unit of the file.
            line.show(1, table=Table.HOLDING, address=0, words=(0x4050, 0))
            moved = await client.read_holding_registers(0, count=2, device_id=40)
            assert moved.registers == [0x4050, 0]

    played(maps, scenario)


def test_two_devices_with_one_unit_id_are_not_understood(maps: Maps) -> None:
    async def scenario(line: TcpLine) -> None:
        async with client_of(line) as client:
            await client.write_register(256, 2, device_id=1)
            reply = await client.read_holding_registers(0, count=2, device_id=2)
            assert reply.exception_code == NOBODY_BEHIND

    played(maps, scenario)


def test_many_clients_and_pipelined_requests_are_answered_in_order(maps: Maps) -> None:
    async def scenario(line: TcpLine) -> None:
        async def ask() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
            asked = b"".join(struct.pack(">H", n) + READ_TWO for n in range(50))
            for n in range(0, len(asked), 7):  # in lumps that fit no request
                writer.write(asked[n : n + 7])
                await writer.drain()
            for n in range(50):
                reply = await reader.readexactly(13)
                assert reply == struct.pack(">H", n) + bytes.fromhex("0000 0007 01 03 04 40480000")
            writer.close()
            await writer.wait_closed()

        async with asyncio.TaskGroup() as tasks:
            for _ in range(8):
                tasks.create_task(ask())

    played(maps, scenario)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        bytes.fromhex("0001 0000 0001 01 03"),
        b"\x00\x01\x00\x00\xff\xff1234",
    ],
)
def test_what_is_not_modbus_is_hung_up_on(maps: Maps, nonsense: bytes) -> None:
    async def scenario(line: TcpLine) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
        writer.write(nonsense)
        assert await last_words(reader) == b""
        writer.close()
        async with client_of(line) as client:
            assert not (await client.read_holding_registers(0, count=2, device_id=1)).isError()

    played(maps, scenario)


def test_a_broadcast_is_obeyed_and_not_answered(maps: Maps) -> None:
    async def scenario(line: TcpLine) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
        writer.write(bytes.fromhex("0001 0000 0006 00 06 0102 0019"))  # zero = 25 steps
        writer.write(bytes.fromhex("0002 0000 0006 07 04 0000 0001"))
        assert (await reader.readexactly(11))[:2] == b"\x00\x02"
        writer.close()
        assert line.show(2, table=Table.HOLDING, address=0, words=(0x4048, 0)) == (0x4046, 0x6666)

    played(maps, scenario)


def test_a_dead_device_says_nothing_and_its_neighbours_answer(maps: Maps) -> None:
    async def scenario(line: TcpLine) -> None:
        line.begin(fault(Kind.DEAD))
        async with client_of(line, patience_s=0.2) as client:
            with pytest.raises(ModbusException):
                await client.read_holding_registers(0, count=2, device_id=1)
        async with client_of(line) as client:
            assert not (await client.read_holding_registers(0, count=2, device_id=2)).isError()
            line.finish(fault(Kind.DEAD))
            assert not (await client.read_holding_registers(0, count=2, device_id=1)).isError()

    played(maps, scenario)


def test_a_device_without_power_is_dead_and_comes_back(maps: Maps) -> None:
    async def scenario(line: TcpLine) -> None:
        assert line.is_mains_powered(1)
        assert not line.is_mains_powered(7)
        line.power_off(1)
        async with client_of(line, patience_s=0.2) as client:
            with pytest.raises(ModbusException):
                await client.read_holding_registers(0, count=2, device_id=1)
        line.power_on(1)
        async with client_of(line) as client:
            reply = await client.read_holding_registers(0, count=2, device_id=1)
            assert reply.exception_code == BUSY  # it is starting

    played(maps, scenario)


def test_slow_and_late_replies_take_their_time(maps: Maps) -> None:
    async def scenario(line: TcpLine) -> None:
        loop = asyncio.get_running_loop()
        for kind in (Kind.SLOW, Kind.LATE_REPLY):
            event = (
                fault(kind, seconds=0.3)
                if kind is Kind.SLOW
                else fault(kind, seconds=0.3, one_in=1)
            )
            line.begin(event)
            async with client_of(line) as client:
                begun = loop.time()
                reply = await client.read_holding_registers(0, count=2, device_id=1)
                assert reply.registers == [0x4048, 0]
                assert 0.2 < loop.time() - begun < 1
                begun = loop.time()
                await client.read_holding_registers(0, count=2, device_id=2)
                assert loop.time() - begun < 0.15
            line.finish(event)

    played(maps, scenario)


def test_what_a_converter_makes_of_faults_on_its_serial_side(maps: Maps) -> None:
    async def scenario(line: TcpLine) -> None:
        async def asked_under(event: Event) -> bytes:
            line.begin(event)
            reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
            writer.write(b"\x00\x01" + READ_TWO)
            reply = await reader.read(64)
            writer.close()
            line.finish(event)
            return reply

        nobody = bytes.fromhex("0001 0000 0003 01 83 0B")
        assert await asked_under(fault(Kind.CRC_ERRORS, ratio=1.0)) == nobody
        assert await asked_under(fault(Kind.ADDRESS_CONFLICT)) == nobody
        echo = await asked_under(fault(Kind.ECHO, "converter-1"))
        assert echo == b"\x00\x01" + READ_TWO
        foreign = await asked_under(fault(Kind.FOREIGN_MASTER, "converter-1", per_minute=60))
        assert foreign == bytes.fromhex("0001 0000 0007 02 03 04 40480000")
        garbage = await asked_under(fault(Kind.GARBAGE, "converter-1", ratio=1.0))
        assert garbage
        assert not garbage.startswith(b"\x00\x01\x00\x00")

    played(maps, scenario)


def test_faults_come_as_often_as_they_are_told_to_and_the_same_each_time(maps: Maps) -> None:
    async def count(line: TcpLine) -> list[bool]:
        line.begin(fault(Kind.CRC_ERRORS, "converter-1", ratio=0.25))
        async with client_of(line) as client:
            return [
                (await client.read_holding_registers(0, count=2, device_id=1)).isError()
                for _ in range(400)
            ]

    async def play() -> list[bool]:
        async with line_of(maps) as line:
            return await count(line)

    first, second = asyncio.run(play()), asyncio.run(play())
    assert first == second
    assert 70 <= sum(first) <= 130


def test_a_converter_that_starts_again_drops_everybody_and_is_back_at_its_port(maps: Maps) -> None:
    async def scenario(line: TcpLine) -> None:
        port = line.port
        event = fault(Kind.CONVERTER_REBOOT, "converter-1", seconds=30)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x00\x01" + READ_TWO)
        await reader.readexactly(13)
        line.begin(event)
        assert await last_words(reader) == b""
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        line.finish(event)
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
        writer.close()
        assert line.port == port

    played(maps, scenario)


def test_a_reboot_is_over_by_itself_and_stopping_meanwhile_is_harmless(maps: Maps) -> None:
    async def scenario(line: TcpLine) -> None:
        line.begin(fault(Kind.CONVERTER_REBOOT, "converter-1", seconds=0.05))
        while True:
            try:
                async with client_of(line) as client:
                    await client.read_holding_registers(0, count=2, device_id=1)
                break
            except ModbusException:
                await asyncio.sleep(0.01)
        line.begin(fault(Kind.CONVERTER_REBOOT, "converter-1", seconds=3600))

    played(maps, scenario)


def test_a_fault_that_cannot_be_here_is_refused_in_words(maps: Maps) -> None:
    async def scenario(line: TcpLine) -> None:
        assert line.has("pt-2")
        assert line.has("converter-1")
        assert not line.has("pt-9")
        with pytest.raises(RefusedCommand, match="device on it, was 'pt-9'; near names: pt-"):
            line.begin(fault(Kind.DEAD, "pt-9"))
        with pytest.raises(RefusedCommand, match="expected a wire fault, was burst"):
            line.begin(fault(Kind.BURST, "converter-1"))

    played(maps, scenario)


def test_status_bits_are_seen_on_the_wire(maps: Maps) -> None:
    async def scenario(line: TcpLine) -> None:
        line.show_condition(7, Condition.LOW_BATTERY, on=True)
        async with client_of(line) as client:
            reply = await client.read_input_registers(2, count=1, device_id=7)
            assert reply.registers == [4]

    played(maps, scenario)


def test_a_converter_can_be_as_slow_as_the_line_behind_it(maps: Maps) -> None:
    timing = Timing(baud=9600)

    async def play() -> float:
        devices = [Device(id="pt-1", unit=1, sheet=maps["pressure-transmitter"])]
        line = TcpLine(
            name="c", host="127.0.0.1", port=0, devices=devices, key=Key(5), timing=timing
        )
        await line.start(key="converter[0]")
        loop = asyncio.get_running_loop()
        reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
        begun = loop.time()
        for n in range(5):  # asked at once, answered one after another
            writer.write(struct.pack(">H", n) + READ_TWO)
        for n in range(5):
            assert (await reader.readexactly(13))[:2] == struct.pack(">H", n)
        took = loop.time() - begun
        writer.close()
        await line.stop()
        return took

    one_s = timing.exchange_s(8, 9, turnaround_s=0.012)
    assert 5 * one_s <= asyncio.run(play()) < 5.5 * one_s + 0.02


def test_a_port_that_cannot_be_had_is_one_sentence(maps: Maps) -> None:
    async def scenario() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            line = TcpLine(name="c", host="127.0.0.1", port=port, devices=[], key=Key(1))
            with pytest.raises(
                ConfigError, match=rf"line\[2\]\.port: expected a free port, was {port}"
            ):
                await line.start(key="line[2]")
            await line.stop()

    asyncio.run(scenario())
