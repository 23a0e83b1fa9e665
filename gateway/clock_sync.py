"""The gateway's clock: wall time, and whether it can be trusted.

A Pi without a battery wakes up with the time of its last shutdown. Until the kernel says that its
clock is disciplined, our time goes on evenly from where it was (a monotonic clock and a fixed base)
and what is read is doubtful. At the synchronisation the base leaps once: the leap is the anchor by
which the outbox corrects what was read before it.
"""

import logging
from dataclasses import dataclass, replace
from typing import Protocol

from gateway.core.device import Scan
from telemetry.instant import Clock, Instant
from telemetry.sample import Sample, TimeQuality

log = logging.getLogger("mainwatch.gateway.clock")

LONGEST_SCAN_MS = 60_000
"""So long after a synchronisation a scan may end whose first replies were read before it."""

ROUNDING_MS = 5
"""Two clocks that are read one after the other, in whole milliseconds, agree no better."""


class BootClock(Clock, Protocol):
    """A machine's clock that knows its boot and whether it is synchronised."""

    def boot_id(self) -> str:
        """Return what names this start of the machine."""
        ...

    def is_synchronised(self) -> bool:
        """Say whether somebody disciplines the clock."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """The true base (wall minus monotonic time) of what was read up to `monotonic_ms`."""

    monotonic_ms: int
    base_ms: int


class ClockSync:
    """A `Clock` for the whole gateway. `follow` is called every second and moves it."""

    def __init__(self, machine: BootClock, *, is_trusted: bool) -> None:
        """Begin where the machine stands. `is_trusted`: somebody else keeps its clock right."""
        self.boot_id = machine.boot_id()
        self._machine = machine
        self._is_trusted = is_trusted
        self.is_synchronised = is_trusted or machine.is_synchronised()
        self._base_ms = machine.now() - machine.monotonic_ms()
        """Wall minus monotonic time, frozen while we are not synchronised."""
        self._leap_ms = 0
        self._leapt_ms = -LONGEST_SCAN_MS
        if not self.is_synchronised:
            log.warning("the clock is not synchronised: what is read now has a doubtful instant")

    def now(self) -> Instant:
        """Return the present instant, as well as it is known."""
        if self.is_synchronised:
            return self._machine.now()
        return Instant(self._machine.monotonic_ms() + self._base_ms)

    def monotonic_ms(self) -> int:
        """Return milliseconds of this boot."""
        return self._machine.monotonic_ms()

    async def sleep_until(self, at: Instant) -> None:
        """Return when `at` has come; a synchronisation meanwhile does not disturb it."""
        ahead_ms = at - self.now()
        await self._machine.sleep_until(Instant(self._machine.now() + ahead_ms))

    def follow(self) -> Anchor | None:
        """Look at the machine again; return the anchor when it has just been synchronised."""
        is_synchronised = self._is_trusted or self._machine.is_synchronised()
        if is_synchronised is self.is_synchronised:
            return None
        base_ms = self._machine.now() - self._machine.monotonic_ms()
        if not is_synchronised:
            self.is_synchronised = False
            self._base_ms = base_ms
            log.warning("the clock is no longer synchronised: instants are doubtful from now on")
            return None
        self._leap_ms = base_ms - self._base_ms
        self._leapt_ms = self._machine.monotonic_ms()
        self._base_ms = base_ms
        self.is_synchronised = True
        log.info("the clock is synchronised: it was %.3f s off", self._leap_ms / 1000)
        return Anchor(monotonic_ms=self._leapt_ms, base_ms=base_ms)

    def stamp(self, scan: Scan) -> Scan:
        """Return a scan with the base and the time quality of its instants."""
        monotonic_ms = self._machine.monotonic_ms()
        if not self.is_synchronised:
            doubted = tuple(_with_time(s, s.at, TimeQuality.DOUBTFUL) for s in scan.samples)
            return replace(scan, samples=doubted, base_ms=self._base_ms)
        base_ms = self._machine.now() - monotonic_ms
        if monotonic_ms - self._leapt_ms < LONGEST_SCAN_MS:
            scan = replace(scan, samples=tuple(self._after_leap(s) for s in scan.samples))
        return replace(scan, base_ms=base_ms)

    def _after_leap(self, sample: Sample) -> Sample:
        """Correct what was read before the leap and comes after it.

        Its instant is then before the leap, or, when the clock was set back, still to come.
        """
        boot_ms = sample.at - self._base_ms + ROUNDING_MS
        before = self._leap_ms > 0 and boot_ms < self._leapt_ms
        ahead = sample.at > self._machine.now()
        if not (before or ahead):
            return sample
        return _with_time(sample, Instant(sample.at + self._leap_ms), TimeQuality.CORRECTED)


def _with_time(sample: Sample, at: Instant, time_quality: TimeQuality) -> Sample:
    return replace(sample, at=at, time_quality=time_quality)
