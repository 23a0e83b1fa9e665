"""Where Modbus frames go out and come in: pymodbus over a serial port, TCP, or RTU over TCP.

On serial frames pymodbus is given only what `core/rtu_reply.py` takes for the reply; everything
else that is heard is kept here and told, so that nothing is ever hunted for in noise.
"""

import asyncio
import logging
import termios
from dataclasses import dataclass
from pathlib import Path

from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.framer import FramerType

from gateway.core.line_timing import LineTiming
from gateway.core.rtu_reply import Heard, Judgement, judge

BUFFER_OCTETS_MAX = 1_024
"""A reply, its echo and noise. Beyond it pymodbus forgets what it has heard."""

NEVER = 1_000_000_000
"""Failures after which pymodbus would close the connection by itself: we say when."""

TIMER_S = 0.0011
"""The loop's timers are late by up to a millisecond; the rest of a silence is waited without."""

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


class Wire:
    """One opened line. It knows when it last heard or said anything, in the loop's time."""

    def __init__(self, place: Place, *, name: str, open_s: float) -> None:
        self.sent_s = 0.0
        self.heard_s = 0.0
        self.judgement = Judgement(heard=Heard.NOTHING)
        """What was heard since the last request."""
        self.unasked = 0
        """Octets that came when nobody waited for them."""
        self.late = 0
        """Whole replies among them."""
        self.refusal = "does not answer"
        """Why it could not be opened."""
        self._is_framed = place.is_framed
        self._loop = asyncio.get_running_loop()
        self._asked = b""
        self._is_waiting = False
        self._length = 0
        self.client = self._client(place, name, open_s)
        self.client.set_max_no_responses(NEVER)
        self.client.ctx.max_buffer_size = BUFFER_OCTETS_MAX

    @property
    def is_open(self) -> bool:
        """Say whether the connection is there, as far as anybody has noticed."""
        return self.client.connected

    def now_s(self) -> float:
        """Return the loop's time, by which silences are kept."""
        return self._loop.time()

    async def silence(self, until_s: float, *, gap_s: float) -> None:
        """Return when `until_s` has come and nothing was heard for `gap_s`."""
        while (left_s := max(until_s, self.heard_s + gap_s) - self.now_s()) > 0:  # noqa: ASYNC110  no event tells that nothing was heard
            await asyncio.sleep(left_s - TIMER_S if left_s > TIMER_S else 0)

    async def open(self) -> bool:
        """Open it; say whether that worked."""
        try:
            opened = await self.client.connect()
        except (termios.error, ValueError) as e:  # a port that takes no such settings
            self.refusal = f"cannot be set up as configured: {e}"
            self.client.close()
            return False
        except BaseException:
            self.client.close()
            raise
        if not opened:
            self.client.close()
        return opened

    def close(self) -> None:
        """Close it."""
        self.client.close()

    def begin(self, *, patience_s: float) -> None:
        """Take note that a request is about to be made, and how long to wait for its reply."""
        self.client.ctx.comm_params.timeout_connect = patience_s
        self.judgement = Judgement(heard=Heard.NOTHING)

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

    def _trace(self, sending: bool, data: bytes) -> bytes:  # noqa: FBT001  pymodbus calls it so
        """Note what passes; of serial frames let only the reply through."""
        now_s = self.now_s()
        if sending:
            self._asked, self._is_waiting, self._length = data, True, 0
            self.sent_s = self.heard_s = now_s
            return data
        self.heard_s = now_s
        if not self._is_framed:
            return data
        fresh = len(data) - self._length if len(data) > self._length else len(data)
        self._length = len(data)
        if not self._is_waiting:
            self.unasked += fresh
            was = self.judgement.heard
            self.judgement = judge(self._asked, data)
            is_frame = self.judgement.heard in {Heard.REPLY, Heard.OTHER}
            self.late += is_frame and was is not self.judgement.heard
            return b""
        self.judgement = judge(self._asked, data)
        if self.judgement.heard is not Heard.REPLY:
            return b""
        self._is_waiting = False
        self._length = 0
        return self.judgement.frame


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
