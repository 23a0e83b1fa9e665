"""How fast the town's time goes by against that of the clock on the wall."""

from dataclasses import dataclass

from telemetry.instant import Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Both times are the same at `begin`; from then on the town lives `speed` times as fast.

    >>> Pace(begin=Instant(1000), speed=60.0).town(Instant(2000))
    61000
    """

    begin: Instant
    speed: float = 1.0

    def town(self, wall: Instant) -> Instant:
        """Return the town's time when the clock shows `wall`."""
        return Instant(self.begin + round((wall - self.begin) * self.speed))

    def wall(self, town: Instant) -> Instant:
        """Return what the clock shows when the town's time is `town`."""
        return Instant(self.begin + round((town - self.begin) / self.speed))
