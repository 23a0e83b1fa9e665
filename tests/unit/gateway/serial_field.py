"""Serial lines for tests: a pseudo-terminal with whatever answers at its other end."""

import asyncio
import contextlib
import os
import pty
import tty
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from firmware_sim.core.rtu import Requests, framed
from gateway.core.line_timing import LineTiming
from gateway.core.poll_plan import Costs
from gateway.modbus import Line
from gateway.wire import Place
from mainwatch.wall_clock import WallClock

BAUD = 115200
TIMING = LineTiming(baud=BAUD, char_bits=10, has_gaps=True)
COSTS = Costs(timing=TIMING, turnaround_s=0.005, pause_s=0.0, count_max=125, barred=frozenset())

Answer = Callable[[bytes], list[tuple[float, bytes]]]
"""A request frame to what is sent back: after how many seconds, and which octets."""


def honest(asked: bytes) -> bytes:
    """Return the right reply: every register holds its own address."""
    address, count = int.from_bytes(asked[2:4], "big"), int.from_bytes(asked[4:6], "big")
    held = b"".join((address + n & 0xFFFF).to_bytes(2, "big") for n in range(count))
    return framed(asked[0], bytes((asked[1], 2 * count)) + held)


def refusal(asked: bytes, code: int) -> bytes:
    return framed(asked[0], bytes((asked[1] | 0x80, code)))


@contextlib.contextmanager
def port(answer: Answer, link: Path | None = None) -> Iterator[str]:
    """Play whoever answers behind a serial port; return the port's path."""
    loop = asyncio.get_running_loop()
    master, slave = pty.openpty()
    tty.setraw(slave)
    requests = Requests()
    timers: list[asyncio.TimerHandle] = []

    def readable() -> None:
        try:
            octets = os.read(master, 4096)
        except OSError:
            loop.remove_reader(master)
            return
        for frame in requests.feed(octets):
            timers.extend(
                loop.call_later(after_s, os.write, master, said) for after_s, said in answer(frame)
            )

    path = os.ttyname(slave)
    if link is not None:
        link.symlink_to(path)
    loop.add_reader(master, readable)
    try:
        yield path if link is None else str(link)
    finally:
        loop.remove_reader(master)
        for timer in timers:
            timer.cancel()
        os.close(slave)
        os.close(master)
        if link is not None:
            link.unlink()


@contextlib.asynccontextmanager
async def cable() -> AsyncIterator[tuple[str, str]]:
    """Connect two serial ports with each other."""
    loop = asyncio.get_running_loop()
    ends = [pty.openpty(), pty.openpty()]
    for _, slave in ends:
        tty.setraw(slave)
    (one, _), (other, _) = ends
    loop.add_reader(one, lambda: os.write(other, os.read(one, 4096)))
    loop.add_reader(other, lambda: os.write(one, os.read(other, 4096)))
    try:
        yield os.ttyname(ends[0][1]), os.ttyname(ends[1][1])
    finally:
        for master, slave in ends:
            loop.remove_reader(master)
            os.close(slave)
            os.close(master)


def line_on(path: str, *, timeout_s: float = 0.1, quiet_s: float = 0.1, baud: int = BAUD) -> Line:
    timing = LineTiming(baud=baud, char_bits=10, has_gaps=True)
    return Line(
        Place(kind="rtu", serial=path, timing=timing),
        name="rs485-1",
        timeout_s=timeout_s,
        quiet_s=quiet_s,
        connect_pause_s=0.0,
        clock=WallClock(),
    )
