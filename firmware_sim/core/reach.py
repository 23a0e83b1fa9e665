"""What a gateway would not have read, and why: wire faults as a history must show them."""

from collections.abc import Iterable
from dataclasses import dataclass

from firmware_sim.core.events import Event, Kind, Layer
from firmware_sim.core.noise import Key, key_of, uniform
from telemetry.instant import SECOND_MS, Instant
from telemetry.sample import Reason

_PATIENCE_S = 1.0
"""How long a gateway waits for an answer, as in configs/demo/gateway.toml."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """A device as the wires see it: on which line, in which zone, fed by the mains or not."""

    device: str
    line: str
    zone: str
    on_mains: bool


class Reach:
    """Which device answers at an instant, and when what it said arrives at the server."""

    def __init__(self, stations: Iterable[Station], *, seed: int) -> None:
        self._stations = {s.device: s for s in stations}
        self._keys = {s: key_of(seed, f"reach {s}") for s in self._stations}
        self._open: dict[str, Event] = {}

    def begin(self, event: Event) -> None:
        """Take note of a fault of the wires, or of the power."""
        self._open[event.id] = event

    def finish(self, event: Event) -> None:
        """Forget it again."""
        self._open.pop(event.id, None)

    @property
    def is_whole(self) -> bool:
        """Say whether every reading arrives, and at once."""
        return not self._open

    def dark(self, event: Event) -> list[str]:
        """Return the devices that a failure of the power leaves dead."""
        if event.kind is not Kind.POWER_FAILURE or not event.numbers["dark"]:
            return []
        found = [s for s in self._stations.values() if event.target in {"", s.zone}]
        return [s.device for s in found if s.on_mains]

    def reason(self, device: str, at: Instant) -> Reason:
        """Return why a device is not read at `at`, or `Reason.NONE`."""
        for event in self._open.values():
            if event.kind is Kind.POWER_FAILURE:
                found = Reason.TIMEOUT if device in self.dark(event) else Reason.NONE
            elif event.target in {device, self._stations[device].line}:
                found = _reason(event, at, self._keys[device])
            else:
                found = Reason.NONE
            if found is not Reason.NONE:
                return found
        return Reason.NONE

    def arrives_at(self, device: str, at: Instant, *, end: Instant) -> Instant:
        """Return when the server has what was read at `at`; `end` is that of the record."""
        late = [
            event.end or end
            for event in self._open.values()
            if event.kind is Kind.UPLINK_DOWN and event.target in {"", self._stations[device].zone}
        ]
        return max(late, default=at)


def concerns(event: Event) -> bool:
    """Say whether an event keeps readings from arriving."""
    return event.kind.layer is Layer.WIRE or event.kind is Kind.POWER_FAILURE


def _reason(event: Event, at: Instant, key: Key) -> Reason:
    chance = uniform(key, at)
    numbers = event.numbers
    match event.kind:
        case Kind.DEAD:
            return Reason.TIMEOUT
        case Kind.SLOW:
            return Reason.TIMEOUT if numbers["seconds"] >= _PATIENCE_S else Reason.NONE
        case Kind.LATE_REPLY:
            return Reason.TIMEOUT if chance * numbers["one_in"] < 1.0 else Reason.NONE
        case Kind.CRC_ERRORS | Kind.GARBAGE:
            return Reason.WRONG_REPLY if chance < numbers["ratio"] else Reason.NONE
        case Kind.FOREIGN_MASTER:
            # As core/wire.py has it: a request a second, of which so many meet the other master's.
            return Reason.WRONG_REPLY if chance < numbers["per_minute"] / 60 else Reason.NONE
        case Kind.CONVERTER_REBOOT:
            is_down = at < event.begin + numbers["seconds"] * SECOND_MS
            return Reason.LINE_DOWN if is_down else Reason.NONE
        case Kind.ECHO | Kind.ADDRESS_CONFLICT:
            return Reason.WRONG_REPLY
        case _:
            return Reason.NONE
