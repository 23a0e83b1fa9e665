"""Who goes first when the event loop cannot do all: while it is late, polls let the sender pass.

A loop serves whoever is ready in turn. With so many lines that their polls alone fill its time, the
one task that sends would get one turn in hundreds, and almost nothing would arrive. So the loop's
own lateness is watched; while it is late no poll begins during a turn of the sender, and after each
of these every line has one. What the lines cannot do then is skipped and counted.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterator

from telemetry.instant import MINUTE_MS, Clock, Instant

log = logging.getLogger("mainwatch.gateway.pace")

LOOK_MS = 50
LATE_MS = 15
"""A loop that is later than this has more to do than it can; an idle one is late by one or two."""

BUSY_MS = 2_000
"""So long after it was late last the loop is taken for busy."""

PATIENCE_S = 0.1
"""No poll waits longer than this for the sender, who may be waiting for a slow disk."""

OFTEN = 0.5
"""A minute in which the loop was late at this share of all looks is told."""


class Pace:
    """The turns of one gateway's sender and of all its lines."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._is_free = asyncio.Event()
        self._is_free.set()
        now_ms = clock.monotonic_ms()
        self._busy_until_ms = now_ms
        self._minute_ms = now_ms
        self._looks = 0
        self._late = 0

    async def run(self) -> None:
        """Watch the loop until cancelled."""
        clock = self._clock
        while True:
            due_ms = clock.monotonic_ms() + LOOK_MS
            await clock.sleep_until(Instant(clock.now() + LOOK_MS))
            self.looked(late_ms=clock.monotonic_ms() - due_ms)

    def looked(self, *, late_ms: int) -> None:
        """Take note of how late the loop was just now."""
        now_ms = self._clock.monotonic_ms()
        self._looks += 1
        if late_ms > LATE_MS:
            self._late += 1
            self._busy_until_ms = now_ms + BUSY_MS
        if now_ms - self._minute_ms >= MINUTE_MS:
            share = self._late / self._looks
            if share >= OFTEN:
                log.warning(
                    "the processor is too slow for all that is polled: late in %.0f %% of the last"
                    " minute; what is read is sent before more is polled",
                    100 * share,
                )
            self._minute_ms, self._looks, self._late = now_ms, 0, 0

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """Take the sender's turn."""
        self._is_free.clear()
        try:
            yield
        finally:
            self._is_free.set()

    async def polling(self) -> None:
        """Return when a poll may begin."""
        if self._is_free.is_set() or self._clock.monotonic_ms() >= self._busy_until_ms:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await self._is_free.wait()
