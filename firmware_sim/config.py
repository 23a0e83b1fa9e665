"""SimConfig: which water the simulator plays, and which instruments it shows on which ports."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from telemetry.point import NAME_PATTERN, POINT_PATTERN
from telemetry.register_map import RegisterMap
from telemetry.units import Quantity

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
PointName = Annotated[str, Field(pattern=POINT_PATTERN)]
Port = Annotated[int, Field(ge=0, le=65535)]
"""0 lets the machine choose; the ready line says what it chose."""

_AT_A_NODE = (Quantity.PRESSURE, Quantity.LEVEL, Quantity.TEMPERATURE)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SimSection(_Section):
    """The town: its network, its habits and the seed of all its chances."""

    name: str
    seed: Annotated[int, Field(ge=0)]
    network: Path
    timezone: str
    calendar: Literal["none", "cn"] = "none"
    utility: Literal["water", "heating", "gas"] = "water"
    step_s: Annotated[float, Field(ge=0.1, le=60)] = 1.0


class ControlSection(_Section):
    """Where commands such as a burst come in; without sign-in, so on loopback only."""

    host: str = "127.0.0.1"
    port: Port = 15019


class HistorySection(_Section):
    """The recording that is written before serving; `days = 0` writes none."""

    days: Annotated[int, Field(ge=0, le=4000)] = 0
    cadence_s: Annotated[int, Field(ge=1, le=3600)] = 300
    out: Path = Path("demo-data/history")


class LedgerSection(_Section):
    """What really was in every register while the simulator served; no `out` keeps no ledger."""

    out: Path | None = None


# The mains: what moves in them, and the weather above them.


def _several(told: object) -> object:
    """Let what is usually one be written without brackets."""
    return told if isinstance(told, list | tuple) else (told,)


class PlantSection(_Section):
    """A tank, and the pump or pumps that fill it between two levels.

    Pumps without one follow the controls and rules of the network file.
    """

    tank: str
    pump: Annotated[tuple[str, ...], BeforeValidator(_several), Field(min_length=1)]
    pump_on_below_m: float
    pump_off_above_m: float


class ClimateSection(_Section):
    """The usual weather: the mean of a year, and how far seasons and hours stray from it."""

    mean_c: Annotated[float, Field(ge=-30, le=40)] = 16.0
    season_c: Annotated[float, Field(ge=0, le=40)] = 11.5
    day_c: Annotated[float, Field(ge=0, le=20)] = 3.5


class HeatingSection(_Section):
    """How a heating plant works: the pump behind its boiler, and its heating curve.

    The supply is `design_supply_c` at `design_outdoor_c` and falls to `mild_supply_c` at 18 °C.
    """

    pump: str
    design_outdoor_c: Annotated[float, Field(ge=-45, le=10)] = -9.0
    design_supply_c: Annotated[float, Field(ge=50, le=150)] = 95.0
    design_return_c: Annotated[float, Field(ge=25, le=90)] = 55.0
    mild_supply_c: Annotated[float, Field(ge=30, le=90)] = 45.0


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
    """One Modbus instrument on a line; a cabinet's input module shows states and has no points."""

    id: Name
    unit: Annotated[int, Field(ge=1, le=247)]
    map: str
    zone: Name
    point: tuple[PointSection, ...] = ()


# Lines: what carries the bytes. `[[converter]]` is a line of kind tcp.

Baud = Literal[1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200]


class TcpLineSection(_Section):
    """A serial-to-Ethernet converter: several devices behind one port.

    With `baud` answers take the time of the serial line behind it; without, they come at once.
    """

    kind: Literal["tcp"] = "tcp"
    name: Name
    host: str = "127.0.0.1"
    port: Port
    baud: Baud | None = None
    device: tuple[DeviceSection, ...] = Field(min_length=1)


class RtuLineSection(_Section):
    """An RS-485 line behind something that looks like a serial port, found at `link`.

    `bits_per_char` is 11 with parity or two stop bits, 10 without.
    """

    kind: Literal["rtu"]
    name: Name
    link: Path
    baud: Baud = 9600
    bits_per_char: Literal[10, 11] = 11
    device: tuple[DeviceSection, ...] = Field(min_length=1)


