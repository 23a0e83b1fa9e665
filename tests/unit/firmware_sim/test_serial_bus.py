"""Modbus RTU on pseudo-terminals: by bytes, by another implementation's client, and spoilt."""

import asyncio
import os
import shutil
import subprocess
import termios
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median_low

import pytest
from pymodbus.client import AsyncModbusSerialClient
from pymodbus.exceptions import ModbusException

from firmware_sim.core.events import Event, Kind, full_numbers
from firmware_sim.core.line import Device
from firmware_sim.core.noise import Key
from firmware_sim.core.rtu import Timing, framed, is_whole
from firmware_sim.serial_bus import SerialLine
from telemetry.errors import ConfigError
from telemetry.instant import Instant
from telemetry.register_map import RegisterMap, Table

Maps = dict[str, RegisterMap]
READ = bytes.fromhex("03 0000 0002")
REPLY = framed(1, bytes.fromhex("03 04 40480000"))
OTHER = framed(2, bytes.fromhex("03 04 40490000"))
FAST = 115200
ROUNDS_MAX = 60
"""How often a busy machine may be late before a line is said to be."""


def fault(kind: Kind, target: str = "pt-1", **numbers: float) -> Event:
    told = full_numbers(kind, numbers)
    return Event(id=f"{kind}", kind=kind, begin=Instant(0), target=target, numbers=told)


