"""A Modbus line against devices that lie: nothing wrong is ever taken for a value."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable

import pytest

from gateway.core.device import Device, NoAnswer, Reading, Reply, Words
from gateway.core.line_timing import NETWORK_BAUD, LineTiming
from gateway.core.poll_plan import Block, Costs, plan
from gateway.modbus import Line
from gateway.pace import Pace
from gateway.poller import Poller
from gateway.wire import Place
from mainwatch.wall_clock import WallClock
from telemetry.point import PointId
from telemetry.register_map import Form, Register, Table
from telemetry.sample import Reason
from tests.support.ports import free_port
from tests.unit.gateway.field import HOST, running, until

Answer = Callable[[int, int, int, int, int], bytes | None]
"""Transaction, unit, function, address, count to the frame that is sent back."""


def frame(transaction: int, unit: int, pdu: bytes) -> bytes:
    return struct.pack(">HHHB", transaction, 0, 1 + len(pdu), unit) + pdu


def honest(transaction: int, unit: int, function: int, address: int, count: int) -> bytes:
    if function in {1, 2}:  # every third bit is on
        bits = sum(1 << n for n in range(count) if (address + n) % 3 == 0)
        octets = bits.to_bytes((count + 7) // 8, "little")
        return frame(transaction, unit, bytes([function, len(octets)]) + octets)
    held = struct.pack(f">{count}H", *range(address, address + count))
    return frame(transaction, unit, bytes([function, 2 * count]) + held)


@contextlib.asynccontextmanager
async def device(answer: Answer, port: int = 0) -> AsyncIterator[int]:
    """Serve whatever `answer` says, on as many connections as come, until all are closed."""
    ended: list[asyncio.Event] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended.append(asyncio.Event())
        mine = ended[-1]
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                asked = struct.unpack(">HHHBBHH", await reader.readexactly(12))
                said = answer(asked[0], *asked[3:])
                if said is not None:
                    writer.write(said)
        writer.close()
        mine.set()

    server = await asyncio.start_server(talk, HOST, port)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for end in ended:
            await end.wait()


TIMING = LineTiming(baud=NETWORK_BAUD, char_bits=10, has_gaps=False)
COSTS = Costs(timing=TIMING, turnaround_s=0.1, pause_s=0.0, count_max=125, barred=frozenset())


def register(address: int, *, table: Table = Table.HOLDING) -> Register:
    return Register(name=f"r{address}", address=address, form=Form.UINT16, unit="", table=table)


def bit(address: int, table: Table) -> Register:
    return Register(name=f"b{address}", address=address, form=Form.BIT, unit="", table=table)


def block_at(address: int, count: int = 2, *, table: Table = Table.HOLDING) -> Block:
    wanted = [register(address + n, table=table) for n in range(count)]
    (block,) = plan(wanted, COSTS)
    return block


def line_to(port: int) -> Line:
    place = Place(kind="tcp", host=HOST, port=port, timing=TIMING)
    return Line(
        place, name="l", timeout_s=0.15, quiet_s=0.15, connect_pause_s=0.0, clock=WallClock()
    )


def ask(answer: Answer, *blocks: Block) -> list[Reply]:
    async def scenario() -> list[Reply]:
        async with device(answer) as port:
            line = line_to(port)
            try:
                return [await line.read(7, block) for block in blocks]
            finally:
                line.close()

    return asyncio.run(scenario())


@pytest.mark.parametrize("table", [Table.COIL, Table.DISCRETE])
def test_bits_are_read_as_they_are(table):
    (block,) = plan([bit(100 + n, table) for n in range(10)], COSTS)

    (reply,) = ask(honest, block)

    assert reply.words == tuple(int(a % 3 == 0) for a in range(100, 110))


@pytest.mark.parametrize("table", [Table.HOLDING, Table.INPUT])
def test_an_honest_device_is_believed(table):
    (reply,) = ask(honest, block_at(100, 3, table=table))

    assert isinstance(reply, Words)
    assert reply.words == (100, 101, 102)


def lie(change: Callable[..., bytes | None]) -> Answer:
    """Return an answer that is wrong for addresses below 100 and honest for the others."""

    def answer(transaction: int, unit: int, function: int, address: int, count: int):
        if address >= 100:
            return honest(transaction, unit, function, address, count)
        return change(transaction, unit, function, address, count)

    return answer


LIES = {
    "silence": (lambda *_: None, Reason.TIMEOUT),
    "too short": (lambda t, u, f, a, c: honest(t, u, f, a, c - 1), Reason.WRONG_REPLY),
    "too long": (lambda t, u, f, a, c: honest(t, u, f, a, c + 1), Reason.WRONG_REPLY),
    "other unit": (lambda t, u, f, a, c: honest(t, u + 1, f, a, c), Reason.TIMEOUT),
    "other transaction": (lambda t, u, f, a, c: honest(t + 1, u, f, a, c), Reason.TIMEOUT),
    "other function": (lambda t, u, f, a, c: honest(t, u, 4, a, c), Reason.WRONG_REPLY),
    "refusal": (lambda t, u, f, a, c: frame(t, u, bytes([f | 128, 4])), Reason.DEVICE_EXCEPTION),
    "nobody behind": (lambda t, u, f, a, c: frame(t, u, bytes([f | 128, 11])), Reason.TIMEOUT),
    "garbage": (lambda *_: b"\xff" * 40, Reason.TIMEOUT),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_a_bad_reading_and_the_next_answer_is_right(name):
    change, reason = LIES[name]

    wrong, right = ask(lie(change), block_at(0), block_at(200))

    assert isinstance(wrong, NoAnswer)
    assert wrong.reason is reason
    assert isinstance(right, Words)
    assert right.words == (200, 201)


def test_a_late_reply_is_never_taken_for_the_next_answer():
    async def scenario() -> list[Reply]:
        held: list[bytes] = []

        def answer(*asked: int) -> bytes | None:
            if not held:
                held.append(honest(*asked))
                return None
            return held.pop() + honest(*asked)  # the old one first

        async with device(answer) as port:
            line = line_to(port)
            replies = [await line.read(7, block_at(a)) for a in (0, 100, 200, 300)]
            line.close()
            return replies

    replies = asyncio.run(scenario())

    for reply, address in zip(replies, (0, 100, 200, 300), strict=True):
        assert isinstance(reply, NoAnswer) or reply.words == (address, address + 1)
    assert isinstance(replies[1], Words)


def test_a_connection_that_is_cut_in_the_middle_is_a_line_that_is_down():
    async def scenario() -> Reply:
        async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(12)
            writer.close()

        server = await asyncio.start_server(cut, HOST, 0)
        async with server:
            line = line_to(server.sockets[0].getsockname()[1])
            reply = await line.read(7, block_at(0))
            line.close()
            return reply

    assert asyncio.run(scenario()).reason is Reason.LINE_DOWN


def test_a_line_that_is_down_is_told_once_and_found_again(caplog):
    caplog.set_level("INFO", "mainwatch.gateway.modbus")

    async def scenario() -> None:
        port = free_port()
        line = line_to(port)
        for _ in range(3):
            reply = await line.read(7, block_at(0))
            assert reply.reason is Reason.LINE_DOWN
        async with device(honest, port):
            async with asyncio.timeout(5):
                while not isinstance(await line.read(7, block_at(0)), Words):  # noqa: ASYNC110  no event tells that a line is tried again
                    await asyncio.sleep(0.05)
            line.close()

    asyncio.run(scenario())

    assert [m.partition(") ")[2] for m in caplog.messages] == ["does not answer", "answers"]


def test_a_device_that_refuses_unused_registers_is_read_around_them_at_once():
    def answer(transaction: int, unit: int, function: int, address: int, count: int) -> bytes:
        if address < 5 < address + count - 1:
            return frame(transaction, unit, bytes([function | 128, 2]))
        return honest(transaction, unit, function, address, count)

    async def scenario():
        scans = []

        async def put(scan) -> None:
            scans.append(scan)

        readings = [
            Reading(register=register(a), point=PointId(f"place/r{a}"), counter=None, period_ms=200)
            for a in (0, 1, 9)
        ]
        async with device(answer) as port:
            polled = Device(
                id="d", unit=7, costs=COSTS, readings=readings, states={},
            )  # fmt: skip
            poller = Poller(
                line_to(port), [polled], clock=WallClock(), put=put, pace=Pace(WallClock())
            )
            async with running(poller.run()):
                await until(lambda: len(scans) >= 3)
        return scans

    scans = asyncio.run(scenario())

    assert [[s.value for s in scan.samples] for scan in scans[:3]] == [[0.0, 1.0, 9.0]] * 3
    assert scans[1].samples[0].at - scans[0].samples[0].at == pytest.approx(200, abs=60)
