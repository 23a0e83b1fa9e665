"""The devices of one line: who answers to which unit id, what they show, what goes wrong there."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from firmware_sim.core.encode import Words
from firmware_sim.core.events import Event, Kind, Layer
from firmware_sim.core.firmware import Firmware
from firmware_sim.core.noise import Key
from firmware_sim.core.slave import WRITE_REGISTER, WRITE_REGISTERS
from firmware_sim.core.wire import WireFaults
from telemetry.device_sheet import Condition
from telemetry.errors import RefusedCommand
from telemetry.instant import Instant
from telemetry.register_map import RegisterMap, Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device on a line, as it was put there."""

    id: str
    unit: int
    sheet: RegisterMap


@dataclass(frozen=True, slots=True)
class Station:
    """A device in its place."""

    id: str
    firmware: Firmware


class Line:
    """What all lines have in common, whatever carries the bytes.

    Devices are called here by the unit of the file, even when a master has given them another.
    """

    def __init__(self, *, name: str, devices: Iterable[Device], key: Key, baud: int = 0) -> None:
        self.name = name
        self._stations = {
            d.unit: Station(d.id, Firmware(d.sheet, unit=d.unit, baud=baud)) for d in devices
        }
        self._answering: dict[int, tuple[Station, ...]] = {}
        self._faults = WireFaults(key=key)
        self._find_units()

    def has(self, target: str) -> bool:
        """Say whether a name is this line's or one of its devices'."""
        return target == self.name or any(s.id == target for s in self._stations.values())

    def begin(self, event: Event) -> None:
        """Let a wire fault begin. Raises `RefusedCommand` when it cannot be here."""
        if event.kind.layer is not Layer.WIRE or event.kind is Kind.UPLINK_DOWN:
            raise RefusedCommand(f"line {self.name}: expected a wire fault, was {event.kind}")
        if not self.has(event.target):
            names = [self.name, *(s.id for s in self._stations.values())]
            near = get_close_matches(event.target, names, n=3) or names[:3]
            raise RefusedCommand(
                f"expected line {self.name} or a device on it, was {event.target!r};"
                f" near names: {', '.join(near)}"
            )
        self._faults.begin(event)

    def finish(self, event: Event) -> None:
        """Put a wire fault right."""
        self._faults.finish(event)

    def show(
        self, unit: int, *, table: Table, address: int, words: Words, at: Instant | None = None
    ) -> Words:
        """Let a device measure words. Return what its registers hold then."""
        firmware = self._stations[unit].firmware
        return firmware.show(table=table, address=address, words=words, at=at)

    def show_values(
        self, unit: int, values: Mapping[str, float], *, at: Instant | None = None
    ) -> None:
        """Let a device measure several registers, by name, in house units."""
        self._stations[unit].firmware.show_values(values, at=at)

    def show_condition(self, unit: int, condition: Condition, *, on: bool) -> None:
        """Let a device know something of itself."""
        self._stations[unit].firmware.set_condition(condition, on=on)

    def is_mains_powered(self, unit: int) -> bool:
        """Say whether a power failure kills a device."""
        return self._stations[unit].firmware.is_mains_powered

    def power_off(self, unit: int) -> None:
        """Cut a device's power."""
        self._stations[unit].firmware.power_off()

    def power_on(self, unit: int) -> None:
        """Give a device its power back."""
        self._stations[unit].firmware.power_on(now_s=self.now_s())
        self._find_units()

    def now_s(self) -> float:
        """Return a monotonic time; lines that carry real bytes have one."""
        return 0.0

    def _at_unit(self, unit: int) -> tuple[Station, ...]:
        """Return who answers to a unit id: nobody, one, or several that were given the same."""
        return self._answering.get(unit, ())

    def _all(self) -> tuple[Station, ...]:
        return tuple(self._stations.values())

    def _answer(self, station: Station, pdu: bytes) -> bytes | None:
        """Return a device's reply; a write may have given it another unit id."""
        reply = station.firmware.answer(pdu, now_s=self.now_s())
        if pdu and pdu[0] in {WRITE_REGISTER, WRITE_REGISTERS}:
            self._find_units()
        return reply

    def _find_units(self) -> None:
        found: dict[int, tuple[Station, ...]] = {}
        for station in self._stations.values():
            unit = station.firmware.unit
            found[unit] = (*found.get(unit, ()), station)
        self._answering = found
