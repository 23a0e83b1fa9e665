"""Instants are integers: milliseconds since the Unix epoch, UTC; and the protocol of a clock."""

from typing import NewType, Protocol

Instant = NewType("Instant", int)
"""Milliseconds since 1970-01-01T00:00:00Z."""

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


class Clock(Protocol):
    """Who may say what time it is. Only `mainwatch.wall_clock` reads the machine's clock."""

    def now(self) -> Instant:
        """Return the present instant."""
        ...

    def monotonic_ms(self) -> int:
        """Return milliseconds that never go backwards, for measuring how long something took."""
        ...

    async def sleep_until(self, at: Instant) -> None:
        """Return when `at` has come; at once when it has passed."""
        ...


def bin_start(at: Instant, width_ms: int) -> Instant:
    """Return the start of the time bin of `width_ms` that holds `at`."""
    return Instant(at - at % width_ms)