ConverterSection = TcpLineSection
LineSection = Annotated[TcpLineSection | RtuLineSection, Field(discriminator="kind")]


class SimConfig(_Section):
    """The whole file."""

    sim: SimSection
    control: ControlSection = ControlSection()
    history: HistorySection = HistorySection()
    ledger: LedgerSection = LedgerSection()
    plant: Annotated[tuple[PlantSection, ...], BeforeValidator(_several)] = ()
    climate: ClimateSection = ClimateSection()
    heating: HeatingSection | None = None
    zone: tuple[ZoneSection, ...] = Field(min_length=1)
    converter: tuple[ConverterSection, ...] = ()
    line: tuple[LineSection, ...] = ()

    @property
    def lines(self) -> tuple[tuple[str, TcpLineSection | RtuLineSection], ...]:
        """Return every line with its key path, in the order of the file, converters first."""
        return (
            *((f"converter[{n}]", c) for n, c in enumerate(self.converter)),
            *((f"line[{n}]", c) for n, c in enumerate(self.line)),
        )

    def without_history(self) -> "SimConfig":
        """Return the configuration with no days of history."""
        none = self.history.model_copy(update={"days": 0})
        return self.model_copy(update={"history": none})

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
    found += _mains_problems(config)
    if not config.lines:
        found.append("converter: expected at least one [[converter]] or [[line]], found none")
    found += _repetitions(config)
    zones = [z.id for z in config.zone]
    for where, device in _devices(config):
        if device.zone not in zones:
            found.append(f"{where}.zone: expected one of {', '.join(zones)}, was {device.zone!r}")
        found += _device_problems(where, device, maps)
    return found + _inflow_problems(config)


def _mains_problems(config: SimConfig) -> list[str]:
    found = []
    for n, plant in enumerate(config.plant):
        key = f"plant[{n}]" if len(config.plant) > 1 else "plant"
        if plant.pump_on_below_m >= plant.pump_off_above_m:
            found.append(
                f"{key}.pump_on_below_m: expected less than pump_off_above_m"
                f" {plant.pump_off_above_m}, was {plant.pump_on_below_m}"
            )
    if config.sim.utility == "heating" and config.heating is None:
        found.append('heating: required, as sim.utility is "heating"')
    if config.sim.utility != "heating" and config.heating is not None:
        found.append(f'heating: only for sim.utility = "heating", was "{config.sim.utility}"')
    return found


def _devices(config: SimConfig) -> Iterable[tuple[str, DeviceSection]]:
    for key, line in config.lines:
        for m, device in enumerate(line.device):
            yield f"{key}.device[{m}]", device


def _points(config: SimConfig) -> Iterable[tuple[str, PointSection]]:
    for where, device in _devices(config):
        for k, point in enumerate(device.point):
            yield f"{where}.point[{k}]", point


def _repetitions(config: SimConfig) -> list[str]:
    found = _repeated((f"zone[{n}].id", z.id) for n, z in enumerate(config.zone))
    found += _repeated((f"{key}.name", line.name) for key, line in config.lines)
    tcp = [(key, line) for key, line in config.lines if isinstance(line, TcpLineSection)]
    ports = [("control.port", config.control.port), *((f"{k}.port", c.port) for k, c in tcp)]
    found += _repeated((key, port) for key, port in ports if port)
    links = [(key, c) for key, c in config.lines if isinstance(c, RtuLineSection)]
    found += _repeated((f"{key}.link", str(line.link)) for key, line in links)
    for key, line in config.lines:
        found += _repeated((f"{key}.device[{m}].unit", d.unit) for m, d in enumerate(line.device))
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
    if not device.point and any(r.quantity is not Quantity.STATE for r in sheet.registers):
        found.append(f"{where}.point: expected at least one, as map {device.map!r} measures")
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
    elif quantity in _AT_A_NODE and point.node is None:
        found.append(f"{key}.node: required, as the register shows a {quantity}")
    elif quantity is Quantity.STATE:
        found.append(f"{key}.register: expected one that shows the mains, was a {quantity}")
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
