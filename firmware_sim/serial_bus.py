"""Modbus RTU lines on pseudo-terminals: several devices on one pair of wires, at its speed.

Time on the line is reckoned, not measured: a request begins 3.5 characters after the end of the
reply before it, or when it comes, whichever is later; so what the machine is late by does not add
up. A master that asks at another speed than a device's is not understood. Parity cannot be played:
a pseudo-terminal takes none.
"""

import asyncio
import os
import pty
import termios
import tty
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from firmware_sim.core.events import Event, Kind
from firmware_sim.core.line import Device, Line, Station
from firmware_sim.core.noise import Key
from firmware_sim.core.rtu import Requests, Timing, framed
from firmware_sim.core.wire import PLAIN, Fate, collided, spoilt
from telemetry.errors import ConfigError
from telemetry.instant import MINUTE_MS, SECOND_MS

BAUDS = {
    getattr(termios, f"B{n}"): n for n in (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
}
"""Speeds by the code of the terminal's settings."""

_LUMP = 16
"""Bytes come in lumps, as out of a UART's buffer."""

_TIMER_S = 0.0011
"""The loop's timers are late by up to a millisecond; the last byte is waited for without them."""

_SILENCE_MIN_S = 0.01
"""The bytes of one request may come apart by the machine's doing."""


@dataclass(slots=True)
class _Sending:
    """A transmission: its bytes, when the first begins and how many are out."""

    octets: bytes
    begins_s: float
    char_s: float
    sent: int = 0

    @property
    def ends_s(self) -> float:
        return self.begins_s + len(self.octets) * self.char_s


class SerialLine(Line):
    """One RS-485 line behind something that looks like a serial port."""

    def __init__(
        self,
        *,
        name: str,
        link: Path,
        baud: int,
        bits_per_char: int,
        devices: Iterable[Device],
        key: Key,
    ) -> None:
        super().__init__(name=name, devices=devices, key=key, baud=baud)
        self._link = link
        self._baud = baud
        self._bits = bits_per_char
        self._loop = asyncio.get_running_loop()
        self._ends: tuple[int, int] | None = None
        self._requests = Requests()
        self._heard_s = 0.0
        self._free_s = 0.0
        self._down_until_s = 0.0
        self._sending: _Sending | None = None
        self._thinking: dict[str, float] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @property
    def where(self) -> str:
        """Return where it is reached."""
        return str(self._link)

    async def start(self, *, key: str) -> None:
        """Make the port. Raises `ConfigError` naming `key` when its link cannot be made."""
        self._ends = master, slave = pty.openpty()
        tty.setraw(slave)
        settings = termios.tcgetattr(slave)
        settings[4] = settings[5] = getattr(termios, f"B{self._baud}")
        termios.tcsetattr(slave, termios.TCSANOW, settings)
        os.set_blocking(master, False)
        try:
            self._make_link(os.ttyname(slave))
        except OSError as e:
            await self.stop()
            raise ConfigError(
                f"{key}.link: expected a place for a link to a serial port,"
                f" was {self._link}: {e.strerror}"
            ) from e
        self._loop.add_reader(master, self._readable)

    async def stop(self) -> None:
        """Take the port away; harmless when it was never made."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._sending = None
        if self._ends is None:
            return
        master, slave = self._ends
        self._ends = None
        with suppress(OSError):
            if str(self._link.readlink()) == os.ttyname(slave):
                self._link.unlink()
        self._loop.remove_reader(master)
        os.close(slave)
        os.close(master)

    def begin(self, event: Event) -> None:
        """Let a wire fault begin. Raises `RefusedCommand` when it cannot be here."""
        super().begin(event)
        if event.kind is Kind.CONVERTER_REBOOT:
            self._down_until_s = self.now_s() + event.numbers["seconds"]
        elif event.kind is Kind.FOREIGN_MASTER:
            self._await_foreigner(event)

    def finish(self, event: Event) -> None:
        """Put a wire fault right."""
        super().finish(event)
        if event.kind is Kind.CONVERTER_REBOOT:
            self._down_until_s = 0.0
        timer = self._timers.pop(f"foreign {event.id}", None)
        if timer is not None:
            timer.cancel()

    def now_s(self) -> float:
        """Return the loop's time."""
        return self._loop.time()

    def _make_link(self, target: str) -> None:
        if self._link.exists() and not self._link.is_symlink():
            raise FileExistsError(0, "something else than a link is there")
        self._link.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._link.with_name(f".{self._link.name}.new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(target)
        fresh.replace(self._link)

    def _timing(self) -> Timing:
        """Return how long characters take at the speed that the master has set."""
        assert self._ends is not None
        baud = BAUDS.get(termios.tcgetattr(self._ends[1])[5], self._baud)
        return Timing(baud=baud, bits_per_char=self._bits)

    # What comes in.

    def _readable(self) -> None:
        assert self._ends is not None
        try:
            octets = os.read(self._ends[0], 4096)
        except OSError:
            return
        now, timing = self.now_s(), self._timing()
        if self._sending is not None:  # both talk at once: neither is understood
            self._sending.octets = collided(self._sending.octets, octets)[
                : len(self._sending.octets)
            ]
            return
        if not len(self._requests):
            self._heard_s = max(now, self._free_s + timing.gap_s)
        self._heard_s += len(octets) * timing.char_s
        for frame in self._requests.feed(octets):
            self._asked(frame, timing)
        if len(self._requests):
            silent_s = max(self._heard_s, now) + max(timing.gap_s, _SILENCE_MIN_S)
            self._set_timer("silence", silent_s, self._fell_silent)

    def _fell_silent(self) -> None:
        frame = self._requests.silence()
        if frame is not None:
            self._asked(frame, self._timing())

    def _asked(self, frame: bytes, timing: Timing) -> None:
        """Let whom it concerns answer a request that ended at `_heard_s`."""
        unit, pdu = frame[0], frame[1:-2]
        self._free_s = self._heard_s
        if self._heard_s < self._down_until_s:
            return
        if unit == 0:  # broadcast: everybody listens, nobody answers
            for station in self._understanding(self._all(), timing):
                self._answer(station, pdu)
            return
        stations = self._understanding(self._at_unit(unit), timing)
        replies: list[tuple[bytes, float, Fate]] = []
        for station in stations:
            if self._thinking.get(station.id, 0.0) > self._heard_s:
                continue  # it has not answered the last question yet, and does not hear this one
            fate = self._faults.fate(self.name, station.id) if self._faults else PLAIN
            if fate.is_lost:
                continue
            reply = self._answer(station, pdu)
            if reply is not None:
                wait_s = station.firmware.sheet.behaviour.turnaround_ms / SECOND_MS + fate.extra_s
                begins_s = self._heard_s + timing.gap_s + wait_s
                self._thinking[station.id] = begins_s
                replies.append((framed(unit, reply), begins_s, fate))
        if not replies:
            return
        octets, begins_s, fate = replies[0]
        for other, _begins_s, _fate in replies[1:]:
            octets = collided(octets, other)
        self._later(self._on_the_wire(frame, octets, fate), begins_s, timing)

    @staticmethod
    def _understanding(stations: tuple[Station, ...], timing: Timing) -> tuple[Station, ...]:
        return tuple(s for s in stations if s.firmware.baud == timing.baud)

    def _on_the_wire(self, asked: bytes, reply: bytes, fate: Fate) -> bytes:
        """Return the bytes that a master hears instead of the reply."""
        if fate.is_corrupt:
            reply = spoilt(reply, self._faults.chance())
        if fate.is_doubled:  # the other one begins a character later
            reply = collided(reply, b"\xff" + reply)
        reply = fate.garbage + reply
        return asked + reply if fate.is_echoed else reply

    # What goes out.

    def _later(self, octets: bytes, begins_s: float, timing: Timing) -> None:
        sending = _Sending(octets, begins_s, timing.char_s)
        # Nothing is out before the end of its first lump, so that to begin early is no harm.
        self._set_timer(f"reply {begins_s}", begins_s - _TIMER_S, self._begin_sending, sending)

    def _begin_sending(self, sending: _Sending) -> None:
        if self._sending is not None:  # somebody else is talking: neither is understood
            self._sending.octets = collided(self._sending.octets, sending.octets)
            return
        self._sending = sending
        self._send()

    def _send(self) -> None:
        """Put out the bytes whose time has come, and come back for the next."""
        sending = self._sending
        if sending is None or self._ends is None:
            return
        wait_s = sending.ends_s - self.now_s()
        if wait_s <= 0:
            self._put(sending.octets[sending.sent :])
            self._sending = None
            self._free_s = sending.ends_s
            return
        if wait_s <= _TIMER_S:
            self._loop.call_soon(self._send)
            return
        out = int((self.now_s() - sending.begins_s) / sending.char_s)
        if out - sending.sent >= _LUMP and out < len(sending.octets):
            self._put(sending.octets[sending.sent : out])
            sending.sent = out
        lump_s = sending.begins_s + (sending.sent + _LUMP) * sending.char_s
        self._set_timer(
            "send", min(max(lump_s, self.now_s()), sending.ends_s - _TIMER_S), self._send
        )

    def _put(self, octets: bytes) -> None:
        if self._ends is not None:
            with suppress(BlockingIOError):  # nobody reads: what a port does not hold is lost
                os.write(self._ends[0], octets)

    def _set_timer(self, name: str, at_s: float, call: Callable[..., None], *args: object) -> None:
        old = self._timers.pop(name, None)
        if old is not None:
            old.cancel()
        self._timers[name] = self._loop.call_at(at_s, self._fire, name, call, args)

    def _fire(self, name: str, call: Callable[..., None], args: tuple[object, ...]) -> None:
        self._timers.pop(name, None)
        call(*args)

    # The other master.

    def _await_foreigner(self, event: Event) -> None:
        pause_s = MINUTE_MS / SECOND_MS / event.numbers["per_minute"]
        at_s = self.now_s() + pause_s * (0.5 + self._faults.chance())
        self._set_timer(f"foreign {event.id}", at_s, self._foreigner, event)

    def _foreigner(self, event: Event) -> None:
        """Let another master ask a device of ours, and the device answer him."""
        station = self._all()[int(self._faults.chance() * len(self._all()))]
        pdu = bytes((3, 0, 0, 0, 2))
        asked = framed(station.firmware.unit, pdu)
        reply = self._answer(station, pdu)
        timing = Timing(baud=self._baud, bits_per_char=self._bits)
        begins_s = max(self.now_s(), self._free_s + timing.gap_s)
        heard = asked if reply is None else asked + framed(station.firmware.unit, reply)
        self._later(heard, begins_s, timing)
        self._await_foreigner(event)
