"""The pins of the Pi itself, through libgpiod: the one file that knows the package `gpiod`.

Every pin is a request of its own, so that a fast meter cannot push the edges of a slow one out of
the kernel's buffer. Pulses are looked at once a period, contacts wake us.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol

import gpiod
from gpiod.line import Bias, Direction, Edge, Value
from gpiod.line import Clock as EventClock

from gateway.core.device import Scan
from gateway.core.pins import ContactPin, PulsePin, counter_of, scan_of
from gateway.core.pulse import CounterState
from gateway.site_config import ContactSection, GpioSection, PulseSection
from gateway.watchdog import Progress
from telemetry.instant import SECOND_MS, Clock, Instant
from telemetry.point import PointId
from telemetry.sample import Reason, Sample

log = logging.getLogger("mainwatch.gateway.gpio")

EVENTS_MAX = 64
"""Edges that the kernel keeps for a pin. Beyond it forgets the oldest, and the numbers tell."""

REOPEN_MS = 5_000
PATIENCE_MS = 30_000

_BIAS = {"pull_up": Bias.PULL_UP, "pull_down": Bias.PULL_DOWN, "none": Bias.DISABLED}


class Request(Protocol):
    """What we use of `gpiod.LineRequest`."""

    @property
    def fd(self) -> int:
        """Return the descriptor that is readable when an edge has come."""
        ...

    def wait_edge_events(self, timeout: timedelta | float | None = None) -> bool:
        """Say whether an edge is waiting."""
        ...

    def read_edge_events(self, max_events: int | None = None) -> Sequence[Any]:
        """Return the edges that are waiting, or wait for one."""
        ...

    def get_value(self, line: int | str) -> Value:
        """Return whether a line is active now."""
        ...

    def release(self) -> None:
        """Give the line back."""
        ...


Ask = Callable[..., Request]
"""`gpiod.request_lines`, or what stands for it."""


class Chip:
    """The pins of one chip and their one task."""

    def __init__(
        self,
        section: GpioSection,
        states: Mapping[PointId, CounterState],
        *,
        clock: Clock,
        put: Callable[[Scan], Awaitable[None]],
        progress: Progress,
        ask: Ask = gpiod.request_lines,
    ) -> None:
        self._section = section
        self._clock = clock
        self._put = put
        self._progress = progress
        self._ask = ask
        self._pulses = [_pulse_pin(section, p, states, clock.now()) for p in section.pulse]
        silence_ms = round(section.silence_max_s * SECOND_MS)
        self._contacts = [
            ContactPin(PointId(c.point), silence_max_ms=silence_ms) for c in section.contact
        ]
        self._requests: list[Request] = []
        self._not_before_ms = 0
        self._is_up: bool | None = None
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Count and tell until cancelled; then tell the last totals."""
        name, period_ms = f"gpio {self._section.id}", round(self._section.period_s * SECOND_MS)
        due_ms = self._clock.monotonic_ms()
        try:
            while True:
                now_ms = self._clock.monotonic_ms()
                self._progress.beat(name, now_ms + period_ms + PATIENCE_MS)
                is_due = now_ms >= due_ms
                samples = self._read(with_pulses=is_due, now_ms=now_ms)
                if samples:
                    self._progress.end(name)  # from here on it waits for the outbox
                    await self._put(scan_of(self._section.id, samples, self._pulses))
                if is_due:
                    due_ms = max(due_ms + period_ms, now_ms)
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    wait_s = max(0, due_ms - self._clock.monotonic_ms()) / SECOND_MS
                    async with asyncio.timeout(wait_s):
                        await self._changed.wait()
        finally:
            self._progress.end(name)
            last = self._read(with_pulses=True, now_ms=self._clock.monotonic_ms())
            self._close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._put(scan_of(self._section.id, last, self._pulses))

    def _read(self, *, with_pulses: bool, now_ms: int) -> list[Sample]:
        """Return what there is to say now; a chip that fails says so, and is opened anew later."""
        at = self._clock.now()
        samples: list[Sample] = []
        if not self._requests and not self._open(now_ms):
            return self._nothing(at, now_ms, with_pulses=with_pulses)
        try:
            for section, pin, request in zip(
                self._section.contact, self._contacts, self._contact_requests(), strict=True
            ):
                for event in _waiting(request):
                    then_ms = event.timestamp_ns // 1_000_000
                    active = event.event_type is gpiod.EdgeEvent.Type.RISING_EDGE
                    then = Instant(at - max(0, now_ms - then_ms))
                    samples += pin.sample(active=active, at=then, monotonic_ms=then_ms)
                active = request.get_value(section.pin) is Value.ACTIVE
                samples += pin.sample(active=active, at=at, monotonic_ms=now_ms)
            if with_pulses:
                for pulse, request in zip(self._pulses, self._requests, strict=False):
                    for event in _waiting(request):
                        pulse.event(event.line_seqno)
                    samples += pulse.samples(at)
        except OSError as e:
            self._note(is_up=False, because=str(e))
            self._close()
            self._not_before_ms = now_ms + REOPEN_MS
            return samples + self._nothing(at, now_ms, with_pulses=with_pulses)
        return samples

    def _nothing(self, at: Instant, now_ms: int, *, with_pulses: bool) -> list[Sample]:
        found = [
            s for c in self._contacts for s in c.sample(active=None, at=at, monotonic_ms=now_ms)
        ]
        if with_pulses:
            found += [s for p in self._pulses for s in p.bad(at, Reason.LINE_DOWN)]
        return found

    def _contact_requests(self) -> list[Request]:
        return self._requests[len(self._pulses) :]

    def _open(self, now_ms: int) -> bool:
        if now_ms < self._not_before_ms:
            return False
        section = self._section
        wanted = [(p.pin, _pulse_settings(p)) for p in section.pulse]
        wanted += [(c.pin, _contact_settings(c)) for c in section.contact]
        try:
            for pin, settings in wanted:
                self._requests.append(
                    self._ask(
                        section.chip,
                        {pin: settings},
                        consumer="mainwatch",
                        event_buffer_size=EVENTS_MAX,
                    )
                )
        except (OSError, ValueError) as e:
            self._note(is_up=False, because=str(e))
            self._close()
            self._not_before_ms = now_ms + REOPEN_MS
            return False
        for pulse in self._pulses:
            pulse.reopened()
        for request in self._contact_requests():
            asyncio.get_running_loop().add_reader(request.fd, self._changed.set)
        self._note(is_up=True, because="")
        return True

    def _close(self) -> None:
        loop = asyncio.get_running_loop()
        for request in self._requests:
            with contextlib.suppress(OSError, ValueError):
                loop.remove_reader(request.fd)
            with contextlib.suppress(OSError):
                request.release()
        self._requests.clear()

    def _note(self, *, is_up: bool, because: str) -> None:
        if is_up is not self._is_up:
            self._is_up = is_up
            where = f"gpio {self._section.id} ({self._section.chip})"
            if is_up:
                log.info("%s counts", where)
            else:
                log.warning("%s cannot be read: %s", where, because)


