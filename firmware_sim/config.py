"""SimConfig: which water the simulator plays, and which instruments it shows on which ports."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field

from telemetry.point import NAME_PATTERN, POINT_PATTERN
from telemetry.register_map import RegisterMap
from telemetry.units import Quantity

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
PointName = Annotated[str, Field(pattern=POINT_PATTERN)]
Port = Annotated[int, Field(ge=0, le=65535)]
"""0 lets the machine choose; the ready line says what it chose."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SimSection(_Section):
    """The town: its network, its habits and the seed of all its chances."""

    name: str
    seed: Annotated[int, Field(ge=0)]
    network: Path
    timezone: str
    calendar: str = "none"
    step_s: Annotated[float, Field(ge=0.1, le=60)] = 1.0


class ControlSection(_Section):
    """Where commands such as a burst come in; without sign-in, so on loopback only."""

    host: str = "127.0.0.1"
    port: Port = 15019


class HistorySection(_Section):
    """The recording that is written before serving; `days = 0` writes none."""

    days: Annotated[int, Field(ge=0, le=400)] = 0
    cadence_s: Annotated[int, Field(ge=60, le=3600)] = 300
    out: Path = Path("demo-data/history")


class PlantSection(_Section):
    """The tank, and the pump that fills it between two levels."""

    tank: str
    pump: str
    pump_on_below_m: float
    pump_off_above_m: float


class BilingualName(_Section):
    """A name in both languages of the screens."""

    zh: str
    en: str


class InflowSection(_Section):
    """A meter at the edge of a zone: sign 1 for water coming in, -1 for water going out."""

    point: PointName
    sign: Annotated[int, Field(ge=-1, le=1)] = 1


class ZoneSection(_Section):
    """A metered area, as the recording describes it."""

    id: Name
    name: BilingualName
    inflow: tuple[InflowSection, ...] = ()


class PointSection(_Section):
    """What one register shows: the water at a node, or through a link.

    `flow_point` names the flow that the history derives from a customer's counter.
    """

    # pydantic's own models have an attribute called `register`.
    register_name: str = Field(alias="register")
    point: PointName
    node: str | None = None
    link: str | None = None
    flow_point: PointName | None = None


class DeviceSection(_Section):
    """One Modbus instrument behind a converter."""

    id: Name
    unit: Annotated[int, Field(ge=1, le=247)]
    map: str
    zone: Name
    point: tuple[PointSection, ...] = Field(min_length=1)


class ConverterSection(_Section):
    """A serial-to-Ethernet converter: several devices behind one port."""

    name: Name
    host: str = "127.0.0.1"
    port: Port
    device: tuple[DeviceSection, ...] = Field(min_length=1)


class SimConfig(_Section):
    """The whole file."""

    sim: SimSection
    control: ControlSection = ControlSection()
    history: HistorySection = HistorySection()
    plant: PlantSection
    zone: tuple[ZoneSection, ...] = Field(min_length=1)
    converter: tuple[ConverterSection, ...] = Field(min_length=1)

    def located_in(self, folder: Path) -> "SimConfig":
        """Return the configuration with `sim.network` looked for in `folder`, that of its file."""
        found = self.sim.model_copy(update={"network": folder / self.sim.network})
        return self.model_copy(update={"sim": found})


def problems(config: SimConfig, maps: Mapping[str, RegisterMap]) -> list[str]:
    """Return every mistake of sense, one sentence each, naming the key; touch nothing."""
    found = []
    try:
        ZoneInfo(config.sim.timezone)
    except (ZoneInfoNotFoundError, ValueError):
        was = config.sim.timezone
        found.append(f"sim.timezone: expected an IANA time zone, was {was!r}")
    if config.control.host not in {"127.0.0.1", "::1", "localhost"}:
        found.append(
            "control.host: expected 127.0.0.1, as commands have no sign-in,"
            f" was {config.control.host!r}"
        )
    if config.plant.pump_on_below_m >= config.plant.pump_off_above_m:
        found.append(
            f"plant.pump_on_below_m: expected less than pump_off_above_m"
            f" {config.plant.pump_off_above_m}, was {config.plant.pump_on_below_m}"
        )
    found += _repetitions(config)
    zones = [z.id for z in config.zone]
    for where, device in _devices(config):
        if device.zone not in zones:
            found.append(f"{where}.zone: expected one of {', '.join(zones)}, was {device.zone!r}")
        found += _device_problems(where, device, maps)
    return found + _inflow_problems(config)


