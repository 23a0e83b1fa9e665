"""The service manager's watchdog, fed only while every part of the gateway makes progress.

Each part promises when it will be heard of next. The first broken promise stops the feeding, and
systemd starts us anew: a hung line or a hung disk does not stay hung.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import TypeVar

from telemetry.instant import Clock, Instant

T = TypeVar("T")

log = logging.getLogger("mainwatch.gateway.watchdog")

FEED_S = 5.0
"""Often enough for the shortest watchdog that the unit could sensibly set, 15 s."""


class Progress:
    """Who has promised to be heard of, and until when, in monotonic milliseconds."""

    def __init__(self) -> None:
        self._until_ms: dict[str, int] = {}

    def beat(self, part: str, until_ms: int) -> None:
        """Take a sign of life, and the promise of the next one before `until_ms`."""
        self._until_ms[part] = until_ms

    def end(self, part: str) -> None:
        """Expect nothing more of a part: it has ended, as it should, or waits for another."""
        self._until_ms.pop(part, None)

    def stalled(self, now_ms: int) -> list[str]:
        """Return the parts that broke their promise."""
        return sorted(part for part, until in self._until_ms.items() if until < now_ms)


class WatchedClock:
    """The clock of a part that asks the time whenever it makes a step: that is its sign of life."""

    def __init__(self, clock: Clock, progress: Progress, part: str, *, patience_ms: int) -> None:
        self._patience_ms = patience_ms
        self._clock = clock
        self._progress = progress
        self._part = part

    def now(self) -> Instant:
        """Return the present instant."""
        return self._clock.now()

    def monotonic_ms(self) -> int:
        """Return milliseconds that never go backwards."""
        now_ms = self._clock.monotonic_ms()
        self._progress.beat(self._part, now_ms + self._patience_ms)
        return now_ms

    async def sleep_until(self, at: Instant) -> None:
        """Return when `at` has come; nothing is expected of the sleeper before."""
        ahead_ms = max(0, at - self._clock.now())
        self._progress.beat(self._part, self._clock.monotonic_ms() + ahead_ms + self._patience_ms)
        await self._clock.sleep_until(at)

    def waiting(self, put: Callable[[T], Awaitable[None]]) -> Callable[[T], Awaitable[None]]:
        """Return `put` that expects nothing of the part while it waits there for another."""

        async def quietly(what: T) -> None:
            self._progress.end(self._part)
            await put(what)

        return quietly


class NotifySocket:
    """The socket on which systemd listens; without one nothing is said to anybody."""

    def __init__(self, address: str) -> None:
        """`address` as in NOTIFY_SOCKET: a path, an abstract one behind @, or nothing."""
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def tell(self, text: str) -> None:
        """Say one state, e.g. READY=1. A manager that has gone is no reason to stop."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
                s.settimeout(0)
                s.connect(self._address)
                s.send(text.encode())
        except OSError as e:
            log.warning("the service manager cannot be told %r: %s", text, e)


async def feed(
    manager: NotifySocket,
    progress: Progress,
    *,
    clock: Clock,
    summary: Callable[[], str],
    every_s: float = FEED_S,
) -> None:
    """Feed the watchdog until cancelled, and say in the unit's status how things are."""
    told: list[str] = []
    while True:
        stalled = progress.stalled(clock.monotonic_ms())
        if stalled and stalled != told:
            log.error("no progress: %s; the watchdog is not fed", ", ".join(stalled))
        elif told and not stalled:
            log.info("everything makes progress again")
        told = stalled
        if stalled:
            manager.tell(f"STATUS=no progress: {', '.join(stalled)}")
        else:
            manager.tell(f"WATCHDOG=1\nSTATUS={summary()}")
        await asyncio.sleep(every_s)
