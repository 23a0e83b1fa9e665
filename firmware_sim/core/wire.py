"""What goes wrong between a device and its master: the fate of each request, from the seed."""

from dataclasses import dataclass, replace

from firmware_sim.core.events import Event, Kind
from firmware_sim.core.noise import Key, uniform


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What becomes of one request and its reply."""

    is_lost: bool = False
    extra_s: float = 0.0
    is_corrupt: bool = False
    is_doubled: bool = False
    """Two devices answer at once."""
    is_echoed: bool = False
    is_foreign: bool = False
    """Another master asks at the same time, and his answer comes along."""
    garbage: bytes = b""


PLAIN = Fate()


class WireFaults:
    """The faults that are on, and what they do to each request."""

    def __init__(self, *, key: Key) -> None:
        self._key = key
        self._on: dict[str, Event] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._on)

    def begin(self, event: Event) -> None:
        """Let a fault be."""
        self._on[event.id] = event

    def finish(self, event: Event) -> None:
        """Put a fault right; harmless when it is over already."""
        self._on.pop(event.id, None)

    def fate(self, *names: str) -> Fate:
        """Return what becomes of the next request to a device that goes by these names."""
        if not self._on:
            return PLAIN
        self._count += 1
        fate = PLAIN
        for n, event in enumerate(self._on.values()):
            if event.target in names:
                fate = self._worse(fate, event, uniform(self._key, 16 * self._count + n))
        return fate

    def noise(self) -> bytes:
        """Return bytes that mean nothing."""
        self._count += 1
        length = 1 + int(11 * uniform(self._key, 16 * self._count + 14))
        return bytes(
            int(256 * uniform(self._key, 1_000_003 * self._count + n)) for n in range(length)
        )

    def chance(self) -> float:
        """Return an even chance of its own."""
        self._count += 1
        return uniform(self._key, 16 * self._count + 15)

    def _worse(self, fate: Fate, event: Event, chance: float) -> Fate:
        """Return a fate with what one fault adds to it."""
        numbers = event.numbers
        match event.kind:
            case Kind.SLOW:
                slower_s = numbers["seconds"] * (0.8 + 0.4 * chance)
                return replace(fate, extra_s=fate.extra_s + slower_s)
            case Kind.LATE_REPLY if chance * numbers["one_in"] < 1:
                return replace(fate, extra_s=fate.extra_s + numbers["seconds"])
            case Kind.GARBAGE if chance < numbers["ratio"]:
                return replace(fate, garbage=self.noise())
            case _:
                return replace(
                    fate,
                    is_lost=fate.is_lost or event.kind is Kind.DEAD,
                    is_echoed=fate.is_echoed or event.kind is Kind.ECHO,
                    is_doubled=fate.is_doubled or event.kind is Kind.ADDRESS_CONFLICT,
                    is_corrupt=fate.is_corrupt or _happens(event, Kind.CRC_ERRORS, chance),
                    is_foreign=fate.is_foreign or _happens(event, Kind.FOREIGN_MASTER, chance),
                )


def _happens(event: Event, kind: Kind, chance: float) -> bool:
    """Say whether a fault that comes now and then comes now."""
    if event.kind is not kind:
        return False
    share = event.numbers["per_minute"] / 60 if "per_minute" in event.numbers else None
    return chance < (event.numbers["ratio"] if share is None else share)


def spoilt(octets: bytes, chance: float) -> bytes:
    """Return a frame with one bit wrong."""
    if not octets:
        return octets
    at = int(chance * 8 * len(octets))
    spoiling = bytearray(octets)
    spoiling[at // 8] ^= 1 << at % 8
    return bytes(spoiling)


def collided(one: bytes, other: bytes) -> bytes:
    """Return what two transmissions make of each other: on RS-485 the stronger bit wins.

    >>> collided(bytes.fromhex("0f0f"), bytes.fromhex("f0ff01")).hex()
    '000f01'
    """
    both = bytes(a & b for a, b in zip(one, other, strict=False))
    return both + one[len(both) :] + other[len(both) :]