def _devices(config: SimConfig) -> Iterable[tuple[str, DeviceSection]]:
    for n, converter in enumerate(config.converter):
        for m, device in enumerate(converter.device):
            yield f"converter[{n}].device[{m}]", device


def _points(config: SimConfig) -> Iterable[tuple[str, PointSection]]:
    for where, device in _devices(config):
        for k, point in enumerate(device.point):
            yield f"{where}.point[{k}]", point


def _repetitions(config: SimConfig) -> list[str]:
    found = _repeated((f"zone[{n}].id", z.id) for n, z in enumerate(config.zone))
    found += _repeated((f"converter[{n}].name", c.name) for n, c in enumerate(config.converter))
    ports = [("control.port", config.control.port)]
    ports += [(f"converter[{n}].port", c.port) for n, c in enumerate(config.converter)]
    found += _repeated((key, port) for key, port in ports if port)
    for n, converter in enumerate(config.converter):
        found += _repeated(
            (f"converter[{n}].device[{m}].unit", d.unit) for m, d in enumerate(converter.device)
        )
    found += _repeated((f"{where}.id", d.id) for where, d in _devices(config))
    names = [(f"{where}.point", p.point) for where, p in _points(config)]
    names += [(f"{where}.flow_point", p.flow_point) for where, p in _points(config) if p.flow_point]
    return found + _repeated(names)


def _repeated(keyed: Iterable[tuple[str, str | int]]) -> list[str]:
    first: dict[str | int, str] = {}
    found = []
    for key, value in keyed:
        if value in first:
            found.append(f"{key}: {value!r} is used already by {first[value]}")
        else:
            first[value] = key
    return found


def _device_problems(
    where: str, device: DeviceSection, maps: Mapping[str, RegisterMap]
) -> list[str]:
    sheet = maps.get(device.map)
    if sheet is None:
        known = ", ".join(sorted(maps))
        return [f"{where}.map: expected one of {known}, was {device.map!r}"]
    found = []
    for k, point in enumerate(device.point):
        key = f"{where}.point[{k}]"
        register = sheet.register(point.register_name)
        if register is None:
            known = ", ".join(r.name for r in sheet.registers)
            found.append(
                f"{key}.register: expected one of {known} of map {device.map!r},"
                f" was {point.register_name!r}"
            )
        else:
            found += _source_problems(key, point, register.quantity)
    return found + _repeated(
        (f"{where}.point[{k}].register", p.register_name) for k, p in enumerate(device.point)
    )


def _source_problems(key: str, point: PointSection, quantity: Quantity) -> list[str]:
    found = []
    if (point.node is None) == (point.link is None):
        found.append(f"{key}: expected node or link, found {'none' if not point.node else 'both'}")
    elif quantity in {Quantity.PRESSURE, Quantity.LEVEL} and point.node is None:
        found.append(f"{key}.node: required, as the register shows a {quantity}")
    elif quantity not in {Quantity.PRESSURE, Quantity.LEVEL, Quantity.FLOW, Quantity.VOLUME}:
        found.append(f"{key}.register: expected pressure, level, flow or volume, was {quantity}")
    if point.flow_point is not None and quantity is not Quantity.VOLUME:
        found.append(f"{key}.flow_point: only for a volume, was set for a {quantity}")
    return found


def _inflow_problems(config: SimConfig) -> list[str]:
    known = [p.point for _, p in _points(config)]
    known += [p.flow_point for _, p in _points(config) if p.flow_point]
    return [
        f"zone[{n}].inflow[{m}].point: expected a point of a device, was {inflow.point!r}"
        for n, zone in enumerate(config.zone)
        for m, inflow in enumerate(zone.inflow)
        if inflow.point not in known
    ]
