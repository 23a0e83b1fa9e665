"""The silence between two frames on a serial port: kept to the end, and not much longer."""

import asyncio
import contextlib
import os
import pty
import select
import tty
from pathlib import Path

import pytest

from gateway.core.device import Reply, Words
from gateway.core.poll_plan import Block
from gateway.modbus import Line
from gateway.precise_sleep import PreciseSleep
from gateway.wire import Wire
from telemetry.register_map import Table
from tests.unit.gateway.serial_field import TIMING, honest, line_on

BLOCK = Block(table=Table.HOLDING, address=100, count=2, registers=())


class Watched:
    """An honest device that notes when it was asked and when it had answered."""

    def __init__(self) -> None:
        self.master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self.asked_s: list[float] = []
        self.said_s: list[float] = []

        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.master, self._readable)

    def close(self) -> None:
        self._loop.remove_reader(self.master)
        os.close(self._slave)
        os.close(self.master)

    def _readable(self) -> None:
        self.asked_s.append(self._loop.time())
        octets = honest(os.read(self.master, 4096))
        self.said_s.append(self._loop.time())
        os.write(self.master, octets)


def read(times: int) -> tuple[list[Reply], Watched, Line]:
    async def scenario() -> tuple[list[Reply], Watched, Line]:
        with contextlib.closing(Watched()) as device:
            line = line_on(device.path)
            try:
                return [await line.read(7, BLOCK) for _ in range(times)], device, line
            finally:
                line.close()

    return asyncio.run(scenario())


def test_no_request_comes_before_the_silence_is_over():
    replies, device, _ = read(times=40)

    silences_s = [
        asked_s - said_s for said_s, asked_s in zip(device.said_s, device.asked_s[1:], strict=False)
    ]
    assert all(isinstance(r, Words) for r in replies)
    assert len(silences_s) == 39
    assert min(silences_s) >= TIMING.gap_s


def test_what_comes_while_a_request_is_made_makes_it_wait_for_the_whole_silence_again(monkeypatch):
    spoken = []

    async def silence(wire: Wire, until_s: float) -> None:
        await kept(wire, until_s)
        if not spoken:
            spoken.append(wire.now_s())
            os.write(device.master, b"\x55")
            # It is there before the request is sent, and nobody has read it.
            select.select([wire.client.ctx.transport.sync_serial], [], [], 1)

    async def scenario() -> tuple[Reply, Line]:
        nonlocal device
        with contextlib.closing(Watched()) as device:
            line = line_on(device.path)
            try:
                return await line.read(7, BLOCK), line
            finally:
                line.close()

    device: Watched
    kept = Wire.silence
    monkeypatch.setattr(Wire, "silence", silence)

    reply, line = asyncio.run(scenario())

    assert isinstance(reply, Words)
    assert tuple(reply.words) == (100, 101)
    assert device.asked_s[0] - spoken[0] >= TIMING.gap_s
    assert line.statistics.noise_octets == 1
    assert line.statistics.requests == 1


@pytest.mark.parametrize("span_s", [-1.0, 0.0, 0.0004, 0.02])
def test_a_precise_sleep_never_ends_early(span_s):
    async def scenario() -> float:
        loop, sleep = asyncio.get_running_loop(), PreciseSleep()
        try:
            at_s = loop.time() + span_s
            await sleep.until(at_s)
            return loop.time() - at_s
        finally:
            sleep.close()

    assert asyncio.run(scenario()) >= 0


def test_a_closed_timer_wakes_whoever_sleeps_and_gives_its_file_back():
    async def scenario() -> int:
        loop, sleep = asyncio.get_running_loop(), PreciseSleep()
        async with asyncio.timeout(1), asyncio.TaskGroup() as tasks:
            tasks.create_task(sleep.until(loop.time() + 60))
            await asyncio.sleep(0)
            sleep.close()
        sleep.close()
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    assert asyncio.run(scenario()) == asyncio.run(scenario())
