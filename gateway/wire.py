"""Where Modbus frames go out and come in: pymodbus over a serial port, TCP, or RTU over TCP.

On serial frames pymodbus is given only what `core/rtu_reply.py` takes for the reply; everything
else that is heard is kept here and told, so that nothing is ever hunted for in noise.
"""

import asyncio
import logging
import os
import termios
from dataclasses import dataclass
from pathlib import Path

from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.framer import FramerType
from pymodbus.transport.serialtransport import SerialTransport

from gateway.core.line_timing import LineTiming
from gateway.core.rtu_reply import Heard, Judgement, judge, reply_in
from gateway.precise_sleep import PreciseSleep

BUFFER_OCTETS_MAX = 1_024
"""A reply, its echo and noise. Beyond it pymodbus forgets what it has heard."""

NEVER = 1_000_000_000
"""Failures after which pymodbus would close the connection by itself: we say when."""

WAKE_S = 0.00015
"""So long before a silence is over its timer wakes us: to wake takes a while. The rest is waited
without one."""

PREPARE_S = 0.0001
PREPARE_MAX_S = 0.0005
"""How long pymodbus is taken to need for a request before it has made one, and at the most. It is
made while the line is still silent."""

_NOTHING = Judgement(heard=Heard.NOTHING)

_PARITIES = {"none": "N", "even": "E", "odd": "O"}

Client = AsyncModbusSerialClient | AsyncModbusTcpClient

