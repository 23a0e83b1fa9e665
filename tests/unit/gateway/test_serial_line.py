"""A serial line under the rules of the bus: nothing wrong is ever taken for a value."""

import asyncio
import gc
from pathlib import Path

import pytest
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType as SimType
from pymodbus.simulator import SimData, SimDevice

from gateway.core.device import NoAnswer, Reply, Words
from gateway.core.poll_plan import Block
from gateway.modbus import Line
from gateway.port_memory import PortMemory
from gateway.wire import Place
from mainwatch.wall_clock import WallClock
from telemetry.register_map import Table
from telemetry.sample import Reason
from tests.support.ports import free_port
from tests.unit.gateway.field import HOST
from tests.unit.gateway.serial_field import (
    TIMING,
    Answer,
    cable,
    honest,
    line_on,
    port,
    refusal,
)


def block(address: int, count: int = 2, table: Table = Table.HOLDING) -> Block:
    return Block(table=table, address=address, count=count, registers=())


def ask(answer: Answer, *blocks: Block, unit: int = 7) -> tuple[list[Reply], Line]:
    async def scenario() -> tuple[list[Reply], Line]:
        with port(answer) as path:
            line = line_on(path)
            try:
                return [await line.read(unit, b) for b in blocks], line
            finally:
                line.close()

    return asyncio.run(scenario())


def values(replies: list[Reply]) -> list[tuple[int, ...] | Reason]:
    return [tuple(r.words) if isinstance(r, Words) else r.reason for r in replies]


def first_lies(lie: Answer) -> Answer:
    """Return an answer that is a lie for addresses below 100 and honest for the others."""

    def answer(asked: bytes) -> list[tuple[float, bytes]]:
        address = int.from_bytes(asked[2:4], "big")
        return lie(asked) if address < 100 else [(0.002, honest(asked))]

    return answer


def other(asked: bytes, *, unit: int = 0, count: int = 0, function: int = 0) -> bytes:
    """Return the reply to a question like the one asked, but not the same."""
    changed = bytearray(asked)
    changed[0] += unit
    changed[1] += function
    changed[5] += count
    return honest(bytes(changed))


