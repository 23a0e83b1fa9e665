"""The lines as the field sees them: words to registers, faults and power cuts to devices."""

from collections.abc import Mapping, Sequence

from firmware_sim.config import SimConfig
from firmware_sim.core.cabinet import Cabinet
from firmware_sim.core.encode import number
from firmware_sim.core.events import Event, Kind
from firmware_sim.core.instruments import Instrument
from firmware_sim.field import Field
from firmware_sim.lines import line_of
from firmware_sim.modbus_server import TcpLine
from firmware_sim.serial_bus import SerialLine
from telemetry.device_sheet import Condition
from telemetry.instant import SECOND_MS, Instant
from telemetry.register_map import RegisterMap

AnyLine = TcpLine | SerialLine


class LiveWires:
    """Every line with its devices, and the cabinets that watch themselves."""

    def __init__(self, config: SimConfig, maps: Mapping[str, RegisterMap], *, at: Instant) -> None:
        self._keys = [key for key, _ in config.lines]
        self._lines = [line_of(line, maps, seed=config.sim.seed) for _, line in config.lines]
        self._where: dict[str, tuple[AnyLine, int]] = {}
        self._cabinets: dict[str, tuple[str, Cabinet]] = {}
        self._clocks: dict[str, float] = {}
        self._device_of: dict[str, str] = {}
        for line, (_, section) in zip(self._lines, config.lines, strict=True):
            for d in section.device:
                self._where[d.id] = (line, d.unit)
                self._device_of |= dict.fromkeys((d.id, *(p.point for p in d.point)), d.id)
                if maps[d.map].register("clock") is not None:
                    self._clocks[d.id] = 0.0
                if not d.point and maps[d.map].register("mains_present") is not None:
                    self._cabinets[d.id] = (d.zone, Cabinet(at=at))

    async def start(self) -> None:
        """Open every line. Raises `ConfigError` naming the one that cannot be had."""
        for key, line in zip(self._keys, self._lines, strict=True):
            await line.start(key=key)

    async def stop(self) -> None:
        """Close every line; harmless for those that never opened."""
        for line in self._lines:
            await line.stop()

    def told(self) -> dict[str, object]:
        """Return where each line is reached, as the ready line says it."""
        tcp = {line.name: line.port for line in self._lines if isinstance(line, TcpLine)}
        rtu = {line.name: line.where for line in self._lines if isinstance(line, SerialLine)}
        return {"converters": tcp} | ({"serial": rtu} if rtu else {})

    def show(self, instruments: Sequence[Instrument], field: Field) -> list[float]:
        """Let every device measure now. Return what its registers say then, in house units."""
        at = field.plant.at
        said = []
        for i, truth in zip(instruments, field.plant.truths(), strict=True):
            line, unit = self._where[i.device]
            r = i.register
            words = field.faults.reading(i, truth, at)
            held = line.show(unit, table=r.table, address=r.address, words=words, at=at)
            said.append(number(held, r))
        for name, (_, cabinet) in self._cabinets.items():
            line, unit = self._where[name]
            line.show_values(unit, cabinet.readings(at), at=at)
        for name, wrong_by_s in self._clocks.items():
            line, unit = self._where[name]
            line.show_values(unit, {"clock": at // SECOND_MS + wrong_by_s}, at=at)
        return said

    def begin(self, event: Event, at: Instant) -> None:
        """Spoil a line, a device or a cabinet. Raises `RefusedCommand`."""
        self._turn(event, at, on=True)

    def finish(self, event: Event, at: Instant) -> None:
        """Put it right again."""
        self._turn(event, at, on=False)

    def power(self, device: str, *, on: bool) -> None:
        """Cut a device's power, or give it back."""
        line, unit = self._where[device]
        if on:
            line.power_on(unit)
        else:
            line.power_off(unit)

    def _turn(self, event: Event, at: Instant, *, on: bool) -> None:
        match event.kind:
            case Kind.UPLINK_DOWN:
                pass  # it is above the wires
            case Kind.WRONG_CLOCK:
                self._clocks[event.target] = event.numbers["by_s"] if on else 0.0
            case Kind.POWER_FAILURE | Kind.PIT_FLOODED | Kind.DOOR_OPEN:
                self._turn_cabinets(event, at, on=on)
            case Kind.LOW_BATTERY:
                line, unit = self._where[self._device_of[event.target]]
                line.show_condition(unit, Condition.LOW_BATTERY, on=on)
            case _:
                for line in self._lines:
                    if line.has(event.target):
                        (line.begin if on else line.finish)(event)

    def _turn_cabinets(self, event: Event, at: Instant, *, on: bool) -> None:
        for name, (zone, cabinet) in self._cabinets.items():
            if event.kind is Kind.POWER_FAILURE and event.target in {"", zone}:
                cabinet.set_mains(at, on=not on)
            elif event.kind is Kind.PIT_FLOODED and event.target == name:
                cabinet.is_flooded = on
            elif event.kind is Kind.DOOR_OPEN and event.target == name:
                cabinet.is_open = on