class Port:
    """A master that writes bytes and hears bytes, as another program would."""

    def __init__(self, line: SerialLine, *, baud: int | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._fd = os.open(line.where, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        if baud is not None:
            settings = termios.tcgetattr(self._fd)
            settings[4] = settings[5] = getattr(termios, f"B{baud}")
            termios.tcsetattr(self._fd, termios.TCSANOW, settings)

    def say(self, octets: bytes) -> None:
        os.write(self._fd, octets)

    async def hear(self, *, for_s: float = 0.25, at_most: int = 4096) -> bytes:
        """Return what comes, up to a length or until the time is over."""
        heard, came = b"", asyncio.Event()
        self._loop.add_reader(self._fd, came.set)
        try:
            async with asyncio.timeout(for_s):
                while len(heard) < at_most:
                    await came.wait()
                    came.clear()
                    try:
                        heard += os.read(self._fd, 4096)
                    except BlockingIOError:
                        continue
        except TimeoutError:
            pass
        finally:
            self._loop.remove_reader(self._fd)
        return heard

    async def ask(self, unit: int, pdu: bytes = READ, *, for_s: float = 0.25) -> bytes:
        self.say(framed(unit, pdu))
        return await self.hear(for_s=for_s)

    def close(self) -> None:
        os.close(self._fd)


@asynccontextmanager
async def line_of(maps: Maps, folder: Path, baud: int = FAST) -> AsyncIterator[SerialLine]:
    devices = [
        Device(id="pt-1", unit=1, sheet=maps["pressure-transmitter"]),
        Device(id="pt-2", unit=2, sheet=maps["pressure-transmitter"]),
        Device(id="em-3", unit=3, sheet=maps["electromagnetic-meter"]),
    ]
    line = SerialLine(
        name="rs485-1",
        link=folder / "serial" / "line-1",
        baud=baud,
        bits_per_char=11,
        devices=devices,
        key=Key(5),
    )
    await line.start(key="line[0]")
    try:
        line.show(1, table=Table.HOLDING, address=0, words=(0x4048, 0))
        line.show(2, table=Table.HOLDING, address=0, words=(0x4049, 0))
        line.show(3, table=Table.HOLDING, address=10, words=(0x8000, 0x4300))
        yield line
    finally:
        await line.stop()


def played(
    maps: Maps, folder: Path, scenario: Callable[[SerialLine, Port], Awaitable[None]]
) -> None:
    async def play() -> None:
        async with asyncio.timeout(30), line_of(maps, folder) as line:
            port = Port(line)
            try:
                await scenario(line, port)
            finally:
                port.close()

    asyncio.run(play())


@pytest.mark.parametrize("baud", [9600, 115200])
def test_another_implementations_master_reads_every_device(
    maps: Maps, tmp_path: Path, baud: int
) -> None:
    async def play() -> None:
        async with asyncio.timeout(20), line_of(maps, tmp_path, baud) as line:
            client = AsyncModbusSerialClient(
                line.where, baudrate=baud, retries=0, timeout=1, reconnect_delay=0
            )
            assert await client.connect()
            try:
                for _ in range(3):
                    one = await client.read_holding_registers(0, count=2, device_id=1)
                    assert one.registers == [0x4048, 0]
                    three = await client.read_holding_registers(10, count=2, device_id=3)
                    assert three.registers == [0x8000, 0x4300]
                refused = await client.read_holding_registers(3, count=1, device_id=1)
                assert refused.exception_code == 2
                named = await client.read_device_information(read_code=1, device_id=3)
                assert named.information[1] == b"EM-300"
                with pytest.raises(ModbusException):
                    await client.read_holding_registers(0, count=2, device_id=9)
            finally:
                client.close()

    asyncio.run(play())


@pytest.mark.skipif(shutil.which("mbpoll") is None, reason="mbpoll is not installed")
def test_mbpoll_reads_a_device(maps: Maps, tmp_path: Path) -> None:
    async def scenario(line: SerialLine, _: Port) -> None:
        command = ["mbpoll", "-m", "rtu", "-b", str(FAST), "-P", "none", "-a", "1", "-0"]
        command += ["-r", "0", "-c", "2", "-t", "4:hex", "-1", line.where]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        said, _ = await process.communicate()
        assert b"0x4048" in said, said

    played(maps, tmp_path, scenario)


def test_the_link_is_stable_and_goes_with_the_line(maps: Maps, tmp_path: Path) -> None:
    link = tmp_path / "serial" / "line-1"

    async def play() -> None:
        for _ in range(2):
            async with line_of(maps, tmp_path) as line:
                assert line.where == str(link)
                assert link.is_symlink()
                assert Path(os.path.realpath(link)).is_char_device()
        assert not link.is_symlink()
        link.symlink_to("/nowhere")  # left by one that was killed
        async with line_of(maps, tmp_path):
            assert Path(os.path.realpath(link)).is_char_device()

    asyncio.run(play())


def test_a_place_that_is_something_else_is_one_sentence(maps: Maps, tmp_path: Path) -> None:
    place = tmp_path / "serial" / "line-1"
    place.parent.mkdir()
    place.write_text("mine")

    async def play() -> None:
        with pytest.raises(ConfigError, match=r"line\[0\]\.link: expected a place for a link"):
            async with line_of(maps, tmp_path):
                pass

    asyncio.run(play())
    assert place.read_text() == "mine"


@pytest.mark.parametrize(("baud", "registers"), [(9600, 2), (38400, 2), (115200, 2), (115200, 5)])
def test_an_exchange_takes_as_long_as_the_line_needs(
    maps: Maps, tmp_path: Path, baud: int, registers: int
) -> None:
    turnaround_s = maps["electromagnetic-meter"].behaviour.turnaround_ms / 1000
    expected_s = Timing(baud=baud).exchange_s(8, 5 + 2 * registers, turnaround_s=turnaround_s)
    expected = pytest.approx(expected_s, rel=0.02)
    pdu = bytes((3, 0, 10, 0, registers))

    async def exchanges(port: Port) -> list[float]:
        loop, took = asyncio.get_running_loop(), []
        for _ in range(15):
            begun = loop.time()
            port.say(framed(3, pdu))
            assert len(await port.hear(for_s=2, at_most=5 + 2 * registers)) == 5 + 2 * registers
            took.append(loop.time() - begun)
        return took[1:]

    async def play() -> list[list[float]]:
        rounds = []
        async with asyncio.timeout(120), line_of(maps, tmp_path, baud) as line:
            port = Port(line)
            while len(rounds) < ROUNDS_MAX and (not rounds or median_low(rounds[-1]) != expected):
                rounds.append(await exchanges(port))
            port.close()
        return rounds

    rounds = asyncio.run(play())

    # The middle one, of a round that the machine had time for: one that has other things to do is
    # late now and then, and what follows upon a late reply is as much shorter.
    assert median_low(rounds[-1]) == expected, [median_low(took) for took in rounds]


def test_a_master_at_another_speed_is_not_understood(maps: Maps, tmp_path: Path) -> None:
    async def scenario(line: SerialLine, port: Port) -> None:
        assert await port.ask(1) == REPLY
        wrong = Port(line, baud=9600)
        assert await wrong.ask(1) == b""
        right = Port(line, baud=FAST)
        assert await right.ask(1) == REPLY
        wrong.close()
        right.close()

    played(maps, tmp_path, scenario)


def test_a_device_given_another_speed_answers_there_after_its_next_start(
    maps: Maps, tmp_path: Path
) -> None:
    async def scenario(line: SerialLine, port: Port) -> None:
        assert is_whole(await port.ask(1, bytes.fromhex("06 0101 0002")))  # 19200
        line.power_off(1)
        assert await port.ask(1) == b""
        line.power_on(1)
        assert await port.ask(1) == b""
        assert await port.ask(2) == OTHER
        slower = Port(line, baud=19200)
        assert await slower.ask(1) == framed(1, bytes((0x83, 6)))  # it is starting
        slower.close()

    played(maps, tmp_path, scenario)


def test_requests_in_pieces_and_after_rubbish_are_understood(maps: Maps, tmp_path: Path) -> None:
    async def scenario(_: SerialLine, port: Port) -> None:
        request = framed(1, READ)
        for octet in request:
            port.say(bytes((octet,)))
        assert await port.hear() == REPLY
        port.say(b"\x00\xff\x13" + request[:4])
        assert await port.hear(for_s=0.1) == b""
        assert await port.ask(1) == REPLY

    played(maps, tmp_path, scenario)


def test_an_unknown_function_is_refused_and_a_broadcast_obeyed(maps: Maps, tmp_path: Path) -> None:
    async def scenario(line: SerialLine, port: Port) -> None:
        assert await port.ask(1, b"\x41\x01") == framed(1, b"\xc1\x01")
        assert await port.ask(0, bytes.fromhex("06 0102 0019")) == b""
        assert line.show(2, table=Table.HOLDING, address=0, words=(0x4048, 0)) == (0x4046, 0x6666)

    played(maps, tmp_path, scenario)


def test_a_dead_device_and_a_dead_line_say_nothing(maps: Maps, tmp_path: Path) -> None:
    async def scenario(line: SerialLine, port: Port) -> None:
        line.begin(fault(Kind.DEAD))
        assert await port.ask(1) == b""
        assert await port.ask(2) == OTHER
        line.finish(fault(Kind.DEAD))
        assert await port.ask(1) == REPLY
        line.begin(fault(Kind.CONVERTER_REBOOT, "rs485-1", seconds=0.3))
        assert await port.ask(2, for_s=0.4) == b""
        assert await port.ask(2) == OTHER

    played(maps, tmp_path, scenario)


def test_a_slow_device_does_not_hear_what_it_is_asked_meanwhile(maps: Maps, tmp_path: Path) -> None:
    async def scenario(line: SerialLine, port: Port) -> None:
        line.begin(fault(Kind.SLOW, seconds=0.3))
        port.say(framed(1, READ))
        assert await port.hear(for_s=0.1) == b""
        port.say(framed(1, bytes.fromhex("03 0002 0001")))
        assert await port.hear(for_s=0.5) == REPLY  # the answer to the first question

    played(maps, tmp_path, scenario)


def test_a_late_reply_comes_when_another_device_was_asked(maps: Maps, tmp_path: Path) -> None:
    async def scenario(line: SerialLine, port: Port) -> None:
        line.begin(fault(Kind.LATE_REPLY, seconds=0.3, one_in=1))
        assert await port.ask(1, for_s=0.1) == b""
        assert await port.ask(2, for_s=0.5) == OTHER + REPLY

    played(maps, tmp_path, scenario)


def test_what_is_heard_under_faults_of_the_wire(maps: Maps, tmp_path: Path) -> None:
    async def scenario(line: SerialLine, port: Port) -> None:
        async def heard_under(event: Event) -> bytes:
            line.begin(event)
            heard = await port.ask(1)
            line.finish(event)
            return heard

        spoilt = await heard_under(fault(Kind.CRC_ERRORS, ratio=1.0))
        assert len(spoilt) == len(REPLY)
        assert sum((a ^ b).bit_count() for a, b in zip(spoilt, REPLY, strict=True)) == 1
        assert await heard_under(fault(Kind.ECHO, "rs485-1")) == framed(1, READ) + REPLY
        garbage = await heard_under(fault(Kind.GARBAGE, ratio=1.0))
        assert garbage.endswith(REPLY)
        assert len(garbage) > len(REPLY)
        doubled = await heard_under(fault(Kind.ADDRESS_CONFLICT))
        assert doubled
        assert not is_whole(doubled)
        assert await port.ask(1) == REPLY

    played(maps, tmp_path, scenario)


def test_another_masters_questions_and_their_answers_are_heard(maps: Maps, tmp_path: Path) -> None:
    async def scenario(line: SerialLine, port: Port) -> None:
        event = fault(Kind.FOREIGN_MASTER, "rs485-1", per_minute=600)
        line.begin(event)
        heard = await port.hear(for_s=1.0)
        line.finish(event)
        units = [u for u in (1, 2, 3) if framed(u, READ) in heard]
        assert units
        assert await port.hear(for_s=0.3) == b""
        assert await port.ask(1) == REPLY

    played(maps, tmp_path, scenario)


def test_two_devices_given_one_unit_id_talk_at_once(maps: Maps, tmp_path: Path) -> None:
    async def scenario(_: SerialLine, port: Port) -> None:
        assert is_whole(await port.ask(1, bytes.fromhex("06 0100 0002")))
        await asyncio.sleep(0.2)  # it is storing that
        heard = await port.ask(2)
        assert heard
        assert not is_whole(heard)
        assert await port.ask(1) == b""

    played(maps, tmp_path, scenario)


def test_who_talks_while_a_reply_is_on_the_line_spoils_it(maps: Maps, tmp_path: Path) -> None:
    async def play() -> None:
        async with asyncio.timeout(10), line_of(maps, tmp_path, 1200) as line:
            port = Port(line)
            port.say(framed(3, bytes.fromhex("03 000A 0004")))  # 16 characters of 9 ms in reply
            await asyncio.sleep(0.17)
            port.say(b"\x00" * 8)
            heard = await port.hear(for_s=0.5)
            assert not is_whole(heard)
            port.close()

    asyncio.run(play())
