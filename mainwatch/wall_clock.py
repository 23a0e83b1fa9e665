"""The one file that reads the machine's clock."""

import asyncio
import time

from telemetry.instant import Instant


class WallClock:
    """The machine's own time, in UTC."""

    def now(self) -> Instant:
        """Return the present instant."""
        return Instant(time.time_ns() // 1_000_000)

    def monotonic_ms(self) -> int:
        """Return milliseconds since the machine started, never going backwards."""
        return time.monotonic_ns() // 1_000_000

    async def sleep_until(self, at: Instant) -> None:
        """Return when `at` has come; at once when it has passed."""
        await asyncio.sleep(max(0, at - self.now()) / 1000)