# It tells every lost reply; we tell the first and the last.
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a line is and how it is spoken to; `kind` as in the configuration."""

    kind: str
    host: str = ""
    port: int = 0
    serial: str = ""
    parity: str = "none"
    stop_bits: int = 1
    timing: LineTiming

    @property
    def is_framed(self) -> bool:
        """Say whether frames are those of a serial line, without transaction ids."""
        return self.kind != "tcp"

    def __str__(self) -> str:
        return self.serial if self.kind == "rtu" else f"{self.host}:{self.port}"


class Disturbed(Exception):
    """The silence before a request was broken at its very end: it has to be kept again."""


class Wire:
    """One opened line. It knows when it last heard or said anything, in the loop's time."""

    def __init__(self, place: Place, *, name: str, open_s: float) -> None:
        self.sent_s = 0.0
        self.heard_s = 0.0
        self.ready_s = 0.0
        """When `silence` let the last request be made."""
        self.unasked = 0
        """Octets that came when nobody waited for them."""
        self.late = 0
        """Whole replies among them."""
        self.refusal = "does not answer"
        """Why it could not be opened."""
        self._is_framed = place.is_framed
        self._is_serial = place.kind == "rtu"
        self._gap_s = place.timing.gap_s
        self._free_s = 0.0
        """From when on the next request may be sent, as far as `silence` knew."""
        self._prepare_s = PREPARE_S
        self._timer: PreciseSleep | None = None
        self._loop = asyncio.get_running_loop()
        self._asked = b""
        self._octets = b""
        self._judgement: Judgement | None = _NOTHING
        """None while nobody has asked what the octets are; the reply is known at once."""
        self._is_waiting = False
        self._length = 0
        self.client = self._client(place, name, open_s)
        self.client.set_max_no_responses(NEVER)
        self.client.ctx.max_buffer_size = BUFFER_OCTETS_MAX

    @property
    def judgement(self) -> Judgement:
        """Return what was heard since the last request, or what came unasked after it."""
        if self._judgement is None:
            self._judgement = judge(self._asked, self._octets)
        return self._judgement

    @property
    def is_open(self) -> bool:
        """Say whether the connection is there, as far as anybody has noticed."""
        return self.client.connected

    def now_s(self) -> float:
        """Return the loop's time, by which silences are kept."""
        return self._loop.time()

    async def silence(self, until_s: float) -> None:
        """Return when `until_s` has come and nothing was heard for as long as parts two frames.

        On a serial port it returns a little earlier: the request is made in what is left, and sent
        when the silence is over.
        """
        early_s = min(1.25 * self._prepare_s, PREPARE_MAX_S) if self._is_serial else 0.0
        while (left_s := self._left_s(until_s) - early_s) > 0:
            if self._timer is not None and left_s > 2 * WAKE_S:
                await self._timer.until(self.now_s() + left_s - WAKE_S)
            else:
                await asyncio.sleep(0)
        self._free_s = until_s
        self.ready_s = self.now_s()

    def _left_s(self, until_s: float) -> float:
        return max(until_s, self.heard_s + self._gap_s) - self.now_s()

    async def open(self) -> bool:
        """Open it; say whether that worked."""
        try:
            opened = await self.client.connect()
            if opened:
                self._attend()
        except (termios.error, ValueError) as e:  # a port that takes no such settings
            self.refusal = f"cannot be set up as configured: {e}"
            opened = False
        except OSError as e:  # no more files: another time
            self.refusal = f"cannot be used: {e}"
            opened = False
        except BaseException:
            self.client.close()
            raise
        if not opened:
            self.client.close()
        return opened

    def close(self) -> None:
        """Close it."""
        self.client.close()
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def begin(self, *, patience_s: float) -> None:
        """Take note that a request is about to be made, and how long to wait for its reply."""
        self.client.ctx.comm_params.timeout_connect = patience_s
        self._judgement = _NOTHING

    def give_up(self) -> None:
        """Take note that nobody waits for a reply any more."""
        self._is_waiting = False

    def _client(self, place: Place, name: str, open_s: float) -> Client:
        if place.kind == "rtu":
            return AsyncModbusSerialClient(
                place.serial,
                framer=FramerType.RTU,
                baudrate=place.timing.baud,
                parity=_PARITIES[place.parity],
                stopbits=place.stop_bits,
                name=name,
                timeout=open_s,
                retries=0,
                reconnect_delay=0,  # we say when
                trace_packet=self._trace,
            )
        return AsyncModbusTcpClient(
            place.host,
            port=place.port,
            framer=FramerType.RTU if place.is_framed else FramerType.SOCKET,
            name=name,
            timeout=open_s,
            retries=0,
            reconnect_delay=0,
            trace_packet=self._trace,
        )

    def _attend(self) -> None:
        """Take over what has to be on time: the silence, and the port's octets as they come."""
        if self._gap_s:
            self._timer = PreciseSleep()
        transport = self.client.ctx.transport
        if isinstance(transport, SerialTransport):
            transport.intern_read_ready = self._readable  # type: ignore[method-assign]  # its own reads twice, and late
            self._loop.add_reader(transport.sync_serial.fileno(), self._readable)
            self.client.ctx.low_level_send = self._send

    def _readable(self) -> None:
        """Take what a serial port has, and note at once when that was."""
        transport = self.client.ctx.transport
        assert isinstance(transport, SerialTransport)
        try:
            octets = os.read(transport.sync_serial.fileno(), BUFFER_OCTETS_MAX)
        except OSError:
            octets = b""
        self.heard_s = self.now_s()
        if octets:
            self.client.ctx.data_received(octets)
        else:  # it is gone, or there was nothing: pymodbus finds out which
            SerialTransport.intern_read_ready(transport)

    def _send(self, octets: bytes, addr: tuple[str, int] | None = None) -> None:  # noqa: ARG002  pymodbus calls it so
        """Send a request as soon as the line was silent for long enough, at once to the port.

        Raises `Disturbed` when something came while it was made.
        """
        took_s = min(self.now_s() - self.ready_s, PREPARE_MAX_S)
        self._prepare_s += (took_s - self._prepare_s) / 8
        transport = self.client.ctx.transport
        if not isinstance(transport, SerialTransport):
            return  # it is gone, and its reply will be missing
        port = transport.sync_serial
        file = port.fileno()
        while self._left_s(self._free_s) > 0:
            pass
        try:
            if port.in_waiting:
                self._is_waiting, self.heard_s = False, self.now_s()
                raise Disturbed
            sent = os.write(file, octets)
        except OSError:  # it is full, or gone: pymodbus finds out which
            sent = 0
        self.sent_s = self.heard_s = self.now_s()
        if sent < len(octets):
            transport.write(octets[sent:])

    def _trace(self, sending: bool, data: bytes) -> bytes:  # noqa: FBT001  pymodbus calls it so
        """Note what passes; of serial frames let only the reply through."""
        if not self._is_serial:
            self.heard_s = self.now_s()
        if sending:
            self._asked, self._is_waiting, self._length = data, True, 0
            self.sent_s = self.heard_s
            return data
        if not self._is_framed:
            return data
        fresh = len(data) - self._length if len(data) > self._length else len(data)
        self._length = len(data)
        if not self._is_waiting:
            self.unasked += fresh
            was = self.judgement.heard
            self._judgement = judge(self._asked, data)
            is_frame = self._judgement.heard in {Heard.REPLY, Heard.OTHER}
            self.late += is_frame and was is not self._judgement.heard
            return b""
        self._octets = data
        self._judgement = reply_in(self._asked, data)
        if self._judgement is None:
            return b""
        self._is_waiting = False
        self._length = 0
        return self._judgement.frame


def port_identity(serial: str, *, by_id: Path) -> str:
    """Return the lasting name of a serial port, that in `by_id` that leads to it; "" for none.

    `/dev/ttyUSB0` is whatever converter was found first; `/dev/serial/by-id/…` is one converter.
    """
    try:
        target = Path(serial).resolve(strict=True)
        names = sorted(by_id.iterdir())
    except OSError:
        return ""
    return next((n.name for n in names if n.resolve() == target), "")