def _waiting(request: Request) -> Sequence[Any]:
    return request.read_edge_events() if request.wait_edge_events(0) else ()


def _pulse_settings(pulse: PulseSection) -> gpiod.LineSettings:
    return gpiod.LineSettings(
        direction=Direction.INPUT,
        edge_detection=Edge.FALLING if pulse.edge == "falling" else Edge.RISING,
        bias=_BIAS[pulse.bias],
        debounce_period=timedelta(milliseconds=pulse.debounce_ms),
        event_clock=EventClock.MONOTONIC,
    )


def _contact_settings(contact: ContactSection) -> gpiod.LineSettings:
    return gpiod.LineSettings(
        direction=Direction.INPUT,
        edge_detection=Edge.BOTH,
        bias=_BIAS[contact.bias],
        active_low=contact.active == "low",
        debounce_period=timedelta(milliseconds=contact.debounce_ms),
        event_clock=EventClock.MONOTONIC,
    )


def _pulse_pin(
    section: GpioSection,
    pulse: PulseSection,
    states: Mapping[PointId, CounterState],
    at: Instant,
) -> PulsePin:
    start = round(pulse.start_m3 / pulse.pulse_m3)
    state = states.get(PointId(pulse.point))
    return PulsePin(counter_of(section, pulse), state, start=start, at=at)
