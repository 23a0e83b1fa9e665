"""What the tests of a gateway's own parts run them against: a machine's clock that we rule."""

from dataclasses import dataclass

from telemetry.instant import Instant
from tests.unit.gateway.field import START


@dataclass
class Machine:
    """A machine of which we say what its clocks show and whether they are disciplined."""

    wall: Instant = START
    monotonic: int = 5_000
    synchronised: bool = False
    boot: str = "boot-1"

    def now(self) -> Instant:
        return self.wall

    def monotonic_ms(self) -> int:
        return self.monotonic

    async def sleep_until(self, at: Instant) -> None:
        self.pass_ms(max(0, at - self.wall))

    def boot_id(self) -> str:
        return self.boot

    def is_synchronised(self) -> bool:
        return self.synchronised

    def pass_ms(self, ms: int) -> None:
        self.wall = Instant(self.wall + ms)
        self.monotonic += ms

    def step(self, ms: int) -> None:
        """Set the wall clock, as NTP does at the first synchronisation."""
        self.wall = Instant(self.wall + ms)