LIES = {
    "silence": (lambda asked: [], Reason.TIMEOUT),
    "too short": (lambda asked: [(0.0, other(asked, count=-1))], Reason.WRONG_REPLY),
    "too long": (lambda asked: [(0.0, other(asked, count=1))], Reason.WRONG_REPLY),
    "cut off": (lambda asked: [(0.0, honest(asked)[:6])], Reason.TIMEOUT),
    "other unit": (lambda asked: [(0.0, other(asked, unit=1))], Reason.TIMEOUT),
    "other function": (lambda asked: [(0.0, other(asked, function=1))], Reason.WRONG_REPLY),
    "a bit wrong": (
        lambda asked: [(0.0, honest(asked)[:4] + b"\x99" + honest(asked)[5:])],
        Reason.TIMEOUT,
    ),
    "long garbage": (lambda asked: [(0.0, b"\x55" * 40)], Reason.WRONG_REPLY),
    "two replies": (
        lambda asked: [(0.0, other(asked, unit=1) + honest(asked))],
        Reason.WRONG_REPLY,
    ),
    "refusal": (lambda asked: [(0.0, refusal(asked, 4))], Reason.DEVICE_EXCEPTION),
    "nobody behind": (lambda asked: [(0.0, refusal(asked, 11))], Reason.TIMEOUT),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_a_bad_reading_and_the_next_answer_is_right(name):
    lie, reason = LIES[name]

    replies, _ = ask(first_lies(lie), block(0), block(200))

    assert values(replies) == [reason, (200, 201)]


@pytest.mark.parametrize("table", [Table.HOLDING, Table.INPUT])
def test_a_device_is_read_and_its_turnaround_is_measured(table):
    replies, line = ask(lambda asked: [(0.03, honest(asked))], block(100, 3, table))

    assert values(replies) == [(100, 101, 102)]
    assert 0.02 < replies[0].turnaround_s < 0.06
    assert line.statistics.requests == line.statistics.opened == 1


def test_an_echo_and_a_few_stray_octets_before_the_reply_do_no_harm():
    replies, line = ask(lambda asked: [(0.002, asked + b"\0\xff" + honest(asked))], block(100))

    assert values(replies) == [(100, 101)]
    assert line.statistics.echoes == 1


@pytest.mark.parametrize("late_s", [0.15, 0.35, 0.6])
def test_a_late_reply_is_never_the_answer_to_the_next_question(late_s):
    held = []

    def answer(asked: bytes) -> list[tuple[float, bytes]]:
        held.append(asked)
        return [(late_s if len(held) == 1 else 0.002, honest(asked))]

    async def scenario() -> list[Reply]:
        with port(answer) as path:
            line = line_on(path)
            replies = []
            while len(replies) < 4 or not isinstance(replies[-1], Words):
                replies.append(await line.read(7, block(100 * len(replies))))
            line.close()
            return replies

    found = values(asyncio.run(scenario()))

    assert found[0] is Reason.TIMEOUT
    for n, value in enumerate(found):
        assert isinstance(value, Reason) or value == (100 * n, 100 * n + 1)


def test_after_a_missing_reply_one_register_more_is_read_and_not_used():
    asked_counts = []

    def answer(asked: bytes) -> list[tuple[float, bytes]]:
        asked_counts.append(int.from_bytes(asked[4:6], "big"))
        return [] if len(asked_counts) == 1 else [(0.001, honest(asked))]

    replies, line = ask(answer, block(0), block(100), block(200, 5), block(300))

    assert asked_counts == [2, 3, 5, 3]
    assert values(replies) == [
        Reason.TIMEOUT, (100, 101), (200, 201, 202, 203, 204), (300, 301)
    ]  # fmt: skip
    assert line.statistics.fences == 2


def test_a_device_that_gives_no_register_more_is_asked_for_less_first():
    asked_counts = []

    def answer(asked: bytes) -> list[tuple[float, bytes]]:
        count = int.from_bytes(asked[4:6], "big")
        asked_counts.append(count)
        if len(asked_counts) == 1:
            return []
        return [(0.001, refusal(asked, 2) if count > 2 else honest(asked))]

    replies, _ = ask(answer, block(0), block(100))

    assert asked_counts == [2, 3, 1, 2]
    assert values(replies) == [Reason.TIMEOUT, (100, 101)]


@pytest.mark.parametrize("late_s", [0.15, 0.25, 0.4, 0.7])
def test_a_reply_that_is_overtaken_by_later_ones_is_not_believed(late_s):
    held = []

    def answer(asked: bytes) -> list[tuple[float, bytes]]:
        held.append(asked)
        return [(late_s if len(held) == 1 else 0.05, honest(asked))]

    replies, _ = ask(answer, *(block(100 * n) for n in range(15)))

    for n, value in enumerate(values(replies)):
        assert isinstance(value, Reason) or value == (100 * n, 100 * n + 1)


def test_a_unit_that_answers_for_another_is_named_and_counted(caplog):
    replies, line = ask(lambda asked: [(0.0, other(asked, unit=2))], block(0), block(0))

    assert values(replies) == [Reason.TIMEOUT, Reason.TIMEOUT]
    assert line.statistics.foreign == 2
    assert [m for m in caplog.messages if "answers when" in m] == [
        m for m in caplog.messages if m.endswith("unit 9 answers when 7 is asked")
    ]
    assert sum("answers when" in m for m in caplog.messages) == 1


def test_frames_are_parted_by_three_and_a_half_characters():
    at = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()

        def answer(asked: bytes) -> list[tuple[float, bytes]]:
            at.append(loop.time())
            loop.call_later(0.001, lambda: at.append(loop.time()))
            return [(0.001, honest(asked))]

        with port(answer) as path:
            line = line_on(path, baud=1200)
            for n in range(4):
                await line.read(7, block(n))
            line.close()

    asyncio.run(scenario())

    silences = [asked - said for said, asked in zip(at[1::2], at[2::2], strict=False)]
    assert min(silences) >= 3.5 * 10 / 1200 - 0.001


def test_a_converter_that_vanishes_is_a_line_that_is_down_until_it_returns(tmp_path, caplog):
    caplog.set_level("INFO", "mainwatch.gateway.modbus")
    link = tmp_path / "usb"

    async def scenario() -> tuple[list[Reply], Line]:
        line = line_on(str(link))
        replies = [await line.read(7, block(0))]
        line._not_before_ms = 0
        with port(lambda asked: [(0.0, honest(asked))], link):
            replies.append(await line.read(7, block(1)))
        replies.append(await line.read(7, block(2)))
        with port(lambda asked: [(0.0, honest(asked))], link):
            async with asyncio.timeout(5):
                while not isinstance(replies[-1], Words):
                    line._not_before_ms = 0
                    replies.append(await line.read(7, block(3)))
        line.close()
        return replies, line

    replies, line = asyncio.run(scenario())

    found = values(replies)
    assert found[:3] == [Reason.LINE_DOWN, (1, 2), Reason.LINE_DOWN]
    assert found[-1] == (3, 4)
    assert line.statistics.opened == 2
    told = [m.rpartition(") ")[2] for m in caplog.messages]
    assert told == ["does not answer", "answers", "does not answer", "answers"]


def test_a_port_that_is_another_converter_now_is_named_and_not_opened(tmp_path, caplog):
    by_id = tmp_path / "by-id"
    by_id.mkdir()
    link, memory = tmp_path / "ttyUSB0", tmp_path / "ports.json"

    async def scenario(name: str) -> Reply:
        with port(lambda asked: [(0.0, honest(asked))], link) as path:
            (by_id / name).symlink_to(Path(path).resolve())
            line = line_on(path)
            line._may_open = PortMemory(memory, by_id=by_id).may_open
            reply = await line.read(7, block(0))
            line.close()
            (by_id / name).unlink()
            return reply

    first = asyncio.run(scenario("usb-FTDI_A1"))
    other_one = asyncio.run(scenario("usb-CH340_B2"))
    again = asyncio.run(scenario("usb-FTDI_A1"))

    assert isinstance(first, Words)
    assert other_one.reason is Reason.LINE_DOWN
    assert isinstance(again, Words)
    (said,) = [m for m in caplog.messages if "is not opened" in m]
    assert "was usb-FTDI_A1 and is usb-CH340_B2 now" in said


def devices() -> list[SimDevice]:
    held = SimData(0, values=list(range(100, 160)), datatype=SimType.REGISTERS)
    return [SimDevice(id=7, simdata=[held])]


def test_pymodbus_answers_on_a_serial_line():
    async def scenario() -> list[Reply]:
        async with cable() as (ours, theirs):
            server = ModbusSerialServer(
                devices(), port=theirs, baudrate=9600, framer=FramerType.RTU
            )
            await server.serve_forever(background=True)
            line = line_on(ours, timeout_s=1.0)
            try:
                return [await line.read(7, b) for b in (block(0, 60), block(10, 5), block(500, 2))]
            finally:
                line.close()
                await server.shutdown()

    found = values(asyncio.run(scenario()))

    assert found[:2] == [tuple(range(100, 160)), tuple(range(110, 115))]
    assert found[2] is Reason.DEVICE_EXCEPTION


def test_pymodbus_answers_in_serial_frames_over_tcp():
    async def scenario() -> list[Reply]:
        tcp = free_port()
        server = ModbusTcpServer(devices(), address=(HOST, tcp), framer=FramerType.RTU)
        await server.serve_forever(background=True)
        place = Place(kind="rtu-over-tcp", host=HOST, port=tcp, timing=TIMING)
        line = Line(
            place, name="l", timeout_s=1.0, quiet_s=0.1, connect_pause_s=0.0, clock=WallClock()
        )
        try:
            return [await line.read(7, b) for b in (block(0, 60), block(10, 5))]
        finally:
            line.close()
            await server.shutdown()

    assert values(asyncio.run(scenario())) == [tuple(range(100, 160)), tuple(range(110, 115))]


def test_a_port_that_takes_no_such_settings_is_a_line_that_is_down(caplog):
    async def scenario() -> Reply:
        with port(lambda asked: [(0.0, honest(asked))]) as path:
            place = Place(kind="rtu", serial=path, parity="even", timing=TIMING)  # a pty has none
            line = Line(
                place, name="l", timeout_s=0.1, quiet_s=0.1, connect_pause_s=0.0, clock=WallClock()
            )
            return await line.read(7, block(0))

    assert asyncio.run(scenario()).reason is Reason.LINE_DOWN
    assert any("cannot be set up as configured" in m for m in caplog.messages)


def test_no_port_is_left_open():
    gc.collect()
    before = len([*Path("/proc/self/fd").iterdir()])
    for _ in range(5):
        ask(lambda asked: [(0.0, honest(asked))], block(0))

    assert len([*Path("/proc/self/fd").iterdir()]) == before


def test_an_absent_answer_is_no_value_at_all():
    (reply,), _ = ask(lambda asked: [], block(0))

    assert isinstance(reply, NoAnswer)
    assert not reply.answered
