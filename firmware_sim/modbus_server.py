"""Modbus TCP converters: many units behind one port, answering from their registers."""

import asyncio
import struct
from collections.abc import Iterable
from contextlib import AsyncExitStack, suppress

from firmware_sim.core.events import Event, Kind
from firmware_sim.core.line import Device, Line, Station
from firmware_sim.core.noise import Key
from firmware_sim.core.rtu import Timing
from firmware_sim.core.slave import PDU_MAX, Refusal, refusal
from firmware_sim.core.wire import PLAIN, Fate
from telemetry.errors import ConfigError

_HEAD = struct.Struct(">HHHB")
"""Transaction, protocol (0), length of what follows, unit."""

_WAITING_MAX = 64 * 1024
"""A client that asks and never reads is let go when this much waits for it."""


class TcpLine(Line):
    """One listening port with its devices: a serial-to-Ethernet converter.

    With `timing` an answer takes as long as the line behind the converter needs, one after another;
    without, it comes at once.
    """

    def __init__(
        self,
        *,
        name: str,
        host: str,
        port: int,
        devices: Iterable[Device],
        key: Key,
        timing: Timing | None = None,
    ) -> None:
        super().__init__(name=name, devices=devices, key=key)
        self.port = port
        self._host = host
        self._timing = timing
        self._free_s = 0.0
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.Transport, None] = {}
        self._stack = AsyncExitStack()
        self._tasks: asyncio.TaskGroup | None = None
        self._reboots: dict[str, asyncio.Event] = {}
        self._loop = asyncio.get_running_loop()

    @property
    def where(self) -> str:
        """Return where it is reached."""
        return f"{self._host}:{self.port}"

    async def start(self, *, key: str) -> None:
        """Listen. Raises `ConfigError` naming `key` when the port cannot be had."""
        try:
            await self._listen()
        except (OSError, OverflowError) as e:
            raise ConfigError(
                f"{key}.port: expected a free port, was {self.port}"
                f" which cannot be listened on at {self._host}"
            ) from e
        self._tasks = await self._stack.enter_async_context(asyncio.TaskGroup())

    async def stop(self) -> None:
        """Close the port and every connection; harmless when it never opened."""
        self._tasks = None
        for reboot in self._reboots.values():
            reboot.set()
        await self._stack.aclose()
        self._hang_up()

    def begin(self, event: Event) -> None:
        """Let a wire fault begin. Raises `RefusedCommand` when it cannot be here."""
        super().begin(event)
        if event.kind is Kind.CONVERTER_REBOOT and self._tasks is not None:
            over = self._reboots[event.id] = asyncio.Event()
            self._hang_up()
            self._tasks.create_task(self._come_back(over, event.numbers["seconds"]))

    def finish(self, event: Event) -> None:
        """Put a wire fault right."""
        super().finish(event)
        if event.id in self._reboots:
            self._reboots.pop(event.id).set()

    def now_s(self) -> float:
        """Return the loop's time."""
        return self._loop.time()

    def joined(self, transport: asyncio.Transport) -> None:
        """Take in a client's connection."""
        self._clients[transport] = None

    def left(self, transport: asyncio.Transport) -> None:
        """Forget a client's connection."""
        self._clients.pop(transport, None)

    def asked(self, transport: asyncio.Transport, transaction: int, unit: int, pdu: bytes) -> bytes:
        """Return the bytes that answer a request now: none if later, or never."""
        if unit == 0:  # broadcast: everybody listens, nobody answers
            for station in self._all():
                self._answer(station, pdu)
            return b""
        stations = self._at_unit(unit)
        if not stations:
            return _enveloped(transaction, unit, refusal(pdu[0], Refusal.NOBODY_BEHIND))
        station = stations[0]
        fate = self._faults.fate(self.name, station.id) if self._faults else PLAIN
        if fate is PLAIN and len(stations) == 1:
            reply = self._answer(station, pdu)
            octets = b"" if reply is None else _enveloped(transaction, unit, reply)
        elif fate.is_lost:
            return b""
        else:
            octets = self._spoilt(station, transaction, unit, pdu, fate, are_many=len(stations) > 1)
        wait_s = fate.extra_s
        if self._timing is not None:
            wait_s = self._line_s(station, self._timing, pdu, octets, extra_s=wait_s)
        if wait_s:
            self._loop.call_later(wait_s, _write, transport, octets)
            return b""
        return octets

    def _spoilt(
        self,
        station: Station,
        transaction: int,
        unit: int,
        pdu: bytes,
        fate: Fate,
        *,
        are_many: bool,
    ) -> bytes:
        """Return what a converter makes of a reply that met faults on its serial side."""
        if fate.is_echoed:  # it takes the echo for the reply
            return _enveloped(transaction, unit, pdu)
        reply = self._answer(station, pdu)
        if reply is None:
            return b""
        if fate.is_corrupt or fate.is_doubled or are_many:  # it throws away what fails its checksum
            return _enveloped(transaction, unit, refusal(pdu[0], Refusal.NOBODY_BEHIND))
        if fate.is_foreign:  # it takes the other master's reply for its own
            return _enveloped(transaction, unit % 247 + 1, reply)
        return fate.garbage or _enveloped(transaction, unit, reply)

    def _line_s(
        self, station: Station, timing: Timing, asked: bytes, octets: bytes, *, extra_s: float
    ) -> float:
        """Return when the line behind will have carried an exchange, in seconds from now."""
        turnaround_s = station.firmware.sheet.behaviour.turnaround_ms / 1000 + extra_s
        # On the line a frame is its PDU with unit and checksum.
        heard = max(0, len(octets) - _HEAD.size) + 3
        takes_s = timing.exchange_s(len(asked) + 3, heard, turnaround_s=turnaround_s)
        self._free_s = max(self._free_s, self.now_s()) + takes_s
        return self._free_s - self.now_s()

    async def _listen(self) -> None:
        self._server = await self._loop.create_server(
            lambda: _Client(self), self._host, self.port, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def _hang_up(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for transport in tuple(self._clients):
            transport.abort()

    async def _come_back(self, over: asyncio.Event, seconds: float) -> None:
        """Listen again when a reboot is over."""
        with suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), seconds)
        if self._tasks is not None and self._server is None:
            with suppress(OSError):  # somebody took the port meanwhile: it stays away
                await self._listen()


class _Client(asyncio.Protocol):
    """One connection: bytes to requests, replies to bytes."""

    def __init__(self, line: TcpLine) -> None:
        self._line = line
        self._octets = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._line.joined(transport)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._line.left(self._transport)

    def data_received(self, data: bytes) -> None:
        octets = self._octets + data if self._octets else data
        at, replies = 0, []
        while len(octets) - at >= _HEAD.size + 1:
            transaction, protocol, length, unit = _HEAD.unpack_from(octets, at)
            if protocol != 0 or not 2 <= length <= PDU_MAX + 1:
                self._transport.abort()  # not Modbus: nobody can say where the next request begins
                return
            end = at + 6 + length
            if len(octets) < end:
                break
            pdu = octets[at + _HEAD.size : end]
            replies.append(self._line.asked(self._transport, transaction, unit, pdu))
            at = end
        self._octets = octets[at:]
        if any(replies):
            _write(self._transport, b"".join(replies))


def _enveloped(transaction: int, unit: int, pdu: bytes) -> bytes:
    return _HEAD.pack(transaction, 0, len(pdu) + 1, unit) + pdu


def _write(transport: asyncio.Transport, octets: bytes) -> None:
    if transport.is_closing():
        return
    transport.write(octets)
    if transport.get_write_buffer_size() > _WAITING_MAX:
        transport.abort()
